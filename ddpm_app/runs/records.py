"""What a run's files hold, as types: small JSON records that the trainer writes and the page reads. A young or damaged file lacks keys,
so that readers ask with ``get`` for what isn't marked as always there."""

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict, cast

from ddpm_app.config import ConfigValues


class Course(TypedDict):
    """How the learning rate goes: over how many steps, and how many of them it rises."""

    total_steps: int
    warmup_steps: int


class Plan(TypedDict):
    """What was measured and decided once (train.plan). Times in seconds, ``memory_bytes`` of one step; ``*_every`` are steps;
    ``precision`` "no", "fp16" or "bf16"; ``agreed``: somebody said yes where the run is long.

    Previews: every ``save_image_every`` steps, or, where that is 0, at ``preview_steps``, of which those before the end are quick ones.
    After ``look_step`` steps (0: never) speed is measured once more, and length and previews are decided for good; up to there the learning
    rate went as in ``first_course``, which is None as long as that is to come. Plans of earlier versions lack what isn't required."""

    step_seconds: float
    forward_seconds: float
    preview_seconds: float
    quick_seconds: NotRequired[float]
    save_seconds: float
    total_seconds: float
    memory_bytes: int
    precision: str
    threads: int
    parameters: int
    preview_passes: int
    device: str
    processes: int
    images: int
    held_out: int
    batch_size: int
    total_steps: int
    warmup_steps: NotRequired[int]
    steps_per_epoch: int
    save_image_every: int
    preview_steps: NotRequired[list[int]]
    look_step: NotRequired[int]
    first_course: NotRequired[Course | None]
    checkpoint_every: int
    validate_every: int
    agreed: bool


NO_PLAN = cast(Plan, {})
"""Of a run that has none yet."""


class Coded(TypedDict):
    """A problem or notice as a code with values (see errors.Problem)."""

    code: str
    field: NotRequired[str | None]
    values: dict[str, Any]


class Requests(TypedDict):
    """control.json: what people ask of the process that trains. ``stop``, ``pause`` and ``go`` are flags; ``sample`` and ``save`` are
    counters, one more is one more request; ``owner``: who may stop it on a public page; ``dataset_name``: where somebody who resumes the
    run says that its pictures lie now; ``most_minutes``: the longest that a public page lets a run become."""

    stop: bool
    pause: bool
    go: bool
    sample: int
    save: int
    owner: str | None
    dataset_name: str | None
    most_minutes: float | None


class Status(TypedDict, total=False):
    """status.json. ``state`` (one of run.STATES) and ``step`` are always there when read through Run.status; ``done`` of ``total`` is
    how far a ``phase`` is."""

    state: str
    phase: str | None
    step: int
    total_steps: int | None
    estimate_seconds: float
    done: int | None
    total: int | None
    loss: float | None
    learning_rate: float | None
    images_per_second: float | None
    eta_seconds: float | None
    notices: list[Coded]
    error: Coded | None
    traceback: str | None
    published: str | None
    pid: int
    born: float
    host: str
    heartbeat: float


class RunRecord(TypedDict, total=False):
    """config.json: the settings, the versions of the libraries, when the run was created (seconds since 1970), the fingerprint and
    counts of the data, the plan, and the fingerprints of the models that it stands on (train.loop)."""

    config: ConfigValues
    libraries: dict[str, str | None]
    created: float
    data: dict[str, Any]
    plan: Plan | None
    parts: dict[str, Any]


class MetricRow(TypedDict, total=False):
    """A row of metrics.jsonl. ``kind`` "step": loss, lr, grad_norm, seconds (since the start or the last resume). ``kind`` "validation":
    train_loss, held_out_loss, and ``bands``: the loss of each band of timesteps."""

    step: int
    kind: str
    loss: float
    lr: float
    grad_norm: float
    seconds: float
    train_loss: float
    held_out_loss: float | None
    bands: list[float]


class RunSnapshot(Status, total=False):
    """A run as its viewers see it, without what identifies its process. ``version`` changes when anything else does; ``samples``: steps of
    the previews; ``log``: its last lines; ``saved``: a pipeline exists; ``read``: bytes of metrics taken in. Of no run ``name`` is ""."""

    name: str
    version: int
    active: bool
    plan: Plan
    config: ConfigValues
    created: float
    data: dict[str, Any]
    samples: list[int]
    log: list[str]
    saved: bool
    requests: Requests
    read: int


class RunSummary(Status, total=False):
    """A run in a list: ``sample`` is the step of its latest preview, ``seconds`` trained since the start or the last resume, ``bytes`` on
    the disk."""

    name: str
    active: bool
    config: ConfigValues
    created: float
    sample: int | None
    seconds: float
    bytes: int
    saved: bool


Points = tuple[Sequence[float], Sequence[float]]
"""A curve: steps and values."""


class CurvePoints(TypedDict):
    """What the plots of a run show, thinned (see curves.MetricCurves); ``bands``: (step, loss of each band of timesteps)."""

    raw: Points
    smooth: Points
    rate: Points
    train: Points
    held_out: Points
    bands: list[tuple[int, list[float]]]
    seconds: int
