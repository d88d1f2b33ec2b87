"""No page of the repository says what isn't so."""

import ast
import functools
import importlib.util
import re
import shlex

import pytest
from kits import ROOT

from ddpm_app import cli

PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "ddpm_app/README.md",
    "assets/README.md",
    "tests/README.md",
    "tests/benchmarks/README.md",
]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MOST_WORDS = 1800
IN_A_RUN = {"config.json", "status.json", "control.json", "metrics.jsonl", "pipeline.py", "pipeline/"}
"""Names in backticks that are files of a run."""
SUFFIXES = "py|js|css|json|md|yml|yaml|toml|txt|parquet|png|webp"


def prose(page):
    """What a person wrote of a page: without its generated parts."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.sub(r"<!-- ([\w-]+) -->\n.*?<!-- /\1 -->", "", text, flags=re.S)


def generator():
    spec = importlib.util.spec_from_file_location("make_readme", ROOT / "assets" / "make" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- what is generated ----------------------------------------------------------------------------------------------
def test_generated_parts_are_up_to_date():
    make = generator()
    stale = [page for page in make.PAGES if make.render(page) != (ROOT / page).read_text(encoding="utf-8")]
    assert not stale, "run python assets/make/readme.py"


def test_every_benchmark_is_told_of():
    page = prose("tests/benchmarks/README.md")
    scripts = [path for path in (ROOT / "tests" / "benchmarks").glob("*.py") if not path.with_suffix(".md").exists()]
    assert [path.name for path in scripts if f"`{path.name}`" not in page] == []


# ---- what it names --------------------------------------------------------------------------------------------------
@functools.cache
def names_in(path):
    """Functions, classes, methods ("Class.method"), fields and constants of a file."""
    names = set()

    def collect(body, prefix):
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                collect(node.body, f"{prefix}{node.name}.")
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", ast.Pass())]
            stored = (name for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))
            names.update(prefix + name.id for name in stored)

    collect(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return names


def find(page, name):
    """The file that a page means by a name: seen from the page, from the package or from the root; None where there is none."""
    folders = ((ROOT / page).parent, ROOT / "ddpm_app", ROOT)
    return next((folder / name for folder in folders if (folder / name).exists()), None)


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_name_in_backticks_exists(page):
    spans = re.findall(rf"`((?:[\w.-]+/)*[\w.-]+\.(?:{SUFFIXES}))(?::([\w.]+))?`", prose(page))
    spans += [(path, "") for path in re.findall(r"`((?:[\w.-]+/)+)`", prose(page))]
    wrong = [
        f"{path}:{name}"
        for path, name in spans
        if path not in IN_A_RUN and ((file := find(page, path)) is None or name and name not in names_in(file))
    ]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / page).parent.joinpath(link.partition("#")[0]).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_taken(page, capsys):
    """Each verb and each option of the terminal; each script that is run by python."""
    text = prose(page)
    lines = re.findall(r"^(?:python|torchrun .*?) -m ddpm_app (.+)$", text, re.M)
    lines += re.findall(r"`python -m ddpm_app (.+?)`", text)
    wrong = []
    for line in lines:
        words = shlex.split(line, comments=True)
        with pytest.raises(SystemExit):
            cli.main([*(word for word in words[:1] if not word.startswith("-")), "--help"])
        options = set(re.findall(r"--\w+", capsys.readouterr().out))
        wrong += [f"{line}: {word}" for word in words if word.startswith("--") and word not in options]
    scripts = re.findall(r"\bpython ((?:\w+/)*\w+\.py)\b", text)
    assert wrong + [script for script in scripts if not (ROOT / script).is_file()] == []


# ---- the README itself ----------------------------------------------------------------------------------------------
def test_front_matter_of_a_space():
    front = dict(line.split(": ", 1) for line in README.split("---")[1].strip().splitlines())
    assert (front["sdk"], front["app_file"], front["python_version"]) == ("gradio", "app.py", '"3.12"')
    assert front["sdk_version"].startswith("6.")


def test_the_two_commands_are_there():
    assert "pip install -r requirements.txt && python app.py\n" in README
    assert (
        "pip install -r requirements.txt -r tests/requirements.txt && python -m pytest tests --ignore tests/browser -n 2 --dist loadfile && python -m pytest tests/browser\n"
        in README
    )


def test_it_is_two_screens_without_a_table():
    assert len(README.split()) < MOST_WORDS and "|---" not in README
