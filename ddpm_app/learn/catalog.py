"""What the page is told beside panels: the texts and controls of all stations, lessons, formulas, code, thumbnails."""

import base64
import binascii
import dataclasses
import importlib
import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, TypedDict

from ddpm_app.errors import Problem, as_problem
from ddpm_app.i18n import problem_on_page, t, text_table
from ddpm_app.images import data_uri
from ddpm_app.learn import stations
from ddpm_app.learn.lessons import Lesson, lessons
from ddpm_app.learn.sessions import LearnSessions
from ddpm_app.learn.station import Choice, Control, StationSpec
from ddpm_app.runs import registry

THUMBNAIL_SIDE = 56
MAX_URL = 1000
"""Characters of a link that becomes a QR code; a longer one makes a code too fine for a phone at the back."""
FRAME = "ui.learn.frame."
"""Keys of the texts around the stations begin so."""

Query = Mapping[str, object]
"""One value from a browser, which may send anything."""


class Thumbnail(TypedDict):
    """A picture of the data set; ``src``: a data URI."""

    key: str
    src: str
    caption: str
    held_out: bool


class CatalogAnswer(TypedDict, total=False):
    """``error``: what went wrong, in words; ``key``: of an uploaded picture; ``svg``: a QR code."""

    error: str
    pictures: list[Thumbnail]
    key: str
    svg: str


class StationDescription(TypedDict):
    """A station with its texts in a language; ``controls``: the fields of each control with its ``kind`` and ``label``."""

    id: str
    title: str
    what: str
    uses: list[str]
    model: str
    follows_t: bool
    controls: list[dict[str, object]]


class Catalog(TypedDict):
    """``words``: those around the stations."""

    words: dict[str, str]
    stations: list[StationDescription]
    lessons: list[Lesson]


class LearnCatalog:
    """The functions that the page may call beside LearnSessions.ask."""

    def __init__(self, sessions: LearnSessions):
        self.sessions, self.access = sessions, sessions.access

    def catalog(self, lang: str) -> Catalog:
        """All words of the tab in a language, the stations with their controls, the lessons."""
        words = {key.removeprefix(FRAME): t(key, lang) for key in text_table("en") if key.startswith(FRAME)}
        specs = stations.SPECS.values()
        return {"words": words, "stations": [describe(spec, lang) for spec in specs], "lessons": lessons(lang)}

    def thumbnails(self, query: Query) -> CatalogAnswer:
        """{"pictures"} of the "model"'s data set, others with every "page"; or {"error"}."""
        try:
            return {"pictures": self._thumbnails(query)}
        except Exception as error:
            return self._error(error, query)

    def _thumbnails(self, query: Query) -> list[Thumbnail]:
        source = self.sessions.context(_string(query, "model"), "", _string(query, "visitor")).source
        from ddpm_app.learn.context import picture_choices

        texts, held_out = source.captions or source.names, set(source.held_out or ())
        return [
            {
                "key": str(i),
                "src": data_uri(source.thumbnail(i, THUMBNAIL_SIDE), small=True),
                "caption": texts[i],
                "held_out": i in held_out,
            }
            for i in picture_choices(source, int(_string(query, "page") or 0))
        ]

    def upload(self, query: Query) -> CatalogAnswer:
        """Take a viewer's own picture, as the data URI "data"; its {"key"}, or {"error"}."""
        try:
            data = base64.b64decode(_string(query, "data").partition(",")[2], validate=True)
            return {"key": self.sessions.add_picture(data)}
        except binascii.Error:
            return self._error(Problem("picture_unfit", name="", reason="broken"), query)
        except Problem as problem:
            return self._error(problem, query)

    def snapshot(self, query: Query) -> CatalogAnswer:
        """Ask a training run, the "model", to save, so that the next look is at its newest weights; {} or {"error"}."""
        try:
            run = registry.find(self.access.runs_dir, _string(query, "model").partition(":")[2])
            self.access.require_owner(run, _string(query, "visitor"))
            run.request("save")
            return {}
        except Problem as problem:
            return self._error(problem, query)

    def moment_code(self, query: Query) -> CatalogAnswer:
        """A QR code of the "url" as {"svg"}, so that a class opens on its phones what the teacher shows."""
        import segno

        return {"svg": segno.make(_string(query, "url")[:MAX_URL], micro=False).svg_inline(border=2, omitsize=True)}

    def _error(self, error: Exception, query: Query) -> CatalogAnswer:
        return {"error": problem_on_page(self.access.redact(as_problem(error)), _string(query, "lang"))}


def _string(query: Query, name: str) -> str:
    return str(query.get(name) or "")


# ---- stations -----------------------------------------------------------------------------------------------------------
def describe(spec: StationSpec, lang: str) -> StationDescription:
    """A station with its texts and controls in a language."""

    def say(key: str) -> str:
        return t(f"ui.learn.{spec.id}.{key}", lang)

    return {
        "id": spec.id,
        "title": say("title"),
        "what": say("what"),
        "uses": list(spec.uses),
        "model": f"shipped:{spec.model}",
        "follows_t": spec.follows_t,
        "controls": [_describe_control(control, say) for control in spec.controls],
    }


def _describe_control(control: Control, say: Callable[[str], str]) -> dict[str, object]:
    description: dict[str, object] = {"kind": type(control).__name__.lower(), "label": say(control.name)}
    description |= dataclasses.asdict(control)
    if isinstance(control, Choice):
        options = [[option, say(f"{control.name}.{option}")] for option in control.options]
        description |= {"options": options, "default": control.default}
    return description


def source_code(spec: StationSpec) -> str:
    """The functions that a station shows, as they are. Imports what they stand in."""
    return "\n\n".join(textwrap.dedent(inspect.getsource(_resolve(name))) for name in spec.code)


def _resolve(name: str) -> Callable | type:
    module, _, path = name.partition(":")
    value: Any = importlib.import_module(module)
    for part in path.split("."):
        value = getattr(value, part)
    return value
