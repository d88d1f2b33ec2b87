"""What the network makes of x_t, as noise, as clean picture and as velocity: three names for one guess.

x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps (arXiv 2006.11239) and v = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x0 (arXiv 2202.00512) are two
equations: with x_t known, each of eps, x0 and v tells the other two.
"""

import dataclasses
import math

import torch
from torch import Tensor

from ddpm_app import diffusion
from ddpm_app.model.pipeline import Model

KINDS = ("epsilon", "sample", "v_prediction")


def coefficients(prediction_type: str, alpha_bar: float) -> dict[str, tuple[float, float]]:
    """(p, q) of each of KINDS: it is p x_t + q output, for a network whose output is ``prediction_type``. An error of the output
    is |q| times as large there.

    Where x_t holds nothing of what is sought (alpha_bar 0: of x0, alpha_bar 1: of eps) no output tells it, and both are NaN.
    """
    r, s = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
    nothing = math.nan, math.nan
    return {
        "epsilon": lambda: {
            "epsilon": (0.0, 1.0),
            "sample": (1 / r, -s / r) if r else nothing,
            "v_prediction": (-s / r, 1 / r) if r else nothing,
        },
        "sample": lambda: {
            "epsilon": (1 / s, -r / s) if s else nothing,
            "sample": (0.0, 1.0),
            "v_prediction": (r / s, -1 / s) if s else nothing,
        },
        "v_prediction": lambda: {"epsilon": (s, r), "sample": (r, -s), "v_prediction": (0.0, 1.0)},
    }[prediction_type]()


def convert(output: Tensor, prediction_type: str, x_t: Tensor, alpha_bar: float) -> dict[str, Tensor]:
    """The output [B, C, H, W] of a network at one noise level as each of KINDS, in float32; computed in float64, because near alpha_bar 0
    and 1 large numbers cancel."""
    x, y = x_t.double(), output.double()
    return {
        kind: (p * x + q * y if p else q * y).float()
        for kind, (p, q) in coefficients(prediction_type, alpha_bar).items()
    }


@dataclasses.dataclass(frozen=True)
class Guess:
    """``x_t`` [B, C, H, W], and by KINDS what it was made of (``target``) and what the network says that it was made of
    (``prediction``)."""

    x_t: Tensor
    target: dict[str, Tensor]
    prediction: dict[str, Tensor]

    def error(self, kind: str) -> float:
        """Root of the mean squared error, over all numbers."""
        return rms(self.prediction[kind] - self.target[kind])


@torch.no_grad()
def guess(model: Model, x0: Tensor, eps: Tensor, timestep: int, condition: dict[str, Tensor]) -> Guess:
    """One pass of ``model`` over the noised ``x0`` [B, C, H, W] at ``timestep`` (0 to T - 1); ``condition`` the network's further arguments."""
    alpha_bar = model.scheduler.alphas_cumprod[timestep].to(x0.device)
    kind = model.scheduler.config.prediction_type
    x_t = diffusion.add_noise(x0, eps, alpha_bar)
    output = model.unet(x_t, torch.tensor(timestep, device=x0.device), **condition).sample
    return Guess(
        x_t, {k: diffusion.target(k, x0, eps, alpha_bar) for k in KINDS}, convert(output, kind, x_t, float(alpha_bar))
    )


def rms(values: Tensor) -> float:
    """Root mean square of all elements."""
    return float(values.double().square().mean().sqrt())
