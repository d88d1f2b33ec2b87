"""The Learn tab: one component that asks the desk for panels, and the links that open the app at a station or lesson."""

import base64
import binascii
import functools
import html
import importlib
import inspect
import textwrap
import threading
from typing import Any

import gradio as gr

from ddpm_app import jobs, presets
from ddpm_app.errors import Problem, as_problem
from ddpm_app.i18n import problem_text, t, text_table
from ddpm_app.images import data_uri
from ddpm_app.learn import context as benches
from ddpm_app.learn import stations
from ddpm_app.learn.lessons import ORDER, lessons
from ddpm_app.learn.sessions import LearnSessions
from ddpm_app.learn.station import Action, Choice, Control, Slider, Station, Words
from ddpm_app.model_choices import OTHER, makes_pictures
from ddpm_app.runs import registry
from ddpm_app.ui.components.stage import Stage
from ddpm_app.ui.html import notice
from ddpm_app.ui.state import App, Page

THUMBNAIL_SIDE = 56
FORMULA_SIZE = 18
"""In pixels."""
QUICK: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def build(app: App, shared: Page) -> None:
    """Draw the tab."""
    desk = LearnSessions(app.models, app.warm)
    offers = Offers(app, desk)
    calls = [desk.ask, offers.catalog, offers.details, offers.pictures, offers.own, offers.snapshot]
    first = {"lang": "en", "models": []}
    stage = Stage(calls, value=first, elem_id="learn")

    def tick(shot: dict[str, Any], lang: str, visitor: str) -> list[Any]:
        shown = [(label, value) for label, value in app.models.options(lang) if value != OTHER]
        follow = f"run:{shot['name']}" if shot["saved"] and makes_pictures(shot) else ""
        mine = follow and shot["active"] and app.access.may_stop(registry.find(app.runs_dir, shot["name"]), visitor)
        return [
            {"lang": lang, "models": shown, "training": follow if mine else "", "follow": follow, "visitor": visitor}
        ]

    def go(event: gr.EventData) -> list[Any]:
        """To another tab, with a preset in the form."""
        wanted = event._data or {}
        tab, preset = wanted.get("tab"), wanted.get("preset")
        return [gr.Tabs(selected=tab) if tab in shared.tab_items else gr.skip(), *_preset(shared, preset)]

    shared.every_tick(tick, [stage], [shared.visitor])
    shared.later.append(lambda: stage.click(go, None, [shared.tabs, shared.form.preset, *shared.form.inputs], **QUICK))


def open_linked(shared: Page) -> None:
    """A link with ``station``, ``lesson`` or ``tab`` opens there; one with ``preset`` fills the form. What it names that isn't here is told."""

    def linked(lang: str, request: gr.Request) -> list[Any]:
        asked = request.query_params
        known = {"station": stations.ORDER, "lesson": ORDER, "tab": shared.tab_items, "preset": _offered(shared)}
        unknown = [f"{name}={asked[name]}" for name in known if asked.get(name) and asked[name] not in known[name]]
        there = {name for name in known if asked.get(name) in known[name]}
        tab = "learn" if there & {"station", "lesson"} else asked["tab"] if "tab" in there else None
        told = notice(Problem("unknown_link", what=", ".join(unknown)), lang) if unknown else gr.skip()
        return [gr.Tabs(selected=tab) if tab else gr.skip(), told]

    def preset(request: gr.Request) -> list[Any]:
        return _preset(shared, request.query_params.get("preset"))

    shared.language_ready.then(linked, shared.lang, [shared.tabs, shared.message], **QUICK)
    shared.form_restored.then(preset, None, [shared.form.preset, *shared.form.inputs], **QUICK)


def _offered(shared: Page) -> list[str]:
    return [value for _, value in shared.form.preset.choices]


def _preset(shared: Page, name: str | None) -> list[Any]:
    """The choice of a preset and the form filled with it; all as it is where that preset isn't offered here."""
    return (
        [name, *shared.form.fill(presets.build(name))]
        if name in _offered(shared)
        else [gr.skip()] * (1 + len(shared.form.inputs))
    )


