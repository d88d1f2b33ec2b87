"""The Train tab: the curves, the growing pictures, the figures and the log of the run on show."""

import html
import math
from typing import Any

import gradio as gr
from PIL import Image

from ddpm_app import plots
from ddpm_app.errors import Problem
from ddpm_app.film import film_value
from ddpm_app.i18n import format_bytes, format_count, format_duration, t, text_for_code
from ddpm_app.images import data_uri
from ddpm_app.runs import registry
from ddpm_app.runs.run import Run
from ddpm_app.ui.components.base import LiveHTML
from ddpm_app.ui.components.chart import Chart
from ddpm_app.ui.components.film import Film
from ddpm_app.ui.components.image_compare import ImageCompare
from ddpm_app.ui.html import notice
from ddpm_app.ui.state import FOLLOW, App, Page, label
from ddpm_app.ui.tabs.model_parts import ModelPartsPanel

TIMELINE_FRAMES = 60
GAP = 2
"""Pixels between two pictures of a preview sheet."""
GREATEST_SIDE = 1024
"""A preview sheet larger than this is scaled down on its way to the page."""


def build(app: App, shared: Page) -> None:
    """Draw the tab and hang it on the page's tick."""
    empty = gr.HTML(visible=False, padding=False, elem_id="train-empty")
    with gr.Column(visible=False) as board:
        with gr.Row(equal_height=True, elem_classes="run-bar"):
            chooser = gr.Dropdown(
                [("", "")],
                value="",
                label=label("ui.train.chooser"),
                container=False,
                scale=5,
                min_width=220,
                elem_id="train-run",
            )
            preview = gr.Button(label("ui.train.sample_now"), scale=1, min_width=110, size="md", elem_id="sample-now")
            save = gr.Button(label("ui.train.save_now"), scale=1, min_width=110, size="md", elem_id="save-now")
        LiveHTML(elem_id="train-figures", padding=False)
        with gr.Row(elem_classes="train-board"):
            with gr.Column(scale=3, min_width=320, elem_classes="card"):
                Chart(live=True, elem_id="train-charts")
            with gr.Column(scale=2, min_width=280, elem_classes="card"):
                LiveHTML(elem_id="train-previews-heading", padding=False)
                Film(preview_picture(app), live=True, elem_id="train-previews")
                ImageCompare(compared_pictures(app), live=True, elem_id="train-compare")
        ModelPartsPanel(app).wire(shared)
        with gr.Accordion(label("ui.train.log"), open=False, elem_id="train-log-box"):
            LiveHTML(elem_id="train-log", padding=False)

    def live(shot: dict[str, Any], lang: str) -> list[Any]:
        series = app.monitor.series(shot["name"])
        frame = plots.training(
            series, shot["plan"], shot["config"].get("num_train_timesteps", 1000), lang, is_autoencoder(shot)
        )
        elsewhere = app.monitor.snapshot("")  # the header tells of the run at work, else of the one on show
        failure = elsewhere["active"] and elsewhere["name"] != shot["name"]
        figures = told(shot, series, lang, failure) if shot["name"] else ""
        return [
            figures,
            frame,
            previews_heading(shot, lang),
            timeline(shot, lang),
            comparison(shot, lang),
            log_lines(shot),
        ]

    def draw(shot: dict[str, Any], lang: str, selected: str) -> list[Any]:
        if not shot["name"]:
            return [gr.update(value=empty_state(lang), visible=True), gr.update(visible=False), *[gr.skip()] * 3]
        choices = [(t("ui.train.newest", lang), ""), *((name, name) for name in app.monitor.names())]
        chosen = selected if selected in dict(choices).values() else ""
        return [
            gr.update(visible=False),
            gr.update(visible=True),
            gr.update(choices=choices, value=chosen),
            *[gr.update(interactive=shot["active"] and shot["state"] != "paused")] * 2,
        ]

    shared.live(
        live,
        ["train-figures", "train-charts", "train-previews-heading", "train-previews", "train-compare", "train-log"],
    )
    shared.every_tick(draw, [empty, board, chooser, preview, save], [shared.selected])
    chooser.input(
        lambda name: name or FOLLOW, [chooser], [shared.selected], show_progress="hidden", api_visibility="private"
    )
    for button, wish in ((preview, "sample"), (save, "save")):
        button.click(
            asker(app, wish),
            [shared.selected, shared.visitor, shared.lang],
            shared.message,
            show_progress="hidden",
            api_visibility="private",
        )


