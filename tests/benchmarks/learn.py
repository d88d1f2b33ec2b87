"""How long a station takes from control to picture, and what a student costs a training run.

`python tests/benchmarks/learn.py` starts the real app and a Chromium, as a student would. `--write` keeps the tables in
tests/benchmarks/learn.md. About 12 minutes on two idle cores; run nothing else meanwhile. Figures only: a slow machine fails nothing.
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
sys.path[:0] = [str(ROOT / "tests" / "browser"), str(ROOT), str(ROOT / "tests")]  # browser's conftest

import learn_kit  # noqa: E402
import ui_kit  # noqa: E402
from conftest import ARGS, serve  # noqa: E402
from playwright.sync_api import Page, sync_playwright  # noqa: E402

from ddpm_app import jobs, presets  # noqa: E402
from ddpm_app.ui import stations  # noqa: E402
from ddpm_app.ui.board import last_row  # noqa: E402
from ddpm_app.ui.learn.desk import Desk  # noqa: E402

REPEATS = 7
BAR_SECONDS = {name: 1.0 for name in ("tensor", "latent", "noise", "unet", "guess", "loss", "modes", "epoch", "ema", "words")}
"""Stations that are to show their picture within this; the others draw whole pictures or train."""
MODELS = {"latent": "shipped:butterflies-words", "words": "shipped:butterflies-words"}
CONTROLS = {
    "tensor": ".control.toggle input", "latent": ".thumb", "epoch": ".control.slider input", "loss": ".control.choice select",
    "step": ".action", "walk": ".control.slider input", "ema": ".control.slider input", "memory": ".pick-seed input",
    "between": ".control.slider input",
}  # fmt: skip
"""What is moved at a station; t where none is named."""
MOVE = """
([selector, turn]) => new Promise((done) => {
  const panels = document.querySelector('.panels'), all = [...document.querySelectorAll(selector)].filter((each) => each.offsetParent);
  const node = selector === '.thumb' ? all[turn % all.length] : all[0];
  const watch = new MutationObserver(() => requestAnimationFrame(() => { watch.disconnect(); done(performance.now() - began); }));
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
TRAINED = dict(max_train_steps=100_000, save_image_epochs=1_000_000, save_model_epochs=1_000_000)
"""No pictures or checkpoints within the minutes that are compared; the run outlasts them and is stopped."""
WINDOW_SECONDS, EVERY_SECONDS, ROUNDS = 60, 10, 2


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
    first = page.evaluate(MOVE, [CONTROLS.get(name, ".pick-t input"), turn]) / 1000
    ready(page, name)
    return first, time.perf_counter() - began


def by_station(page: Page, url: str) -> list[str]:
    """A row per station."""
    page.goto(f"{url}?station=tensor")
    ready(page, "tensor")
    rows = ["| station | opening | control to picture | to the last | bar | holds |", "|---|---|---|---|---|---|"]
    for k, name in enumerate(stations.ORDER, 1):
        opened(page, name)  # the first look loads the model and the data
        ready(page, name)
        page.click(f".learn-path [data-station={'noise' if name == 'tensor' else 'tensor'}]")
        ready(page, "noise" if name == "tensor" else "tensor")
        opening = opened(page, name)
        ready(page, name)
        times = [moved(page, name, turn) for turn in range(REPEATS)]
        first, last = (statistics.median(column) for column in zip(*times, strict=True))
        bar = BAR_SECONDS.get(name)
        held = "" if bar is None else "yes" if first < bar else "**no**"
        rows.append(f"| {k} {name} | {opening:.2f} s | {first:.2f} s | {last:.2f} s | {f'{bar:.0f} s' if bar else ''} | {held} |")
        print(rows[-1], flush=True)
    return rows


def beside_training() -> list[str]:
    """A row per preset: steps a second alone, and while a student moves one control every EVERY_SECONDS at one station after the other."""
    rows = ["| training | alone | with a student | slower by | bar | holds |", "|---|---|---|---|---|---|"]
    jobs.engine()
    for preset in ("first-butterflies", "latent-128"):
        with tempfile.TemporaryDirectory() as folder:
            _, studio = ui_kit.build(folder)
            studio.warm.set()
            desk, turn = Desk(studio), 0
            for name in stations.ORDER:  # models and data are loaded before
                turn += 1
                learn_kit.clicks(desk, name, turn, model=MODELS.get(name, "shipped:butterflies-64"))
            run = studio.jobs.start(presets.build(preset, **TRAINED))
            run.wish(go=True)  # it is long
            while run.status["state"] != "training" or not last_row(run):
                time.sleep(0.5)
            rates: dict[bool, list[float]] = {False: [], True: []}
            for k in range(2 * ROUNDS):
                before, began = last_row(run)["step"], time.monotonic()
                for part in range(WINDOW_SECONDS // EVERY_SECONDS):
                    if k % 2:
                        turn += 1
                        name = stations.ORDER[(k * WINDOW_SECONDS // EVERY_SECONDS + part) % len(stations.ORDER)]
                        learn_kit.clicks(desk, name, turn, t=100 + 37 * turn % 800, model=MODELS.get(name, "shipped:butterflies-64"))
                    time.sleep(max(0.0, began + (part + 1) * EVERY_SECONDS - time.monotonic()))
                rates[bool(k % 2)].append((last_row(run)["step"] - before) / (time.monotonic() - began))
            run.wish(stop=True)
            studio.jobs.join()
        alone, beside = statistics.mean(rates[False]), statistics.mean(rates[True])
        told = [", ".join(f"{rate:.2f}" for rate in rates[student]) for student in (False, True)]
        slower, held = f"{100 * (1 - beside / alone):.0f} %", "yes" if beside > 0.7 * alone else "**no**"
        rows.append(f"| {preset} | {told[0]} steps/s | {told[1]} steps/s | {slower} | 30 % | {held} |")
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        app, url = serve(folder)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGS)
        try:
            rows = by_station(browser.new_page(viewport={"width": 1280, "height": 900}), url)
        finally:
            browser.close()
            app.terminate()
            app.wait(60)
    text = "\n".join([
        "Seconds in the browser, medians of 7: from the click on a station (its model and data loaded before) to its first picture, from the",
        "move of a control to the first change on the stage, and to the last. Shipped models.", "", *rows, "",
        "Training steps a second over a minute, in turns alone and while a student moves one control every 10 s, at one station after the other.",
        "", *beside_training(), "", f"`python tests/benchmarks/learn.py`; {machine()}.", "",
    ])  # fmt: skip
    print(text)
    if args.write:
        pathlib.Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")


def machine() -> str:
    """Cores, processor and versions."""
    found = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("gradio", "torch", "diffusers"))
    return f"{len(os.sched_getaffinity(0))} cores of {found[1] if found else platform.machine()}, python {platform.python_version()}, {versions}"


if __name__ == "__main__":
    main()