class Offers:
    """What the page can be told beside panels: words, controls, formulas, code, thumbnails."""

    def __init__(self, app: App, desk: LearnSessions):
        self.app, self.desk = app, desk
        self._drawing = threading.Lock()

    def catalog(self, lang: str) -> dict[str, Any]:
        """All words of the tab in a language, the stations with their controls, the lessons."""
        mine = {
            key.removeprefix("ui.learn.frame."): t(key, lang)
            for key in text_table("en")
            if key.startswith("ui.learn.frame.")
        }
        return {
            "words": mine,
            "stations": [_described(stations.station(name), lang) for name in stations.ORDER],
            "lessons": lessons(lang),
        }

    def details(self, name: str) -> dict[str, Any]:
        """A station's formulas as SVG and the functions it shows, as they are."""
        station = stations.station(name)
        jobs.engine()
        with self._drawing:  # matplotlib is one at a time
            maths = [_formula(line) for line in station.maths]
        return {"maths": maths, "code": [textwrap.dedent(inspect.getsource(_named(name))) for name in station.code]}

    def pictures(self, query: dict[str, Any]) -> dict[str, Any]:
        """Thumbnails of pictures of the model's data set, others with every "page"."""
        lang = str(query.get("lang"))
        try:
            bench = self.desk.bench(str(query.get("model")), "", str(query.get("visitor")))
            source, held_out = bench.source, set(bench.source.held_out or ())
            shown = []
            for i in benches.offered(source, int(query.get("page", 0))):
                told = (source.captions or source.names)[i]
                src = data_uri(source.thumbnail(i, THUMBNAIL_SIDE), small=True)
                shown.append({"key": str(i), "src": src, "told": told, "heldOut": i in held_out})
            return {"pictures": shown}
        except Exception as error:
            return {"error": problem_text(self.app.access.redact(as_problem(error)), lang)}

    def own(self, query: dict[str, Any]) -> dict[str, Any]:
        """Take a viewer's own picture, as a data URI."""
        lang = str(query.get("lang"))
        try:
            data = base64.b64decode(str(query.get("data")).partition(",")[2], validate=True)
            return {"key": self.desk.keep(data)}
        except (Problem, binascii.Error) as error:
            problem = error if isinstance(error, Problem) else Problem("picture_unfit", name="", reason="broken")
            return {"error": problem_text(problem, lang)}

    def snapshot(self, query: dict[str, Any]) -> dict[str, Any]:
        """Ask a training run to save, so that the next look is at its newest weights."""
        lang = str(query.get("lang"))
        try:
            run = registry.find(self.app.runs_dir, str(query.get("model")).partition(":")[2])
            self.app.access.require_owner(run, str(query.get("visitor")))
            run.request("save")
            return {}
        except Problem as problem:
            return {"error": problem_text(self.app.access.redact(problem), lang)}


def _described(station: Station, lang: str) -> dict[str, Any]:
    def say(key: str) -> str:
        return t(f"ui.learn.{station.id}.{key}", lang)

    told = {key: say(key) for key in ("title", "what", "question", "answer")}
    controls = [_control(control, say) for control in station.controls]
    return {
        "id": station.id,
        **told,
        "controls": controls,
        "uses": list(station.uses),
        "model": f"shipped:{station.model}",
    }


def _control(control: Control, say: Any) -> dict[str, Any]:
    found = {"kind": type(control).__name__.lower(), "name": control.name, "label": say(control.name)}
    match control:
        case Slider():
            found |= {"low": control.low, "high": control.high, "step": control.step, "default": control.default}
        case Choice():
            found |= {
                "options": [[name, say(f"{control.name}.{name}")] for name in control.options],
                "default": control.options[0],
            }
        case Action():
            pass
        case Words():
            found |= {"default": control.default, "asking": control.asking}
        case _:
            found["default"] = control.default
    return found


def _named(name: str) -> Any:
    module, _, inner = name.partition(":")
    found = importlib.import_module(module)
    for part in inner.split("."):
        found = getattr(found, part)
    return found


@functools.cache
def _formula(line: str) -> str:
    """A formula in matplotlib's mathtext as an SVG of one path in the colour of the text around it."""
    from matplotlib.textpath import TextPath

    path = TextPath((0, 0), f"${line}$", size=FORMULA_SIZE)
    letters = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}  # matplotlib.path's codes
    drawn = "".join(
        letters[int(code)] + ("" if code == 79 else ",".join(f"{part:.2f}" for part in points))
        for points, code in path.iter_segments(simplify=False, curves=True)
    )
    box = path.get_extents().padded(1)
    name = html.escape(line, quote=True)
    return (
        f'<svg role="img" aria-label="{name}" width="{box.width:.0f}" viewBox="{box.x0:.1f} {-box.y1:.1f} {box.width:.1f} {box.height:.1f}">'
        f'<path transform="scale(1 -1)" fill="currentColor" d="{drawn}"/></svg>'
    )
