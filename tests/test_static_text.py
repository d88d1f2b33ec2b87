"""Every sentence the page asks for exists."""

import ast
import re
import string

import pytest
from kits import ROOT

from ddpm_app import i18n, presets
from ddpm_app.config import GROUPS
from ddpm_app.runs.run import STATES

FILES = [*sorted((ROOT / "ddpm_app" / "ui").glob("*.py")), ROOT / "app.py"]


def keys_of(path):
    """First arguments of t(...) and words(...): whole texts, and f-strings as patterns."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Call)
            and getattr(node.func, "id", getattr(node.func, "attr", "")) in ("t", "words")
            and node.args
        ):
            choices = (
                [node.args[0].body, node.args[0].orelse] if isinstance(node.args[0], ast.IfExp) else [node.args[0]]
            )
            for key in choices:
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield re.escape(key.value)
                elif isinstance(key, ast.JoinedStr):
                    yield "".join(
                        re.escape(part.value) if isinstance(part, ast.Constant) else r"[\w-]+" for part in key.values
                    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_key_is_in_the_table(path):
    table = i18n.text_table("en")
    missing = [key for key in keys_of(path) if not any(re.fullmatch(key, known) for known in table)]
    assert not missing


@pytest.mark.parametrize("kind, names", [("state", STATES), ("preset", presets.PRESETS), ("group", GROUPS)])
def test_every_name_has_words(kind, names):
    assert {f"ui.{kind}.{name}" for name in names} <= i18n.text_table("en").keys()


def test_placeholders_can_be_filled():
    for key, told in i18n.text_table("en").items():
        assert all(name is None or name.isidentifier() for _, name, _, _ in string.Formatter().parse(told)), key
