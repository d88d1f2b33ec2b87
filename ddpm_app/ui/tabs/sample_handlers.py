"""What happens when somebody presses Draw: a generator of news for the Sample tab, with the device taken in slices."""

import html
import pathlib
import secrets
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
from PIL import Image

from ddpm_app import access, jobs, snippet
from ddpm_app.device_lock import DEVICE
from ddpm_app.errors import Problem, as_problem
from ddpm_app.film import FilmRecorder
from ddpm_app.i18n import format_duration, problem_text, t
from ddpm_app.images import captioned_grid, data_uri, image_grid
from ddpm_app.model import describe
from ddpm_app.model.describe import saved_version
from ddpm_app.runs.run import Run
from ddpm_app.ui.state import App

SETTINGS = (
    "source", "other", "prompt", "negative_prompt", "labels", "guidance_scale",
    "num_images", "sampler", "num_inference_steps", "eta", "seed", "weights",
)  # fmt: skip
"""What the handlers are given, in this order."""
OUTPUTS = ("status", "sheet", "pictures", "as_png", "as_zip", "film", "seed", "go", "cancel")
SHEETS = {"labels": ("labels",), "prompts": ("text", "unknown"), "scales": ("labels", "text", "unknown")}
"""Sheets of rows that differ in one thing and share their noise, and which kinds of models they are for."""
BUSY = {"go": gr.update(visible=False), "cancel": gr.update(visible=True)}
IDLE = {"go": gr.update(visible=True), "cancel": gr.update(visible=False)}
"""The buttons while it draws and at the end. They come with every answer: of two close upon each other the page may lose what the first brought."""
SCALES = (0, 1, 3, 7)
COLUMNS, MOST_PICTURES = 4, 1024
LONGEST_PROMPT = 8000
"""Characters of all prompts together."""
LIVE_SIDE = 640
TINY_SIDE = 100
"""Pictures smaller than this are enlarged with hard pixels."""


def drawer(app: App, cancels: dict[str, threading.Event], sheet: str = "") -> Callable[..., Iterator[list[Any]]]:
    """The handler of the draw button, or of the one for a ``sheet`` of SHEETS: a generator, closed by Gradio when the visitor leaves,
    ended by ``cancels``."""

    def draw(visitor: str, lang: str, locked: bool, request: gr.Request, *given: Any) -> Iterator[list[Any]]:
        asked = dict(zip(SETTINGS, given, strict=True))
        stop = cancels[request.session_hash] = threading.Event()
        asked |= {
            name: asked[name] or 0 for name in ("num_images", "num_inference_steps", "seed")
        }  # an emptied field is None
        asked["seed"] = int(asked["seed"]) if locked else secrets.randbelow(1_000_000)
        hidden = dict.fromkeys(("sheet", "pictures", "as_png", "as_zip"), gr.update(visible=False))
        yield row(status=progress(t("ui.sample.starting", lang), 0), **hidden, film=None, seed=asked["seed"], **BUSY)
        try:
            for news in _draw(app, asked, sheet, visitor, lang, stop):
                yield row(**BUSY | news)
        except Exception as error:
            told = problem_text(app.access.redact(as_problem(error)), lang)
            yield row(status=f'<div class="notice error" role="alert">{html.escape(told)}</div>', **IDLE)
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
    return [news.get(name, gr.skip()) for name in OUTPUTS]


