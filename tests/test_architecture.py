"""The rooms of the package: imports point one way, heavy libraries stay out of the first second, what is public is explained."""

import ast
import json
import pathlib
import subprocess
import sys

import pytest
from kits import ROOT

PACKAGE = ROOT / "ddpm_app"
ROOMS = [
    "problems",
    "text",
    "config",
    "presets",
    "runs",
    "specimens",
    "data",
    "diffusion",
    "model",
    "sample",
    "hub",
    "train",
    "probes",
    "jobs",
    "plots",
    "doctor",
    "ui",
    "terminal",
    "cli",
    "__main__",
]
"""From the ground up: a room imports only rooms before it."""
LIGHT = ["config", "presets", "runs", "jobs", "plots", "doctor", "ui.page", "cli"]
"""What the page and the terminal import before anybody trains."""
HEAVY = {"torch", "torchvision", "datasets", "diffusers", "accelerate", "transformers"}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(file: pathlib.Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file: pathlib.Path) -> set[str]:
    """Full names of all modules that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def rooms_of(file: pathlib.Path) -> set[str]:
    return {name.split(".")[1] for name in imports(file) if name.startswith("ddpm_app.")}


def test_every_file_is_in_a_room():
    assert {room(file) for file in FILES} <= {*ROOMS, "__init__"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_below_it(file):
    mine = room(file)
    allowed = set(ROOMS[: ROOMS.index(mine) + 1]) if mine in ROOMS else set()
    # the events and the control that train() speaks in are plain records without torch: rooms above may name them
    assert rooms_of(file) <= allowed | {"__init__"}


def test_gradio_is_known_to_the_page_only():
    users = {room(file) for file in FILES if any(name.split(".")[0] == "gradio" for name in imports(file))}
    assert users <= {"ui"}


def test_nothing_heavy_is_imported_before_it_is_needed():
    """In one fresh process: the light modules, and `train` up to the moment when the work begins."""
    code = f"""
import importlib, json, pathlib, sys, tempfile
from ddpm_app import cli, jobs
def work(run, control):
    print(json.dumps(sorted(p.name for p in run.path.iterdir())))
    return iter(())
jobs.work = work
with tempfile.TemporaryDirectory() as folder:
    cli.main(["train", "--preset", "quick-check", "--runs_dir", folder])
print(json.dumps(sorted({HEAVY} & sys.modules.keys())))
for name in {LIGHT}:
    importlib.import_module("ddpm_app." + name)
    print(json.dumps([name, *sorted({HEAVY} & sys.modules.keys())]))
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert child.returncode == 0, child.stderr
    files, heavy, *rest = (json.loads(line) for line in child.stdout.splitlines() if line.startswith("["))
    assert {"config.json", "status.json"} <= set(files) and heavy == []
    assert rest == [[name] for name in LIGHT]


def test_what_is_public_is_explained():
    bare = []
    for file in FILES:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        public = [
            node
            for node in tree.body
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
        ]
        bare += [
            f"{file.name}: {getattr(node, 'name', 'the file')}"
            for node in (tree, *public)
            if not ast.get_docstring(node)
        ]
    assert not bare


def test_every_code_that_is_raised_has_its_words():
    """Problem("code"), Notice("code") and t("key") with a literal are in the text table."""
    words = json.loads((ROOT / "assets" / "i18n" / "en.json").read_text(encoding="utf-8"))
    lacking = set()
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and node.args
                and isinstance(node.args[0], ast.Constant)
                and isinstance(node.args[0].value, str)
            ):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                key = {"Problem": "problem.", "Notice": "notice.", "t": ""}.get(called)
                if key is not None and key + node.args[0].value not in words:
                    lacking.add(f"{file.relative_to(ROOT)}: {key}{node.args[0].value}")
    assert not lacking
