"""Training steps on a copy of a model, one at a time, with everything that a step does to be seen."""

import copy
import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ddpm_app.config import TrainConfig
from ddpm_app.learn.probes.blocks import block_of
from ddpm_app.model.ema import make_ema
from ddpm_app.model.unet import freeze, learning, use_plain_attention
from ddpm_app.train.denoising import denoising_loss
from ddpm_app.train.objective import Batch, Network, accumulate
from ddpm_app.train.optimizer import make_optimizers, set_lr_factor

PART = 2
"""Pictures whose gradient is computed at once: a slice of work."""


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
    """A copy of ``unet`` in train mode with the run's own optimisers, frozen parts and average, at the start of training. ``alphas_cumprod``
    is the schedule [T]. ``step`` counts the steps done; ``changes``: length of the last step's change of each block's weights."""

    def __init__(self, config: TrainConfig, unet: nn.Module, alphas_cumprod: Tensor):
        self.config, self.original, self.alphas_cumprod = config, unet, alphas_cumprod
        self.device = alphas_cumprod.device
        self.network = copy.deepcopy(unet).train()
        if self.device.type == "cpu":
            use_plain_attention(self.network)
        freeze(self.network, config.trainable)
        self.optimizers = make_optimizers(config, learning(self.network), fused=self.device.type in ("cpu", "cuda"))
        self.peaks = [optimizer.param_groups[0]["initial_lr"] for optimizer in self.optimizers]
        self.ema = make_ema(self.network, config.ema_window) if config.use_ema else None
        self.ema_network = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.step = 0
        self.changes: dict[str, float] = {}

    def losses(self, network: Network, batch: Batch) -> Tensor:
        """The loss of each picture [B]."""
        return denoising_loss(self.config, network, batch, self.alphas_cumprod)

    def look(self, batch: Batch) -> Iterator[Look | None]:
        """Forward and backward: None after each slice of work, then what came out. The gradient stays for ``update``."""
        losses: list[Tensor] = []
        outputs: list[Tensor] = []

        def network(*args: Any, **kwargs: Any) -> Any:
            result = self.network(*args, **kwargs)
            outputs.append(result.sample.detach().float())
            return result

        self.network.zero_grad()
        for k, part in enumerate(_parts(batch)):
            if k:
                yield None
            losses.append(accumulate(self, network, part, len(batch), (self.step, k, 0)))
        gradients = {name: p.grad for name, p in self.network.named_parameters()}
        norms: dict[str, float | None] = dict.fromkeys(map(block_of, gradients))
        norms |= lengths((name, gradient) for name, gradient in gradients.items() if gradient is not None)
        norm = math.sqrt(sum(norm**2 for norm in norms.values() if norm is not None))
        yield Look(self.step, torch.cat(losses), torch.cat(outputs), norm, norms)

    def update(self, factor: float) -> None:
        """One step from the gradient that ``look`` left, clipped as in the run, at ``factor`` times the run's peak learning rates."""
        before = {name: p.detach().clone() for name, p in self.network.named_parameters() if p.requires_grad}
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.max_grad_norm)
        set_lr_factor(self.optimizers, factor)
        for optimizer in self.optimizers:
            optimizer.step()
        if self.ema:
            self.ema.step(self.network.parameters())
        self.step += 1
        self.changes = self._changes(before)

    def moved(self) -> dict[str, float]:
        """Length of the change of each block's weights since the start."""
        return self._changes(dict(self.original.named_parameters()))

    def lengths(self) -> dict[str, float]:
        """Length of each block's weights."""
        return lengths(self.network.named_parameters())

    def distance(self) -> float:
        """How far the average is from the weights, as a share of their length. Only with ``ema``."""
        assert self.ema is not None
        apart = [
            float((mine - p.detach()).square().sum())
            for mine, p in zip(self.ema.shadow_params, self.network.parameters(), strict=True)
        ]
        return math.sqrt(sum(apart) / sum(length**2 for length in self.lengths().values()))

    def load_ema_weights(self) -> nn.Module:
        """``ema_network`` with the averaged weights as they are now. Only with ``ema``."""
        assert self.ema is not None
        self.ema.copy_to(self.ema_network.parameters())
        return self.ema_network

    @torch.no_grad()
    def averaged_loss(self, batch: Batch) -> Iterator[float | None]:
        """The mean loss of the averaged weights: None after each slice of work, then the loss. Only with ``ema``."""
        network, losses = self.load_ema_weights(), []
        for k, part in enumerate(_parts(batch)):
            if k:
                yield None
            losses.append(self.losses(network, part))
        yield float(torch.cat(losses).mean())

    def _changes(self, before: dict[str, Tensor]) -> dict[str, float]:
        now = dict(self.network.named_parameters())
        return lengths((name, now[name].detach() - old) for name, old in before.items())


def _parts(batch: Batch) -> Iterator[Batch]:
    for first in range(0, len(batch), PART):
        yield batch.part(slice(first, first + PART))


def lengths(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, float]:
    """The length (2-norm) of all tensors of a block together, from (name of the parameter, tensor)."""
    squares: dict[str, float] = {}
    for name, tensor in tensors:
        block = block_of(name)
        squares[block] = squares.get(block, 0.0) + float(tensor.detach().float().square().sum())
    return {block: math.sqrt(square) for block, square in squares.items()}
