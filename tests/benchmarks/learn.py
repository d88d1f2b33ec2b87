"""How long a station of Learn takes from control to picture.

`python tests/benchmarks/learn.py` starts the real app and a Chromium, as a student would. `--write` keeps the table in
tests/benchmarks/learn.md. About 4 minutes on two idle cores; run nothing else meanwhile. Figures only: a slow machine fails nothing.
"""

import argparse
import importlib.metadata
import os
import pathlib
import platform
import re
import shutil
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from kits.browser import CHROMIUM_ARGS, start_app  # noqa: E402
from playwright.sync_api import Page, sync_playwright  # noqa: E402

from ddpm_app.learn import stations  # noqa: E402

REPEATS = 7
BAR_SECONDS = {
    name: 1.0 for name in ("tensor", "latent", "noise", "unet", "guess", "loss", "modes", "epoch", "ema", "words")
}
"""Stations that are to show their picture within this; the others draw whole pictures or train."""
CONTROLS = {
    "tensor": ".control.toggle input", "latent": ".thumb", "epoch": ".control.slider input", "loss": ".pick-model select",
    "step": ".action", "walk": ".control.slider input", "ema": ".control.slider input", "memory": ".pick-seed input",
    "between": ".control.slider input",
}  # fmt: skip
"""What is moved at a station; t where none is named. At loss it is the model, since everything else is measured once and kept."""
SHOWN = {"loss": "figure.chart circle"}
"""What must stand on the stage before it counts as a picture, where an empty frame comes first."""
MOVE = """
([selector, turn, shown]) => new Promise((done) => {
  const panels = document.querySelector('.panels'), all = [...document.querySelectorAll(selector)].filter((each) => each.offsetParent);
  const node = selector === '.thumb' ? all[turn % all.length] : all[0];
  const watch = new MutationObserver(() => {
    if (panels.querySelector(shown)) requestAnimationFrame(() => { watch.disconnect(); done(performance.now() - began); });
  });
  watch.observe(panels, { childList: true, subtree: true, attributes: true, characterData: true });
  const began = performance.now();
  if (node.tagName === 'SELECT') {
    node.selectedIndex = (node.selectedIndex + 1) % node.options.length;
    node.dispatchEvent(new Event('change', { bubbles: true }));
  } else if (node.type === 'range') {
    const low = Number(node.min), high = Number(node.max), step = Number(node.step) || 1;
    node.value = low + step * Math.round((high - low) / step * (0.2 + 0.6 * ((turn * 0.37) % 1)));
    node.dispatchEvent(new Event('input', { bubbles: true }));
  } else if (node.type === 'number') { node.value = turn + 1; node.dispatchEvent(new Event('change', { bubbles: true })); }
  else node.click();
})
"""


def ready(page: Page, name: str) -> None:
    """Wait until a station has shown everything."""
    page.wait_for_selector(f".learn[data-station={name}][data-state=ready] .panels .panel", timeout=120_000)


def opened(page: Page, name: str) -> float:
    """Seconds from the click on a station to its first panel."""
    began = time.perf_counter()
    page.click(f".learn-path [data-station={name}]")
    page.wait_for_selector(f".learn[data-station={name}] .panels .panel", timeout=120_000)
    return time.perf_counter() - began


def moved(page: Page, name: str, turn: int) -> tuple[float, float]:
    """Seconds from moving a station's control to the first change on the stage, and to the last."""
    began = time.perf_counter()
    first = page.evaluate(MOVE, [CONTROLS.get(name, ".pick-t input"), turn, SHOWN.get(name, "*")]) / 1000
    ready(page, name)
    return first, time.perf_counter() - began


def by_station(page: Page, url: str) -> list[str]:
    """A row per station."""
    rows = ["| station | opening | control to picture | to the last | bar | holds |", "|---|---|---|---|---|---|"]
    for k, name in enumerate(stations.ORDER, 1):
        for _ in range(2):  # the first look loads the model and the data
            page.goto(f"{url}?station={'noise' if name == 'tensor' else 'tensor'}")
            ready(page, "noise" if name == "tensor" else "tensor")
            opening = opened(page, name)
            ready(page, name)
        times = [moved(page, name, turn) for turn in range(REPEATS)]
        first, last = (statistics.median(column) for column in zip(*times, strict=True))
        bar = BAR_SECONDS.get(name)
        held = "" if bar is None else "yes" if first < bar else "**no**"
        rows.append(
            f"| {k} {name} | {opening:.2f} s | {first:.2f} s | {last:.2f} s | {f'{bar:.0f} s' if bar else ''} | {held} |"
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, start_app(folder) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_ARGS)
        try:
            rows = by_station(browser.new_page(viewport={"width": 1280, "height": 900}), url)
        finally:
            browser.close()
    told = (
        f"Seconds in the browser with the shipped models, medians of {REPEATS}: from the click on a station (its model and data loaded\n"
        "before) to its first panel, from the move of a control to the first change on the stage (at 6 to the first points), and to the last."
    )
    tell(rows, told, pathlib.Path(__file__), args.write)


def tell(rows: list[str], told: str, script: pathlib.Path, write: bool) -> None:
    """Print a script's table with a sentence about it and the machine, and with ``write`` keep it beside the script."""
    text = "\n".join([*rows, "", told, "", f"`python tests/benchmarks/{script.name}`; {machine()}.", ""])
    print(text)
    if write:
        script.with_suffix(".md").write_text(text, encoding="utf-8")


def machine() -> str:
    """Cores, processor and versions."""
    found = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("gradio", "torch", "diffusers"))
    return f"{len(os.sched_getaffinity(0))} cores of {found[1] if found else platform.machine()}, python {platform.python_version()}, {versions}"


if __name__ == "__main__":
    main()