# ---- what is asked for ----------------------------------------------------------------------------------------------
def rows_of(
    asked: dict[str, Any], sheet: str, kind: describe.ModelInfo, lang: str, most: int = MOST_PICTURES
) -> list[tuple[str, dict[str, Any]]]:
    """(caption, what is asked for) of each row of a sheet with as many columns as fit into ``most`` pictures; without a sheet one row.

    Raises Problem: "no_prompt", "no_snapshot" (the names of the labels are not known yet).
    """
    prompts = tuple(snippet.prompts(asked["prompt"]))
    plain = {
        name: asked[name] for name in ("num_images", "sampler", "num_inference_steps", "eta", "seed", "guidance_scale")
    }
    plain |= {
        "prompt": prompts,
        "negative_prompt": (asked["negative_prompt"] or "").strip(),
        "labels": tuple(asked["labels"] or ()),
    }
    if len(asked["prompt"] or "") + len(plain["negative_prompt"]) > LONGEST_PROMPT:
        raise Problem("string_too_long", "prompt", limit=LONGEST_PROMPT)
    if not sheet:
        return [("", plain)]
    if sheet == "labels" and not kind.labels:
        raise Problem("no_snapshot", value=(asked["source"] or "").partition(":")[2])
    if sheet == "prompts" and not prompts:
        raise Problem("no_prompt")
    chosen = [k for k in plain["labels"] if 0 <= k < len(kind.labels)]
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {
        "labels": [(kind.labels[k], {"labels": (k,)}) for k in chosen or range(len(kind.labels))],
        "prompts": [(prompt, {"prompt": (prompt,)}) for prompt in dict.fromkeys(prompts)],
        "scales": [(t("ui.sample.scale", lang, scale=scale), {"guidance_scale": scale}) for scale in SCALES],
    }
    columns = max(1, min(COLUMNS, most // len(found[sheet])))
    return [(caption, plain | {"num_images": columns} | news) for caption, news in found[sheet]]


def _check(app: App, rows: list[tuple[str, dict[str, Any]]]) -> None:
    pictures = sum(wanted["num_images"] for _, wanted in rows)
    if app.public:
        app.access.check_sampling(pictures, rows[0][1]["num_inference_steps"])
    if pictures > MOST_PICTURES:
        raise Problem("less_than_equal", "num_images", value=pictures, limit=MOST_PICTURES)


def _draw(
    app: App, asked: dict[str, Any], sheet: str, visitor: str, lang: str, stop: threading.Event
) -> Iterator[dict[str, Any]]:
    place, kind = app.models.location(asked["source"], asked["other"]), app.models.info(asked["source"], asked["other"])
    rows = rows_of(asked, sheet, kind, lang, access.MAX_IMAGES if app.public else MOST_PICTURES)
    _check(app, rows)
    if not app.warm.is_set():
        yield {"status": progress(t("ui.sample.warming", lang), 0)}
    jobs.engine()
    from ddpm_app import drawing, sample
    from ddpm_app.model import loaded

    requests = [(caption, sample.Request(**wanted)) for caption, wanted in rows]
    if asked["source"].startswith("run:") and app.access.may_stop(run := Run(pathlib.Path(place)), visitor):
        for line in fresh_snapshot(run, lang, stop):
            yield {"status": progress(line, 0)}
    yield {"status": progress(t("ui.sample.loading", lang), 0)}
    model = loaded.load(place, asked["weights"] if app.models.has_raw_weights(asked["source"]) else "ema")
    remarks = "".join(
        f'<div class="notice">{html.escape(line)}</div>' for line in drawing.truncated_prompts(model, requests, lang)
    )
    recorder, began, images = (
        FilmRecorder(requests[0][1].num_inference_steps, drawing.film_pictures(model)),
        time.monotonic(),
        [],
    )
    for now in DEVICE.slices(drawing.draw_rows(model, requests, recorder)):
        images = now.images
        if stop.is_set():
            yield {"status": f'<div class="notice">{html.escape(t("ui.sample.cancelled", lang))}</div>', **IDLE}
            return
        if now.live:
            seconds = (time.monotonic() - began) / now.step * (now.total - now.step)
            line = t("ui.sample.step", lang, step=now.step, total=now.total, time=format_duration(seconds, lang))
            yield {"status": remarks + progress(line, now.step / now.total, preview(now.live, lang))}
    film = recorder.film_value(f"{asked['source']}-{time.time_ns()}", lang, note=drawing.latents_note(model, lang))
    left, drawn = iter(images), []
    for caption, request in requests:
        told = [t("ui.sample.picture_seed", lang, seed=request.seed + k) for k in range(request.num_images)]
        told = [
            " · ".join(filter(None, both)) for both in zip(drawing.conditions_drawn(model, request), told, strict=True)
        ]
        drawn.append((caption, [(next(left), one) for one in told]))
    for news in _hand_over(asked, drawn, time.monotonic() - began, remarks, lang):
        yield {"film": film} | news | IDLE


# ---- what is handed over --------------------------------------------------------------------------------------------
def _hand_over(
    asked: dict[str, Any], drawn: list[tuple[str, list[tuple[Image.Image, str]]]], took: float, remarks: str, lang: str
) -> Iterator[dict[str, Any]]:
    """The finished pictures with a line for each, in rows with a caption: as a gallery or as a captioned sheet, and as files."""

    images = [image for _, row in drawn for image, _ in row]
    sheet = captioned_grid([(caption, [image for image, _ in row]) for caption, row in drawn]) if drawn[0][0] else None
    stem = f"{asked['source'].rpartition(':')[2]}-seed{asked['seed']}"
    gallery = [told for _, row in drawn for told in row]
    classes = ["pixelated"] if images[0].width < TINY_SIDE else []
    done = t("ui.sample.done", lang, count=len(images), time=f"{took:.1f}", seed=asked["seed"])
    with tempfile.TemporaryDirectory() as folder:  # Gradio copies the files before it asks for the next yield
        png, archive = pathlib.Path(folder, f"{stem}.png"), pathlib.Path(folder, f"{stem}.zip")
        (sheet or image_grid(images)).save(png)
        with zipfile.ZipFile(archive, "w") as file:
            for k, image in enumerate(images):
                with file.open(f"{k:04}.png", "w") as entry:
                    image.save(entry, "PNG")
            file.write(png, "grid.png")
        yield {
            "status": f'{remarks}<div class="part-heading"><span role="status">{html.escape(done)}</span></div>',
            "as_png": gr.update(value=str(png), visible=True),
            "as_zip": gr.update(value=str(archive), visible=True),
            **(
                {"sheet": gr.update(value=str(png), visible=True)}
                if sheet
                else {
                    "pictures": gr.update(
                        value=gallery, visible=True, columns=min(COLUMNS, len(images)), elem_classes=classes
                    )
                }
            ),
        }


def progress(line: str, share: float, picture: str = "") -> str:
    """The line, the bar and the picture of a drawing under way."""
    return (
        f'<div class="drawing" aria-busy="true"><div class="part-heading"><span>{html.escape(line)}</span></div>'
        f'<div class="bar"><i style="width:{share * 100:.0f}%"></i></div>{picture}</div>'
    )


def preview(grid: Image.Image, lang: str) -> str:
    """A sheet of pictures under way, small enough to be sent often."""
    kind = "tiny" if grid.width < 2 * LIVE_SIDE / 3 else ""
    grid.thumbnail((LIVE_SIDE, LIVE_SIDE))
    return (
        f'<img class="live {kind}" alt="{html.escape(t("ui.sample.live", lang))}" src="{data_uri(grid, small=True)}">'
    )


SNAPSHOT_SECONDS = 20
"""How long drawing waits for a running run to save before it takes what is there."""


# ---- the model -------------------------------------------------------------------------------------------------------
def fresh_snapshot(run: Run, lang: str, stop: threading.Event) -> Iterator[str]:
    """Ask a training run to save and wait for it, telling so; gives up when the run pauses, ends or takes too long."""
    before, end = saved_version(run.path), time.monotonic() + SNAPSHOT_SECONDS
    if run.status["state"] == "training":
        run.request("save")
    while (
        time.monotonic() < end
        and saved_version(run.path) == before
        and run.status["state"] == "training"
        and not stop.is_set()
    ):
        yield t("ui.sample.snapshot", lang)
        time.sleep(0.2)
