"""The rooms of the package: imports point one way, heavy libraries stay out of the first second, names say what they hold, what is
public is explained. Each property is one test that lists all offenders."""

import ast
import json
import pathlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator

import pytest
from kits import ROOT

PACKAGE = ROOT / "ddpm_app"
ROOMS = """
    errors i18n files images console network device_lock config presets device specimens runs data diffusion model sample hub train status jobs access
    plots film drawing model_choices live_drawing expectations snippet archive learn doctor ui launch terminal cli __main__
""".split()
"""From the ground up: a room imports only rooms before it."""
LIGHT = """
    config presets runs.monitor runs.registry jobs status access plots film model_choices expectations model.locate model.describe data.open_datasets
    learn.sessions doctor ui.page launch terminal cli
""".split()
"""What the page and the terminal import before anybody trains."""
HEAVY = {"torch", "torchvision", "datasets", "diffusers", "accelerate", "transformers"}
WITHOUT_GRADIO = {"html.py", "theme.py", "first_paint.py", "__init__.py"}
"""Files of ui/ that need no Gradio."""
NO_NAMES = set("asked found told known given shown kept seen wanted said one some here there".split())
"""Participles say when a value came to be, not what it is; the others say nothing."""
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {file: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}


def name_of(file: pathlib.Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


def room(file: pathlib.Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file: pathlib.Path) -> set[str]:
    """Full names of all modules that a file imports, at its top or inside a function."""
    modules = set()
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file} has a relative import"
            modules |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return modules


def imports_gradio(file: pathlib.Path) -> bool:
    """Itself, or through a class of ui/components/base.py that it extends."""
    return any(
        name.split(".")[0] == "gradio" or name.startswith("ddpm_app.ui.components.base") for name in imports(file)
    )


# ---- rooms ------------------------------------------------------------------------------------------------------------
def test_every_file_is_in_a_room():
    assert {room(file) for file in FILES} <= {*ROOMS, "__init__"}


def test_a_room_imports_only_rooms_below_it():
    upwards = []
    for file in FILES:
        allowed = ROOMS[: ROOMS.index(room(file)) + 1] if room(file) in ROOMS else []
        imported = {name.split(".")[1] for name in imports(file) if name.startswith("ddpm_app.")}
        upwards += [f"{name_of(file)} imports {name}" for name in sorted(imported - {*allowed, "__version__"})]
    assert not upwards


def test_gradio_is_the_page_s_alone_and_the_page_is_gradio():
    outside = [name_of(file) for file in FILES if room(file) != "ui" and imports_gradio(file)]
    inside = [name_of(file) for file in FILES if room(file) == "ui" and not imports_gradio(file)]
    assert not outside
    assert not [name for name in inside if pathlib.PurePath(name).name not in WITHOUT_GRADIO]


def test_scripts_and_styles_lie_beside_the_file_that_reads_them():
    """film.js beside film.py; stage_panels.js is a part of stage.js."""
    alone = []
    for file in (PACKAGE / "ui").rglob("*"):
        stems = [python.stem for python in file.parent.glob("*.py")]
        if file.suffix in (".js", ".css") and not any(f"{file.stem}_".startswith(f"{stem}_") for stem in stems):
            alone.append(name_of(file))
    assert not alone


SHEETS = sorted([*(ROOT / "assets" / "styles").glob("*.css"), *(ROOT / "ddpm_app" / "ui").rglob("*.css")])


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.stem)
def test_type_has_five_sizes(sheet):
    """Text in a drawing has the drawing's units, and a prompt is 16 px: phones zoom in on smaller inputs."""
    for rule, declarations in re.findall(r"([^{}]*)\{([^{}]*)\}", sheet.read_text(encoding="utf-8")):
        for size in re.findall(r"font-size:\s*([^;!]+)", declarations):
            is_free = re.search(r"\btext\b", rule) or "prompt" in rule and size.strip() == "16px"
            assert is_free or re.fullmatch(
                r"var\(--(tiny|small|body|title|display)\)|inherit|[\d.]+em", size.strip()
            ), rule


def test_every_folder_with_code_is_in_the_wheel():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    packages = {file.parent.relative_to(ROOT).as_posix().replace("/", ".") for file in FILES}
    assert set(settings["packages"]) == packages | {"ddpm_app.assets"}


# ---- what is imported when --------------------------------------------------------------------------------------------
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


# ---- names and words --------------------------------------------------------------------------------------------------
def bound_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, name) of every name that a file binds."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield line, name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield line, name
            case ast.arg(arg=name) | ast.ExceptHandler(name=str(name)):
                yield line, name
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                yield line, name
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                yield from ((line, alias.asname) for alias in aliases if alias.asname)


def test_names_say_what_they_hold():
    offenders = [
        f"{name_of(file)}:{line} {name}"
        for file, tree in TREES.items()
        for line, name in bound_names(tree)
        if name.strip("_") in NO_NAMES
    ]
    assert not offenders, "\n".join([f"{len(offenders)} names say nothing:", *offenders])


def test_what_is_public_is_explained():
    bare = []
    for file, tree in TREES.items():
        public = [n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and not n.name.startswith("_")]
        unexplained = [node for node in (tree, *public) if not ast.get_docstring(node)]
        bare += [f"{name_of(file)}: {getattr(node, 'name', 'the file')}" for node in unexplained]
    assert not bare


def test_every_code_that_is_raised_has_its_words():
    """Problem("code"), Notice("code") and t("key") with a literal are in the text table."""
    texts = json.loads((ROOT / "assets" / "i18n" / "en.json").read_text(encoding="utf-8"))
    prefixes = {"Problem": "problem.", "Notice": "notice.", "t": ""}
    lacking = set()
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            match node:
                case ast.Call(
                    func=ast.Name(id=name) | ast.Attribute(attr=name), args=[ast.Constant(value=str(code)), *_]
                ):
                    if name in prefixes and prefixes[name] + code not in texts:
                        lacking.add(f"{name_of(file)}: {prefixes[name]}{code}")
    assert not lacking
