"""The autoencoder that a run can train, and its latents brought to one scale."""

import copy

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from ddpm_app import diffusion
from ddpm_app.config import VAE_NORM_GROUPS, TrainConfig
from ddpm_app.model.building import BUILDING


def build_vae(config: TrainConfig) -> AutoencoderKL:
    """An AutoencoderKL with weights drawn from the run's seed; the global generator is left as it was."""
    with BUILDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(diffusion.generator(config.seed, "weights").initial_seed())
        return vae_of(config)


def vae_of(config: TrainConfig) -> AutoencoderKL:
    """The AutoencoderKL that the settings describe, with whatever weights the global generator gives."""
    levels = len(config.vae_channels)
    return AutoencoderKL(
        sample_size=config.image_size,
        block_out_channels=config.vae_channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1,
        latent_channels=config.latent_channels,
        norm_num_groups=VAE_NORM_GROUPS,
        mid_block_add_attention=False,
    )


@torch.no_grad()
def scaled(vae: AutoencoderKL, latents: Tensor) -> AutoencoderKL:
    """A copy of ``vae`` whose ``scaling_factor`` brings latents like ``latents`` [N, C, H, W] (posterior means) to unit variance.

    The pipelines of diffusers multiply by that one number, so what differs between channels, mean and spread, is folded into
    ``quant_conv`` and ``post_quant_conv``; reconstructions stay as they are (to rounding).
    """
    vae = copy.deepcopy(vae)
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3)).clamp(min=1e-6)
    overall = std.square().mean().sqrt()
    ratio = std / overall
    channels = len(mean)
    out, back = vae.quant_conv, vae.post_quant_conv
    out.weight[:channels] /= ratio.view(-1, 1, 1, 1)
    out.bias[:channels] = (out.bias[:channels] - mean) / ratio
    out.bias[channels:] -= 2 * ratio.log()  # the second half is the logarithm of the variance
    back.bias += (back.weight[:, :, 0, 0] * mean).sum(1)
    back.weight *= ratio.view(1, -1, 1, 1)
    vae.register_to_config(scaling_factor=float(1 / overall))
    return vae
