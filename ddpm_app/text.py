"""The words people read: ``t(key, lang, **values)`` looks a key up in assets/i18n/<lang>.json and fills its placeholders."""

import functools
import json
import pathlib

from ddpm_app.problems import Problem

ASSETS = pathlib.Path(__file__).resolve().parent.parent / "assets"
LANGUAGES = ("en",)


@functools.cache
def table(lang: str = "en") -> dict[str, str]:
    """The text table of one language: a flat dict from key to sentence."""
    return json.loads((ASSETS / "i18n" / f"{lang}.json").read_text(encoding="utf-8"))


def t(key: str, lang: str = "en", **values) -> str:
    """The sentence of ``key`` with ``{name}`` placeholders filled from ``values``.

    Raises KeyError when the English table lacks the key or a value is missing, so that a typing error can't reach a page.
    """
    words = table(lang if lang in LANGUAGES else "en").get(key) or table("en")[key]
    return words.format(**values)


def tell(problem: Problem, lang: str = "en") -> str:
    """A problem in plain words, naming its field and the remedy."""
    return t(f"problem.{problem.code}", lang, **{"field": problem.field, **problem.values})
