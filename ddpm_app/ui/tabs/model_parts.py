"""The Parts panel: each network with its parameters, whether it learns, its mode, and the memory it takes."""

from typing import TYPE_CHECKING

import gradio as gr
from markupsafe import Markup

from ddpm_app.config import TrainConfig
from ddpm_app.errors import Problem
from ddpm_app.i18n import format_bytes, format_count, t
from ddpm_app.runs import registry
from ddpm_app.runs.records import RunSnapshot
from ddpm_app.ui.html import join, quiet
from ddpm_app.ui.state import PARALLEL, App, Page, Updates, label
from ddpm_app.ui.tabs.config_summary import WARM_SECONDS, train_modules

if TYPE_CHECKING:
    from ddpm_app.train.summary import ModelSummary, NetworkPart

COLUMNS = ("parameters", "learns", "mode", "weights", "gradients", "optimizer")


class ModelPartsPanel:
    """The parts of the run on show, folded: on the Train tab."""

    def __init__(self, app: App):
        self.app = app
        with gr.Accordion(label("ui.parts.title"), open=False, elem_id="train-parts-box"):
            self.panel = gr.HTML(elem_id="train-parts", padding=False)
        self.run = gr.State("")

    def wire(self, page: Page) -> None:
        """Draw the panel anew when another run, or another language, comes on show."""
        page.every_tick(self.follow, [self.run])
        self.run.change(self.show, [page.selected, page.lang], self.panel, **PARALLEL)

    def follow(self, snapshot: RunSnapshot, lang: str) -> Updates:
        """The tick: what decides which parts are on show."""
        return {self.run: f"{snapshot['name']} {snapshot['created']} {lang}"}

    def show(self, selected: str, lang: str) -> Markup:
        """The panel of the run on show."""
        return parts_of_run(self.app, self.app.monitor.snapshot(selected)["name"], lang)


def parts_of_config(app: App, config: TrainConfig, visitor: str, lang: str) -> Markup:
    """The panel for the form's settings. Waits until torch is imported."""
    try:
        entry = app.datasets.find(app.access.check_data(config, visitor))
        app.access.check_models(config)
    except Problem:  # the form says it under its field
        return Markup()
    app.warm.wait(WARM_SECONDS)
    _, _, summary = train_modules()
    model = summary.summarize(config, len(entry.source.label_names or ()) if entry else 0, app.runs_dir)
    if model is None and summary.unusable_model(config, app.runs_dir):  # the panel beside it says why
        return Markup()
    return parts_table(model, lang)


def parts_of_run(app: App, name: str, lang: str) -> Markup:
    """The panel for a run, from its settings."""
    try:
        config = registry.find(app.runs_dir, name).config
    except Problem:  # no run yet, or another version's settings
        return Markup()
    app.warm.wait(WARM_SECONDS)
    entry = app.datasets.find(config)
    _, _, summary = train_modules()
    labels = len(entry.source.label_names or ()) if entry else 0
    return parts_table(summary.summarize(config, labels, app.runs_dir), lang)


def parts_table(model: "ModelSummary | None", lang: str) -> Markup:
    """The panel as HTML; of None that it is known after a download."""
    if model is None:
        return quiet(t("ui.meaning.download", lang))
    head = join(Markup("<th>{}</th>").format(t(f"ui.parts.{name}", lang)) for name in COLUMNS)
    total = sum(part.weights + part.gradients + part.optimizer for part in model.parts)
    return Markup(
        '<table class="parts"><thead><tr><td></td>{}</tr></thead><tbody>{}</tbody></table>{}{}<p class="told">{}</p>'
    ).format(
        head,
        join(_row(part, lang) for part in model.parts),
        quiet(t("ui.parts.total", lang, total=format_bytes(total))),
        _sections(model, lang),
        t("ui.parts.eval", lang),
    )


def _row(part: "NetworkPart", lang: str) -> Markup:
    learns = "yes" if part.learning else "no"
    partly = 0 < part.learning < part.parameters
    cells = {
        "parameters": format_count(part.parameters) if part.parameters else "",
        "learns": t("ui.parts.some", lang, count=format_count(part.learning))
        if partly
        else t(f"ui.parts.learns_{learns}", lang),
        "mode": "train()" if part.learning else "eval()",
        "weights": format_bytes(part.weights),
        "gradients": format_bytes(part.gradients) if part.gradients else "",
        "optimizer": format_bytes(part.optimizer) if part.optimizer else "",
    }
    body = join(
        Markup('<td class="{}" data-name="{}">{}</td>').format(name, t(f"ui.parts.{name}", lang), value)
        for name, value in cells.items()
    )
    return Markup('<tr class="{}"><th>{}<small>{}</small></th>{}</tr>').format(
        learns, t(f"ui.parts.{part.name}", lang), part.kind, body
    )


def _sections(model: "ModelSummary", lang: str) -> Markup:
    """The sections of the trained part: how many of its parameters each holds, and whether they learn."""
    whole = model.parts[0].parameters

    def row(name: str, count: int, learning: int) -> Markup:
        state = "yes" if learning == count else "some" if learning else "no"
        return Markup('<div class="{}"><span>{}</span><i style="--share:{:.3f}"></i><b>{}</b><em>{}</em></div>').format(
            state,
            t(f"ui.section.{name}", lang),
            count / whole,
            format_count(count),
            t(f"ui.parts.learns_{state}", lang),
        )

    rows = join(row(name, *counts) for name, counts in model.sections.items())
    remark = quiet(t("ui.parts.overlap", lang)) if "attention" in model.sections else ""
    return Markup('<div class="sections">{}</div>{}').format(rows, remark)
