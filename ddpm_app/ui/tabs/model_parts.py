"""The Parts panel: each network with its parameters, whether it learns, its mode, and the memory it takes."""

import html
from typing import TYPE_CHECKING, Any

import gradio as gr

from ddpm_app import jobs
from ddpm_app.config import TrainConfig
from ddpm_app.errors import Problem
from ddpm_app.i18n import format_bytes, format_count, t
from ddpm_app.runs import registry
from ddpm_app.ui.state import App, Page, label

if TYPE_CHECKING:
    from ddpm_app.train.summary import ModelSummary, NetworkPart

WARM_SECONDS = 60
COLUMNS = ("parameters", "learns", "mode", "weights", "gradients", "optimizer")
QUIET: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": None, "api_visibility": "private"}


def of_form(app: App, values: dict[str, Any], visitor: str, lang: str) -> str:
    """The panel for the form's settings, as HTML. Waits until torch is imported."""
    try:
        config = TrainConfig(**values)
        entry = app.datasets.find(app.access.check_data(config, visitor))
        app.access.check_models(config)
    except (Problem, ValueError):  # the form says it under its field
        return ""
    app.warm.wait(WARM_SECONDS)
    jobs.engine()
    from ddpm_app.train import summary

    made = summary.summarize(config, len(entry.source.label_names or ()) if entry else 0, app.runs_dir)
    return (
        "" if made is None and summary.unusable_model(config, app.runs_dir) else drawn(made, lang)
    )  # the panel beside it says why


def of_run(app: App, name: str, lang: str) -> str:
    """The panel for a run, from its settings."""
    try:
        run = registry.find(app.runs_dir, name)
        config = run.config
    except Problem:  # no run yet, or another version's settings
        return ""
    app.warm.wait(WARM_SECONDS)
    entry = app.datasets.find(config)
    jobs.engine()
    from ddpm_app.train import summary

    return drawn(summary.summarize(config, len(entry.source.label_names or ()) if entry else 0, app.runs_dir), lang)


class ModelPartsPanel:
    """The parts of the run on show, folded: on the Train tab."""

    def __init__(self, app: App):
        self.app = app
        with gr.Accordion(label("ui.parts.title"), open=False, elem_id="train-parts-box"):
            self.panel = gr.HTML(elem_id="train-parts", padding=False)
        self.run = gr.State("")

    def wire(self, page: Page) -> None:
        """Draw the panel anew when another run, or another language, comes on show."""
        page.every_tick(lambda shot, lang: [f"{shot['name']} {shot['created']} {lang}"], [self.run])
        self.run.change(
            lambda selected, lang: of_run(self.app, self.app.monitor.snapshot(selected)["name"], lang),
            [page.selected, page.lang],
            self.panel,
            **QUIET,
        )


def drawn(made: "ModelSummary | None", lang: str) -> str:
    """The panel as HTML."""
    if made is None:
        return f'<p class="quiet">{html.escape(t("ui.meaning.download", lang))}</p>'
    head = "".join(f"<th>{html.escape(t(f'ui.parts.{name}', lang))}</th>" for name in COLUMNS)
    rows = "".join(_row(part, lang) for part in made.parts)
    total = sum(part.weights + part.gradients + part.optimizer for part in made.parts)
    return (
        f'<table class="parts"><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>'
        f'<p class="quiet">{html.escape(t("ui.parts.total", lang, total=format_bytes(total)))}</p>'
        f"{_sections(made, lang)}"
        f'<p class="told">{html.escape(t("ui.parts.eval", lang))}</p>'
    )


def _row(part: "NetworkPart", lang: str) -> str:
    learns = "yes" if part.learning else "no"
    cells = {
        "parameters": format_count(part.parameters) if part.parameters else "",
        "learns": t("ui.parts.some", lang, count=format_count(part.learning))
        if 0 < part.learning < part.parameters
        else t(f"ui.parts.learns_{learns}", lang),
        "mode": "train()" if part.learning else "eval()",
        "weights": format_bytes(part.weights),
        "gradients": format_bytes(part.gradients) if part.gradients else "",
        "optimizer": format_bytes(part.optimizer) if part.optimizer else "",
    }
    body = "".join(
        f'<td class="{name}" data-name="{html.escape(t(f"ui.parts.{name}", lang))}">{html.escape(value)}</td>'
        for name, value in cells.items()
    )
    return f'<tr class="{learns}"><th>{html.escape(t(f"ui.parts.{part.name}", lang))}<small>{part.kind}</small></th>{body}</tr>'


def _sections(made: "ModelSummary", lang: str) -> str:
    """The sections of the trained part: how many of its parameters each holds, and whether they learn."""
    whole = made.parts[0].parameters
    rows = ""
    for name, (count, learning) in made.sections.items():
        state = "yes" if learning == count else "some" if learning else "no"
        told = t(f"ui.parts.learns_{state}", lang)
        rows += (
            f'<div class="{state}"><span>{html.escape(t(f"ui.section.{name}", lang))}</span>'
            f'<i style="--share:{count / whole:.3f}"></i><b>{format_count(count)}</b><em>{html.escape(told)}</em></div>'
        )
    note = f'<p class="quiet">{html.escape(t("ui.parts.overlap", lang))}</p>' if "attention" in made.sections else ""
    return f'<div class="sections">{rows}</div>{note}'
