"""How pictures, batches, steps and epochs hang together, counted by the code that the loop itself uses."""

import dataclasses
import types
from typing import cast

import numpy as np
import torch

from ddpm_app.config import TrainConfig
from ddpm_app.data.image_dataset import ImageDataset
from ddpm_app.train.batches import Batches, steps_per_epoch


@dataclasses.dataclass(frozen=True)
class Course:
    """A run in numbers. ``pictures`` to learn from; ``batch_size`` of them at once, ``accumulation`` batches to a step; per epoch ``batches``,
    the last of ``last_batch`` pictures, and ``steps``; ``total_steps`` in all."""

    pictures: int
    batch_size: int
    accumulation: int
    batches: int
    last_batch: int
    steps: int
    total_steps: int

    @property
    def epochs(self) -> float:
        """Passes over all pictures."""
        return self.total_steps / self.steps


def course(config: TrainConfig, pictures: int, total_steps: int | None = None, processes: int = 1) -> Course:
    """The numbers of a run with ``pictures`` training pictures; without ``total_steps`` those that the settings ask for. The batches of
    several ``processes``, one per device, count as one."""
    batches = _batches(config, np.arange(pictures), processes)
    sizes = [len(batch) for step in range(batches.per_epoch) for batch in batches.indices(step)]
    steps = batches.per_epoch
    total = total_steps or config.max_train_steps or config.num_epochs * steps
    return Course(pictures, sizes[0], config.gradient_accumulation_steps, len(sizes), sizes[-1], steps, total)


def epoch(config: TrainConfig, train: np.ndarray, number: int, processes: int = 1) -> list[list[np.ndarray]]:
    """The batches of each step of epoch ``number`` (from 0): the pictures ``train`` in the order in which the run sees them."""
    batches = _batches(config, train, processes)
    return [batches.indices(number * batches.per_epoch + k) for k in range(batches.per_epoch)]


def times_seen(planned: Course, steps: int) -> tuple[int, int]:
    """After ``steps`` steps every picture was seen that often, and so many pictures once more."""
    whole, rest = divmod(steps, planned.steps)
    return whole, rest * planned.accumulation * planned.batch_size


def place(planned: Course, steps: int) -> tuple[int, int]:
    """(epoch, step in it), both from 0, of the step that comes after ``steps`` steps, or of the last where all are done."""
    return divmod(min(steps, planned.total_steps - 1), planned.steps)


def _batches(config: TrainConfig, train: np.ndarray, processes: int) -> Batches:
    """The loop's own batches, those of all processes together."""
    pictures = cast(ImageDataset, types.SimpleNamespace(train=train))  # their order needs no pictures
    batches = Batches(config, pictures, torch.device("cpu"))
    batches.size, batches.per_epoch = batches.size * processes, steps_per_epoch(config, len(train), processes)
    return batches
