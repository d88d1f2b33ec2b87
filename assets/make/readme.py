"""Fill the README's tables from the code: `python assets/make/readme.py` rewrites what stands between the markers."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from ddpm_app import presets  # noqa: E402
from ddpm_app.config import FIELDS, GROUPS  # noqa: E402


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


def filled(text: str) -> str:
    """The README with its tables as the code has them now."""
    results = ROOT / "tests" / "benchmarks"
    measured = {
        name: (results / f"{name}.md").read_text(encoding="utf-8").strip()
        for name in ("frechet", "latent", "words", "learn", "beside")
    }
    for name, table in {"settings": settings(), "presets": preset_table(), **measured}.items():
        text, found = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda m, table=table: f"{m[1]}{table}\n{m[2]}",
            text,
            flags=re.S,
        )
        assert found == 1, f"README.md has no place for the table {name}"
    return text


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(filled(readme.read_text(encoding="utf-8")), encoding="utf-8")
