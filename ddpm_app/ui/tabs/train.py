"""The Train tab: the curves, the growing pictures, the figures and the log of the run on show."""

import functools
import math

import gradio as gr
from markupsafe import Markup
from PIL import Image

from ddpm_app import plots
from ddpm_app.errors import Problem
from ddpm_app.film import film_value
from ddpm_app.i18n import format_bytes, format_count, format_duration, t
from ddpm_app.images import GRID_GAP, data_uri, image_grid
from ddpm_app.runs import registry
from ddpm_app.runs.records import CurvePoints, RunSnapshot
from ddpm_app.runs.run import Run
from ddpm_app.ui.components.base import LiveHTML, run_named_in
from ddpm_app.ui.components.chart import Chart
from ddpm_app.ui.components.film import Film
from ddpm_app.ui.components.image_compare import ImageCompare
from ddpm_app.ui.header import error_text, notice_texts
from ddpm_app.ui.html import empty_state, join, notice, remark, tiles
from ddpm_app.ui.state import FOLLOW, QUICK, App, Page, Updates, Values, label
from ddpm_app.ui.tabs.model_parts import ModelPartsPanel
from ddpm_app.ui.tabs.run_end import RunEnd

TIMELINE_FRAMES = 60
GREATEST_SIDE = 1024
"""A preview grid larger than this is scaled down on its way to the page."""
DASH = "–"


class TrainTab:
    """What is drawn of a run comes with the page's poll; a menu chooses the run."""

    def __init__(self, app: App):
        self.app = app
        self.empty = gr.HTML(visible=False, padding=False, elem_id="train-empty")
        self.end = RunEnd(app)
        with gr.Column(visible=False) as self.board:
            with gr.Row(equal_height=True, elem_classes="run-bar"):
                self.chooser = gr.Dropdown(
                    [("", "")],
                    value="",
                    label=label("ui.train.chooser"),
                    container=False,
                    scale=5,
                    min_width=220,
                    elem_id="train-run",
                )
                self.sample_now, self.save_now = (
                    gr.Button(
                        label(f"ui.train.{request}_now"),
                        scale=1,
                        min_width=110,
                        size="md",
                        elem_id=f"{request}-now",
                    )
                    for request in ("sample", "save")
                )
            self.figures = LiveHTML(elem_id="train-figures", padding=False)
            with gr.Row(elem_classes="train-board"):
                with gr.Column(scale=3, min_width=320, elem_classes="card"):
                    self.charts = Chart(live=True, elem_id="train-charts")
                with gr.Column(scale=2, min_width=280, elem_classes="card"):
                    self.previews_heading = LiveHTML(elem_id="train-previews-heading", padding=False)
                    self.previews = Film(self.preview, live=True, elem_id="train-previews")
                    self.compare = ImageCompare(self.originals_and_reconstructions, live=True, elem_id="train-compare")
            self.parts = ModelPartsPanel(app)
            with gr.Accordion(label("ui.train.log"), open=False, elem_id="train-log-box"):
                self.log = LiveHTML(elem_id="train-log", padding=False)

    def wire(self, page: Page) -> None:
        """Hang the tab on the page's poll; connect the menu and the buttons."""
        self.page = page
        live = [self.figures, self.charts, self.previews_heading, self.previews, self.compare, self.log]
        page.live(self.draw_live, live)
        page.every_tick(
            self.draw, [self.empty, self.board, self.chooser, self.sample_now, self.save_now], [page.selected]
        )
        self.parts.wire(page)
        self.end.wire(page)
        self.chooser.input(lambda name: name or FOLLOW, self.chooser, page.selected, **QUICK)
        for request, button in (("sample", self.sample_now), ("save", self.save_now)):
            button.click(
                functools.partial(self.ask, request),
                {page.selected, page.visitor, page.lang},
                page.message,
                js=run_named_in("#train-previews-heading"),
                **QUICK,
            )

    # ---- the run on show --------------------------------------------------------------------------------------------
    def draw_live(self, snapshot: RunSnapshot, lang: str) -> Updates:
        """What changes with every step."""
        series = self.app.monitor.series(snapshot["name"])
        timesteps = snapshot["config"].get("num_train_timesteps", 1000)
        at_work = self.app.monitor.snapshot("")  # the header tells of the run at work, else of the one on show
        with_error = at_work["active"] and at_work["name"] != snapshot["name"]
        return {
            self.figures: figures(snapshot, series, lang) + remarks(snapshot, lang, with_error)
            if snapshot["name"]
            else "",
            self.charts: plots.training(series, snapshot["plan"], timesteps, lang, is_autoencoder(snapshot)),
            self.previews_heading: previews_heading(snapshot, lang),
            self.previews: timeline(snapshot, lang),
            self.compare: comparison(snapshot, lang),
            self.log: log_lines(snapshot),
        }

    def draw(self, snapshot: RunSnapshot, lang: str, selected: str) -> Updates:
        """The menu and the buttons, or what the tab says before the first run."""
        if not snapshot["name"]:
            words = empty_state(t("ui.train.empty", lang), t("ui.train.empty_note", lang))
            return {self.empty: gr.update(value=words, visible=True), self.board: gr.update(visible=False)}
        choices = [(t("ui.train.newest", lang), ""), *((name, name) for name in self.app.monitor.names())]
        enabled = gr.update(interactive=snapshot["active"] and snapshot["state"] != "paused")
        return {
            self.empty: gr.update(visible=False),
            self.board: gr.update(visible=True),
            self.chooser: gr.update(choices=choices, value=selected if selected in dict(choices).values() else ""),
            self.sample_now: enabled,
            self.save_now: enabled,
        }

    # ---- asking -----------------------------------------------------------------------------------------------------
    def ask(self, request: str, data: Values) -> Updates:
        """Ask the process that trains the run on show to "sample" or "save" now."""
        page, lang = self.page, data[self.page.lang]
        try:
            run = registry.find(self.app.runs_dir, data[page.selected])
            self.app.access.require_owner(run, data[page.visitor])
            run.request(request)
        except Problem as problem:
            return {page.message: notice(problem, lang)}
        return {page.message: notice(t(f"ui.train.{request}_asked", lang))}

    def preview(self, query: dict[str, str]) -> str:
        """A preview grid as a data URI: ``query`` holds the run's "name" and the step as "key"."""
        return data_uri(_bounded(self._preview_grid(query)[1]))

    def originals_and_reconstructions(self, query: dict[str, str]) -> dict[str, str]:
        """Of an autoencoder's preview grid the originals ("before") and the reconstructions ("after"), as data URIs."""
        run, grid = self._preview_grid(query)
        config, plan = run.record.get("config", {}), run.plan or {}
        pairs = min(config.get("preview_images") or 1, plan.get("held_out") or plan.get("images") or 1)
        before, after = split_pairs(grid, config["image_size"], pairs)
        return {"before": data_uri(_bounded(before)), "after": data_uri(_bounded(after))}

    def _preview_grid(self, query: dict[str, str]) -> tuple[Run, Image.Image]:
        run = registry.find(self.app.runs_dir, str(query["name"]))
        with Image.open(run.sample_path(int(query["key"]))) as image:
            return run, image.convert("RGB")


