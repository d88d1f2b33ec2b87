"""Training steps on a copy of a model, one at a time, with everything that a step does to be seen."""

import copy
import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ddpm_app.config import TrainConfig
from ddpm_app.diffusion import forked_rng
from ddpm_app.learn.probes.blocks import block_of
from ddpm_app.model.ema import make_ema
from ddpm_app.model.unet import freeze, learning, use_plain_attention
from ddpm_app.train.evaluate import picture_losses
from ddpm_app.train.optimizer import make_optimizers

PART = 2
"""Pictures whose gradient is found at once: a slice of work."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """Clean pictures or latents, their noise [B, C, H, W], their timesteps [B], and the UNet's further arguments."""

    x0: Tensor
    eps: Tensor
    timesteps: Tensor
    condition: dict[str, Tensor]

    def part(self, some: slice) -> "Batch":
        """A few pictures of it."""
        return Batch(
            self.x0[some],
            self.eps[some],
            self.timesteps[some],
            {name: value[some] for name, value in self.condition.items()},
        )


@dataclasses.dataclass(frozen=True)
class Look:
    """The copy after ``step`` steps, on a batch: loss of each picture [B], the network's output [B, C, H, W], the length (2-norm) of the
    gradient of the mean loss, as a whole and of each block's part of it; None where a block is frozen."""

    step: int
    losses: Tensor
    output: Tensor
    norm: float
    norms: dict[str, float | None]

    @property
    def loss(self) -> float:
        """The mean loss."""
        return float(self.losses.mean())


class Trial:
    """A copy of ``unet`` in train mode with the run's own optimisers, frozen parts and average, at the start of training. ``abar`` is the
    schedule [T]. ``step`` counts the steps done; ``changes``: length of the last step's change of each block's weights."""

    def __init__(self, config: TrainConfig, unet: nn.Module, abar: Tensor):
        self.config, self.original, self.abar = config, unet, abar
        self.network = copy.deepcopy(unet).train()
        if abar.device.type == "cpu":
            use_plain_attention(self.network)
        freeze(self.network, config.trainable)
        self.optimizers = make_optimizers(config, learning(self.network), fused=abar.device.type in ("cpu", "cuda"))
        self.peaks = [optimizer.param_groups[0]["lr"] for optimizer in self.optimizers]
        self.ema = make_ema(self.network, config.ema_window) if config.use_ema else None
        self.drawing = copy.deepcopy(self.network).eval().requires_grad_(False) if self.ema else None
        self.step = 0
        self.changes: dict[str, float] = {}

    def look(self, batch: Batch) -> Iterator[Look | None]:
        """Forward and backward: None after each slice of work, then what was found. The gradient stays for ``update``."""
        count, losses, outputs = len(batch.x0), [], []

        def watched(*given: Any, **named: Any) -> Any:
            result = self.network(*given, **named)
            outputs.append(result.sample.detach().float())
            return result

        self.network.zero_grad()
        for k, first in enumerate(range(0, count, PART)):
            some = batch.part(slice(first, first + PART))
            with forked_rng(self.abar.device, self.config.seed, "dropout", self.step, k, 0):
                found = picture_losses(
                    self.config, watched, some.x0, some.eps, some.timesteps, self.abar, some.condition
                )
                (found.sum() / count).backward()
            losses.append(found.detach())
            if first + PART < count:
                yield None
        norms = lengths((name, p.grad) for name, p in self.network.named_parameters())
        whole = math.sqrt(sum(norm**2 for norm in norms.values() if norm is not None))
        yield Look(self.step, torch.cat(losses), torch.cat(outputs), whole, norms)

    def update(self, factor: float) -> None:
        """One step from the gradient that ``look`` left, clipped as in the run, at ``factor`` times the run's peak learning rates."""
        before = {name: p.detach().clone() for name, p in self.network.named_parameters() if p.requires_grad}
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.max_grad_norm)
        for optimizer, peak in zip(self.optimizers, self.peaks, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * factor
            optimizer.step()
        if self.ema:
            self.ema.step(self.network.parameters())
        self.step += 1
        self.changes = self._moved(before)

    def moved(self) -> dict[str, float]:
        """Length of the change of each block's weights since the start."""
        return self._moved(dict(self.original.named_parameters()))

    def lengths(self) -> dict[str, float]:
        """Length of each block's weights."""
        return lengths(self.network.named_parameters())

    def distance(self) -> float:
        """How far the average is from the weights, as a share of their length. Only with ``ema``."""
        apart = sum(
            float((mine - p.detach()).square().sum())
            for mine, p in zip(self.ema.shadow_params, self.network.parameters(), strict=True)
        )
        return math.sqrt(apart / sum(length**2 for length in self.lengths().values()))

    @torch.no_grad()
    def averaged_loss(self, batch: Batch) -> Iterator[float | None]:
        """The mean loss of the averaged weights: None after each slice of work, then the loss. Only with ``ema``."""
        self.ema.copy_to(self.drawing.parameters())
        losses = []
        for first in range(0, len(batch.x0), PART):
            some = batch.part(slice(first, first + PART))
            losses.append(
                picture_losses(self.config, self.drawing, some.x0, some.eps, some.timesteps, self.abar, some.condition)
            )
            if first + PART < len(batch.x0):
                yield None
        yield float(torch.cat(losses).mean())

    def _moved(self, before: dict[str, Tensor]) -> dict[str, float]:
        now = dict(self.network.named_parameters())
        return lengths((name, now[name].detach() - old) for name, old in before.items())


def lengths(tensors: Iterable[tuple[str, Tensor | None]]) -> dict[str, float | None]:
    """The length (2-norm) of all tensors of a block together, from (name of the parameter, tensor); None for a block without one."""
    squares: dict[str, float | None] = {}
    for name, tensor in tensors:
        block = block_of(name)
        squares.setdefault(block, None)
        if tensor is not None:
            squares[block] = (squares[block] or 0.0) + float(tensor.detach().float().square().sum())
    return {block: None if square is None else math.sqrt(square) for block, square in squares.items()}