def asker(app: App, wish: str):
    """The handler of a button that asks the training process for something."""

    def ask(selected: str, visitor: str, lang: str) -> str:
        try:
            run = registry.find(app.runs_dir, app.monitor.snapshot(selected)["name"])
            app.access.require_owner(run, visitor)
            run.request(wish)
        except Problem as problem:
            return notice(problem, lang)
        return notice(t(f"ui.train.{wish}_asked", lang))

    return ask


def preview_picture(app: App):
    """The film's source of pictures: from a run's name and a step to a data URI."""

    def picture(wish: dict[str, str]) -> str:
        return data_uri(_bounded(_preview(app, wish)[1]))

    return picture


def compared_pictures(app: App):
    """The source of an autoencoder's originals and reconstructions: from a run's name and a step to two data URIs."""

    def picture(wish: dict[str, str]) -> dict[str, str]:
        run, sheet = _preview(app, wish)
        config, plan = run.record.get("config", {}), run.plan or {}
        pairs = min(config.get("preview_images") or 1, plan.get("held_out") or plan.get("images") or 1)
        return {
            name: data_uri(_bounded(half))
            for name, half in zip(("before", "after"), halves(sheet, config["image_size"], pairs), strict=True)
        }

    return picture


def _preview(app: App, wish: dict[str, str]) -> tuple[Run, Image.Image]:
    run = registry.find(app.runs_dir, str(wish["name"]))
    with Image.open(run.sample_path(int(wish["key"]))) as image:
        return run, image.convert("RGB")


def _bounded(image: Image.Image) -> Image.Image:
    image.thumbnail((GREATEST_SIDE, GREATEST_SIDE))
    return image