def _bounded(image: Image.Image) -> Image.Image:
    image.thumbnail((GREATEST_SIDE, GREATEST_SIDE))
    return image


def split_pairs(grid: Image.Image, side: int, pairs: int) -> tuple[Image.Image, Image.Image]:
    """A grid (see image_grid) of originals each followed by its reconstruction as two grids: the originals, and the reconstructions.
    ``side`` of a picture in pixels."""
    step = side + GRID_GAP
    columns = (grid.width + GRID_GAP) // step
    corners = [(k % columns * step, k // columns * step) for k in range(2 * pairs)]
    images = [grid.crop((left, top, left + side, top + side)) for left, top in corners]
    return image_grid(images[::2]), image_grid(images[1::2])


# ---- what is drawn ------------------------------------------------------------------------------------------------------
def timeline(snapshot: RunSnapshot, lang: str) -> dict[str, object]:
    """The film of the preview pictures, at most ``TIMELINE_FRAMES`` of them, the latest always."""
    steps = snapshot["samples"]
    stride = math.ceil(len(steps) / TIMELINE_FRAMES) or 1
    return film_value(
        snapshot["name"],
        t("ui.train.preview_alt", lang),
        lang,
        steps=steps[::-1][::stride][::-1],
        caption=t("ui.train.preview_step", lang, step="{}"),
        pace=350,
        made=snapshot["created"],
    )


def is_autoencoder(snapshot: RunSnapshot) -> bool:
    """Whether the run trains an autoencoder: no noise, no timesteps, and previews in pairs."""
    return snapshot["config"].get("objective") == "autoencoder"


def comparison(snapshot: RunSnapshot, lang: str) -> dict[str, object] | None:
    """A value for ImageCompare: the latest reconstructions of an autoencoder beside their originals."""
    if not is_autoencoder(snapshot) or not snapshot["samples"]:
        return None
    step = snapshot["samples"][-1]
    return {
        "name": snapshot["name"],
        "made": snapshot["created"],
        "step": step,
        "words": {name: t(f"ui.train.compare_{name}", lang) for name in ("before", "after", "slide")},
        "caption": t("ui.train.preview_step", lang, step=f"{step:,}"),
    }


def previews_heading(snapshot: RunSnapshot, lang: str) -> Markup:
    """The heading over the growing pictures."""
    kind = "pairs" if is_autoencoder(snapshot) else "note"
    small_print = t(f"ui.train.previews_{kind}" if snapshot["samples"] else "ui.train.previews_none", lang)
    heading = Markup('<div class="part-heading" data-run="{}"><strong>{}</strong><span>{}</span></div>')
    return heading.format(snapshot["name"], t("ui.train.previews", lang), small_print)


def figures(snapshot: RunSnapshot, series: CurvePoints, lang: str) -> Markup:
    """The figures as tiles."""
    rows = figures_of(snapshot, series, lang)
    return tiles((t(f"ui.train.figure_{name}", lang), value, small_print) for name, value, small_print in rows)


def figures_of(snapshot: RunSnapshot, series: CurvePoints, lang: str) -> list[tuple[str, str, str]]:
    """(name, value, small print) of each figure; what is not known yet is a dash."""
    plan, step, total = snapshot["plan"], snapshot["step"], snapshot.get("total_steps")
    per_epoch, images, batch = plan.get("steps_per_epoch"), plan.get("images"), plan.get("batch_size")
    training = snapshot["active"] and snapshot.get("phase") not in (None, "start", "download", "decode", "rehearsal")
    speed, seconds_left = snapshot.get("images_per_second"), snapshot.get("eta_seconds")
    loss, rate = (series["smooth"][1] or [None])[-1], snapshot.get("learning_rate")
    device = f"{plan['device']} · {plan['precision']}".replace("· no", "· fp32") if plan.get("device") else DASH
    memory = format_bytes(plan["memory_bytes"]) if plan.get("threads") else ""
    return [
        ("step", f"{step:,}", t("ui.train.of", lang, total=f"{total:,}") if total else ""),
        (
            "epoch",
            f"{step / per_epoch:.1f}" if per_epoch else DASH,
            t("ui.train.steps_each", lang, steps=f"{per_epoch:,}") if per_epoch else "",
        ),
        (
            "seen",
            f"{step * batch:,}" if batch else DASH,
            t("ui.train.different", lang, images=f"{images:,}") if images else "",
        ),
        ("speed", f"{speed:.0f}" if speed and training else DASH, t("ui.train.per_second", lang)),
        (
            "left",
            format_duration(seconds_left, lang) if training and seconds_left is not None else DASH,
            t("ui.train.spent", lang, time=format_duration(series["seconds"], lang)),
        ),
        (
            "loss",
            f"{loss:.4g}" if loss is not None else DASH,
            t("ui.train.rate", lang, rate=f"{rate:.2g}") if rate is not None else "",
        ),
        ("machine", device, t("ui.train.machine", lang, threads=plan["threads"], memory=memory) if memory else ""),
        (
            "size_autoencoder" if is_autoencoder(snapshot) else "size",
            format_count(plan["parameters"]) if plan.get("parameters") else DASH,
            t("ui.train.parameters", lang),
        ),
    ]


def remarks(snapshot: RunSnapshot, lang: str, with_error: bool) -> Markup:
    """What was done otherwise than the settings say, the published address and, ``with_error``, what went wrong, each in words."""
    parts = [remark(text) for text in notice_texts(snapshot, lang)]
    if with_error and (error := snapshot.get("error")):
        parts.insert(0, remark(error_text(error, lang), "error"))
    if url := snapshot.get("published"):
        link = Markup('<a href="{}" target="_blank" rel="noopener">{}</a>')
        parts.append(remark(link.format(url, t("ui.train.published", lang, url=url)), "good"))
    return join(parts)


def log_lines(snapshot: RunSnapshot) -> Markup:
    """The end of the log."""
    return Markup('<pre class="log" tabindex="0">{}</pre>').format("\n".join(snapshot["log"]))
