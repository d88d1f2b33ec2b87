"""The network that the settings describe, on torch's meta device: shapes without weights, to be counted. Nothing is downloaded."""

import pathlib
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from ddpm_app.config import TrainConfig
from ddpm_app.files import read_json
from ddpm_app.model import locate
from ddpm_app.model.describe import VAES, part_folder, pipeline_folder
from ddpm_app.model.pipeline import CLIP
from ddpm_app.model.unet import unet_of
from ddpm_app.model.vae import vae_of


def build_on_meta(
    config: TrainConfig, count: int, labels: int = 0, runs_dir: pathlib.Path | None = None
) -> tuple[nn.Module, dict[str, Tensor]] | None:
    """The network on torch's meta device and its arguments for ``count`` pictures; None where a part isn't on this machine yet, or is unreadable.
    ``labels``: number of the data's labels."""
    try:
        with torch.device("meta"):
            if config.objective == "autoencoder":
                return _autoencoder(config, count, runs_dir)
            return _unet(config, count, labels, runs_dir)
    except (KeyError, TypeError, ValueError, AttributeError):
        # another kind of folder than the setting is about; training says which
        return None


def local_folder(source: str, runs_dir: pathlib.Path | None) -> pathlib.Path:
    """The folder of a model's files on this machine. Raises ValueError where it isn't here."""
    folder = locate.find_local(source, runs_dir)
    if folder is None:
        raise ValueError(source)
    return pipeline_folder(folder)


def part_config(source: str, runs_dir: pathlib.Path | None, *parts: str) -> dict[str, Any]:
    """config.json of the first of ``parts`` that the model has, else its own. Raises ValueError where the model isn't on this machine."""
    return read_json(part_folder(local_folder(source, runs_dir), *parts) / "config.json")


def _autoencoder(config: TrainConfig, count: int, runs_dir: pathlib.Path | None) -> tuple[nn.Module, dict[str, Tensor]]:
    if config.init_from:
        settings = part_config(config.init_from, runs_dir, *VAES)
        if settings["_class_name"] != "AutoencoderKL":
            raise ValueError(settings["_class_name"])
        vae = diffusers.AutoencoderKL.from_config(settings)
    else:
        vae = vae_of(config)
    return vae, {"sample": torch.zeros(count, 3, config.image_size, config.image_size)}


def _unet(
    config: TrainConfig, count: int, labels: int, runs_dir: pathlib.Path | None
) -> tuple[nn.Module, dict[str, Tensor]]:
    width, tokens = 0, 0
    if config.init_from:
        settings = part_config(config.init_from, runs_dir, "unet")
        if settings["_class_name"] not in ("UNet2DModel", "UNet2DConditionModel"):
            raise ValueError(settings["_class_name"])
        unet = getattr(diffusers, settings["_class_name"]).from_config(settings)
        width, tokens, labels = unet.config.get("cross_attention_dim"), 77, unet.config.get("num_class_embeds")
    else:
        channels, side = config.channels, config.image_size
        if config.vae:
            vae = part_config(config.vae, runs_dir, *VAES)
            levels = len(vae.get("block_out_channels") or vae["encoder_block_out_channels"])
            channels, side = vae["latent_channels"], side // 2 ** (levels - 1)
        if config.conditioning == "text":
            text = part_config(config.text_encoder or CLIP, runs_dir, "text_encoder")
            width, tokens = text["hidden_size"], text["max_position_embeddings"]
        labels = labels + 1 if config.conditioning == "labels" else 0
        unet = unet_of(config, channels=channels, side=side, labels=labels or None, words=width or None)
    sample = torch.zeros(count, unet.config.in_channels, *[unet.config.sample_size] * 2)
    arguments = {"sample": sample, "timestep": torch.zeros(count, dtype=torch.long)}
    if width:
        arguments["encoder_hidden_states"] = torch.zeros(count, tokens, width)
    elif labels:
        arguments["class_labels"] = torch.zeros(count, dtype=torch.long)
    return unet, arguments
