"""The words people read: ``t(key, lang, **values)`` looks a key up in assets/i18n/<lang>.json and fills its placeholders."""

import functools
import json
import pathlib
from typing import Any

from ddpm_app.errors import Problem

PACKAGE = pathlib.Path(__file__).resolve().parent
ASSETS = next((path for path in (PACKAGE / "assets", PACKAGE.parent / "assets") if path.is_dir()), PACKAGE / "assets")
"""Inside an installed package, beside it in the source tree."""
LANGUAGES = ("en", "zh")


@functools.cache
def text_table(lang: str = "en") -> dict[str, str]:
    """The text table of one language: a flat dict from key to sentence."""
    return json.loads((ASSETS / "i18n" / f"{lang}.json").read_text(encoding="utf-8"))


def t(key: str, lang: str = "en", **values: Any) -> str:
    """The sentence of ``key`` with ``{name}`` placeholders filled from ``values``; that of ``key``.singular where the count is 1 and the language
    says it otherwise.

    Raises KeyError when the English table lacks the key or a value is missing, so that a typing error can't reach a page.
    """
    table = text_table(lang if lang in LANGUAGES else "en")
    text = (values.get("count") == 1 and table.get(f"{key}.singular")) or table.get(key) or text_table("en")[key]
    # a setting's help may show the braces that its value takes
    return text if key.startswith("field.") else text.format(**values)


def problem_text(problem: Problem, lang: str = "en") -> str:
    """A problem in plain words, naming its field and the remedy. Its value ``lines``, (notice's code, values) each, become sentences."""
    values = {"field": problem.field, **problem.values}
    if "lines" in values:
        values["lines"] = " ".join(t(f"notice.{code}", lang, **filling) for code, filling in values["lines"])
    return t(f"problem.{problem.code}", lang, **values)


def problem_on_page(problem: Problem, lang: str = "en") -> str:
    """As ``problem_text``, with settings named by their labels on the page instead of their names in Python."""
    return problem_text(Problem(problem.code, **labelled({"field": problem.field, **problem.values}, lang)), lang)


def labelled(values: dict[str, Any], lang: str) -> dict[str, Any]:
    """The values of a problem for the page: a "field" or an "other" that is a setting by its label's first line, in quotes."""
    return values | {key: _label_of(values[key], lang) for key in ("field", "other") if key in values}


def _label_of(setting: str | None, lang: str) -> str | None:
    for key in (f"ui.name.{setting}", f"ui.ask.{setting}", f"ui.sample.{setting}"):
        if key in text_table("en"):
            return f"“{t(key, lang).splitlines()[0]}”"
    return setting


def text_for_code(key: str, lang: str, values: dict[str, Any], otherwise: str) -> str:
    """The sentence of a code that a run's file holds; another version's unknown code or values show as they are."""
    try:
        return t(key, lang, **values)
    except (KeyError, IndexError, ValueError, TypeError):
        return f"{otherwise} {values}"


def format_duration(seconds: float, lang: str = "en") -> str:
    """A length of time in words that fit it: "8 s", "4 min 10 s", "2 h 05 min", "52 h"."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return t("ui.time.seconds", lang, seconds=rest)
    if minutes < 60:
        return t("ui.time.minutes", lang, minutes=minutes, seconds=rest)
    if minutes < 600:
        return t("ui.time.hours_minutes", lang, hours=minutes // 60, minutes=minutes % 60)
    return t("ui.time.hours", lang, hours=round(seconds / 3600))


def format_bytes(count: float) -> str:
    """A number of bytes: 12 kB, 3.4 MB, 1.2 GB."""
    unit, size = ("GB", 1e9) if count >= 1e9 else ("MB", 1e6) if count >= 1e6 else ("kB", 1e3)
    return f"{count / size:.{1 if count < 10 * size else 0}f} {unit}"


def format_count(count: float) -> str:
    """A large number: 860k, 5.4M, 113M."""
    return f"{count / 1e6:.3g}M" if count >= 1e6 else f"{count / 1e3:.3g}k"
