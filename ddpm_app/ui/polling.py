"""The page's poll: what changes at every step travels in one small answer, the rest in a second request when there is news.

The browser holds a version of the live parts and one of the others; the server remembers what belongs to the latest versions, so that a
lost answer is sent again and nothing else is.
"""

import dataclasses
import functools
import hashlib
import json
import math
import threading
import time
from typing import Any

import gradio as gr
from gradio.blocks import Block

from ddpm_app.runs import monitor
from ddpm_app.runs.records import RunSnapshot
from ddpm_app.ui import header
from ddpm_app.ui.components.base import ScriptedHTML
from ddpm_app.ui.state import PARALLEL, App, Page, PolledPart, Updates, Values

TICK_SECONDS, IDLE_SECONDS = 1, 3
POLLS_PER_SECOND = 5
"""Polls of all viewers together while a run trains: beyond it they come less often, so that an audience doesn't slow the run it watches."""
CACHED_DRAWINGS, REMEMBERED_VERSIONS = 256, 512
DIGITS = 8
"""Hexadecimal digits of a fingerprint and of a version."""
ASK = "async (...values) => await window.poll?.(values) ?? []"
"""Sends the values of the inputs and takes those of the outputs (see polling.js). No event of Gradio's own: for each of those it visits every
component of the page, three times, which took a page that stood still most of a core."""


class Feed(ScriptedHTML):
    """Takes {"news", "stale", "loaded"}: hands the news to the live parts, clicks itself when others are stale, and says when the page has
    all it opens with. It also sends the polls (see polling.js)."""


@dataclasses.dataclass(frozen=True)
class Drawing:
    """Values of some outputs and a fingerprint of each, by their keys (see ``key_of``)."""

    values: dict[str, Any]
    fingerprints: dict[str, str]

    @functools.cached_property
    def version(self) -> str:
        """Changes when any value does."""
        return fingerprint(self.fingerprints)


class Versions:
    """The fingerprints that belong to the latest versions that browsers were sent."""

    def __init__(self) -> None:
        self._fingerprints: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()

    def news(self, drawing: Drawing, version: str | None) -> dict[str, Any]:
        """The values that differ from those of a browser's ``version``; of a forgotten version all."""
        if version == drawing.version:
            return {}
        with self._lock:
            before = self._fingerprints.get(version or "", {})
            self._fingerprints.pop(drawing.version, None)  # the latest stands last
            self._fingerprints[drawing.version] = drawing.fingerprints
            if len(self._fingerprints) > REMEMBERED_VERSIONS:
                del self._fingerprints[next(iter(self._fingerprints))]
        return {key: value for key, value in drawing.values.items() if drawing.fingerprints[key] != before.get(key)}


class Audience:
    """How many viewers poll, by how often they do, and the seconds at which all of them together keep to POLLS_PER_SECOND."""

    def __init__(self) -> None:
        self._interval = TICK_SECONDS
        self._since, self._polls = time.monotonic(), 0
        self._lock = threading.Lock()

    def poll(self) -> None:
        """Count a poll."""
        with self._lock:
            self._polls += 1

    def interval(self) -> int:
        """Whole seconds between two polls of a viewer: what the last few intervals showed to be needed."""
        with self._lock:
            now = time.monotonic()
            passed = now - self._since
            if passed >= 3 * self._interval:
                viewers = self._polls * self._interval / passed
                self._interval = max(TICK_SECONDS, math.ceil(viewers / POLLS_PER_SECOND - 0.2))
                self._since, self._polls = now, 0
            return self._interval


