"""Every sentence that the code asks for exists."""

import ast
import re
import string

import pytest
from kits import ROOT

from ddpm_app import i18n, presets
from ddpm_app.config import GROUPS
from ddpm_app.runs.run import STATES

FILES = [*sorted((ROOT / "ddpm_app").rglob("*.py")), ROOT / "app.py"]


def keys_of(path):
    """First arguments of t(...) and label(...), as patterns: whole texts, f-strings with anything in their gaps."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id="t" | "label") | ast.Attribute(attr="t" | "label"), args=[key, *_]):
                for choice in (key.body, key.orelse) if isinstance(key, ast.IfExp) else (key,):
                    if isinstance(choice, ast.Constant) and isinstance(choice.value, str):
                        yield re.escape(choice.value)
                    elif isinstance(choice, ast.JoinedStr):
                        yield "".join(
                            re.escape(p.value) if isinstance(p, ast.Constant) else r"[\w-]+" for p in choice.values
                        )


def test_every_key_is_in_the_table():
    keys = {(path.name, key) for path in FILES for key in keys_of(path)}
    table = "\n".join(i18n.text_table("en"))
    assert len(keys) > 300
    assert not sorted(key for key in keys if not re.search(f"^{key[1]}$", table, re.MULTILINE))


@pytest.mark.parametrize(("kind", "names"), [("state", STATES), ("preset", presets.PRESETS), ("group", GROUPS)])
def test_every_name_has_words(kind, names):
    assert {f"ui.{kind}.{name}" for name in names} <= i18n.text_table("en").keys()


def test_placeholders_can_be_filled():
    def names(text):
        return [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]

    table = i18n.text_table("en")
    assert not [key for key, text in table.items() if not all(map(str.isidentifier, names(text)))]
