"""What the page is told beside panels: the texts and controls of all stations, lessons, formulas, code, thumbnails."""

import base64
import binascii
import dataclasses
import importlib
import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from ddpm_app.errors import Problem, as_problem
from ddpm_app.i18n import problem_text, t, text_table
from ddpm_app.images import data_uri
from ddpm_app.learn import stations
from ddpm_app.learn.lessons import lessons
from ddpm_app.learn.sessions import LearnSessions
from ddpm_app.learn.station import Choice, Control, StationSpec
from ddpm_app.runs import registry

THUMBNAIL_SIDE = 56
FRAME = "ui.learn.frame."
"""Keys of the texts around the stations begin so."""

Json = dict[str, Any]


class LearnCatalog:
    """The functions that the page may call beside LearnSessions.ask; each takes one value from a browser, which may send anything."""

    def __init__(self, sessions: LearnSessions):
        self.sessions, self.access = sessions, sessions.access

    def catalog(self, lang: str) -> Json:
        """All words of the tab in a language, the stations with their controls, the lessons."""
        words = {key.removeprefix(FRAME): t(key, lang) for key in text_table("en") if key.startswith(FRAME)}
        described = [describe(spec, lang) for spec in stations.SPECS.values()]
        return {"words": words, "stations": described, "lessons": lessons(lang)}

    def thumbnails(self, query: Mapping[str, Any]) -> Json:
        """{"pictures"} of the "model"'s data set, others with every "page"; or {"error"}."""
        try:
            return {"pictures": self._thumbnails(query)}
        except Exception as error:
            return self._error(error, query)

    def _thumbnails(self, query: Mapping[str, Any]) -> list[Json]:
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
            for i in picture_choices(source, int(query.get("page", 0)))
        ]

    def upload(self, query: Mapping[str, Any]) -> Json:
        """Take a viewer's own picture, as the data URI "data"; its {"key"}, or {"error"}."""
        try:
            data = base64.b64decode(_string(query, "data").partition(",")[2], validate=True)
            return {"key": self.sessions.add_picture(data)}
        except binascii.Error:
            return self._error(Problem("picture_unfit", name="", reason="broken"), query)
        except Problem as problem:
            return self._error(problem, query)

    def snapshot(self, query: Mapping[str, Any]) -> Json:
        """Ask a training run, the "model", to save, so that the next look is at its newest weights; {} or {"error"}."""
        try:
            run = registry.find(self.access.runs_dir, _string(query, "model").partition(":")[2])
            self.access.require_owner(run, _string(query, "visitor"))
            run.request("save")
            return {}
        except Problem as problem:
            return self._error(problem, query)

    def _error(self, error: Exception, query: Mapping[str, Any]) -> Json:
        return {"error": problem_text(self.access.redact(as_problem(error)), _string(query, "lang"))}


def _string(query: Mapping[str, Any], name: str) -> str:
    return str(query.get(name) or "")


# ---- stations -----------------------------------------------------------------------------------------------------------
def describe(spec: StationSpec, lang: str) -> Json:
    """A station with its texts and controls in a language."""

    def say(key: str) -> str:
        return t(f"ui.learn.{spec.id}.{key}", lang)

    return {
        "id": spec.id,
        "title": say("title"),
        "what": say("what"),
        "uses": list(spec.uses),
        "model": f"shipped:{spec.model}",
        "controls": [_describe_control(control, say) for control in spec.controls],
    }


def _describe_control(control: Control, say: Callable[[str], str]) -> Json:
    described = {"kind": type(control).__name__.lower(), "label": say(control.name)} | dataclasses.asdict(control)
    if isinstance(control, Choice):
        options = [[option, say(f"{control.name}.{option}")] for option in control.options]
        described |= {"options": options, "default": control.default}
    return described


def source_code(spec: StationSpec) -> str:
    """The functions that a station shows, as they are. Imports what they stand in."""
    return "\n\n".join(textwrap.dedent(inspect.getsource(_resolve(name))) for name in spec.code)


def _resolve(name: str) -> Any:
    module, _, path = name.partition(":")
    value = importlib.import_module(module)
    for part in path.split("."):
        value = getattr(value, part)
    return value
