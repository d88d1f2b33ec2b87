"""The size of the house, counted: what stands where, what is imported late, what has no type.

`python tests/benchmarks/house.py` prints a table beside the counts of eb4a114, the commit before the rooms were made; `--write` puts it
into CONTRIBUTING.md; `--root` counts another checkout. Reads files only.
"""

import argparse
import ast
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "CONTRIBUTING.md"
BEFORE = {
    "files in `ui/` without Gradio": (31, 31),
    "lines of `ui/`": (7760, 8675),
    "imports inside functions": (181, 181),
    "lines with `Any`": (502, 508),
    "lines of the package": (15454, 17344),
    "words of README.md": (5000, 5000),
}
"""Counted at eb4a114: as it was, and after the formatter of today."""


def imports(tree: ast.AST) -> list[ast.Import | ast.ImportFrom]:
    """All import statements in a tree."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def uses_gradio(tree: ast.AST) -> bool:
    """Whether a file imports gradio, or the project's own components, which are gradio's."""
    names = [alias.name for node in imports(tree) for alias in node.names]
    modules = [node.module or "" for node in imports(tree) if isinstance(node, ast.ImportFrom)]
    return any(name.split(".")[0] == "gradio" or name.startswith("ddpm_app.ui.components.") for name in names + modules)


def late_imports(tree: ast.AST) -> int:
    """Import statements inside functions."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return len({id(node) for function in functions for node in imports(function)})


def count(root: pathlib.Path) -> dict[str, int]:
    """The counts of a checkout, in the order of BEFORE. A package's ``__init__`` without code counts as no file of ``ui/``."""
    package = root / "ddpm_app"
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(package.rglob("*.py"))}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    page = [path for path in texts if (package / "ui") in path.parents]
    lines = {path: text.count("\n") for path, text in texts.items()}
    counts = (
        sum(not uses_gradio(trees[path]) for path in page if path.name != "__init__.py"),
        sum(lines[path] for path in page),
        sum(map(late_imports, trees.values())),
        sum(bool(re.search(r"\bAny\b", line)) for text in texts.values() for line in text.splitlines()),
        sum(lines.values()),
        len((root / "README.md").read_text(encoding="utf-8").split()),
    )
    return dict(zip(BEFORE, counts, strict=True))


def table(counts: dict[str, int]) -> str:
    """The counts beside those of eb4a114, in Markdown."""
    rows = [
        f"| {name} | {before:,} | {formatted:,} | {counts[name]:,} |" for name, (before, formatted) in BEFORE.items()
    ]
    return "\n".join(["| | before | before, formatted | after |", "|---|---|---|---|", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="the checkout to count")
    parser.add_argument("--write", action="store_true", help="put the table into CONTRIBUTING.md")
    args = parser.parse_args()
    text = table(count(args.root))
    print(text)
    if args.write:
        page, places = re.subn(
            r"(<!-- house -->\n).*?(<!-- /house -->)",
            lambda match: f"{match[1]}{text}\n{match[2]}",
            PAGE.read_text(encoding="utf-8"),
            flags=re.S,
        )
        assert places == 1, f"{PAGE.name} has no place for the table"
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
