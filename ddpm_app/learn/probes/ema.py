"""How much of each past step is in the moving average of the weights, and how far the average is from the raw weights."""

import dataclasses
import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from ddpm_app.config import TrainConfig
from ddpm_app.learn.probes.step import Trial
from ddpm_app.train.objective import Batch

MOST = 0.99999
"""The decay of model.ema.make_ema never exceeds this."""


def decays(window: float, steps: int) -> Tensor:
    """The share of the average that step 1 ... ``steps`` leaves as it is [steps], float64, as model.ema.make_ema has it: n steps after the
    first it is 1 - 1 / (1 + window n), and the first step replaces what was there."""
    return (1 - 1 / (1 + window * torch.arange(steps, dtype=torch.float64))).clamp(max=MOST)


def weights(window: float, steps: int) -> Tensor:
    """The weight of step 1 ... ``steps`` in the average after the last of them [steps], float64. They sum to 1, and rise like the
    power 1 / window - 1 of the step (arXiv 2312.02696)."""
    decay = decays(window, steps)
    later = torch.cat([decay[1:], torch.ones(1, dtype=torch.float64)])  # what all later steps leave of it
    return (1 - decay) * later.flip(0).cumprod(0).flip(0)


def half(window: float) -> float:
    """The share of a long run, counted from its end, that holds half of the average's weight."""
    return 1 - 0.5**window


@torch.no_grad()
def difference(average: nn.Module, raw: nn.Module) -> float:
    """Length of the difference of two networks' weights as a share of the raw ones' length."""
    pairs = list(zip(average.parameters(), raw.parameters(), strict=True))
    apart = sum(float((a - b).double().square().sum()) for a, b in pairs)
    return math.sqrt(apart / sum(float(b.double().square().sum()) for _, b in pairs))


def go_on(
    config: TrainConfig, unet: nn.Module, alphas_cumprod: Tensor, batches: Iterable[Batch]
) -> Iterator[tuple[nn.Module, nn.Module] | None]:
    """Train a copy of ``unet`` by one step per batch at the run's peak learning rate: None after each slice of work, then (average, raw), both
    in eval mode. The average is the plain mean of the weights after each step (a window of 1); ``unet`` stays as it is."""
    trial = Trial(dataclasses.replace(config, use_ema=True, ema_window=1.0, trainable=("all",)), unet, alphas_cumprod)
    for batch in batches:
        for _ in trial.look(batch):
            yield None
        trial.update(1.0)
        yield None
    yield trial.load_ema_weights(), trial.network.eval().requires_grad_(False)
