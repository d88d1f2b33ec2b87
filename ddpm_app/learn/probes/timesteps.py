"""Loss by timestep, measured as training measures it, but little by little."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ddpm_app.train.evaluate import BANDS, FixedNoiseEvaluator
from ddpm_app.train.objective import Batch


@torch.no_grad()
def losses(evaluator: FixedNoiseEvaluator, kind: str, network: nn.Module, at_once: int = 4) -> Iterator[Tensor]:
    """Losses by timestep from least noise to most [evaluator.count], NaN where not measured yet, ``at_once`` more with each turn.

    They are spread over all timesteps from the first turn on. The whole is what the loop's validation measures of pictures of ``kind`` ("train",
    "held_out"): its mean is the loss that a run records. The first turns only fetch the pictures, a batch of the evaluator each.
    """
    batches: list[Batch] = []
    measured = torch.full((evaluator.count,), torch.nan)
    for batch in evaluator.batches(kind):
        if batches:
            yield measured
        batches.append(batch)
    whole = Batch.cat(batches)
    rounds = -(-evaluator.count // at_once)
    for k in scattered(rounds):
        part = torch.arange(k, evaluator.count, rounds)
        measured[part] = evaluator.loss(network, whole.part(part)).cpu()
        yield measured


def scattered(count: int) -> list[int]:
    """0 to count - 1, each far from those just before it: in the order of their binary digits read backwards."""
    digits = max(1, (count - 1).bit_length())
    return sorted(range(count), key=lambda k: f"{k:0{digits}b}"[::-1])


def bands(losses: Tensor) -> list[float]:
    """Mean of the losses by timestep in each of BANDS equal bands, as a run records them; NaN where nothing is measured yet."""
    return losses.reshape(BANDS, -1).nanmean(dim=1).tolist()
