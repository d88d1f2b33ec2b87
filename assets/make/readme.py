"""Fill the tables of the READMEs from the code: `python assets/make/readme.py` rewrites what stands between their markers.

The results in tests/benchmarks/README.md are the files that the scripts beside it wrote; a result that is new needs a place there.
"""

import json
import math
import pathlib
import re
import sys
from collections.abc import Callable

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(pathlib.Path(__file__).resolve().parent)]

import house_map  # noqa: E402

from ddpm_app import presets  # noqa: E402
from ddpm_app.config import FIELDS, GROUPS  # noqa: E402

ASSETS, RESULTS = ROOT / "assets", ROOT / "tests" / "benchmarks"
SHIPPED = {
    "butterflies.parquet": ("1,024 drawn specimens, 128 px, with species and captions", "butterflies.py"),
    "models/butterflies-64": ("a UNet in pixels at 64 px: 800 steps of `butterflies-64`", "models.py"),
    "models/pictures-vae": (
        "the autoencoder for pictures of any kind: learnt from drawn shapes and specimens",
        "autoencoder.py",
    ),
    "models/butterflies-vae": (
        "the autoencoder for the specimens: 2,800 steps of `autoencoder-128` from nothing",
        "models.py",
    ),
    "models/butterflies-clip": ("text encoder and tokenizer for words about butterflies", "clip.py"),
    "models/butterflies-words": (
        "a pipeline in latents by words at 128 px: a UNet after 3,000 steps of `words-128`, with the two above",
        "models.py",
    ),
}
"""What ships, with the script of assets/make that made it."""


def settings() -> str:
    """Every field of TrainConfig: name, default, bounds or choices, help."""
    rows = ["| setting | default | allowed | what it is |", "|---|---|---|---|"]
    for group in GROUPS:
        rows.append(f"| **{group}** | | | |")
        for f in (f for f in FIELDS.values() if f.group == group):
            bounds = [str(b) for b in (f.minimum, f.maximum) if b is not None]
            allowed = (
                ", ".join(map(str, f.choices))
                or " to ".join(bounds)
                or {"bool": "true, false", "ints": "list"}.get(f.kind, "text")
            )
            default = "empty" if f.default in (None, "") else f.default
            rows.append(f"| `{f.name}` | `{default}` | {allowed} | {f.help} |")
    return "\n".join(rows)


def preset_table() -> str:
    """The presets, one column each, with the settings in which they differ."""
    configs = {name: presets.build(name) for name in presets.PRESETS}
    names = [f for f in FIELDS if f != "output_dir" and len({str(getattr(c, f)) for c in configs.values()}) > 1]
    rows = ["| |" + "".join(f" `{name}` |" for name in configs), "|---|" + "---|" * len(configs)]
    rows += [
        f"| `{f}` |" + "".join(f" {'' if getattr(c, f) is None else getattr(c, f)} |" for c in configs.values())
        for f in names
    ]
    return "\n".join(rows)


def shipped() -> str:
    """What ships: size on disk, number of weights, what it is, and the script that made it."""
    rows = ["| in assets/ | MB | weights | what it is | made by |", "|---|---|---|---|---|"]
    for name, (what, script) in SHIPPED.items():
        path = ASSETS / name
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        megabytes = sum(file.stat().st_size for file in files) / 1e6
        weights = sum(count_weights(file) for file in files if file.suffix == ".safetensors")
        rows.append(
            f"| `{name}` | {megabytes:.1f} | {f'{weights:,}' if weights else ''} | {what} | [{script}](make/{script}) |"
        )
    return "\n".join(rows)


def count_weights(file: pathlib.Path) -> int:
    """The number of values in a safetensors file, from its header."""
    with open(file, "rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def result(name: str) -> Callable[[], str]:
    """The table that a benchmark wrote, without a heading of its own."""
    return lambda: re.sub(r"^# .*\n+", "", (RESULTS / f"{name}.md").read_text(encoding="utf-8")).strip()


PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "assets/README.md": {"shipped": shipped, "settings": settings, "presets": preset_table},
    "ddpm_app/README.md": {"map": house_map.drawing, "files": house_map.file_lists},
    "tests/benchmarks/README.md": {
        file.stem: result(file.stem) for file in sorted(RESULTS.glob("*.md")) if file.name != "README.md"
    },
}
"""The generated parts of each page, by the name of their markers."""


def render(page: str) -> str:
    """The text of a page, a key of PAGES, with its generated parts as they should be now."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for name, make in PAGES[page].items():
        part = make()
        text, places = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda match, part=part: f"{match[1]}{part}\n{match[2]}",
            text,
            flags=re.S,
        )
        assert places == 1, f"{page} has no place, or several, for {name}"
    return text


if __name__ == "__main__":
    for page in PAGES:
        (ROOT / page).write_text(render(page), encoding="utf-8")
