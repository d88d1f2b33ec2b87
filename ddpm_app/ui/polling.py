"""The page's tick: what changes at every step travels in one small answer, the rest in a second request when there is news.

The browser holds the prints of what it shows, so that a lost answer is sent again and nothing else is.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from typing import Any

import gradio as gr

from ddpm_app.runs import monitor
from ddpm_app.ui import header
from ddpm_app.ui.components.base import ScriptedHTML
from ddpm_app.ui.state import App, Page, PolledPart

TICK_SECONDS, IDLE_SECONDS = 1, 3
KEPT = 256
"""Drawings that are kept for a moment."""
PRINT = 6
"""Hexadecimal digits of a print."""


class Feed(ScriptedHTML):
    """Takes {"news", "stale"}: hands the news to the live parts, and clicks itself when others are stale (see polling.js)."""


class Ticker:
    """The parts of the page as all viewers see them: drawn at most once a second for the same inputs."""

    def __init__(self, app: App, ticks: Sequence[PolledPart]):
        self.app, self.ticks = app, ticks
        self._drawn: dict[tuple, tuple[float, list[Any], str]] = {}

    def parts(self, live: bool, snapshot: dict[str, Any], lang: str, given: Sequence[Any]) -> tuple[list[Any], str]:
        """Values of the live parts or of the others, and their prints in one string."""
        values, prints, at = [], "", 0
        for tick in self.ticks:
            mine = given[at : at + len(tick.inputs)]
            at += len(tick.inputs)
            if tick.live == live:
                drawn, told = self._draw(tick, snapshot, lang, mine)
                values += drawn
                prints += told
        return values, prints

    def _draw(
        self, tick: PolledPart, snapshot: dict[str, Any], lang: str, given: Sequence[Any]
    ) -> tuple[list[Any], str]:
        key, now = (tick.draw, snapshot["version"], lang, *given), time.monotonic()
        seen, values, prints = self._drawn.get(key, (0.0, [], ""))
        if not values or now - seen >= monitor.REFRESH_SECONDS:
            drawn = tick.draw(snapshot, lang, *given)
            values = [drawn.get(part, gr.skip()) for part in tick.outputs] if isinstance(drawn, dict) else list(drawn)
            prints = "".join(map(_print, values))
            if len(self._drawn) >= KEPT:
                self._drawn = {}
            self._drawn[key] = (now, values, prints)
        return values, prints

    def tick(self, selected: str, lang: str, seen: str, held: str, *given: Any) -> list[Any]:
        """The news of the live parts with whether others are stale, and the live parts' prints."""
        snapshot = self.app.access.redact_snapshot(self.app.monitor.snapshot(selected))
        values, prints = self.parts(True, snapshot, lang, given)
        names = [name for tick in self.ticks if tick.live for name in tick.outputs]
        told: dict[str, Any] = {"news": dict(_changed(names, values, prints, seen))}
        if held != self.pace(snapshot) + self.parts(False, snapshot, lang, given)[1]:
            told["stale"] = time.time()
        return [told, prints]

    def rest(self, selected: str, lang: str, held: str, *given: Any) -> list[Any]:
        """Prints of the other parts, the timer, and their values; what the browser has is skipped."""
        snapshot = self.app.access.redact_snapshot(self.app.monitor.snapshot(selected))
        values, prints = self.parts(False, snapshot, lang, given)
        pace = self.pace(snapshot)
        news = dict(_changed(range(len(values)), values, prints, (held or "")[1:]))
        timer = gr.skip() if held and held[0] == pace else gr.Timer(int(pace))
        return [pace + prints, timer, *(news.get(k, gr.skip()) for k in range(len(values)))]

    def pace(self, snapshot: dict[str, Any]) -> str:
        """Seconds between two ticks, in one digit."""
        return str(TICK_SECONDS if header.running(self.app, snapshot).get("active") else IDLE_SECONDS)


def connect(app: App, shared: Page) -> None:
    """Hang all parts on the page's load and on its timer."""
    ticker, timer = Ticker(app, shared.polled), gr.Timer(TICK_SECONDS)
    held = gr.Textbox(visible=False)
    extra = [component for tick in shared.polled for component in tick.inputs]
    outputs = [component for tick in shared.polled if not tick.live for component in tick.outputs]

    def load(selected: str, visitor: str, lang: str, *given: Any) -> list[Any]:
        rest = ticker.rest(selected, lang, "", *given)
        return [visitor or header.new_visitor(), *ticker.tick(selected, lang, "", rest[0], *given), *rest]

    options: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": None, "api_visibility": "private"}
    news, others, given = [shared.feed, shared.fingerprints], [held, timer, *outputs], [shared.selected, shared.lang]
    for opened in (shared.language_ready, shared.language_changed):
        opened.then(
            load, [shared.selected, shared.visitor, shared.lang, *extra], [shared.visitor, *news, *others], **options
        )
    # One plain request instead of the queue's two, and the values as they are.
    direct = options | {"queue": False, "preprocess": False, "postprocess": False}
    timer.tick(ticker.tick, [*given, shared.fingerprints, held, *extra], news, **direct)
    shared.feed.click(ticker.rest, [*given, held, *extra], others, **options)


def _changed(names: Sequence[Any], values: list[Any], prints: str, old: str | None):
    """Those of ``values`` whose print is not the one in ``old``, with their names."""
    old = old if old and len(old) == len(prints) else " " * len(prints)
    for k, (name, value) in enumerate(zip(names, values, strict=True)):
        at = slice(PRINT * k, PRINT * (k + 1))
        if prints[at] != old[at]:
            yield name, value


def _print(value: Any) -> str:
    told = json.dumps(value, sort_keys=True, default=repr)
    return hashlib.blake2b(told.encode(), digest_size=PRINT // 2).hexdigest()
