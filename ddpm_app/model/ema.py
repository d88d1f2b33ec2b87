"""The moving average of a network's weights."""

import pathlib
from collections.abc import Iterable

import safetensors.torch
import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from ddpm_app.model.describe import AVERAGE


def make_ema(network: nn.Module, window: float) -> EMAModel:
    """A moving average over the last ``window`` (share) of the steps so far, however long the run turns out:
    decay = 1 - 1 / (1 + window * step), the power-function profile of arXiv 2312.02696."""
    return EMAModel(
        network.parameters(), decay=0.99999, use_ema_warmup=True, inv_gamma=1 / window, power=1.0, foreach=True
    )


def save_average(weights: list[Tensor], folder: pathlib.Path) -> None:
    """Write the averaged ``weights`` into a checkpoint."""
    safetensors.torch.save_file({f"{k:05}": weight for k, weight in enumerate(weights)}, folder / AVERAGE)


@torch.no_grad()
def load_average(folder: pathlib.Path, weights: Iterable[Tensor]) -> None:
    """Copy the averaged weights of a checkpoint into ``weights``: a network's parameters, or their shadows."""
    average = safetensors.torch.load_file(folder / AVERAGE)
    for mine, name in zip(weights, sorted(average), strict=True):
        mine.copy_(average[name])
