"""What a person sees of the page, and when: the first motion, what jumps, the first live drawing, the bytes, and what a
page that stands still takes of a core: beside a training there is none to spare.

`python tests/benchmarks/view.py` starts the real app and looks at it in a Chromium. `--write` keeps the table in tests/benchmarks/view.md.
About three minutes on two idle cores; run nothing else meanwhile. Figures only: a slow machine fails nothing.
"""

import argparse
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "benchmarks")]

from frechet import cpu_name  # noqa: E402
from kits.browser import CHROMIUM_ARGS, start_app  # noqa: E402
from playwright.sync_api import Browser, Page, sync_playwright  # noqa: E402

SIZES = {1280: 800, 390: 844}
"""Widths and heights of the screens."""
WATCH = """
window.shifts = []; window.moves = null;
new PerformanceObserver((list) => { for (const entry of list.getEntries()) if (!entry.hadRecentInput) shifts.push(entry.value); })
  .observe({ type: "layout-shift", buffered: true });
(function look() {
  const film = document.querySelector(".home-screen img");
  if (film && film.complete && film.naturalWidth) moves = performance.now(); else requestAnimationFrame(look);
})();
"""
"""Collects the layout shifts that no hand caused, and when the film on the first view is there: it moves by itself."""
OPEN = """() => document.querySelector('#tabs [role=tab]') && !document.querySelector('#first-paint')
  && !document.documentElement.classList.contains('opening')"""
LIVE = "() => document.querySelector('.home-screen')?.dataset.live"
SETTLED_MS, STILL_MS, PATIENCE_MS = 4000, 10_000, 120_000
IDLE_SECONDS = 12
"""After a page is closed, until the server has drawn what it had begun for it."""
BARS = {"motion": 1, "live": 4, "shift": 0.05, "bytes": 1.0, "still": 0.1}


def opened(browser: Browser, url: str, width: int) -> tuple[Page, list[int]]:
    """A new page, and the bytes of its answers as they come."""
    context = browser.new_context(viewport={"width": width, "height": SIZES[width]})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.add_init_script(WATCH)
    session, sizes = context.new_cdp_session(page), []
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda event: sizes.append(int(event["encodedDataLength"])))
    page.goto(url, wait_until="commit")
    return page, sizes


def shift(page: Page) -> float:
    """The sum of the layout shifts since the last time."""
    return float(
        page.evaluate("() => { const sum = shifts.reduce((a, b) => a + b, 0); shifts.length = 0; return sum; }")
    )


def first_view(browser: Browser, url: str, width: int) -> dict[str, float]:
    """Seconds from the HTML to motion, to the whole page and to a live drawing; layout shift until then; megabytes."""
    page, sizes = opened(browser, url, width)
    page.wait_for_function(OPEN)
    whole = page.evaluate("performance.now()")
    first_bytes = sum(sizes)
    page.wait_for_function(LIVE)
    live = page.evaluate("performance.now()")
    html = page.evaluate("performance.getEntriesByType('navigation')[0].responseEnd")
    motion = page.evaluate("moves")
    page.wait_for_timeout(SETTLED_MS)
    figures = {"motion": motion - html, "whole": whole - html, "live": live - html}
    figures = {name: value / 1000 for name, value in figures.items()}
    figures |= {"shift": shift(page), "bytes": first_bytes / 1e6}
    page.context.close()
    return figures


def tab_shifts(browser: Browser, url: str, width: int) -> dict[str, float]:
    """Layout shift of each tab that is opened for the first time, in the order of the page."""
    page, _ = opened(browser, url, width)
    page.wait_for_function(OPEN)
    page.wait_for_timeout(SETTLED_MS)
    shifts = {}
    for tab in page.get_by_role("tab").all():
        name = tab.inner_text()
        shift(page)
        tab.click()
        page.wait_for_timeout(SETTLED_MS)
        shifts[name] = shift(page)
    page.context.close()
    return shifts


def work_standing_still(browser: Browser, url: str) -> dict[str, float]:
    """The share of a core that the page's main thread takes on each tab while nobody touches it."""
    page, _ = opened(browser, url, next(iter(SIZES)))
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def seconds() -> tuple[float, float]:
        metrics = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
        return metrics["TaskDuration"], metrics["Timestamp"]

    page.wait_for_function(OPEN)
    shares = {}
    for tab in page.get_by_role("tab").all():
        tab.click()
        page.wait_for_timeout(2 * SETTLED_MS)
        (work, began), _ = seconds(), page.wait_for_timeout(STILL_MS)
        worked, ended = seconds()
        shares[tab.inner_text()] = (worked - work) / (ended - began)
    page.context.close()
    return shares


def row(what: str, value: str, bar: str, good: bool) -> str:
    """A line of the table."""
    return f"| {what} | {value} | {bar} | {'yes' if good else 'no'} |"


def measured(repeats: int) -> list[str]:
    """The table's lines."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    rows = []
    with tempfile.TemporaryDirectory() as folder, start_app(folder) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
        first_view(browser, url, next(iter(SIZES)))  # until the server has loaded its model
        for width in SIZES:
            views = []
            for _ in range(repeats):
                time.sleep(IDLE_SECONDS)
                views.append(first_view(browser, url, width))
            middle = {name: statistics.median(view[name] for view in views) for name in views[0]}
            for name, unit in (("motion", "s"), ("whole", "s"), ("live", "s"), ("shift", ""), ("bytes", "MB")):
                bar = BARS.get(name)
                text = f"under {bar} {unit}".strip() if bar else ""
                rows.append(
                    row(f"{TEXTS[name]}, {width} px", f"{middle[name]:.3g} {unit}", text, not bar or middle[name] < bar)
                )
            for tab, value in tab_shifts(browser, url, width).items():
                text = f"under {BARS['shift']}"
                rows.append(row(f"layout shift on {tab}, {width} px", f"{value:.3f}", text, value < BARS["shift"]))
        for tab, share in work_standing_still(browser, url).items():
            bar = BARS["still"]
            rows.append(row(f"{TEXTS['still']} {tab}", f"{share:.1%}", f"under {bar:.0%}", share < bar))
        browser.close()
    return rows


TEXTS = {
    "motion": "from the HTML to the first motion",
    "whole": "to the whole page",
    "live": "to the first frame of a live drawing",
    "shift": "layout shift on opening",
    "bytes": "first page",
    "still": "of a core, standing still on",
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="keep the table in view.md")
    parser.add_argument("--repeats", type=int, default=3, help="pages opened at each width")
    args = parser.parse_args()
    began = time.perf_counter()
    table = [
        "# What one sees, and when",
        "",
        "| what | figure | bar | held |",
        "|---|---|---|---|",
        *measured(args.repeats),
        "",
        f"Medians of {args.repeats} pages on a server that is warm and idle. `python tests/benchmarks/view.py`; {len(os.sched_getaffinity(0))} cores of {cpu_name()}.",
    ]
    text = "\n".join(table) + "\n"
    print(text, f"{time.perf_counter() - began:.0f} s")
    if args.write:
        pathlib.Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")
