"""What happens when somebody presses Draw: a generator of updates for the Sample tab, with the device taken in slices."""

import dataclasses
import pathlib
import secrets
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr
from markupsafe import Markup
from PIL import Image

from ddpm_app import access, jobs
from ddpm_app.device_lock import DEVICE
from ddpm_app.errors import Problem, as_problem
from ddpm_app.film import FilmRecorder
from ddpm_app.i18n import format_duration, problem_on_page, t
from ddpm_app.images import add_info, captioned_grid, data_uri, image_grid, joint_info, save_png
from ddpm_app.model.describe import ModelInfo, saved_version
from ddpm_app.runs.run import Run
from ddpm_app.snippet import DrawSettings
from ddpm_app.ui.html import bar, join, remark
from ddpm_app.ui.state import App, Updates, Values

if TYPE_CHECKING:
    from ddpm_app.ui.tabs.sample import SampleTab

SHEETS = {"labels": ("labels",), "prompts": ("text", "unknown"), "scales": ("labels", "text", "unknown")}
"""Sheets of rows that differ in one thing and share their noise, and the conditioning of the models they are for."""
SCALES = (0, 1, 3, 7)
COLUMNS, MAX_PICTURES = 4, 1024
MAX_PROMPT = 8000
"""Characters of all prompts together."""
LIVE_SIDE = 640
TINY_SIDE = 100
"""Pictures smaller than this are enlarged with hard pixels."""
SNAPSHOT_SECONDS = 20
"""How long drawing waits for a running run to save before it takes what is there."""

Rows = list[tuple[str, DrawSettings]]
"""The rows of a sheet: caption and settings."""
CaptionedRows = list[tuple[str, list[tuple[Image.Image, str]]]]
"""The rows of a sheet: caption and finished pictures, each with a line of its own."""


