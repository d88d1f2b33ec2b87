"""What ``train()`` tells while it works: small frozen records. No torch."""

import contextlib
import dataclasses
import pathlib
from typing import Any, Protocol

from ddpm_app.runs.records import Plan, Requests


@dataclasses.dataclass(frozen=True)
class Notice:
    """Something worth saying that stops nothing: the words are ``notice.<code>`` of the text table."""

    code: str
    values: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Planned:
    """The rehearsal is over; ``plan`` is what the run will do. ``long``: the person should agree first."""

    plan: Plan
    long: bool


@dataclasses.dataclass(frozen=True)
class Started:
    """The loop begins at ``step`` of ``total``."""

    step: int
    total: int


@dataclasses.dataclass(frozen=True)
class Settled:
    """The first seconds of real steps are over, and ``plan`` is what the run will do for good."""

    plan: Plan


@dataclasses.dataclass(frozen=True)
class Stepped:
    """One optimiser step is done: ``step`` counts from 1; ``loss`` is the mean over the step's ``images`` pictures."""

    step: int
    total: int
    loss: float
    learning_rate: float
    grad_norm: float
    images: int


@dataclasses.dataclass(frozen=True)
class Validated:
    """Loss on fixed noise for training and held-out pictures (None without held-out ones); ``bands`` is the training
    pictures' loss in equal parts of [0, T), least noise first."""

    step: int
    train_loss: float
    held_out_loss: float | None
    bands: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Sampled:
    """A preview grid was written."""

    step: int
    path: pathlib.Path


@dataclasses.dataclass(frozen=True)
class Saved:
    """A checkpoint and the pipeline were written."""

    step: int
    path: pathlib.Path


@dataclasses.dataclass(frozen=True)
class RolledBack:
    """The loss stopped being a number: back to ``step`` with the learning rate times ``factor``."""

    step: int
    failed_step: int
    factor: float


@dataclasses.dataclass(frozen=True)
class Published:
    """The pipeline is on the Hub at ``url``."""

    url: str


@dataclasses.dataclass(frozen=True)
class Ended:
    """``state`` is "finished" or "stopped"; everything is saved."""

    step: int
    state: str


Event = Notice | Planned | Started | Settled | Stepped | Validated | Sampled | Saved | RolledBack | Published | Ended


class Control(Protocol):
    """How a person reaches a run from outside. ``train()`` asks after every step and inside everything long."""

    def requests(self) -> Requests:
        """What people ask of the run, as ``Run.requests`` reads it."""

    def stopping(self) -> bool:
        """True once somebody asked to stop."""

    def progress(self, phase: str, done: int = 0, total: int | None = None) -> None:
        """Called with how far a phase before or beside the loop is."""

    def device(self) -> contextlib.AbstractContextManager:
        """The device, held while the block runs."""

    def yield_device(self) -> None:
        """Called between slices of work by whoever holds the device: lets others have it for a moment."""

    def wait(self) -> None:
        """Called over and over while there is nothing to do but wait for a request; takes a moment."""


def yield_device(control: Control) -> bool:
    """Let others have the device; True when somebody asked to stop."""
    control.yield_device()
    return control.stopping()
