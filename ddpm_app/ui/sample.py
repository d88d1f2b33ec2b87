"""The Sample tab: draw pictures with any run, a shipped model or a diffusers pipeline, and see how they come out of noise."""

import html
import pathlib
import secrets
import tempfile
import threading
import time
import types
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from ddpm_app import jobs
from ddpm_app.config import from_dict
from ddpm_app.runs import Run
from ddpm_app.text import lasting, t, tell
from ddpm_app.ui import guard, sources
from ddpm_app.ui.film import Recorder, data_uri, player
from ddpm_app.ui.studio import Shared, Studio, problem_of, words

STEPS = {"dpmpp_2m": 20, "ddim": 50, "ddpm": 1000}
"""Steps that a sampler usually wants."""
SNAPSHOT_SECONDS = 20
"""How long drawing waits for a running run to save before it takes what is there."""
SHOW_SECONDS = 0.3
LIVE_SIDE = 640
TINY_SIDE = 100
"""Pictures smaller than this are enlarged with hard pixels."""
QUICK: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def build(studio: Studio, shared: Shared) -> None:
    """Draw the tab. Sources are offered by name from a list made here; only at home may one type a Hub id or a folder."""
    cancels: dict[str, threading.Event] = {}
    with gr.Row(elem_classes="sample-row"):
        with gr.Column(scale=2, min_width=300):
            form = _settings(studio)
        with gr.Column(scale=3, min_width=300):
            shown = _results()
    followed = gr.State(form.source.value)
    settings = [getattr(form, name) for name in NAMES]

    def tick(shot: dict[str, Any], lang: str, chosen: str, followed: str) -> list[Any]:
        """The source follows the run on show until the visitor chooses another."""
        offered = sources.choices(studio, lang)
        if chosen != followed and chosen in dict(offered).values():
            return [gr.update(choices=offered), gr.skip()]
        wanted = sources.default(studio, shot["name"] if shot["saved"] else "")
        return [gr.update(choices=offered, **({} if wanted == chosen else {"value": wanted})), wanted]

    def adapt(lang: str, *given: Any) -> list[Any]:
        asked = dict(zip(NAMES, given, strict=True))
        visible = asked["source"] == sources.OTHER, asked["sampler"] == "ddim", sources.has_raw(studio, asked["source"])
        return [*(gr.update(visible=one) for one in visible), sources.python_lines(studio, asked)]

    shared.each_tick(tick, [form.source, followed], [form.source, followed])
    most = guard.MAX_STEPS if studio.public else max(STEPS.values())
    form.sampler.input(lambda name: min(STEPS[name], most), form.sampler, form.num_inference_steps, **QUICK)
    dependent = [form.other, form.eta, form.weights, form.code]
    gr.on([part.change for part in settings], adapt, [shared.lang, *settings], dependent, trigger_mode="always_last", **QUICK)
    outputs = [*vars(shown).values(), form.seed, form.go, form.cancel]
    form.go.click(drawer(studio, cancels), [shared.visitor, shared.lang, form.locked, *settings], outputs, concurrency_limit=4, **QUICK)
    form.go.click(None, None, None, js=SHOW_STATUS)
    form.cancel.click(canceller(cancels), None, None, **QUICK)


def _settings(studio: Studio) -> types.SimpleNamespace:
    """The left column: what to draw with, how many, how."""
    form, label = types.SimpleNamespace(), lambda name: words(f"ui.sample.{name}")
    source = sources.default(studio, "")
    form.source = gr.Dropdown(sources.choices(studio, "en"), value=source, label=label("source"), elem_id="sample-source")
    form.other = gr.Textbox(label=label("other"), info=label("other_help"), visible=False, elem_id="sample-other")
    with gr.Row():
        form.num_images = gr.Number(4, label=label("number"), precision=0, min_width=90, elem_id="sample-number")
        form.num_inference_steps = gr.Number(STEPS["dpmpp_2m"], label=label("steps"), precision=0, min_width=90, elem_id="sample-steps")
    samplers = [("DPM++ 2M", "dpmpp_2m"), ("DDIM", "ddim"), ("DDPM", "ddpm")]
    form.sampler = gr.Radio(samplers, value="dpmpp_2m", label=label("sampler"), elem_id="sample-sampler")
    form.eta = gr.Slider(0, 1, 0, step=0.05, label=label("eta"), visible=False, elem_id="sample-eta")
    with gr.Row(equal_height=True):
        form.seed = gr.Number(0, label=label("seed"), precision=0, min_width=120, elem_id="sample-seed")
        form.locked = gr.Checkbox(False, label=label("locked"), container=True, min_width=120, elem_id="sample-locked")
    weights = [(label("ema"), "ema"), (label("raw"), "raw")]
    form.weights = gr.Radio(weights, value="ema", label=label("weights"), visible=False, elem_id="sample-weights")
    form.go = gr.Button(label("draw"), variant="primary", elem_id="sample-draw")
    form.cancel = gr.Button(label("cancel"), visible=False, elem_id="sample-cancel")
    with gr.Accordion(label("code"), open=False):
        form.code = gr.Code(language="python", interactive=False, show_label=False, elem_id="sample-code")
    return form