class SampleHandlers:
    """Draws for the visitors of a SampleTab. ``cancels``: by session, the event that ends its drawing."""

    def __init__(self, app: App, tab: "SampleTab"):
        self.app, self.tab = app, tab
        self.cancels: dict[str, threading.Event] = {}
        # The buttons come with every answer: of two close upon each other the page may lose what the first brought.
        self.busy = {tab.draw: gr.update(visible=False), tab.cancel: gr.update(visible=True)}
        self.idle = {tab.draw: gr.update(visible=True), tab.cancel: gr.update(visible=False)}

    def draw_handler(self, sheet: str) -> Callable[[Values, gr.Request], Iterator[Updates]]:
        """The handler of the draw button, or of the one for a ``sheet`` of SHEETS."""

        def draw(data: Values, request: gr.Request) -> Iterator[Updates]:
            yield from self.draw(data, request.session_hash, sheet)

        return draw

    def draw(self, data: Values, session: str | None, sheet: str) -> Iterator[Updates]:
        """Closed by Gradio when the visitor leaves, ended by ``cancel``."""
        tab, page = self.tab, self.tab.page
        lang, settings = data[page.lang], tab.settings(data)
        stop = self.cancels[session] = threading.Event()
        if not data[tab.locked]:
            settings = dataclasses.replace(settings, seed=secrets.randbelow(1_000_000))
        results = (tab.sheet, tab.pictures, tab.as_png, tab.as_zip)
        yield {
            tab.status: progress(t("ui.sample.starting", lang), 0),
            **dict.fromkeys(results, gr.update(visible=False)),
            tab.film: None,
            tab.seed: settings.seed,
            **self.busy,
        }
        try:
            for updates in self._draw(settings, sheet, data[page.visitor], lang, stop):
                yield self.busy | updates
        except Exception as error:
            text = problem_on_page(self.app.access.redact(as_problem(error)), lang)
            yield {tab.status: remark(text, "error", role="alert"), **self.idle}
        finally:
            self.cancels.pop(session, None)

    def cancel(self, request: gr.Request) -> None:
        """End this visitor's drawing before its next step."""
        if event := self.cancels.get(request.session_hash):
            event.set()

    def _draw(
        self, settings: DrawSettings, sheet: str, visitor: str, lang: str, stop: threading.Event
    ) -> Iterator[Updates]:
        """Load the model, draw, show how far it is, hand over. Raises Problem."""
        app, status = self.app, self.tab.status
        location = app.models.location(settings.source, settings.other)
        info = app.models.info(settings.source, settings.other)
        rows = sheet_rows(settings, sheet, info, lang, access.MAX_IMAGES if app.public else MAX_PICTURES)
        check_rows(rows, app.access)
        if not app.warm.is_set():
            yield {status: progress(t("ui.sample.warming", lang), 0)}
        jobs.engine()
        from ddpm_app import drawing, sample
        from ddpm_app.model import loaded

        requests = [(caption, sample.Request(**_request_values(row))) for caption, row in rows]
        if settings.source.startswith("run:") and app.access.may_stop(run := Run(pathlib.Path(location)), visitor):
            for line in fresh_snapshot(run, lang, stop):
                yield {status: progress(line, 0)}
        yield {status: progress(t("ui.sample.loading", lang), 0)}
        model = loaded.load(location, settings.weights if app.models.has_raw_weights(settings.source) else "ema")
        remarks = join(map(remark, drawing.text_remarks(model, requests, lang)))
        recorder = FilmRecorder(settings.num_inference_steps, drawing.film_pictures(model))
        start, images = time.monotonic(), []
        for step in DEVICE.slices(drawing.draw_rows(model, requests, recorder)):
            images = step.images
            if stop.is_set():
                yield {status: remark(t("ui.sample.cancelled", lang)), **self.idle}
                return
            if step.live:
                left = (time.monotonic() - start) / step.step * (step.total - step.step)
                time_left = format_duration(left, lang)
                line = t("ui.sample.step", lang, step=step.step, total=step.total, time=time_left)
                yield {status: remarks + progress(line, step.step / step.total, preview(step.live, lang))}
        seconds = time.monotonic() - start
        film = recorder.film_value(f"{settings.source}-{time.time_ns()}", lang, note=drawing.latents_note(model, lang))
        captioned, rest = [], iter(images)
        for caption, request in requests:
            seeds = [t("ui.sample.picture_seed", lang, seed=request.seed + k) for k in range(request.num_images)]
            conditions = drawing.conditions_drawn(model, request)
            lines = [" · ".join(filter(None, pair)) for pair in zip(conditions, seeds, strict=True)]
            captioned.append((caption, [(next(rest), line) for line in lines]))
        done = t("ui.sample.done", lang, count=len(images), time=f"{seconds:.1f}", seed=settings.seed)
        heading = Markup('{}<div class="part-heading" data-source="{}"><span role="status">{}</span></div>').format(
            remarks, settings.source, done
        )
        for updates in self._hand_over(f"{settings.source.rpartition(':')[2]}-seed{settings.seed}", captioned):
            yield {status: heading, self.tab.film: film} | updates | self.idle

    def _hand_over(self, stem: str, rows: CaptionedRows) -> Iterator[Updates]:
        """The finished pictures: as a gallery or, where rows have captions, as a captioned sheet, and as files named after ``stem``."""
        tab, pictures = self.tab, [picture for _, row in rows for picture in row]
        images = [image for image, _ in pictures]
        has_captions = bool(rows[0][0])
        if has_captions:
            grid = captioned_grid([(caption, [image for image, _ in row]) for caption, row in rows])
        else:
            grid = image_grid(images)
        add_info(grid, joint_info(images))
        with tempfile.TemporaryDirectory() as folder:  # Gradio copies the files before it asks for the next yield
            png, archive = pathlib.Path(folder, f"{stem}.png"), pathlib.Path(folder, f"{stem}.zip")
            save_png(grid, png)
            with zipfile.ZipFile(archive, "w") as file:
                for k, image in enumerate(images):
                    with file.open(f"{k:04}.png", "w") as entry:
                        save_png(image, entry)
                file.write(png, "grid.png")
            updates: Updates = {
                tab.as_png: gr.update(value=str(png), visible=True),
                tab.as_zip: gr.update(value=str(archive), visible=True),
            }
            if has_captions:
                updates[tab.sheet] = gr.update(value=str(png), visible=True)
            else:
                classes = ["pixelated"] if images[0].width < TINY_SIDE else []
                columns = min(COLUMNS, len(images))
                updates[tab.pictures] = gr.update(value=pictures, visible=True, columns=columns, elem_classes=classes)
            yield updates


