"""CFGDenoiser walks: assets/lessons/<lesson>.<lang>.md, each step with what it sets in the app."""

import functools
import json
import re
from typing import Any

from ddpm_app.i18n import ASSETS, LANGUAGES

FOLDER = ASSETS / "lessons"
ORDER = ("first-model", "why-noise", "latent-diffusion", "when-it-goes-wrong")
SETS = re.compile(r"<!--(.*?)-->", re.DOTALL)
"""The comment of a step: JSON of what it sets: "tab", "preset", "station", "model", "picture", "t", "seed", or a station's controls."""


def lessons(lang: str) -> list[dict[str, Any]]:
    """All lessons in a language (another one is English): "id", "title", "summary", and "steps" with "title", "html", "set". Raises
    ValueError for a bad file."""
    return _lessons(lang if lang in LANGUAGES else "en")


@functools.cache
def _lessons(lang: str) -> list[dict[str, Any]]:
    return [read(name, (FOLDER / f"{name}.{lang}.md").read_text(encoding="utf-8")) for name in ORDER]


def read(name: str, text: str) -> dict[str, Any]:
    """One lesson: a "# title", a paragraph of summary, and a "## title" per step. Raises ValueError that names lesson and step."""
    from markdown_it import MarkdownIt

    head, *steps = re.split(r"^## ", text, flags=re.MULTILINE)
    title, _, summary = head.strip().removeprefix("# ").partition("\n")
    drawn = []
    for step in steps:
        first, _, body = step.partition("\n")
        drawn.append({
            "title": first.strip(),
            "html": MarkdownIt("commonmark", {"html": False}).render(SETS.sub("", body).strip()),
            "set": _set(f'lesson {name}, step "{first.strip()}"', SETS.findall(body)),
        })  # fmt: skip
    return {"id": name, "title": title.strip(), "summary": summary.strip(), "steps": drawn}


def _set(where: str, comments: list[str]) -> dict[str, Any]:
    """What the one comment of a step sets."""
    if len(comments) != 1:
        raise ValueError(f"{where}: {len(comments)} comments instead of one that says what the step sets")
    try:
        found = json.loads(comments[0])
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: what it sets is not JSON ({error}): {comments[0].strip()}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{where}: what it sets is not a JSON object: {comments[0].strip()}")
    return found