def _results() -> types.SimpleNamespace:
    """The right column, in the order of ``row``."""
    shown = types.SimpleNamespace()
    shown.status = gr.HTML(empty_state("en"), elem_id="sample-status", padding=False)
    shown.pictures = gr.Gallery(
        label=words("ui.sample.pictures"), show_label=False, format="png", columns=4, object_fit="contain", height="auto", visible=False,
        buttons=["download", "fullscreen"], elem_id="sample-pictures", elem_classes="pixelated",
    )
    with gr.Row():  # shown one by one: what a hidden row's parts are given while it appears is lost
        shown.as_png = gr.DownloadButton(words("ui.sample.grid"), visible=False, size="md", min_width=120, elem_id="sample-grid")
        shown.as_zip = gr.DownloadButton(words("ui.sample.zip"), visible=False, size="md", min_width=120, elem_id="sample-zip")
    shown.film = player(elem_id="sample-film")
    return shown


SHOW_STATUS = "() => document.getElementById('sample-status').scrollIntoView({block: 'nearest', behavior: 'smooth'})"
"""On a phone the pictures are below the settings."""
NAMES = ("source", "other", "num_images", "sampler", "num_inference_steps", "eta", "seed", "weights")


# ---- drawing --------------------------------------------------------------------------------------------------------------
def drawer(studio: Studio, cancels: dict[str, threading.Event]) -> Callable[..., Iterator[list[Any]]]:
    """The handler of the draw button: a generator, closed by Gradio when the visitor leaves, ended by ``cancels``."""

    def draw(visitor: str, lang: str, locked: bool, request: gr.Request, *given: Any) -> Iterator[list[Any]]:
        asked = dict(zip(NAMES, given, strict=True))
        stop = cancels[request.session_hash] = threading.Event()
        asked |= {name: asked[name] or 0 for name in ("num_images", "num_inference_steps", "seed")}  # an emptied field is None
        asked["seed"] = int(asked["seed"]) if locked else secrets.randbelow(1_000_000)
        working = {"seed": asked["seed"], "go": gr.update(visible=False), "cancel": gr.update(visible=True)}
        idle = {"go": gr.update(visible=True), "cancel": gr.update(visible=False)}
        yield row(
            status=progress(t("ui.sample.starting", lang), 0),
            **dict.fromkeys(("pictures", "as_png", "as_zip"), gr.update(visible=False)),
            film=None,
            **working,
        )
        try:
            for news in _draw(studio, asked, visitor, lang, stop):
                yield row(**news)
            yield row(**idle)
        except Exception as error:
            yield row(status=f'<div class="notice error" role="alert">{html.escape(tell(problem_of(error), lang))}</div>', **idle)
        finally:
            cancels.pop(request.session_hash, None)

    return draw


def canceller(cancels: dict[str, threading.Event]) -> Callable[[gr.Request], None]:
    """The handler of the cancel button: ends this visitor's drawing before its next step."""

    def cancel(request: gr.Request) -> None:
        if event := cancels.get(request.session_hash):
            event.set()

    return cancel


def row(**news: Any) -> list[Any]:
    """The handler's outputs in order; what is not named stays as it is."""
    return [news.get(name, gr.skip()) for name in ("status", "pictures", "as_png", "as_zip", "film", "seed", "go", "cancel")]


def _draw(studio: Studio, asked: dict[str, Any], visitor: str, lang: str, stop: threading.Event) -> Iterator[dict[str, Any]]:
    place = sources.place_of(studio, asked["source"], asked["other"])
    if studio.public:
        guard.check_request(asked["num_images"], asked["num_inference_steps"])
    if not studio.warm.is_set():
        yield {"status": progress(t("ui.sample.warming", lang), 0)}
    jobs.engine()
    from ddpm_app import sample

    request = sample.Request(**{name: asked[name] for name in ("num_images", "sampler", "num_inference_steps", "eta", "seed")})
    if asked["source"].startswith("run:") and guard.may_stop(studio, run := Run(pathlib.Path(place)), visitor):
        for line in fresh_snapshot(run, lang, stop):
            yield {"status": progress(line, 0)}
    yield {"status": progress(t("ui.sample.loading", lang), 0)}
    model = load(place, asked["weights"] if sources.has_raw(studio, asked["source"]) else "ema")
    recorder, began, shown, images = Recorder(request.num_inference_steps), time.monotonic(), 0.0, []
    for frame, images_so_far in jobs.DEVICE.slices(sample.draw(model, request)):
        images = images_so_far
        if stop.is_set():
            yield {"status": f'<div class="notice">{html.escape(t("ui.sample.cancelled", lang))}</div>'}
            return
        if frame.step <= request.num_inference_steps and recorder.wants(frame.step):
            recorder.add(frame.step, frame.timestep, sample.to_images(frame.x[:4]), sample.to_images(frame.x0[:4]), lang)
        if time.monotonic() - shown > SHOW_SECONDS:
            shown = time.monotonic()
            left = (shown - began) / frame.step * (frame.total - frame.step)
            line = t("ui.sample.step", lang, step=frame.step, total=frame.total, time=lasting(left, lang))
            yield {"status": progress(line, frame.step / frame.total, preview(sample.grid(sample.to_images(frame.x0)), lang))}
    yield from _hand_over(asked, images, recorder, sample.grid(images), time.monotonic() - began, lang)


