"""The README says what is so."""

import importlib.util
import re

from kits import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def _script():
    spec = importlib.util.spec_from_file_location("make_readme", ROOT / "assets" / "make" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_are_those_of_the_code():
    assert _script().filled(README) == README, "run python assets/make/readme.py"


def test_every_picture_and_script_named_is_there():
    named = re.findall(r"\]\((assets/[^)]+)\)", README) + re.findall(r"(?:tests|assets|ddpm_app)/[\w/.-]+\.\w+", README)
    assert named
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_front_matter_of_a_space():
    front = dict(line.split(": ", 1) for line in README.split("---")[1].strip().splitlines())
    assert (front["sdk"], front["app_file"], front["python_version"]) == ("gradio", "app.py", '"3.12"')
    assert front["sdk_version"].startswith("6.")


def test_the_two_commands_are_there():
    assert "pip install -r requirements.txt && python app.py\n" in README
    assert "pip install -r requirements.txt -r tests/requirements.txt && python -m pytest tests\n" in README
