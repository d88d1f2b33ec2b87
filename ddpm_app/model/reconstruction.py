"""How well a codec gives pictures back: what a latent diffusion model can reach at best."""

import numpy as np
import torch
from torch import Tensor

from ddpm_app.data.image_dataset import ImageDataset
from ddpm_app.model.codec import Pixels, Vae

COUNT = 16
"""Pictures looked at."""
UNFIT_PSNR = 22.0
"""Reconstructions worse than this (in decibels) look wrong at a glance."""


def reconstruct(codec: Pixels | Vae, pictures: ImageDataset, held_out: bool = False) -> tuple[Tensor, Tensor]:
    """Some of the pictures and their reconstructions, both [N, C, H, W]; training pictures or the held-out ones."""
    among = pictures.held_out if held_out else pictures.train
    chosen = among[np.linspace(0, len(among) - 1, min(COUNT, len(among))).round().astype(int)]
    x = pictures.tensors(chosen)
    device = codec.vae.device if codec.vae is not None else "cpu"
    return x, codec.decode(codec.encode(x.to(device))).float().cpu()


def psnr(x: Tensor, y: Tensor) -> float:
    """Peak signal-to-noise ratio of ``y`` against ``x``, both in [-1, 1], in decibels: 10 log10(2^2 / mean squared error)."""
    error = torch.mean((x - y.clamp(-1, 1)) ** 2)
    return float(10 * torch.log10(4 / error)) if error else float("inf")


def dataset_psnr(codec: Pixels | Vae, pictures: ImageDataset, held_out: bool = False) -> float:
    """``psnr_of`` some of the pictures and their reconstructions."""
    return psnr(*reconstruct(codec, pictures, held_out))
