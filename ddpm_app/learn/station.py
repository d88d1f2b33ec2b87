"""What a station is: a generator of panels, the controls it reads, its formulas and its code."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from ddpm_app.i18n import t

Panel = dict[str, Any]
"""One thing on the stage, made by ddpm_app.learn.scene and drawn by assets/js/learn.js."""


@dataclasses.dataclass(frozen=True)
class Slider:
    """A number between ``low`` and ``high``."""

    name: str
    low: float
    high: float
    step: float
    default: float


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of ``options``, the first by default. Its words are ``ui.learn.<station>.<name>.<option>``."""

    name: str
    options: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Toggle:
    """On or off."""

    name: str
    default: bool = False


@dataclasses.dataclass(frozen=True)
class Words:
    """A line of text, at most 300 characters. ``asking``: it is for models that are asked for something, by labels or words."""

    name: str
    default: str = ""
    asking: bool = False


@dataclasses.dataclass(frozen=True)
class Action:
    """A button: ``asked.pressed`` is its name in the one call that follows the click."""

    name: str


Control = Slider | Choice | Toggle | Words | Action


@dataclasses.dataclass
class StationRequest:
    """What a viewer asks of a station: the language, timestep ``t`` (0 to T - 1) and ``seed`` from the bench, the station's own
    controls as ``asked["name"]``, the Action ``pressed`` just now, and ``memory``, which lasts while the viewer stays at the
    station with the same model and picture."""

    station: str
    lang: str
    t: int
    seed: int
    values: dict[str, Any]
    pressed: str = ""
    memory: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def say(self, key: str, **values: Any) -> str:
        """The sentence ``ui.learn.<station>.<key>`` in the viewer's language."""
        return t(f"ui.learn.{self.station}.{key}", self.lang, **values)


@dataclasses.dataclass(frozen=True)
class Station:
    """``show(bench, asked)`` yields all panels so far, or None where a slice of work brought nothing to show yet. Each turn of the
    generator is one slice: with ``network`` it runs while the device is held, and training waits meanwhile.

    ``maths``: formulas in matplotlib's mathtext; ``code``: "module:name" of the functions shown; ``uses``: which of the choices
    at the top matter ("picture", "seed", "t", or "asked": the picture's label or text alone); ``whole``: it needs all pictures
    decoded, which happens before; ``model``: the shipped model it opens with while the viewer has chosen none.
    """

    id: str
    show: Callable[..., Iterator[list[Panel] | None]]
    controls: tuple[Control, ...] = ()
    maths: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    uses: tuple[str, ...] = ("picture", "seed", "t")
    network: bool = True
    whole: bool = False
    model: str = "butterflies-64"

    def read(self, given: dict[str, Any]) -> dict[str, Any]:
        """The controls' values from a browser, which may send anything: what doesn't fit becomes the default."""
        return {
            control.name: _read(control, given.get(control.name))
            for control in self.controls
            if not isinstance(control, Action)
        }


def _read(control: Control, value: Any) -> Any:
    match control:
        case Slider():
            number = isinstance(value, int | float) and control.low <= value <= control.high
            value = value if number else control.default
            return int(value) if isinstance(control.step, int) else float(value)
        case Choice():
            return value if value in control.options else control.options[0]
        case Toggle():
            return value if isinstance(value, bool) else control.default
        case _:
            return value[:300] if isinstance(value, str) else control.default
