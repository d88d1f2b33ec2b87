"""The Learn tab: one component that asks the desk for panels, and the links that open the app at a station or lesson."""

import base64
import binascii
import functools
import html
import importlib
import inspect
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import gradio as gr

from ddpm_app import jobs, presets, runs
from ddpm_app.problems import Problem
from ddpm_app.text import t, table, tell
from ddpm_app.ui import film, guard, sources, stations
from ddpm_app.ui.header import said
from ddpm_app.ui.learn import bench as benches
from ddpm_app.ui.learn.desk import Desk
from ddpm_app.ui.learn.lessons import ORDER, lessons
from ddpm_app.ui.learn.station import Action, Choice, Control, Slider, Station, Words
from ddpm_app.ui.studio import Shared, Studio, problem_of

THUMBNAIL_SIDE = 56
FORMULA_SIZE = 18
"""In pixels."""
PARTS = ("film", "chart", "compare")
"""Scripts of other components that draw panels: functions of (element, props, watch, server) here."""
QUICK: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def build(studio: Studio, shared: Shared) -> None:
    """Draw the tab."""
    desk = Desk(studio)
    offers = Offers(studio, desk)
    calls = [desk.ask, offers.catalog, offers.details, offers.pictures, offers.own, offers.snapshot]
    first = {"lang": "en", "models": []}
    options = {"html_template": "", "js_on_load": _script(), "server_functions": list(map(_plain, calls)), "apply_default_css": False}
    stage = gr.HTML(first, elem_id="learn", **options)

    def tick(shot: dict[str, Any], lang: str, visitor: str) -> list[Any]:
        shown = [(label, value) for label, value in sources.choices(studio, lang) if value != sources.OTHER]
        follow = f"run:{shot['name']}" if shot["saved"] and sources.draws(shot) else ""
        mine = follow and shot["active"] and guard.may_stop(studio, runs.find(studio.runs_dir, shot["name"]), visitor)
        return [{"lang": lang, "models": shown, "training": follow if mine else "", "follow": follow, "visitor": visitor}]

    def go(event: gr.EventData) -> list[Any]:
        """To another tab, with a preset in the form."""
        wanted = event._data or {}
        tab, preset = wanted.get("tab"), wanted.get("preset")
        return [gr.Tabs(selected=tab) if tab in shared.opened else gr.skip(), *_preset(shared, preset)]

    shared.each_tick(tick, [stage], [shared.visitor])
    shared.later.append(lambda: stage.click(go, None, [shared.tabs, shared.form.preset, *shared.form.inputs], **QUICK))


def open_linked(shared: Shared) -> None:
    """A link with ``station``, ``lesson`` or ``tab`` opens there; one with ``preset`` fills the form. What it names that isn't here is told."""

    def linked(lang: str, request: gr.Request) -> list[Any]:
        asked = request.query_params
        known = {"station": stations.ORDER, "lesson": ORDER, "tab": shared.opened, "preset": _offered(shared)}
        unknown = [f"{name}={asked[name]}" for name in known if asked.get(name) and asked[name] not in known[name]]
        there = {name for name in known if asked.get(name) in known[name]}
        tab = "learn" if there & {"station", "lesson"} else asked["tab"] if "tab" in there else None
        told = said(Problem("unknown_link", what=", ".join(unknown)), lang) if unknown else gr.skip()
        return [gr.Tabs(selected=tab) if tab else gr.skip(), told]

    def preset(request: gr.Request) -> list[Any]:
        return _preset(shared, request.query_params.get("preset"))

    shared.spoken.then(linked, shared.lang, [shared.tabs, shared.message], **QUICK)
    shared.restored.then(preset, None, [shared.form.preset, *shared.form.inputs], **QUICK)


def _offered(shared: Shared) -> list[str]:
    return [value for _, value in shared.form.preset.choices]


def _preset(shared: Shared, name: str | None) -> list[Any]:
    """The choice of a preset and the form filled with it; all as it is where that preset isn't offered here."""
    return [name, *shared.form.fill(presets.build(name))] if name in _offered(shared) else [gr.skip()] * (1 + len(shared.form.inputs))


def _plain(method: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Gradio marks the functions that a browser may call, and a bound method can't be marked."""

    @functools.wraps(method)
    def call(given: Any) -> Any:
        return method(given)

    return call


@functools.cache
def _script() -> str:
    """learn.js with the scripts it stands on."""
    read = {path.stem: path.read_text(encoding="utf-8") for path in film.SCRIPTS.glob("*.js")}
    parts = "\n".join(f"function {name}Part(element, props, watch, server) {{\n{read[name]}\n}}" for name in PARTS)
    return "\n".join((parts, read["panels"], read["lessons"], read["learn"]))


class Offers:
    """What the page can be told beside panels: words, controls, formulas, code, thumbnails."""

    def __init__(self, studio: Studio, desk: Desk):
        self.studio, self.desk = studio, desk
        self._drawing = threading.Lock()

    def catalog(self, lang: str) -> dict[str, Any]:
        """All words of the tab in a language, the stations with their controls, the lessons."""
        mine = {key.removeprefix("ui.learn.frame."): t(key, lang) for key in table("en") if key.startswith("ui.learn.frame.")}
        return {"words": mine, "stations": [_described(stations.station(name), lang) for name in stations.ORDER], "lessons": lessons(lang)}

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
                src = film.data_uri(source.thumbnail(i, THUMBNAIL_SIDE), small=True)
                shown.append({"key": str(i), "src": src, "told": told, "heldOut": i in held_out})
            return {"pictures": shown}
        except Exception as error:
            return {"error": tell(guard.told(self.studio, problem_of(error)), lang)}

    def own(self, query: dict[str, Any]) -> dict[str, Any]:
        """Take a viewer's own picture, as a data URI."""
        lang = str(query.get("lang"))
        try:
            data = base64.b64decode(str(query.get("data")).partition(",")[2], validate=True)
            return {"key": self.desk.keep(data)}
        except (Problem, binascii.Error) as error:
            problem = error if isinstance(error, Problem) else Problem("picture_unfit", name="", reason="broken")
            return {"error": tell(problem, lang)}

    def snapshot(self, query: dict[str, Any]) -> dict[str, Any]:
        """Ask a training run to save, so that the next look is at its newest weights."""
        lang = str(query.get("lang"))
        try:
            run = runs.find(self.studio.runs_dir, str(query.get("model")).partition(":")[2])
            guard.require_owner(self.studio, run, str(query.get("visitor")))
            run.wish("save")
            return {}
        except Problem as problem:
            return {"error": tell(guard.told(self.studio, problem), lang)}


def _described(station: Station, lang: str) -> dict[str, Any]:
    def say(key: str) -> str:
        return t(f"ui.learn.{station.id}.{key}", lang)

    told = {key: say(key) for key in ("title", "what", "question", "answer")}
    controls = [_control(control, say) for control in station.controls]
    return {"id": station.id, **told, "controls": controls, "uses": list(station.uses), "model": f"shipped:{station.model}"}


def _control(control: Control, say: Any) -> dict[str, Any]:
    found = {"kind": type(control).__name__.lower(), "name": control.name, "label": say(control.name)}
    match control:
        case Slider():
            found |= {"low": control.low, "high": control.high, "step": control.step, "default": control.default}
        case Choice():
            found |= {"options": [[name, say(f"{control.name}.{name}")] for name in control.options], "default": control.options[0]}
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
