"""How well a codec gives pictures back: what a latent diffusion model can reach at best."""

import numpy as np
import torch
from torch import Tensor

from ddpm_app.data.image_dataset import ImageDataset
from ddpm_app.model.codec import Codec

COUNT = 16
"""Pictures measured."""
UNFIT_PSNR = 22.0
"""Reconstructions worse than this (in decibels) look wrong at a glance."""


def reconstruct(codec: Codec, pictures: ImageDataset, held_out: bool = False) -> tuple[Tensor, Tensor]:
    """COUNT of the training pictures, or of the held-out ones, and their reconstructions, both [N, C, H, W]."""
    indices = pictures.held_out if held_out else pictures.train
    x = pictures.tensors(indices[np.linspace(0, len(indices) - 1, min(COUNT, len(indices))).round().astype(int)])
    return x, there_and_back(codec, x)


def there_and_back(codec: Codec, x: Tensor) -> Tensor:
    """The reconstructions of pictures ``x`` [N, C, H, W]."""
    device = codec.vae.device if codec.vae is not None else "cpu"
    return codec.decode(codec.encode(x.to(device))).float().cpu()


def psnr(x: Tensor, y: Tensor) -> float:
    """Peak signal-to-noise ratio of ``y`` against ``x``, both in [-1, 1], in decibels: 10 log10(2^2 / mean squared error)."""
    error = torch.mean((x - y.clamp(-1, 1)) ** 2)
    return float(10 * torch.log10(4 / error)) if error else float("inf")


def dataset_psnr(codec: Codec, pictures: ImageDataset, held_out: bool = False) -> float:
    """``psnr`` of COUNT pictures against their reconstructions."""
    return psnr(*reconstruct(codec, pictures, held_out))
