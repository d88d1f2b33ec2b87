"""The Train tab: the pictures as they grow, the time left, what the curves say, and the log of the run on show."""

import contextlib
import functools
import math

import gradio as gr
from markupsafe import Markup
from PIL import Image

from ddpm_app import plots
from ddpm_app.errors import Problem
from ddpm_app.i18n import format_bytes, format_count, format_duration, t
from ddpm_app.images import data_uri, grid_cells, image_grid
from ddpm_app.runs import registry
from ddpm_app.runs.records import CurvePoints, Plan, RunSnapshot
from ddpm_app.runs.run import Run
from ddpm_app.runs.verdict import verdict
from ddpm_app.ui.components.base import LiveHTML, run_named_in
from ddpm_app.ui.components.chart import Chart
from ddpm_app.ui.components.filmstrip import Filmstrip
from ddpm_app.ui.components.image_compare import ImageCompare
from ddpm_app.ui.header import error_text, notice_texts
from ddpm_app.ui.html import empty_state, join, notice, remark
from ddpm_app.ui.state import FOLLOW, QUICK, App, Page, Updates, Values, label
from ddpm_app.ui.tabs.model_parts import ModelPartsPanel
from ddpm_app.ui.tabs.run_end import RunEnd

TIMELINE_FRAMES = 60
THUMB_SIDE = 72
"""Pixels along a side of a picture on the strip."""
UNKNOWN = "…"
PACE = 700
"""Milliseconds between two previews that are played."""
GREATEST_SIDE = 1024
"""A preview grid larger than this is scaled down on its way to the page."""


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
            with gr.Row(elem_classes="train-board"):
                with gr.Column(scale=2, min_width=320, elem_classes="card"):
                    self.previews_heading = LiveHTML(elem_id="train-previews-heading", padding=False)
                    self.previews = Filmstrip(self.preview, self.thumbs, live=True, elem_id="train-previews")
                    self.compare = ImageCompare(self.originals_and_reconstructions, live=True, elem_id="train-compare")
                with gr.Column(scale=1, min_width=280, elem_classes="card"):
                    self.figures = LiveHTML(elem_id="train-figures", padding=False)
                    self.loss = Chart(live=True, elem_id="train-charts")
                    self.verdict = LiveHTML(elem_id="train-verdict", padding=False)
            self.remarks = LiveHTML(elem_id="train-remarks", padding=False)
            self.facts = LiveHTML(elem_id="train-facts", padding=False)
            with gr.Accordion(label("ui.train.more"), open=False, elem_id="train-more-box"):
                self.more = Chart(live=True, elem_id="train-more")
            self.parts = ModelPartsPanel(app)
            with gr.Accordion(label("ui.train.log"), open=False, elem_id="train-log-box"):
                self.log = LiveHTML(elem_id="train-log", padding=False)

    def wire(self, page: Page) -> None:
        """Hang the tab on the page's poll; connect the menu and the buttons."""
        self.page = page
        live = [self.figures, self.loss, self.verdict, self.remarks, self.facts, self.more]
        live += [self.previews_heading, self.previews, self.compare, self.log]
        page.live(self.draw_live, live)
        page.every_tick(
            self.draw,
            [self.empty, self.board, self.chooser, self.sample_now, self.save_now],
            [page.selected, page.visitor],
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
        frame = plots.training(series, snapshot["plan"], timesteps, lang, is_autoencoder(snapshot))
        return {
            self.figures: time_fact(snapshot, series, lang),
            self.loss: {**frame, "charts": frame["charts"][:1]},
            self.verdict: sentence(series, lang),
            self.remarks: remarks(snapshot, lang, with_error) if snapshot["name"] else "",
            self.facts: facts_line(snapshot, series, lang),
            self.more: {**frame, "charts": frame["charts"][1:]},
            self.previews_heading: previews_heading(snapshot, lang),
            self.previews: timeline(snapshot, lang),
            self.compare: comparison(snapshot, lang),
            self.log: log_lines(snapshot),
        }

    def draw(self, snapshot: RunSnapshot, lang: str, selected: str, visitor: str) -> Updates:
        """The menu and the buttons, or what the tab says before the first run."""
        if not snapshot["name"]:
            words = empty_state(t("ui.train.empty", lang), t("ui.train.empty_note", lang))
            return {self.empty: gr.update(value=words, visible=True), self.board: gr.update(visible=False)}
        choices = [(t("ui.train.newest", lang), ""), *((name, name) for name in self.app.monitor.names())]
        mine = self.app.access.may_cancel(snapshot["requests"]["owner"], visitor)
        enabled = gr.update(visible=mine, interactive=snapshot["active"] and snapshot["state"] != "paused")
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

    def thumbs(self, query: dict[str, str]) -> dict[str, str]:
        """One small picture of each of several preview grids as data URIs, always the same place of the grid: ``query`` holds the run's
        "name" and the steps as "keys", with commas. A grid that is gone is left out."""
        answer = {}
        for key in query["keys"].split(",")[:TIMELINE_FRAMES]:
            with contextlib.suppress(FileNotFoundError):
                run, grid = self._preview_grid({"name": query["name"], "key": key})
                reconstruction = run.config.objective == "autoencoder"
                small = grid_cells(grid, run.config.image_size, 2)[1 if reconstruction else 0]
                small.thumbnail((THUMB_SIDE, THUMB_SIDE))
                answer[key] = data_uri(small, small=True)
        return answer

    def originals_and_reconstructions(self, query: dict[str, str]) -> dict[str, str]:
        """Of an autoencoder's preview grid the originals ("before") and the reconstructions ("after"), as data URIs."""
        run, grid = self._preview_grid(query)
        config, plan = run.record.get("config", {}), run.plan or {}
        pairs = min(config.get("preview_images") or 1, plan.get("held_out") or plan.get("images") or 1)
        images = grid_cells(grid, config["image_size"], 2 * pairs)
        parts = {"before": images[::2], "after": images[1::2]}
        return {name: data_uri(_bounded(image_grid(part))) for name, part in parts.items()}

    def _preview_grid(self, query: dict[str, str]) -> tuple[Run, Image.Image]:
        run = registry.find(self.app.runs_dir, str(query["name"]))
        with Image.open(run.sample_path(int(query["key"]))) as image:
            return run, image.convert("RGB")


def _bounded(image: Image.Image) -> Image.Image:
    image.thumbnail((GREATEST_SIDE, GREATEST_SIDE))
    return image


# ---- what is drawn ------------------------------------------------------------------------------------------------------
def timeline(snapshot: RunSnapshot, lang: str) -> dict[str, object]:
    """A value for Filmstrip: the previews, at most ``TIMELINE_FRAMES`` of them, the latest always, and how many are to come."""
    steps, coming = snapshot["samples"], previews_to_come(snapshot)
    stride = math.ceil(len(steps) / TIMELINE_FRAMES) or 1
    return {
        "name": snapshot["name"],
        "made": snapshot["created"],
        "alt": t("ui.train.preview_alt", lang),
        "steps": steps[::-1][::stride][::-1],
        "coming": math.ceil(coming / stride),
        "caption": t("ui.train.preview_step", lang, step="{}"),
        "pace": PACE,
        "words": {"play": t("ui.film.play", lang), "pause": t("ui.film.pause", lang)},
    }


def previews_to_come(snapshot: RunSnapshot) -> int:
    """How many previews a run at work will still draw."""
    plan, latest = snapshot["plan"], (snapshot["samples"] or [-1])[-1]
    if not snapshot["active"] or not plan.get("total_steps"):
        return 0
    if every := plan.get("save_image_every"):
        return math.ceil((plan["total_steps"] - latest) / every)
    return sum(step > latest for step in plan.get("preview_steps", ()))


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


def time_fact(snapshot: RunSnapshot, series: CurvePoints, lang: str) -> Markup:
    """The time as the one large figure: what is left while a run trains, else what it took; before that the phase it is in."""
    if not snapshot["name"]:
        return Markup()
    name, value = time_of(snapshot, series, lang)
    step, total = f"{snapshot['step']:,}", snapshot.get("total_steps")
    words = t("ui.train.step_of", lang, step=step, total=f"{total:,}") if total else t("ui.train.step", lang, step=step)
    fact = Markup('<div class="large-fact"><span>{}</span><b>{}</b><small>{}</small></div>')
    return fact.format(name, value, words)


def time_of(snapshot: RunSnapshot, series: CurvePoints, lang: str) -> tuple[str, str]:
    """(what it is, how long) of the time to be shown large."""
    spent = format_duration(series["seconds"], lang)
    if not snapshot["active"]:
        return t("ui.train.trained_for", lang), spent
    if is_training(snapshot):
        left = snapshot.get("eta_seconds")
        return t("ui.train.time_left", lang), format_duration(left, lang) if left else UNKNOWN
    waits = snapshot["state"] == "waiting"
    phase = t("ui.state.waiting", lang) if waits else t(f"ui.phase.{snapshot.get('phase') or 'start'}", lang)
    estimate = snapshot.get("estimate_seconds") if waits else None
    return phase, t("ui.train.about", lang, time=format_duration(estimate, lang)) if estimate else UNKNOWN


def is_training(snapshot: RunSnapshot) -> bool:
    """Whether a run is in its loop: what comes before is no training."""
    return snapshot["active"] and snapshot["state"] in ("training", "paused")


def sentence(series: CurvePoints, lang: str) -> Markup:
    """What the curves mean, once there are some."""
    if not series["raw"][0]:
        return Markup()
    meaning = verdict(series)
    return Markup('<p class="verdict {}">{}</p>').format(meaning, t(f"ui.train.verdict_{meaning}", lang))


def facts_line(snapshot: RunSnapshot, series: CurvePoints, lang: str) -> Markup:
    """Everything else that is known of a run, in one quiet line."""
    if not snapshot["name"]:
        return Markup()
    parts = (
        Markup("<span>{} <b>{}</b></span>").format(t(f"ui.train.figure_{n}", lang), v)
        for n, v in facts_of(snapshot, series, lang)
    )
    return Markup('<div class="facts-line">{}</div>').format(join(parts))


def facts_of(snapshot: RunSnapshot, series: CurvePoints, lang: str) -> list[tuple[str, str]]:
    """(name, value) of what is known of a run beside its pictures and its time."""
    plan, step, speed = snapshot["plan"], snapshot["step"], snapshot.get("images_per_second")
    loss, rate = (series["smooth"][1] or [None])[-1], snapshot.get("learning_rate")
    rows = []
    if is_training(snapshot) and speed:
        rows.append(("speed", t("ui.train.per_second", lang, speed=f"{speed:.0f}")))
    if per_epoch := plan.get("steps_per_epoch"):
        rows.append(("epoch", f"{step / per_epoch:.1f}"))
    if batch := plan.get("batch_size"):
        rows.append(("seen", t("ui.train.different", lang, seen=f"{step * batch:,}", images=f"{plan['images']:,}")))
    if loss is not None:
        rows.append(("loss", f"{loss:.4g}"))
    if rate is not None and is_training(snapshot):
        rows.append(("rate", f"{rate:.2g}"))
    if plan.get("threads"):
        rows += machine_facts(plan, is_autoencoder(snapshot), lang)
    return rows


def machine_facts(plan: Plan, autoencoder: bool, lang: str) -> list[tuple[str, str]]:
    """(name, value) of the network and of what computes it."""
    device = f"{plan['device']} · {plan['precision']}".replace("· no", "· fp32")
    memory = format_bytes(plan["memory_bytes"])
    machine = f"{device}, {t('ui.train.machine', lang, threads=plan['threads'], memory=memory)}"
    size = t("ui.train.parameters", lang, count=format_count(plan["parameters"]))
    return [("size_autoencoder" if autoencoder else "size", size), ("machine", machine)]


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