# ---- what is drawn ------------------------------------------------------------------------------------------------------
def sheet_rows(settings: DrawSettings, sheet: str, info: ModelInfo, lang: str, most: int = MAX_PICTURES) -> Rows:
    """The rows of a sheet with as many columns as fit into ``most`` pictures; without a sheet one row.

    Raises Problem: "string_too_long", "no_prompt", "no_snapshot" (the names of the labels are not known yet).
    """
    if len(settings.prompt) + len(settings.negative_prompt.strip()) > MAX_PROMPT:
        raise Problem("string_too_long", "prompt", limit=MAX_PROMPT)
    if not sheet:
        return [("", settings)]
    if sheet == "labels" and not info.labels:
        raise Problem("no_snapshot", value=(settings.source or "").partition(":")[2])
    if sheet == "prompts" and not settings.prompts:
        raise Problem("no_prompt")
    changes: list[tuple[str, dict[str, Any]]]
    if sheet == "labels":
        labels = [k for k in settings.labels if 0 <= k < len(info.labels)] or range(len(info.labels))
        changes = [(info.labels[k], {"labels": (k,)}) for k in labels]
    elif sheet == "prompts":
        changes = [(prompt, {"prompt": prompt}) for prompt in dict.fromkeys(settings.prompts)]
    else:
        changes = [(t("ui.sample.scale", lang, scale=scale), {"guidance_scale": scale}) for scale in SCALES]
    columns = max(1, min(COLUMNS, most // len(changes)))
    return [(caption, dataclasses.replace(settings, num_images=columns, **change)) for caption, change in changes]


def check_rows(rows: Rows, policy: access.AccessPolicy) -> None:
    """Raises Problem where these are more pictures or steps than may be drawn at once."""
    pictures = sum(row.num_images for _, row in rows)
    policy.check_sampling(pictures, rows[0][1].num_inference_steps)
    if pictures > MAX_PICTURES:
        raise Problem("less_than_equal", "num_images", value=pictures, limit=MAX_PICTURES)


def _request_values(settings: DrawSettings) -> dict[str, Any]:
    """The fields of a sample.Request."""
    names = ("num_images", "sampler", "num_inference_steps", "eta", "seed", "labels", "guidance_scale")
    values = {name: getattr(settings, name) for name in names}
    return values | {"prompt": settings.prompts, "negative_prompt": settings.negative_prompt.strip()}


def fresh_snapshot(run: Run, lang: str, stop: threading.Event) -> Iterator[str]:
    """Ask a training run to save and wait for it, saying so; gives up when the run pauses, ends or takes too long."""
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


# ---- HTML ---------------------------------------------------------------------------------------------------------------
def progress(line: str, share: float, picture: str = "") -> Markup:
    """The line, the bar and the picture of a drawing under way."""
    return Markup(
        '<div class="drawing" aria-busy="true"><div class="part-heading"><span>{}</span></div>{}{}</div>'
    ).format(line, bar(share), picture)


def preview(grid: Image.Image, lang: str) -> Markup:
    """A sheet of pictures under way, small enough to be sent often."""
    size = "tiny" if grid.width < 2 * LIVE_SIDE / 3 else ""
    grid.thumbnail((LIVE_SIDE, LIVE_SIDE))
    return Markup('<img class="live {}" alt="{}" src="{}">').format(
        size, t("ui.sample.live", lang), data_uri(grid, small=True)
    )
