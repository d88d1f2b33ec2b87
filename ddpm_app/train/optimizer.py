"""The optimisers of a run - AdamW for everything, or Muon for the convolutions and AdamW for the rest - and their learning rate."""

from collections.abc import Callable, Iterable

import torch
from diffusers.optimization import get_scheduler
from torch import Tensor, nn

from ddpm_app.config import TrainConfig
from ddpm_app.runs.records import Plan

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


def planned_lr(config: TrainConfig, plan: Plan) -> Callable[[int], float]:
    """As ``lr_lambda`` for a run with that plan. Up to the second look the rate went as the first plan had it."""
    settled = lr_lambda(config, plan["total_steps"], plan.get("warmup_steps"))
    course = plan.get("first_course")
    if course is None:
        return settled
    first, look_step = lr_lambda(config, course["total_steps"], course["warmup_steps"]), plan["look_step"]
    return lambda step: first(step) if step < look_step else settled(step)


def lr_lambda(config: TrainConfig, total_steps: int, warmup_steps: int | None = None) -> Callable[[int], float]:
    """The share of the peak learning rate (0 to 1) at each step (from 0): warm-up and decay as diffusers has them. ``warmup_steps``:
    other than the setting."""
    rising = config.lr_warmup_steps if warmup_steps is None else warmup_steps
    unused = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1.0)  # get_scheduler wants one to schedule
    schedule = get_scheduler(config.lr_scheduler, unused, num_warmup_steps=rising, num_training_steps=total_steps)
    return schedule.lr_lambdas[0]


def set_lr_factor(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    """Let each learn at ``factor`` times its peak rate."""
    for group in _groups(optimizers):
        group["lr"] = group["initial_lr"] * factor


def _groups(optimizers: Iterable[torch.optim.Optimizer]) -> list[dict]:
    return [group for optimizer in optimizers for group in optimizer.param_groups]


class ConvMuon(torch.optim.Muon):
    """Muon (momentum orthogonalised by Newton-Schulz, arXiv 2502.16982) for convolution weights [out, in, h, w], each taken as the matrix
    [out, in * h * w] in the same memory. State and result are those of torch's Muon, which computes in bfloat16 whatever the machine: on a
    CPU without it that takes longer than the network's forward and backward pass together. ``orthogonalized`` is float32."""

    def __init__(self, weights: list[nn.Parameter], lr: float, weight_decay: float):
        self.weights = weights
        super().__init__(
            [w.detach().view(len(w), -1) for w in weights], lr=lr, weight_decay=weight_decay, momentum=0.95
        )

    @torch.no_grad()
    def step(self, closure=None):
        """One step from the weights' gradients, with Nesterov momentum."""
        group = self.param_groups[0]
        for matrix, weight in zip(group["params"], self.weights, strict=True):
            if weight.grad is None:
                continue
            gradient = weight.grad.reshape(len(weight), -1)
            state = self.state[matrix]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(gradient)
            momentum = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
            update = orthogonalized(
                gradient.lerp(momentum, group["momentum"]), group["ns_coefficients"], group["ns_steps"]
            )
            scale = max(1, matrix.shape[0] / matrix.shape[1]) ** 0.5
            matrix.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"] * scale)


def orthogonalized(matrix: Tensor, coefficients: tuple[float, float, float], steps: int) -> Tensor:
    """The nearest matrix with singular values of about 1, by the quintic Newton-Schulz iteration of Muon, which multiplies X by
    a + b R + c R^2 with R = X X^T. R is a polynomial of itself from step to step, so that only it is iterated, at the size of the shorter
    side, and X is multiplied once at the end: a convolution is 9 to 18 times longer than wide."""
    a, b, c = coefficients
    x = matrix / matrix.norm().clamp(min=1e-7)
    tall = len(x) > x.shape[1]
    x = x.T if tall else x
    r, eye = x @ x.T, torch.eye(len(x), dtype=x.dtype, device=x.device)
    product = eye
    for step in range(steps):
        factor = a * eye + b * r + c * (r @ r)
        product = factor if step == 0 else factor @ product
        if step + 1 < steps:
            r = factor @ r @ factor
    x = product @ x
    return x.T if tall else x