class Poller:
    """All parts of the page that follow a run, drawn at most once a second for viewers with the same inputs."""

    def __init__(self, app: App):
        self.app = app
        self.feed = Feed(calls={"poll": self.answer}, elem_id="feed", elem_classes="unseen")
        self.timer = gr.Timer(TICK_SECONDS)
        self.live_version, self.version = gr.Textbox(visible=False), gr.Textbox(visible=False)
        self._drawings: dict[tuple[object, ...], tuple[float, Drawing]] = {}
        self._live_versions, self._versions = Versions(), Versions()
        self._audience = Audience()

    def wire(self, page: Page) -> None:
        """Hang all parts on the page's load and on the timer. The last to be wired: by now every tab has said what it polls."""
        self.page = page
        page.every_tick(self.pace, [self.timer])
        self.outputs = {key_of(output): output for part in page.polled if not part.live for output in part.outputs}
        drawn_from = {page.selected, page.lang, *(component for part in page.polled for component in part.inputs)}
        # what the browser doesn't hold it can't send
        assert not any(isinstance(component, gr.State) for component in drawn_from)
        live, others = {self.feed, self.live_version}, {self.version, *self.outputs.values()}
        for opened in (page.language_ready, page.language_changed):
            opened.then(self.load, drawn_from, live | others, **PARALLEL)
        self.sent = [self.live_version, self.version, *drawn_from]
        self.timer.tick(None, self.sent, [self.feed, self.live_version], js=ASK, api_visibility="private")
        self.feed.click(self.redraw, {self.version, *drawn_from}, others, **PARALLEL)

    def load(self, data: Values) -> Updates:
        """Everything, for a page that was opened or whose language changed."""
        redrawn = self.redraw({**data, self.version: ""})
        polled = self.poll({**data, self.live_version: "", self.version: redrawn[self.version]})
        polled[self.feed]["loaded"] = True
        return polled | redrawn

    def answer(self, values: list[Any]) -> list[Any]:
        """A poll as the browser sends it: the values of ``sent``; gives those of the feed and the live version."""
        return list(self.poll(dict(zip(self.sent, values, strict=True))).values())

    def poll(self, data: Values) -> Updates:
        """The news of the live parts, with whether others are stale. No value is skipped: Gradio makes a new component for each."""
        snapshot = self._snapshot(data)
        self._audience.poll()
        live, others = self._draw_all(True, snapshot, data), self._draw_all(False, snapshot, data)
        feed: dict[str, Any] = {"news": self._live_versions.news(live, data[self.live_version])}
        if others.version != data[self.version]:
            feed["stale"] = time.time()
        return {self.feed: feed, self.live_version: live.version}

    def redraw(self, data: Values) -> Updates:
        """The news of the other parts."""
        drawing = self._draw_all(False, self._snapshot(data), data)
        news = self._versions.news(drawing, data[self.version])
        return {self.version: drawing.version, **{self.outputs[key]: value for key, value in news.items()}}

    def pace(self, snapshot: RunSnapshot, lang: str) -> Updates:
        """The timer, with the seconds between two polls."""
        if not header.run_in_header(self.app, snapshot).get("active"):
            return {self.timer: IDLE_SECONDS}
        return {self.timer: self._audience.interval()}

    def _snapshot(self, data: Values) -> RunSnapshot:
        return self.app.access.redact_snapshot(self.app.monitor.snapshot(data[self.page.selected]))

    def _draw_all(self, live: bool, snapshot: RunSnapshot, data: Values) -> Drawing:
        """The live parts or the others."""
        values, fingerprints = {}, {}
        for part in self.page.polled:
            if part.live == live:
                drawing = self._draw(part, snapshot, data)
                values |= drawing.values
                fingerprints |= drawing.fingerprints
        return Drawing(values, fingerprints)

    def _draw(self, part: PolledPart, snapshot: RunSnapshot, data: Values) -> Drawing:
        lang, inputs = data[self.page.lang], [data[component] for component in part.inputs]
        key, now = (part.draw, snapshot["version"], lang, *inputs), time.monotonic()
        drawn_at, drawing = self._drawings.get(key, (float("-inf"), Drawing({}, {})))
        if now - drawn_at >= monitor.REFRESH_SECONDS:
            values = by_key(part.draw(snapshot, lang, *inputs))
            drawing = Drawing(values, {name: fingerprint(value) for name, value in values.items()})
            if len(self._drawings) >= CACHED_DRAWINGS:
                self._drawings = {}
            self._drawings[key] = now, drawing
        return drawing


def key_of(output: Block | str) -> str:
    """What an output goes by in a drawing: its elem_id where it has one."""
    return output if isinstance(output, str) else output.elem_id or f"#{output._id}"


def by_key(updates: Updates) -> dict[str, Any]:
    """What a part has drawn, by the keys of its outputs, without what stays as it is."""
    if updates == gr.skip():
        return {}
    return {key_of(output): value for output, value in updates.items() if value != gr.skip()}


def fingerprint(value: object) -> str:
    """A short digest of a value."""
    text = json.dumps(value, sort_keys=True, default=repr)
    return hashlib.blake2b(text.encode(), digest_size=DIGITS // 2).hexdigest()
