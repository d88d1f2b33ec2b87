"""Which pictures a step sees, and with which flips, timesteps and noise: all keyed by (seed, purpose, step)."""

import functools
import math

import numpy as np
import torch

from ddpm_app import diffusion
from ddpm_app.config import TrainConfig
from ddpm_app.data.image_dataset import ImageDataset
from ddpm_app.model.codec import TrainingTensors


def batch_size(config: TrainConfig, pictures: int) -> int:
    """Pictures per batch and device: the setting, or all training pictures when they are fewer."""
    return min(config.train_batch_size, pictures)


def steps_per_epoch(config: TrainConfig, pictures: int, processes: int = 1) -> int:
    """Optimiser steps per pass over ``pictures`` training pictures; the last batch may be smaller, as in the tutorial."""
    batches = math.ceil(pictures / (batch_size(config, pictures) * processes))
    return math.ceil(batches / config.gradient_accumulation_steps)


class Batches:
    """The batches of a run for one of ``processes`` processes. Step k is the same whenever and wherever it is loaded.
    ``training_tensors``: what is denoised for each picture, where that isn't the picture itself."""

    def __init__(
        self,
        config: TrainConfig,
        pictures: ImageDataset,
        device: torch.device,
        rank: int = 0,
        processes: int = 1,
        training_tensors: TrainingTensors | None = None,
    ):
        self.config, self.pictures, self.device, self.rank, self.processes = config, pictures, device, rank, processes
        self.training_tensors = training_tensors or pictures
        self.size = batch_size(config, len(pictures.train))
        self.per_epoch = steps_per_epoch(config, len(pictures.train), processes)
        self._order = functools.lru_cache(maxsize=2)(self._shuffled)

    def _shuffled(self, epoch: int) -> np.ndarray:
        key = diffusion.generator(self.config.seed, "order", epoch)
        return self.pictures.train[torch.randperm(len(self.pictures.train), generator=key).numpy()]

    def indices(self, step: int) -> list[np.ndarray]:
        """Picture numbers of each batch of ``step`` (from 0) for this process. With several processes the last batch of an
        epoch is filled up from the epoch's start, so that all of them have the same number."""
        epoch, k = divmod(step, self.per_epoch)
        order, whole = self._order(epoch), self.size * self.processes
        first = k * self.config.gradient_accumulation_steps * whole
        last = min(first + self.config.gradient_accumulation_steps * whole, len(order))
        batches = [order[start : min(start + whole, last)] for start in range(first, last, whole)]
        if self.processes > 1:
            batches = [
                np.resize(np.concatenate([b, order]), math.ceil(len(b) / self.processes) * self.processes)
                for b in batches
            ]
        return [b[self.rank :: self.processes] for b in batches]

    def shares(self, purpose: str, step: int, batch: int, count: int) -> np.ndarray:
        """A number in [0, 1) for each picture of the batch, float32 [count]."""
        draw = diffusion.generator(self.config.seed, purpose, step, batch, self.rank)
        return torch.rand(count, generator=draw).numpy()

    def dropped(self, step: int, batch: int, count: int) -> np.ndarray | None:
        """Which pictures of the batch are learnt without their label or text, bool [count]; None: no picture."""
        if not self.config.condition_dropout:
            return None
        return self.shares("drop", step, batch, count) < np.float32(self.config.condition_dropout)

    def pictures_of(self, step: int, batch: int, indices: np.ndarray) -> torch.Tensor:
        """The clean batch x0 [B, C, H, W], float32, on the device."""
        flips = None
        if self.config.random_flip:
            flips = self.shares("flip", step, batch, len(indices)) < 0.5
        return self.training_tensors.tensors(indices, flips).to(self.device, non_blocking=True)

    def load(self, step: int, batch: int, indices: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Clean pictures x0 and their noise [B, C, H, W], float32, and timesteps [B], int64, on the device."""
        x0 = self.pictures_of(step, batch, indices)
        draw = diffusion.generator(self.config.seed, "noise", step, batch, self.rank, device=self.device)
        noise = torch.randn(x0.shape, generator=draw, device=self.device)
        timesteps = torch.randint(
            0, self.config.num_train_timesteps, (len(indices),), generator=draw, device=self.device
        )
        return x0, noise, timesteps