def _hand_over(asked: dict[str, Any], images: list, recorder: Recorder, grid: Any, seconds: float, lang: str) -> Iterator[dict[str, Any]]:
    """The finished pictures, as a gallery, as files and as a film."""
    stem = f"{asked['source'].rpartition(':')[2]}-seed{asked['seed']}"
    with tempfile.TemporaryDirectory() as folder:  # Gradio copies the files before it asks for the next yield
        png, archive = pathlib.Path(folder, f"{stem}.png"), pathlib.Path(folder, f"{stem}.zip")
        grid.save(png)
        with zipfile.ZipFile(archive, "w") as file:
            for k, image in enumerate(images):
                with file.open(f"{k:04}.png", "w") as entry:
                    image.save(entry, "PNG")
            file.write(png, "grid.png")
        gallery = [(image, t("ui.sample.picture_seed", lang, seed=asked["seed"] + k)) for k, image in enumerate(images)]
        classes = ["pixelated"] if images[0].width < TINY_SIDE else []
        done = t("ui.sample.done", lang, count=len(images), time=f"{seconds:.1f}", seed=asked["seed"])
        yield {
            "status": f'<div class="part-heading"><span role="status">{html.escape(done)}</span></div>',
            "as_png": gr.update(value=str(png), visible=True),
            "as_zip": gr.update(value=str(archive), visible=True),
            "pictures": gr.update(value=gallery, visible=True, columns=min(4, len(images)), elem_classes=classes),
            "film": recorder.reel(f"{stem}-{time.time_ns()}", lang),
        }


def fresh_snapshot(run: Run, lang: str, stop: threading.Event) -> Iterator[str]:
    """Ask a training run to save and wait for it, telling so; gives up when the run pauses, ends or takes too long."""
    before, end = version(run.path), time.monotonic() + SNAPSHOT_SECONDS
    if run.status["state"] == "training":
        run.wish("save")
    while time.monotonic() < end and version(run.path) == before and run.status["state"] == "training" and not stop.is_set():
        yield t("ui.sample.snapshot", lang)
        time.sleep(0.2)


def version(place: pathlib.Path | str) -> tuple[int, ...]:
    """Changes when a run has saved or a pipeline folder was replaced."""
    found = [
        path for path in (pathlib.Path(place, "pipeline", "model_index.json"), pathlib.Path(place, "model_index.json")) if path.is_file()
    ]
    return tuple(n for path in found for n in (path.stat().st_ino, path.stat().st_mtime_ns))


_loaded: list[tuple[Any, Any]] = []


def load(place: pathlib.Path | str, weights: str) -> Any:
    """``sample.load`` on the best device there is; the last model is kept in memory. A download keeps no device from training."""
    jobs.engine()
    from ddpm_app import sample
    from ddpm_app.train.check import resolve_device

    if not pathlib.Path(place).is_dir():
        place = sample.fetch(str(place))
    key = (str(place), weights, version(place))
    kept = next(iter(_loaded), (None, None))
    if kept[0] != key:
        with jobs.DEVICE:
            kept = (key, sample.load(place, weights, resolve_device(from_dict({"device": "auto"}))))
        _loaded[:] = [kept]
    return kept[1]


# ---- words ----------------------------------------------------------------------------------------------------------------
def progress(line: str, share: float, picture: str = "") -> str:
    """The line, the bar and the picture of a drawing under way."""
    return (
        f'<div class="drawing" aria-busy="true"><div class="part-heading"><span>{html.escape(line)}</span></div>'
        f'<div class="bar"><i style="width:{share * 100:.0f}%"></i></div>{picture}</div>'
    )


def preview(grid: Any, lang: str) -> str:
    """A sheet of pictures under way, small enough to be sent often."""
    kind = "tiny" if grid.width < 2 * LIVE_SIDE / 3 else ""
    grid.thumbnail((LIVE_SIDE, LIVE_SIDE))
    return f'<img class="live {kind}" alt="{html.escape(t("ui.sample.live", lang))}" src="{data_uri(grid, small=True)}">'


def empty_state(lang: str) -> str:
    """What stands where the pictures will be."""
    return (
        f'<div class="empty"><h3>{html.escape(t("ui.sample.empty", lang))}</h3><p>{html.escape(t("ui.sample.empty_note", lang))}</p></div>'
    )
