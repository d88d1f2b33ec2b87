"""The UNet of a run and its moving average."""

import torch
from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention, AttnProcessor
from diffusers.training_utils import EMAModel

from ddpm_app import diffusion
from ddpm_app.config import TrainConfig


def build_unet(config: TrainConfig) -> UNet2DModel:
    """A UNet2DModel with weights drawn from the run's seed; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(diffusion.generator(config.seed, "weights").initial_seed())
        return unet_of(config)


def unet_of(config: TrainConfig) -> UNet2DModel:
    """The UNet2DModel that the settings describe, with whatever weights the global generator gives."""
    shape = config.unet_shape
    levels = range(1, len(shape.block_out_channels) + 1)
    return UNet2DModel(
        sample_size=config.image_size,
        in_channels=config.channels,
        out_channels=config.channels,
        layers_per_block=shape.layers_per_block,
        block_out_channels=shape.block_out_channels,
        down_block_types=tuple("AttnDownBlock2D" if n in shape.attention_levels else "DownBlock2D" for n in levels),
        up_block_types=tuple("AttnUpBlock2D" if n in shape.attention_levels else "UpBlock2D" for n in reversed(levels)),
        attention_head_dim=shape.attention_head_dim,
        norm_num_groups=shape.norm_num_groups,
        dropout=config.dropout,
    )


def use_plain_attention(unet: UNet2DModel) -> None:
    """On a CPU the fused attention's backward pass in bf16 is many times slower than two matrix products."""
    for module in unet.modules():
        if isinstance(module, Attention):
            module.set_processor(AttnProcessor())


def make_ema(unet: UNet2DModel, window: float) -> EMAModel:
    """A moving average over the last ``window`` (share) of the steps so far, however long the run turns out:
    decay = 1 - 1 / (1 + window * step), the power-function profile of arXiv 2312.02696."""
    return EMAModel(unet.parameters(), decay=0.99999, use_ema_warmup=True, inv_gamma=1 / window, power=1.0, foreach=True)


def count_parameters(unet: torch.nn.Module) -> int:
    """Number of weights."""
    return sum(p.numel() for p in unet.parameters())
