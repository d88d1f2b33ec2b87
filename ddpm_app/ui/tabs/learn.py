"""The Learn tab: the stage, which asks the server for panels, a station's formulas, code and question below it, and the links that open
the app at a station or lesson."""

from typing import Any

import gradio as gr
from markupsafe import Markup

from ddpm_app import jobs, presets
from ddpm_app.errors import Problem
from ddpm_app.i18n import t
from ddpm_app.learn import lessons, stations
from ddpm_app.learn.catalog import LearnCatalog, source_code
from ddpm_app.learn.sessions import LearnSessions
from ddpm_app.model_choices import OTHER, makes_pictures
from ddpm_app.runs import registry
from ddpm_app.runs.records import RunSnapshot
from ddpm_app.ui.components.stage import Stage
from ddpm_app.ui.html import notice
from ddpm_app.ui.state import QUICK, App, Page, Updates, label

NEWEST: dict[str, Any] = QUICK | {"trigger_mode": "always_last"}
"""Options of a listener: while one call is under way only the last of those that come meanwhile is kept."""


class LearnTab:
    """``__init__`` draws, ``wire`` connects."""

    def __init__(self, app: App):
        self.app = app
        sessions = LearnSessions(app.models, app.warm)
        catalog = LearnCatalog(sessions)
        calls = {
            "ask": sessions.ask,
            "catalog": catalog.catalog,
            "thumbnails": catalog.thumbnails,
            "upload": catalog.upload,
            "snapshot": catalog.snapshot,
            "moment_code": catalog.moment_code,
        }
        with gr.Column(elem_id="learn-tab"):
            self.stage = Stage({"lang": "en", "models": []}, calls=calls, elem_id="learn")
            with gr.Column(elem_id="learn-texts"):
                with gr.Accordion(label("ui.learn.frame.maths"), open=False):
                    self.maths = gr.Markdown(elem_classes="formulas")  # KaTeX takes what stands between $$
                with gr.Accordion(label("ui.learn.frame.code"), open=False):
                    self.code = gr.Code(
                        language="python",
                        label=label("ui.learn.frame.code"),
                        show_label=False,
                        interactive=False,
                        show_line_numbers=False,
                        buttons=["copy"],
                    )
                with gr.Accordion("?", open=False) as self.question:
                    self.answer = gr.HTML()

    def wire(self, page: Page) -> None:
        """Connect the tab with the page."""
        self.page = page
        page.every_tick(self.stage_value, [self.stage], [page.visitor])
        self.stage.click(self.leave, None, [page.tabs, *_preset_outputs(page)], **QUICK)
        self.stage.select(self.show_texts, None, [self.maths, self.question, self.answer], **NEWEST)
        self.stage.select(self.show_code, None, [self.code], **NEWEST)
        open_linked(page)

    def stage_value(self, run: RunSnapshot, lang: str, visitor: str) -> Updates:
        """What the stage must know: the models, and the run on show. ``training``: that run where the visitor may ask it to save."""
        models = [(name, choice) for name, choice in self.app.models.options(lang) if choice != OTHER]
        follow = f"run:{run['name']}" if run["saved"] and makes_pictures(run) else ""
        may_ask = follow and run["active"] and self._may_stop(run["name"], visitor)
        training = follow if may_ask else ""
        value = {"lang": lang, "models": models, "training": training, "follow": follow, "visitor": visitor}
        return {self.stage: value}

    def _may_stop(self, name: str, visitor: str) -> bool:
        return self.app.access.may_stop(registry.find(self.app.runs_dir, name), visitor)

    def leave(self, event: gr.EventData) -> Updates:
        """To another tab, with a preset or single fields in the form."""
        target = event._data or {}
        tab, components = target.get("tab"), self.page.form.components
        updates = {self.page.tabs: gr.Tabs(selected=tab)} if tab in self.page.tab_items else {}
        fields = {components[name]: value for name, value in (target.get("fields") or {}).items() if name in components}
        return (updates | _preset(self.page, target.get("preset")) | fields) or gr.skip()

    def show_texts(self, event: gr.EventData) -> Updates:
        """The formulas, question and answer of the station on the stage."""
        spec, lang = stations.SPECS[event._data["station"]], event._data["lang"]
        question, answer = (t(f"ui.learn.{spec.id}.{key}", lang) for key in ("question", "answer"))
        return {
            self.maths: "\n\n".join(f"$${formula}$$" for formula in spec.maths),
            self.question: gr.Accordion(label=question),
            self.answer: Markup("<p>{}</p>").format(answer),
        }

    def show_code(self, event: gr.EventData) -> Updates:
        """The functions that the station on the stage shows."""
        jobs.engine()
        return {self.code: source_code(stations.SPECS[event._data["station"]])}


def open_linked(page: Page) -> None:
    """A link with ``station``, ``lesson`` or ``tab`` opens there; one with ``preset`` fills the form. A name that doesn't exist is a problem."""

    def open_tab(lang: str, request: gr.Request) -> Updates:
        query = request.query_params
        choices = {
            "station": stations.ORDER,
            "lesson": lessons.ORDER,
            "tab": page.tab_items,
            "preset": _preset_choices(page),
        }
        valid = {name: query[name] for name in choices if query.get(name) in choices[name]}
        unknown = [f"{name}={query[name]}" for name in choices if query.get(name) and name not in valid]
        tab = "learn" if valid.keys() & {"station", "lesson"} else valid.get("tab")
        updates = {page.tabs: gr.Tabs(selected=tab)} if tab else {}
        if unknown:
            updates |= {page.message: notice(Problem("unknown_link", what=", ".join(unknown)), lang)}
        return updates or gr.skip()

    def fill_form(request: gr.Request) -> Updates:
        return _preset(page, request.query_params.get("preset")) or gr.skip()

    page.language_ready.then(open_tab, page.lang, [page.tabs, page.message], **QUICK)
    page.form_restored.then(fill_form, None, _preset_outputs(page), **QUICK)


def _preset_choices(page: Page) -> list[str]:
    return [value for _, value in page.form.preset.choices]


def _preset_outputs(page: Page) -> list[gr.components.Component]:
    return [page.form.preset, *page.form.components.values()]


def _preset(page: Page, name: str | None) -> Updates:
    """The choice of a preset and the form filled with it; nothing where that preset isn't offered here."""
    if name not in _preset_choices(page):
        return {}
    return {page.form.preset: name} | page.form.updates(presets.build(name))
