"""The optimisers of a run - AdamW for everything, or Muon for the convolutions and AdamW for the rest - and their learning rate."""

from collections.abc import Callable, Iterable

import torch
from diffusers.optimization import get_scheduler
from torch import nn

from ddpm_app.config import TrainConfig

MATRIX_SIDE = 16
"""Convolutions whose smaller side is shorter than this have too few directions to be worth orthogonalising."""


def make_optimizers(
    config: TrainConfig, parameters: Iterable[nn.Parameter], fused: bool
) -> list[torch.optim.Optimizer]:
    """AdamW, followed by Muon where the config asks for it. Each keeps its peak rate as its groups' ``initial_lr``."""
    parameters = list(parameters)
    convolutions = [
        p for p in parameters if config.optimizer == "muon" and p.ndim == 4 and min(len(p), p[0].numel()) >= MATRIX_SIDE
    ]
    chosen = {id(p) for p in convolutions}
    rest = [p for p in parameters if id(p) not in chosen]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            rest, lr=config.learning_rate, betas=(0.9, config.adam_beta2), weight_decay=config.weight_decay, fused=fused
        )
    ]
    if convolutions:
        optimizers.append(ConvMuon(convolutions, config.muon_learning_rate, config.weight_decay))
    for group in _groups(optimizers):
        group["initial_lr"] = group["lr"]
    return optimizers


def lr_lambda(config: TrainConfig, total_steps: int) -> Callable[[int], float]:
    """The share of the peak learning rate (0 to 1) at each step (from 0): warm-up and decay as diffusers has them."""
    unused = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1.0)  # get_scheduler wants one to schedule
    schedule = get_scheduler(
        config.lr_scheduler, unused, num_warmup_steps=config.lr_warmup_steps, num_training_steps=total_steps
    )
    return schedule.lr_lambdas[0]


def set_lr_factor(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    """Let each learn at ``factor`` times its peak rate."""
    for group in _groups(optimizers):
        group["lr"] = group["initial_lr"] * factor


def _groups(optimizers: Iterable[torch.optim.Optimizer]) -> list[dict]:
    return [group for optimizer in optimizers for group in optimizer.param_groups]


class ConvMuon(torch.optim.Muon):
    """torch's Muon (momentum orthogonalised by Newton-Schulz, arXiv 2502.16982), which takes only matrices: convolution
    weights [out, in, h, w] are handed to it as [out, in * h * w], in the same memory."""

    def __init__(self, weights: list[nn.Parameter], lr: float, weight_decay: float):
        self.weights = weights
        super().__init__(
            [w.detach().view(len(w), -1) for w in weights], lr=lr, weight_decay=weight_decay, momentum=0.95
        )

    def step(self, closure=None):
        """One step from the weights' gradients."""
        for matrix, weight in zip(self.param_groups[0]["params"], self.weights, strict=True):
            matrix.grad = None if weight.grad is None else weight.grad.reshape(len(weight), -1)
        super().step(closure)
        for matrix in self.param_groups[0]["params"]:
            matrix.grad = None
