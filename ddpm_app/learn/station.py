"""What a station is: its specification, and what a viewer requests of it. No torch: the page's catalog is made from this."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ddpm_app.i18n import t

Memory = dict[Any, Any]
"""What a station remembers of one viewer, under keys of its own."""
MAX_TEXT = 300
"""Characters of a Textbox."""


@dataclasses.dataclass(frozen=True)
class Slider:
    """A number between ``low`` and ``high``."""

    name: str
    low: float
    high: float
    step: float
    default: float

    def read(self, value: object) -> int | float:
        """The value of a browser, which may send anything: what doesn't fit becomes the default. So in all controls."""
        number = value if isinstance(value, int | float) and self.low <= value <= self.high else self.default
        return int(number) if isinstance(self.step, int) else float(number)


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of ``options``, the first by default. Its texts are ``ui.learn.<station>.<name>.<option>``."""

    name: str
    options: tuple[str, ...]

    @property
    def default(self) -> str:
        return self.options[0]

    def read(self, value: object) -> str:
        return value if isinstance(value, str) and value in self.options else self.default


@dataclasses.dataclass(frozen=True)
class Toggle:
    """On or off."""

    name: str
    default: bool = False

    def read(self, value: object) -> bool:
        return value if isinstance(value, bool) else self.default


@dataclasses.dataclass(frozen=True)
class Textbox:
    """A line of text, at most MAX_TEXT characters. ``conditional``: it is only there for models with labels or a text encoder."""

    name: str
    default: str = ""
    conditional: bool = False

    def read(self, value: object) -> str:
        return value[:MAX_TEXT] if isinstance(value, str) else self.default


@dataclasses.dataclass(frozen=True)
class Action:
    """A button: ``request.pressed`` is its name in the one call that follows the click."""

    name: str


Control = Slider | Choice | Toggle | Textbox | Action


@dataclasses.dataclass(frozen=True)
class StationSpec:
    """All that the page must know of a station before it is opened.

    ``maths``: formulas in LaTeX; ``code``: "module:name" of the functions shown; ``uses``: which of the choices at the top of the page
    matter ("picture", "seed", "t", or "condition": the picture's label or text alone); ``network``: each slice of its work runs while
    the device is held, and training waits meanwhile; ``whole``: it needs all pictures decoded, which happens before; ``model``: the
    shipped model it opens with while the viewer has chosen none; ``follows_t``: its first panels take one pass at t, so that the page may
    collect them at several t and blend between them while the hand moves; ``needs``: "latents" or "condition", which not every model has: it is shown with ``model`` then.
    """

    id: str
    controls: tuple[Control, ...] = ()
    maths: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    uses: tuple[str, ...] = ("picture", "seed", "t")
    network: bool = True
    whole: bool = False
    model: str = "butterflies-64"
    follows_t: bool = False
    needs: str = ""

    def read(self, values: Mapping[str, object]) -> dict[str, Any]:
        """The controls' values as a browser sends them, each made valid."""
        return {
            control.name: control.read(values.get(control.name))
            for control in self.controls
            if not isinstance(control, Action)
        }


@dataclasses.dataclass
class StationRequest:
    """What a viewer requests of a station: the language, timestep ``t`` (0 to T - 1) and ``seed`` of the noise, the station's own
    controls as ``request["name"]``, the Action ``pressed`` just now, and ``memory``, which lasts while the viewer stays at the
    station with the same model and picture."""

    station: str
    lang: str
    t: int
    seed: int
    values: dict[str, Any]
    pressed: str = ""
    memory: Memory = dataclasses.field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def say(self, key: str, **values: object) -> str:
        """The sentence ``ui.learn.<station>.<key>`` in the viewer's language."""
        return t(f"ui.learn.{self.station}.{key}", self.lang, **values)
