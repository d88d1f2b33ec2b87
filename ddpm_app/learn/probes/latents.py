"""A picture as an autoencoder's latents, and what comes of latents of the wrong size."""

import dataclasses

import torch
from torch import Tensor

from ddpm_app import diffusion
from ddpm_app.model.codec import Vae
from ddpm_app.model.pipeline import Model


@dataclasses.dataclass(frozen=True)
class Latents:
    """Of one picture, [1, c, h, w]: the posterior's ``mean`` as the encoder gives it, its mean standard deviation ``spread`` (None where
    the encoder gives no distribution), and ``scaled``, what the UNet learns: the mean times the autoencoder's factor."""

    mean: Tensor
    spread: float | None
    scaled: Tensor


@torch.no_grad()
def latents(codec: Vae, x: Tensor) -> Latents:
    """Latents of a picture [1, 3, H, W] in [-1, 1] (arXiv 2112.10752)."""
    encoded = codec.vae.encode(x)
    if posterior := getattr(encoded, "latent_dist", None):
        return Latents(posterior.mean, float(posterior.std.mean()), posterior.mean * codec.scale)
    return Latents(encoded.latents, None, encoded.latents * codec.scale)


@torch.no_grad()
def missized(
    model: Model, scaled: Tensor, times: float, eps: Tensor, timestep: int, condition: dict[str, Tensor]
) -> Tensor:
    """The UNet's guess of latents that reach it ``times`` as large as it learnt them, brought back to their right size [1, c, h, w]."""
    alpha_bar = model.scheduler.alphas_cumprod[timestep].to(scaled.device)
    x_t = diffusion.add_noise(scaled * times, eps, alpha_bar)
    output = model.unet(x_t, torch.tensor(timestep, device=scaled.device), **condition).sample
    return diffusion.x0_from(model.scheduler.config.prediction_type, output, x_t, alpha_bar) / times
