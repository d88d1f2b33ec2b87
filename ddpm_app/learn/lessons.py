"""Guided walks: assets/lessons/<lesson>.<lang>.md, each step with what it sets in the app."""

import functools
import json
import re
from typing import Any, TypedDict

from ddpm_app.i18n import ASSETS, LANGUAGES

FOLDER = ASSETS / "lessons"
ORDER = ("first-model", "why-noise", "latent-diffusion", "when-it-goes-wrong")
COMMENT = re.compile(r"<!--(.*?)-->", re.DOTALL)
"""The comment of a step: JSON of what it sets: "tab", "preset", "station", "model", "picture", "t", "seed", or a station's controls. "do": by label, what
the buttons of the step do: settings as above, "fields" of the form on the Config tab, "press": an action of the station, "start": true."""


Settings = dict[str, Any]


class LessonAction(TypedDict):
    """A button of a step and what it sets in the app, see COMMENT."""

    label: str
    set: Settings


class LessonStep(TypedDict):
    """``set``: what it sets in the app, see COMMENT."""

    title: str
    html: str
    set: Settings
    actions: list[LessonAction]


class Lesson(TypedDict):
    """A walk in one language."""

    id: str
    title: str
    summary: str
    steps: list[LessonStep]


def lessons(lang: str) -> list[Lesson]:
    """All lessons in a language (another one is English). Raises ValueError for a bad file."""
    return _lessons(lang if lang in LANGUAGES else "en")


@functools.cache
def _lessons(lang: str) -> list[Lesson]:
    return [read(name, (FOLDER / f"{name}.{lang}.md").read_text(encoding="utf-8")) for name in ORDER]


def read(name: str, text: str) -> Lesson:
    """One lesson: a "# title", a paragraph of summary, and a "## title" per step. Raises ValueError that names lesson and step."""
    head, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
    title, _, summary = head.strip().removeprefix("# ").partition("\n")
    steps = [_read_step(name, section) for section in sections]
    return {"id": name, "title": title.strip(), "summary": summary.strip(), "steps": steps}


def _read_step(lesson: str, section: str) -> LessonStep:
    from markdown_it import MarkdownIt  # not before a lesson is read: the first page doesn't wait for it

    title, _, body = section.partition("\n")
    title = title.strip()
    settings = _read_settings(f'lesson {lesson}, step "{title}"', COMMENT.findall(body))
    html = MarkdownIt("commonmark", {"html": False}).render(COMMENT.sub("", body).strip())
    actions: list[LessonAction] = [{"label": label, "set": action} for label, action in settings.pop("do", {}).items()]
    return {"title": title, "html": html, "set": settings, "actions": actions}


def _read_settings(place: str, comments: list[str]) -> Settings:
    """What the one comment of a step sets."""
    if len(comments) != 1:
        raise ValueError(f"{place}: {len(comments)} comments instead of one that says what the step sets")
    try:
        settings = json.loads(comments[0])
    except json.JSONDecodeError as error:
        raise ValueError(f"{place}: what it sets is not JSON ({error}): {comments[0].strip()}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{place}: what it sets is not a JSON object: {comments[0].strip()}")
    return settings
