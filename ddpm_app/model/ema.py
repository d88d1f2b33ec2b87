"""The moving average of a network's weights."""

from diffusers.training_utils import EMAModel
from torch import nn


def make_ema(network: nn.Module, window: float) -> EMAModel:
    """A moving average over the last ``window`` (share) of the steps so far, however long the run turns out:
    decay = 1 - 1 / (1 + window * step), the power-function profile of arXiv 2312.02696."""
    return EMAModel(
        network.parameters(), decay=0.99999, use_ema_warmup=True, inv_gamma=1 / window, power=1.0, foreach=True
    )
