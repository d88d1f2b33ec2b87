"""The forward process in numbers: how much picture and how much noise each timestep holds (DDPM, arXiv 2006.11239, eq. 4)."""

import dataclasses

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from ddpm_app import diffusion

VISIBLE = 0.1
"""Share of the picture in x_T from which its outline can be told by eye: pure noise has none."""


@dataclasses.dataclass(frozen=True)
class Levels:
    """For every timestep 0 to T - 1: ``signal`` sqrt(alpha-bar) and ``noise`` sqrt(1 - alpha-bar), the factors of x0 and eps in x_t, and
    ``log_snr`` ln(alpha-bar / (1 - alpha-bar)), all [T]."""

    alphas_cumprod: Tensor
    signal: Tensor
    noise: Tensor
    log_snr: Tensor

    @property
    def left(self) -> float:
        """The factor of the picture that is left in x_T."""
        return float(self.signal[-1])

    @property
    def shows(self) -> bool:
        """Whether x_T still holds the picture: sampling, which starts from pure noise, then starts from what training never saw."""
        return self.left > VISIBLE


def levels(alphas_cumprod: Tensor) -> Levels:
    """The levels of a schedule's alpha-bar [T], in [0, 1)."""
    alpha_bar = alphas_cumprod.double().cpu()
    return Levels(alpha_bar, alpha_bar.sqrt(), (1 - alpha_bar).sqrt(), diffusion.snr(alpha_bar).log())


def schedule(name: str, timesteps: int) -> Tensor:
    """alpha-bar [T] of diffusers' schedule of that name with T = ``timesteps`` and its default betas."""
    return DDPMScheduler(num_train_timesteps=timesteps, beta_schedule=name).alphas_cumprod


def stretched(trained: DDPMScheduler, timesteps: int) -> Tensor:
    """alpha-bar [T] of a model's own schedule, with its betas' ends, at another T = ``timesteps``."""
    return DDPMScheduler.from_config(trained.config, num_train_timesteps=timesteps, trained_betas=None).alphas_cumprod


def strip(x0: Tensor, eps: Tensor, alphas_cumprod: Tensor, count: int) -> tuple[list[int], Tensor]:
    """x_t at ``count`` timesteps spread evenly from 0 to T - 1, with the same noise: (timesteps, [count, C, H, W]). x0, eps: [1, C, H, W]."""
    chosen = torch.linspace(0, len(alphas_cumprod) - 1, count).round().long()
    return chosen.tolist(), diffusion.add_noise(x0, eps, alphas_cumprod[chosen].float().to(x0.device))
