"""What the tests of the engine share: tiny settings, a control in the test's hand, runs to the end, and what a run came to."""

import contextlib
import hashlib
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from safetensors.torch import load_file

from ddpm_app.config import TrainConfig, from_dict
from ddpm_app.runs import registry
from ddpm_app.runs.run import NO_REQUESTS, Run
from ddpm_app.train.events import Event

NETWORK = dict(image_size=8, unet="tiny", block_out_channels=(8, 16), norm_num_groups=4, attention_head_dim=8)
TINY = NETWORK | dict(
    train_batch_size=4,
    max_train_steps=12,
    learning_rate=1e-3,
    lr_warmup_steps=2,
    checkpointing_steps=4,
    save_image_steps=4,
    preview_images=2,
    preview_inference_steps=2,
    validation_share=0.25,
    mixed_precision="no",
    device="cpu",
    threads=1,
    push_to_hub=False,
    output_dir="tiny",
)
MEASURED = dict(
    step_seconds=0.01,
    forward_seconds=0.01,
    quick_seconds=0.04,
    memory_bytes=1_000_000,
    precision="no",
    threads=1,
    parameters=10_000,
    preview_passes=2,
)
"""Stands in for a rehearsal."""


def settings(image_dataset, **changes) -> TrainConfig:
    """Settings of a run that trains in about a second on the folder ``pictures``."""
    return from_dict(TINY | dict(dataset_name=str(image_dataset)) | changes)


class Hand:
    """A control (train.events.Control) whose wishes the test sets. ``act(hand)`` is called whenever the run listens."""

    def __init__(self, act: Callable[["Hand"], Any] | None = None):
        self.now = dict(NO_REQUESTS)
        self.phases: list[str] = []
        self.held = False
        self.breaths = self.waits = 0
        self.act = act or (lambda hand: None)

    def request(self, *counted: str, **flags) -> None:
        self.now |= flags | {name: self.now[name] + 1 for name in counted}

    def requests(self) -> dict[str, Any]:
        return dict(self.now)

    def stopping(self) -> bool:
        self.act(self)
        return self.now["stop"]

    def progress(self, phase: str, done: int = 0, total: int | None = None) -> None:
        self.phases.append(phase)
        self.act(self)

    @contextlib.contextmanager
    def device(self) -> Iterator[None]:
        self.held = True
        yield
        self.held = False

    def yield_device(self) -> None:
        assert self.held
        self.breaths += 1
        self.act(self)

    def wait(self) -> None:
        self.waits += 1
        self.act(self)


def train(run: Run, hand: Hand | None = None, act: Callable[[Event, Hand], Any] | None = None) -> list[Event]:
    """Train a run to its end in this thread. ``act(event, hand)`` is called at each event."""
    from ddpm_app.train.loop import train as loop

    hand, told = hand or Hand(), []
    for event in loop(run.config, run, hand):
        told.append(event)
        if act:
            act(event, hand)
    return told


def objective(config: TrainConfig, runs_dir: pathlib.Path | None = None, progress: Callable | None = None):
    """What the config learns, with its parts and data, as train() makes it."""
    from ddpm_app.data import image_dataset
    from ddpm_app.train.prepare import OBJECTIVES

    return OBJECTIVES[config.objective](
        config, image_dataset.load(config), runs_dir, "cpu", progress or (lambda *told: None), lambda: False
    )


def new(runs_dir: pathlib.Path, config: TrainConfig, **changes) -> Run:
    """A run folder for ``config`` with ``changes``."""
    return registry.create(runs_dir, from_dict(config.to_dict() | changes))


def rows(run: Run, kind: str | None = None) -> list[dict]:
    """The metrics, of one kind where asked, without the times."""
    return [
        {k: v for k, v in row.items() if k != "seconds"} for row in run.read_metrics()[0] if kind in (None, row["kind"])
    ]


def losses(run: Run) -> list[float]:
    return [row["loss"] for row in rows(run, "step")]


def _hash(value: Any, into) -> None:
    if isinstance(value, torch.Tensor):
        into.update(
            f"{value.dtype}{tuple(value.shape)}".encode() + value.detach().flatten().view(torch.uint8).numpy().tobytes()
        )
    elif isinstance(value, dict):
        for key in value:
            into.update(repr(key).encode())
            _hash(value[key], into)
    elif isinstance(value, list):
        for part in value:
            _hash(part, into)
    else:
        into.update(repr(value).encode())


def outcome(run: Run) -> dict[str, str]:
    """Hashes of all that a run came to: weights, average, optimiser, pipeline, last preview, metrics without times."""
    last, found = run.checkpoints[-1], {}
    for part in (*sorted(last.rglob("*.safetensors")), *sorted(run.pipeline.rglob("*.safetensors")), *run.samples[-1:]):
        found[str(part.relative_to(run.path))] = hashlib.sha256(part.read_bytes()).hexdigest()
    into = hashlib.sha256()
    _hash(torch.load(last / "training.pt", map_location="cpu", weights_only=True), into)
    found["training.pt"] = into.hexdigest()
    found["metrics"] = hashlib.sha256(repr(rows(run)).encode()).hexdigest()
    return found


def until(true: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait for what another process or thread does; its value."""
    end = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
    return value


def weights(folder) -> dict[str, torch.Tensor]:
    return load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")


def distance(one, other) -> float:
    return max(float((one[k] - other[k]).abs().max()) for k in one)
