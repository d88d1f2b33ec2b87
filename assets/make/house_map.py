"""The map of the package, drawn from its imports: which room stands on which, and what each file is, in the first sentence of its docstring.

A room is a file or a folder right under ddpm_app/. `python assets/make/house_map.py` prints the map; assets/make/readme.py puts it into
ddpm_app/README.md.
"""

import ast
import functools
import pathlib
import re

PACKAGE = pathlib.Path(__file__).resolve().parent.parent.parent / "ddpm_app"


def room_of(file: pathlib.Path) -> str:
    """The room that a file of the package stands in; "" for the package's own ``__init__``."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py").replace("__init__", "")


@functools.cache
def tree_of(file: pathlib.Path) -> ast.Module:
    """The parsed source of a file."""
    return ast.parse(file.read_text(encoding="utf-8"))


def rooms_imported(file: pathlib.Path) -> set[str]:
    """Rooms that a file imports from, at its top or inside a function, its own among them."""
    names = set()
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("ddpm_app.")}


def first_sentence(file: pathlib.Path) -> str:
    """The first sentence of a file's docstring, on one line."""
    text = " ".join((ast.get_docstring(tree_of(file)) or "").split())
    return (
        re.split(r"\. (?=[A-Za-z`])", text)[0].rstrip(".").replace("|", r"\|").replace("<", "&lt;").replace("``", "`")
    )


@functools.cache
def rooms() -> dict[str, list[pathlib.Path]]:
    """The files of each room."""
    files: dict[str, list[pathlib.Path]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        if room := room_of(file):
            files.setdefault(room, []).append(file)
    return files


def imports() -> dict[str, set[str]]:
    """The other rooms that each room imports from."""
    return {room: set().union(*map(rooms_imported, files)) & rooms().keys() - {room} for room, files in rooms().items()}


def floors(below: dict[str, set[str]]) -> dict[str, int]:
    """How high each room stands: 0 where it imports no other, else one above the highest that it imports from."""
    heights: dict[str, int] = {}
    while len(heights) < len(below):
        left = below.keys() - heights.keys()
        ready = {room for room in left if below[room] <= heights.keys()}
        ready = ready or {
            min(left, key=lambda room: (len(below[room] - heights.keys()), room))
        }  # two that import each other
        heights |= {
            room: max((heights[other] + 1 for other in below[room] & heights.keys()), default=0) for room in ready
        }
    return heights


def drawing() -> str:
    """The floors of the house from the roof down, and below them who imports whom, as Markdown."""
    below, files = imports(), rooms()
    heights = floors(below)
    order = sorted(below, key=lambda room: (heights[room], room))
    top = max(heights.values())
    lines = [f"{n:2}  " + "  ".join(room for room in order if heights[room] == n) for n in range(top, -1, -1)]
    rows = ["| floor | room | what it is | imports |", "|---|---|---|---|"]
    for room in order:
        home = next((file for file in files[room] if file.name == "__init__.py"), files[room][0])
        name = room + ("/" if home.name == "__init__.py" else ".py")
        others = ", ".join(sorted(below[room], key=order.index))
        rows.append(f"| {heights[room]} | [`{name}`]({name}) | {first_sentence(home)} | {others} |")
    return "\n".join(["```", *lines, "```", "", *rows])


def file_lists() -> str:
    """One line per file of every room that is a folder, as Markdown."""
    parts = []
    for room, files in rooms().items():
        listed = [file for file in files if file.name != "__init__.py"]
        if files != listed:
            parts += [f"\n**{room}/**\n"]
            parts += [f"- `{file.relative_to(PACKAGE).as_posix()}`: {first_sentence(file)}" for file in listed]
    return "\n".join(parts).strip()


if __name__ == "__main__":
    print(drawing(), file_lists(), sep="\n\n")
