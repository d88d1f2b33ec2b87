"""What a run learns, behind one interface: a diffusion model (denoising) or an autoencoder (autoencoding); and the training step they share."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from diffusers import ModelMixin
from PIL import Image
from torch import Tensor, nn

from ddpm_app import diffusion
from ddpm_app.config import TrainConfig
from ddpm_app.model.codec import TrainingTensors
from ddpm_app.train.batches import Batches
from ddpm_app.train.events import Notice, Validated

Network = Callable[..., Any]
"""A module, or a function that calls one."""
B = TypeVar("B")
B_contra = TypeVar("B_contra", contravariant=True)


@dataclasses.dataclass(frozen=True)
class Batch:
    """What a diffusion model learns from at once: clean pictures or latents ``x0`` and their ``noise`` [B, C, H, W], float32, their
    ``timesteps`` [B], int64, 0 to T - 1, and the UNet's further arguments ``condition`` [B, ...]."""

    x0: Tensor
    noise: Tensor
    timesteps: Tensor
    condition: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.x0)

    def to(self, device: torch.device) -> "Batch":
        """The batch on ``device``."""
        return self._each(lambda tensor: tensor.to(device))

    def part(self, indices: slice | Tensor) -> "Batch":
        """Some of its pictures."""
        return self._each(lambda tensor: tensor[indices])

    @staticmethod
    def cat(batches: Sequence["Batch"]) -> "Batch":
        """All pictures of ``batches`` (at least one) in one."""
        x0, noise, timesteps = (torch.cat([getattr(b, name) for b in batches]) for name in ("x0", "noise", "timesteps"))
        condition = {name: torch.cat([b.condition[name] for b in batches]) for name in batches[0].condition}
        return Batch(x0, noise, timesteps, condition)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        condition = {name: change(value) for name, value in self.condition.items()}
        return Batch(change(self.x0), change(self.noise), change(self.timesteps), condition)


class Loss(Protocol[B_contra]):
    """What ``accumulate`` needs of an objective: the loss of each picture [B], and where and by which seed it is computed."""

    config: TrainConfig
    device: torch.device

    def losses(self, network: Network, batch: B_contra) -> Tensor:
        """The loss of each picture [B]. ``network`` is called as ``training_module`` is."""


class Objective(Protocol[B]):
    """What the loop and the rehearsal call. ``config``: the run's, as the model that it goes on from has it; ``module``: the network that
    learns, in the folder ``part`` of a checkpoint; ``training_tensors``: what batches are taken from."""

    config: TrainConfig
    device: torch.device
    module: ModelMixin
    part: str
    training_tensors: TrainingTensors

    @property
    def preview_passes(self) -> int:
        """Calls of ``preview_pass`` that a preview costs."""

    @property
    def fingerprints(self) -> dict[str, str]:
        """Hashes of what the run stands on beside the pixels, by setting."""

    def notices(self) -> Iterator[Notice]:
        """What the person should know of how model and data fit."""

    def training_module(self, module: nn.Module) -> nn.Module:
        """The module whose forward pass is trained: what DistributedDataParallel wraps where several processes train."""

    def batch(self, batches: Batches, step: int, number: int, indices: np.ndarray) -> B:
        """Batch ``number`` of ``step`` (both from 0), on the device: the pictures ``indices`` with their noise."""

    def losses(self, network: Network, batch: B) -> Tensor:
        """The loss of each picture [B]. ``network`` is called as ``training_module`` is."""

    def measure(self, module: nn.Module, step: int) -> Validated:
        """The loss of ``module`` (in eval mode) on fixed training and held-out pictures."""

    def preview_pass(self, module: nn.Module, count: int) -> None:
        """One pass over ``count`` preview pictures, to be timed."""

    def preview(self, module: nn.Module, quick: bool = False) -> Iterator[list[Image.Image] | None]:
        """None after each slice of work, then the pictures. ``quick``: fewer of them, in fewer steps, where that saves time."""

    def save(self, module: nn.Module, folder: pathlib.Path) -> None:
        """Write a pipeline, or an autoencoder, with ``module``'s weights."""

    def parts(self) -> dict[str, nn.Module]:
        """All networks by their name in the pipeline; those beside ``part`` are frozen."""


def accumulate(
    objective: Loss[B],
    network: Network,
    batch: B,
    images: int,
    key: tuple[int, int, int],
    backward: Callable[[Tensor], object] = Tensor.backward,
) -> Tensor:
    """One batch forward and backward: adds its share of the gradient of the mean loss of a step's ``images`` pictures. Returns the loss of
    each picture [B]. What dropout drops depends on the seed and ``key`` (step, batch, process) alone."""
    with diffusion.forked_rng(objective.device, objective.config.seed, "dropout", *key):
        losses = objective.losses(network, batch)
        backward(losses.sum() / images)
    return losses.detach()