def halves(sheet: Image.Image, side: int, pairs: int) -> tuple[Image.Image, Image.Image]:
    """A sheet as sample.grid makes it, of originals each followed by its reconstruction, as two sheets: the originals, and what became of
    them. ``side`` of a picture in pixels."""
    across = (sheet.width + GAP) // (side + GAP)
    corners = [(k % across * (side + GAP), k // across * (side + GAP)) for k in range(2 * pairs)]
    columns = math.ceil(math.sqrt(pairs))
    size = columns * (side + GAP) - GAP, math.ceil(pairs / columns) * (side + GAP) - GAP
    result = Image.new("RGB", size, "white"), Image.new("RGB", size, "white")
    for k, (left, top) in enumerate(corners):
        place = k // 2 % columns * (side + GAP), k // 2 // columns * (side + GAP)
        result[k % 2].paste(sheet.crop((left, top, left + side, top + side)), place)
    return result


# ---- what is drawn ------------------------------------------------------------------------------------------------------
def timeline(shot: dict[str, Any], lang: str) -> dict[str, Any]:
    """The film of the preview pictures, at most ``TIMELINE_FRAMES`` of them, the latest always."""
    steps = shot["samples"]
    stride = -(-len(steps) // TIMELINE_FRAMES) or 1
    kept = steps[::-1][::stride][::-1]
    caption = t("ui.train.preview_step", lang, step="{}")
    return film_value(
        shot["name"], t("ui.train.preview_alt", lang), lang, steps=kept, caption=caption, pace=350, made=shot["created"]
    )


def is_autoencoder(shot: dict[str, Any]) -> bool:
    """Whether the run trains an autoencoder: no noise, no timesteps, and previews in pairs."""
    return shot["config"].get("objective") == "autoencoder"


def comparison(shot: dict[str, Any], lang: str) -> dict[str, Any] | None:
    """What assets/js/compare.js takes: the latest reconstructions of an autoencoder beside their originals."""
    if not is_autoencoder(shot) or not shot["samples"]:
        return None
    step = shot["samples"][-1]
    words_ = {name: t(f"ui.train.compare_{name}", lang) for name in ("before", "after", "slide")}
    caption = t("ui.train.preview_step", lang, step=f"{step:,}")
    return {"name": shot["name"], "made": shot["created"], "step": step, "words": words_, "caption": caption}


def previews_heading(shot: dict[str, Any], lang: str) -> str:
    """The heading over the growing pictures."""
    kind = "pairs" if is_autoencoder(shot) else "note"
    note = t(f"ui.train.previews_{kind}" if shot["samples"] else "ui.train.previews_none", lang)
    return f'<div class="part-heading"><strong>{html.escape(t("ui.train.previews", lang))}</strong><span>{html.escape(note)}</span></div>'


def told(shot: dict[str, Any], series: dict[str, Any], lang: str, failure: bool) -> str:
    """The figures as tiles, then what was done otherwise than asked and, with ``failure``, what went wrong."""
    tiles = "".join(
        f'<div class="tile"><span>{html.escape(t(f"ui.train.{name}", lang))}</span><b>{html.escape(value)}</b>'
        f"<small>{html.escape(note)}</small></div>"
        for name, value, note in figures_of(shot, series, lang)
    )
    return f'<div class="tiles">{tiles}</div>{remarks(shot, lang, failure)}'


def figures_of(shot: dict[str, Any], series: dict[str, Any], lang: str) -> list[tuple[str, str, str]]:
    """(name, value, small print) of each figure; what is not known yet is a dash."""
    plan = shot["plan"]
    step, total, per_epoch, images = (
        shot["step"],
        shot.get("total_steps"),
        plan.get("steps_per_epoch"),
        plan.get("images"),
    )
    training = shot["active"] and shot.get("phase") not in (None, "start", "download", "decode", "rehearsal")
    seen = step * plan["batch_size"] if plan.get("batch_size") else None
    rate, eta = shot.get("images_per_second"), shot.get("eta_seconds")
    loss = series["smooth"][1][-1] if series["smooth"][1] else None
    size = "figure_size_autoencoder" if is_autoencoder(shot) else "figure_size"
    return [
        ("figure_step", f"{step:,}", t("ui.train.of", lang, total=f"{total:,}") if total else ""),
        (
            "figure_epoch",
            f"{step / per_epoch:.1f}" if per_epoch else DASH,
            t("ui.train.steps_each", lang, steps=f"{per_epoch:,}") if per_epoch else "",
        ),
        (
            "figure_seen",
            f"{seen:,}" if seen is not None else DASH,
            t("ui.train.different", lang, images=f"{images:,}") if images else "",
        ),
        ("figure_speed", f"{rate:.0f}" if rate and training else DASH, t("ui.train.per_second", lang)),
        (
            "figure_left",
            format_duration(eta, lang) if training and eta is not None else DASH,
            t("ui.train.spent", lang, time=format_duration(series["seconds"], lang)),
        ),
        (
            "figure_loss",
            f"{loss:.4g}" if loss is not None else DASH,
            t("ui.train.rate", lang, rate=f"{shot['learning_rate']:.2g}")
            if shot.get("learning_rate") is not None
            else "",
        ),
        (
            "figure_machine",
            f"{plan['device']} · {plan['precision']}".replace("· no", "· fp32") if plan.get("device") else DASH,
            t("ui.train.machine", lang, threads=plan["threads"], memory=format_bytes(plan["memory_bytes"]))
            if plan.get("threads")
            else "",
        ),
        (size, format_count(plan["parameters"]) if plan.get("parameters") else DASH, t("ui.train.parameters", lang)),
    ]


def remarks(shot: dict[str, Any], lang: str, failure: bool) -> str:
    """Notices, the published address and, with ``failure``, the error of a run, each in words."""
    parts = [
        f'<div class="notice">{html.escape(text_for_code("notice." + notice["code"], lang, notice.get("values", {}), notice["code"]))}</div>'
        for notice in shot.get("notices") or []
    ]
    if failure and (error := shot.get("error")):
        sentence = text_for_code(
            f"problem.{error['code']}", lang, {"field": error.get("field"), **error.get("values", {})}, error["code"]
        )
        parts.insert(0, f'<div class="notice error">{html.escape(sentence)}</div>')
    if url := shot.get("published"):
        sentence = html.escape(t("ui.train.published", lang, url=url))
        parts.append(
            f'<div class="notice good"><a href="{html.escape(url)}" target="_blank" rel="noopener">{sentence}</a></div>'
        )
    return "".join(parts)


def log_lines(shot: dict[str, Any]) -> str:
    """The end of the log."""
    return f'<pre class="log" tabindex="0">{html.escape(chr(10).join(shot["log"]))}</pre>'


def empty_state(lang: str) -> str:
    """What the tab says before the first run."""
    return f'<div class="empty"><h3>{html.escape(t("ui.train.empty", lang))}</h3><p>{html.escape(t("ui.train.empty_note", lang))}</p></div>'


DASH = "–"
