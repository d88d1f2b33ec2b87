"""What the tabs share: the studio (one per process), the form and the parts of the page that more than one tab touches."""

import dataclasses
import pathlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from ddpm_app import jobs, runs, text
from ddpm_app.config import FIELDS, FieldInfo, TrainConfig, from_dict
from ddpm_app.problems import Problem
from ddpm_app.ui.board import Board
from ddpm_app.ui.shelf import Shelf

words = gr.I18n(
    **{lang: {key: told for key, told in text.table(lang).items() if key.startswith(("ui.", "field."))} for lang in text.LANGUAGES}
)
"""Static labels, translated in the browser: ``words("ui.train.tab")``. What a handler returns goes through ``text.t``."""


FOLLOW = "*"
"""A value of ``Shared.selected`` that no run has as its name: a browser doesn't keep an empty text."""


@dataclasses.dataclass
class Studio:
    """One per process. ``public``: strangers use the page, so that guard.py's rules hold. ``warm`` is set once torch and
    diffusers are imported."""

    runs_dir: pathlib.Path
    jobs: jobs.Jobs
    board: Board
    public: bool = False
    warm: threading.Event = dataclasses.field(default_factory=threading.Event)

    def __post_init__(self):
        self.shelf = Shelf(self.warm)

    def warm_up(self, after: float) -> None:
        """Import torch and diffusers in a thread of their own, ``after`` seconds from now."""
        timer = threading.Timer(after, self._warm)
        timer.daemon = True
        timer.start()

    def _warm(self) -> None:
        jobs.engine()
        import matplotlib  # noqa: F401  the colour maps of the Learn tab
        self.warm.set()


AUTOENCODER_SECTIONS = ("encoder", "decoder")
"""The values of ``trainable`` that name parts of an autoencoder; but for "all", the others name parts of a UNet."""


def in_form(info: FieldInfo, value: Any) -> str | bool | list[str]:
    """A setting's value as the form holds it: a flag stays one, any of several is a list, the rest is text, nothing is an empty text."""
    if info.kind == "choices":
        return list(value)
    if info.kind == "bool":
        return "" if value is None else str(value).lower() if info.optional else value
    if isinstance(value, tuple | list):
        return ",".join(map(str, value)) or "0"  # an empty text means "not given"; as levels, 0 means none
    return "" if value is None else str(value)


@dataclasses.dataclass
class Form:
    """The components of the Config tab by field name, and the choice of the ``preset`` they started from. The order of ``components``
    is the order of all lists of values."""

    runs_dir: pathlib.Path
    components: dict[str, gr.components.Component] = dataclasses.field(default_factory=dict)
    preset: gr.Radio | None = None

    @property
    def inputs(self) -> list[gr.components.Component]:
        return list(self.components.values())

    def values(self, given: Sequence[Any]) -> dict[str, Any]:
        """What the components hold, by field name, without the ticks at sections that the chosen objective has not."""
        values = {name: "" if value is None else value for name, value in zip(self.components, given, strict=True)}
        ticked, coder = values["trainable"], values["objective"] == "autoencoder"
        there = [section for section in ticked if section == "all" or (section in AUTOENCODER_SECTIONS) == coder]
        return values | {"trainable": there or ["all"] * bool(ticked)}

    def read(self, given: Sequence[Any], free: bool = False) -> TrainConfig:
        """The settings in the form. ``free``: under a run name that no run has. Raises the first Problem."""
        config = from_dict(self.values(given))  # before the name is looked up: what is no plain name is no business of the disk's
        return from_dict(config.to_dict() | {"output_dir": runs.free_name(self.runs_dir, config.output_dir)}) if free else config

    def texts(self, config: TrainConfig) -> dict[str, str | bool | list[str]]:
        """A config as the form's values, under a run name that is free."""
        values = config.to_dict() | {"output_dir": runs.free_name(self.runs_dir, config.output_dir)}
        return {name: in_form(FIELDS[name], values[name]) for name in self.components}

    def fill(self, config: TrainConfig) -> list[str | bool | list[str]]:
        """Values for all of ``inputs``, for a handler whose outputs they are."""
        return list(self.texts(config).values())


@dataclasses.dataclass(frozen=True)
class Tick:
    """A part of the page that follows a run: see ``Shared.live`` (outputs are elem_ids) and ``Shared.each_tick``."""

    draw: Callable[..., Sequence[Any]]
    outputs: list[Any]
    inputs: list[gr.components.Component]
    live: bool


@dataclasses.dataclass
class Shared:
    """Parts of one page that several tabs use.

    ``selected``: name of the run on show; "" or FOLLOW is the one at work or the newest. ``visitor``: a random id kept by the
    browser. ``kept``: the edited form, kept by the browser. ``seen``: prints of what the ticks have sent; a handler that sets
    an output of a tick itself empties it, so that the next tick sends everything.
    ``lang``: the visitor's language, told by the browser: in it once ``spoken``, and again once ``switched`` (see language.build).
    ``tabs``: the gr.Tabs, with the ids "dataset", "config", "train", "sample", "runs".
    ``message``: an HTML line in the header for the outcome of a click (see header.said). ``feed``: brings the live parts.
    ``opened``: the gr.Tab by id.
    ``restored``: the event after which the form holds what the browser kept. ``later``: called once all tabs are drawn, for
    listeners that need a part of another tab.
    """

    selected: gr.BrowserState
    visitor: gr.BrowserState
    kept: gr.BrowserState
    seen: gr.Textbox
    lang: gr.Textbox
    feed: gr.HTML
    tabs: gr.Tabs | None = None
    form: Form | None = None
    message: gr.HTML | None = None
    opened: dict[str, gr.Tab] = dataclasses.field(default_factory=dict)
    spoken: gr.events.Dependency | None = None
    switched: gr.events.Dependency | None = None
    restored: gr.events.Dependency | None = None
    ticks: list[Tick] = dataclasses.field(default_factory=list)
    later: list[Callable[[], None]] = dataclasses.field(default_factory=list)

    def each_tick(self, draw: Callable[..., Sequence[Any]], outputs: list, inputs: Sequence = ()) -> None:
        """Call ``draw(snapshot, lang, *inputs)`` on load and every second (3 s when nothing runs) for each viewer; it
        returns a list with a value or gr.update per output. ``snapshot`` is Board.snapshot(selected).

        For what changes now and then: a tick that finds news asks for them in a second request. What a viewer already has
        is not sent again, and viewers with the same inputs share one drawing: ``draw`` need not compare.
        """
        self.ticks.append(Tick(draw, list(outputs), list(inputs), live=False))

    def live(self, draw: Callable[..., Sequence[Any]], elem_ids: list[str], inputs: Sequence = ()) -> None:
        """As ``each_tick``, for what changes at every step: the values of gr.HTMLs made with ``film.following``, which the
        tick brings itself."""
        self.ticks.append(Tick(draw, elem_ids, list(inputs), live=True))


def problem_of(error: Exception) -> Problem:
    """Any error as a Problem, so that there are words for it."""
    return error if isinstance(error, Problem) else Problem("crash", reason=f"{type(error).__name__}: {error}")
