"""What the tabs share: the app (one per process) and the page with the parts that more than one tab touches."""

import dataclasses
import pathlib
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from ddpm_app import i18n, jobs, presets
from ddpm_app.access import CAPS, AccessPolicy
from ddpm_app.data.open_datasets import OpenDatasets
from ddpm_app.device_lock import DEVICE
from ddpm_app.expectations import Expectations
from ddpm_app.live_drawing import LiveDrawings
from ddpm_app.model_choices import ModelChoices
from ddpm_app.runs.monitor import RunMonitor

if TYPE_CHECKING:
    from ddpm_app.ui.tabs.config_form import Form

LABELS = re.compile(r"field\.|ui\.(?!learn\.)|ui\.learn\.(frame\.|tab$)")
"""Keys of the texts that labels take. What Learn says comes from the server: in the page's HTML it would be half of all words."""
label = gr.I18n(
    **{lang: {k: text for k, text in i18n.text_table(lang).items() if LABELS.match(k)} for lang in i18n.LANGUAGES}
)
"""Static labels, translated in the browser: ``label("ui.train.tab")``. What a handler returns goes through ``i18n.t``."""

QUICK: dict[str, Any] = {"show_progress": "hidden", "show_progress_on": [], "api_visibility": "private"}
"""Options of a listener: no overlay, no public endpoint; one call at a time, the next waits. The empty list spares the browser work: at every
call of any listener Gradio writes a loading status into each component that ever was an output of one without it."""
PARALLEL: dict[str, Any] = QUICK | {"concurrency_limit": None}
"""As QUICK, for handlers that may run for many viewers at once."""

Values = Mapping[Block, Any]
"""What a handler is given whose inputs are a set: values by component."""
Updates = dict[Any, Any]
"""What a handler returns: values or gr.update by component, the others stay as they are; or gr.skip(), where all do.
(A dict of Block would refuse a dict of gr.HTML: dicts are invariant.)"""

FOLLOW = "*"
"""A value of ``Page.selected`` that no run has as its name: a browser doesn't keep an empty text."""
BROWSER_KEY = {"secret": "ddpm-studio"}
"""A fixed key, so that what a browser keeps outlives a restart of the server. Nothing in there is a secret."""


@dataclasses.dataclass
class App:
    """One per process. ``public``: strangers use the page, so that the rules of ``access`` hold. ``warm`` is set once torch and
    diffusers are imported. ``first_run_seconds``: how long the first preset takes here, as it says until it is measured."""

    runs_dir: pathlib.Path
    public: bool = False
    warm: threading.Event = dataclasses.field(default_factory=threading.Event)

    def __post_init__(self):
        self.jobs, self.monitor, self.datasets = (
            jobs.Jobs(self.runs_dir, CAPS["max_train_minutes"] if self.public else None),
            RunMonitor(self.runs_dir),
            OpenDatasets(self.warm),
        )
        self.access = AccessPolicy(self.runs_dir, self.public)
        self.expectations = Expectations(CAPS["max_train_minutes"] if self.public else None)
        self.models = ModelChoices(self.monitor, self.access)
        self.live_drawings = LiveDrawings(self.monitor, self.access, self.warm)
        self.first_run_seconds = 60 * (presets.build(presets.FIRST).max_train_minutes or 0)

    def is_training(self) -> bool:
        """Whether a run is at work."""
        return bool(self.monitor.snapshot("").get("active"))

    def warm_up(self, after: float) -> None:
        """Import torch and diffusers in a thread of their own, ``after`` seconds from now."""
        timer = threading.Timer(after, self._warm)
        timer.daemon = True
        timer.start()

    def _warm(self) -> None:
        jobs.engine()
        import matplotlib  # noqa: F401  the colour maps of the Learn tab

        self.warm.set()
        self.jobs.take_turns()  # those that waited when an earlier server ended
        self.live_drawings.prepare()
        from ddpm_app.specimens import collection
        from ddpm_app.train.estimate import seconds_needed

        with DEVICE:  # measured now, while nobody waits for it
            self.first_run_seconds = seconds_needed(presets.build(presets.FIRST), collection.COUNT)


@dataclasses.dataclass(frozen=True)
class PolledPart:
    """A part of the page that follows a run: see ``Page.live`` and ``Page.every_tick``."""

    draw: Callable[..., Any]
    outputs: list[Block | str]
    inputs: list[Component]
    live: bool


class Page:
    """The parts of one page that several tabs use. All of it stands outside the tabs: Gradio doesn't draw a tab that was never opened.

    ``selected``: name of the run on show; "" or FOLLOW is the one at work or the newest. ``visitor``: a random id kept by the
    browser. ``form_memory``: the edited form, kept by the browser. ``lang``: the visitor's language.
    ``feed`` brings the live parts; ``live_version`` names what of them the browser has: a handler that sets ``feed`` itself empties it,
    so that the next poll sends everything. ``message``: a line in the header for the outcome of a click (see html.notice).
    ``lightbox``: pictures over the page, with "click" to draw one again and "select" to see it in Learn.
    ``tabs``: the gr.Tabs, ``tab_items``: each gr.Tab by its id, ``parts``: each tab's own object by the same id, ``form``: the Config tab's.
    Events to hang listeners on: ``language_ready`` once ``lang`` holds the visitor's language, ``language_changed`` when another is
    chosen, ``form_restored`` once the form holds what the browser kept.
    """

    def __init__(self, app: App):
        self.app = app
        self.selected = gr.BrowserState("", storage_key="ddpm-studio-run", **BROWSER_KEY)
        self.visitor = gr.BrowserState("", storage_key="ddpm-studio-visitor", **BROWSER_KEY)
        self.form_memory = gr.BrowserState({}, storage_key="ddpm-studio-form", **BROWSER_KEY)
        self.lang = gr.Textbox("en", visible=False)
        self.feed: gr.HTML
        self.live_version: gr.Textbox
        self.message: gr.HTML
        self.lightbox: gr.HTML
        self.tabs: gr.Tabs
        self.tab_items: dict[str, gr.Tab] = {}
        self.parts: dict[str, Any] = {}
        self.language_ready: gr.events.Dependency
        self.language_changed: gr.events.Dependency
        self.form_restored: gr.events.Dependency
        self.form: Form
        self.polled: list[PolledPart] = []

    def every_tick(self, draw: Callable[..., Any], outputs: Iterable[Block], inputs: Iterable[Component] = ()) -> None:
        """Call ``draw(snapshot, lang, *inputs)`` on load and every second (3 s when nothing runs) for each viewer. It returns a value or
        gr.update for each of ``outputs``, by component; one that is missing stays as it is. ``snapshot`` is RunMonitor.snapshot(selected).

        For what changes now and then: a poll that finds news asks for them in a second request. What a viewer already has
        is not sent again, and viewers with the same inputs share one drawing: ``draw`` need not compare.
        """
        self.polled.append(PolledPart(draw, list(outputs), list(inputs), live=False))

    def live(self, draw: Callable[..., Any], parts: Iterable[gr.HTML | str], inputs: Iterable[Component] = ()) -> None:
        """As ``every_tick``, for what changes at every step: the values of LiveHTML and of components made with ``live=True``, which
        the poll brings itself. A name instead of a component reaches scripts alone (window.liveParts)."""
        self.polled.append(PolledPart(draw, list(parts), list(inputs), live=True))
