"""What flows from one part to the next, in numbers."""

import dataclasses

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Facts:
    """A tensor in numbers; ``std`` is the standard deviation over all its elements (0 for one)."""

    shape: tuple[int, ...]
    dtype: str
    min: float
    max: float
    mean: float
    std: float


def facts(tensor: Tensor) -> Facts:
    """Shape, dtype and range of ``tensor`` (not empty)."""
    values = tensor.detach().double()
    dtype = str(tensor.dtype).removeprefix("torch.")
    return Facts(
        tuple(tensor.shape),
        dtype,
        float(values.min()),
        float(values.max()),
        float(values.mean()),
        float(values.std(correction=0)),
    )


def histogram(tensor: Tensor, low: float, high: float, bins: int) -> tuple[list[float], list[float]]:
    """(middles, shares) of ``bins`` equal bins over [low, high]; what lies outside counts to the outermost. The shares sum to 1."""
    values = tensor.detach().float().flatten().clamp(low, high)
    counts = torch.histc(values, bins, low, high)
    width = (high - low) / bins
    return [low + (k + 0.5) * width for k in range(bins)], (counts / len(values)).tolist()
