"""Noise schedules, prediction targets, x0 from any target, loss weights: pure functions with the papers' names.

x0 is a clean batch [B, C, H, W], eps its noise, ``alpha_bar`` the schedule's alphas_cumprod at each picture's timestep [B]
(in [0, 1), float32; 0 at the end of a schedule with zero terminal SNR, arXiv 2305.08891):
x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps (DDPM, arXiv 2006.11239, eq. 4).
"""

import contextlib
import hashlib
import math
from collections.abc import Iterator

import torch
from diffusers import DDPMScheduler, SchedulerMixin
from torch import Tensor

from ddpm_app.config import TrainConfig


def generator(seed: int, purpose: str, *numbers: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A random generator that depends on its key alone, so that what is drawn doesn't depend on what was drawn before."""
    key = hashlib.blake2b(repr((seed, purpose, *numbers)).encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(key, "big") >> 1)


def scheduler(config: TrainConfig, clip_sample: bool = True) -> DDPMScheduler:
    """The diffusers scheduler of a run: what is saved with the pipeline, and the source of alpha-bar."""
    return DDPMScheduler(
        num_train_timesteps=config.num_train_timesteps,
        beta_schedule=config.beta_schedule,
        prediction_type=config.prediction_type,
        clip_sample=clip_sample,
    )


def _as_pictures(alpha_bar: Tensor) -> Tensor:
    return alpha_bar.reshape(-1, 1, 1, 1)


def add_noise(x0: Tensor, eps: Tensor, alpha_bar: Tensor) -> Tensor:
    """x_t, in float32 whatever the network runs in: half precision loses the small noise levels."""
    a = _as_pictures(alpha_bar)
    return a.sqrt() * x0 + (1 - a).sqrt() * eps


def target(prediction_type: str, x0: Tensor, eps: Tensor, alpha_bar: Tensor) -> Tensor:
    """What the network learns to output: eps ("epsilon"), x0 ("sample"), or v = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x0
    ("v_prediction", arXiv 2202.00512)."""
    a = _as_pictures(alpha_bar)
    return {
        "epsilon": lambda: eps,
        "sample": lambda: x0,
        "v_prediction": lambda: a.sqrt() * eps - (1 - a).sqrt() * x0,
    }[prediction_type]()


def x0_from(prediction_type: str, output: Tensor, x_t: Tensor, alpha_bar: Tensor) -> Tensor:
    """The clean picture that the network's output means."""
    a = _as_pictures(alpha_bar)
    return {
        "epsilon": lambda: (x_t - (1 - a).sqrt() * output) / a.sqrt(),
        "sample": lambda: output,
        "v_prediction": lambda: a.sqrt() * x_t - (1 - a).sqrt() * output,
    }[prediction_type]()


def has_zero_snr(scheduler: SchedulerMixin) -> bool:
    """Whether nothing of the picture is left at the schedule's last timestep (zero terminal SNR)."""
    return float(scheduler.alphas_cumprod[-1]) == 0


def hides_x0(scheduler: SchedulerMixin) -> bool:
    """Whether the network's output at the last timestep says nothing of the clean picture: it guesses noise, and x_T is noise alone."""
    return scheduler.config.prediction_type == "epsilon" and has_zero_snr(scheduler)


def snr(alpha_bar: Tensor) -> Tensor:
    """Signal-to-noise ratio alpha_bar / (1 - alpha_bar)."""
    return alpha_bar / (1 - alpha_bar)


def loss_weight(weighting: str, prediction_type: str, alpha_bar: Tensor, gamma: float) -> Tensor:
    """Weight of each picture's squared error [B]. "min_snr" caps the weight of the x0 error at gamma (arXiv 2303.09556):
    min(SNR, gamma) for x0, divided by SNR for epsilon (not a number where that is 0) and by SNR + 1 for v."""
    if weighting == "none":
        return torch.ones_like(alpha_bar)
    ratio = snr(alpha_bar)
    divisor = {"epsilon": ratio, "sample": torch.ones_like(ratio), "v_prediction": ratio + 1}[prediction_type]
    return ratio.clamp(max=gamma) / divisor


def terminal_alpha_bar(config: TrainConfig) -> float:
    """alpha-bar at t = T: the share of the picture's power that is left in what should be pure noise."""
    return float(scheduler(config).alphas_cumprod[-1])


def stratified_timesteps(count: int, timesteps: int) -> Tensor:
    """``count`` timesteps spread evenly over [0, T), one at the middle of each stratum [count]."""
    return torch.tensor([math.floor((k + 0.5) * timesteps / count) for k in range(count)])


@contextlib.contextmanager
def forked_rng(device: torch.device, seed: int, purpose: str, *numbers: int) -> Iterator[None]:
    """Dropout draws from the global generators: inside the block they start at the state of a key (see ``generator``), after it they
    are as before."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(generator(seed, purpose, *numbers).initial_seed())
        yield
