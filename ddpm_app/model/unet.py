"""The UNet of a run and its sections."""

from typing import TypeAlias

import torch
from diffusers import UNet2DConditionModel, UNet2DModel
from diffusers.models.attention_processor import Attention, AttnProcessor
from torch import nn

from ddpm_app import diffusion
from ddpm_app.config import TrainConfig
from ddpm_app.model.building import BUILDING

UNet: TypeAlias = UNet2DModel | UNet2DConditionModel


def build_unet(config: TrainConfig, **sizes) -> UNet:
    """A UNet with weights drawn from the run's seed; the global generator is left as it was. ``sizes`` as for ``unet_of``."""
    with BUILDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(diffusion.generator(config.seed, "weights").initial_seed())
        return unet_of(config, **sizes)


def unet_of(
    config: TrainConfig,
    channels: int | None = None,
    side: int | None = None,
    labels: int | None = None,
    words: int | None = None,
) -> UNet:
    """The UNet that the settings describe, with whatever weights the global generator gives.

    ``channels`` and ``side`` of what it denoises (default: the pictures'); ``labels``: number of classes, "no label" among
    them; ``words``: width of the text embeddings, which makes it a UNet2DConditionModel that attends to them.
    """
    shape = config.unet_shape
    levels = range(1, len(shape.block_out_channels) + 1)
    attention = "CrossAttn" if words else "Attn"
    channels = channels or config.channels
    shared = dict(
        sample_size=side or config.image_size,
        in_channels=channels,
        out_channels=channels,
        layers_per_block=shape.layers_per_block,
        block_out_channels=shape.block_out_channels,
        down_block_types=tuple(
            f"{attention}DownBlock2D" if n in shape.attention_levels else "DownBlock2D" for n in levels
        ),
        up_block_types=tuple(
            f"{attention}UpBlock2D" if n in shape.attention_levels else "UpBlock2D" for n in reversed(levels)
        ),
        norm_num_groups=shape.norm_num_groups,
        dropout=config.dropout,
    )
    if not words:
        return UNet2DModel(**shared, attention_head_dim=shape.attention_head_dim, num_class_embeds=labels)
    # diffusers calls the number of heads attention_head_dim there
    heads = tuple(max(1, width // shape.attention_head_dim) for width in shape.block_out_channels)
    return UNet2DConditionModel(**shared, attention_head_dim=heads, cross_attention_dim=words)


def use_plain_attention(network: nn.Module) -> None:
    """On a CPU the fused attention's backward pass in bf16 is many times slower than two matrix products."""
    for module in network.modules():
        if isinstance(module, Attention):
            module.set_processor(AttnProcessor())


def sections(network: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The parameters of each section that ``TrainConfig.trainable`` names. "attention" overlaps the others."""
    attending = {id(p) for module in network.modules() if isinstance(module, Attention) for p in module.parameters()}
    if hasattr(network, "encoder"):
        parameters: dict[str, list[nn.Parameter]] = {"encoder": [], "decoder": []}
        sides = {"encoder": "encoder", "quant_conv": "encoder", "decoder": "decoder", "post_quant_conv": "decoder"}
    else:
        attention = [p for p in network.parameters() if id(p) in attending]
        parameters = {"ends": [], "down": [], "mid": [], "up": [], "attention": attention}
        sides = {"down_blocks": "down", "mid_block": "mid", "up_blocks": "up"}
    for name, parameter in network.named_parameters():
        parameters[sides.get(name.split(".")[0], "ends")].append(parameter)
    return parameters


def freeze(network: nn.Module, trainable: tuple[str, ...]) -> None:
    """Let only the parameters of the sections ``trainable`` learn ("all" is every one)."""
    network.requires_grad_("all" in trainable)
    for section, parameters in sections(network).items():
        for parameter in parameters if section in trainable else ():
            parameter.requires_grad_(True)


def learning(network: nn.Module) -> list[nn.Parameter]:
    """The parameters that are not frozen."""
    return [p for p in network.parameters() if p.requires_grad]


def count_parameters(network: nn.Module) -> int:
    """Number of weights."""
    return sum(p.numel() for p in network.parameters())
