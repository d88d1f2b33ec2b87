"""What can only be checked with the schedule, the data and the machine at hand, all in one place."""

from collections.abc import Iterator

import torch

from ddpm_app import diffusion
from ddpm_app.config import PLACEHOLDER_HUB_ID, TrainConfig
from ddpm_app.data.account import COUNTS
from ddpm_app.data.image_dataset import ImageDataset
from ddpm_app.device import resolve_device
from ddpm_app.errors import Problem
from ddpm_app.train.batches import batch_size
from ddpm_app.train.events import Notice

WARN_ALPHA_BAR, REFUSE_ALPHA_BAR = 0.01, 0.1
"""Share of the picture's power left at t = T above which there is a warning, and above which nothing useful can be learnt."""


def check(config: TrainConfig, pictures: ImageDataset | None = None) -> list[Notice]:
    """Notices about what will be done differently from what the settings say. ``pictures`` None leaves the data's checks out.

    Raises Problem: "terminal_abar" (the schedule never reaches noise), "no_device", "bf16_unsupported".
    """
    return [*_schedule(config), *_machine(config), *(_data(config, pictures) if pictures is not None else [])]


def _schedule(config: TrainConfig) -> Iterator[Notice]:
    # A model that is gone on from brings its own schedule
    own_schedule = config.objective == "diffusion" and not config.init_from
    alpha_bar = diffusion.terminal_alpha_bar(config) if own_schedule else 0.0
    values = {
        "value": config.num_train_timesteps,
        "other": "beta_schedule",
        "schedule": config.beta_schedule,
        "abar": f"{alpha_bar:.2g}",
    }
    if alpha_bar > REFUSE_ALPHA_BAR:
        raise Problem("terminal_abar", "num_train_timesteps", **values)
    if alpha_bar > WARN_ALPHA_BAR:
        yield Notice("terminal_abar", values)
    if config.max_train_steps and config.lr_warmup_steps >= config.max_train_steps:
        yield Notice("long_warmup", {"warmup": config.lr_warmup_steps, "steps": config.max_train_steps})


def _machine(config: TrainConfig) -> Iterator[Notice]:
    device = resolve_device(config)
    if config.mixed_precision == "bf16" and device == "cuda" and not torch.cuda.is_bf16_supported():
        raise Problem("bf16_unsupported", "mixed_precision", value="bf16")
    if config.mixed_precision == "fp16" and device != "cuda":
        yield Notice("fp16_off", {"device": device})
    if config.push_to_hub and config.hub_model_id == PLACEHOLDER_HUB_ID:
        yield Notice("hub_placeholder", {"value": config.hub_model_id})


def _data(config: TrainConfig, pictures: ImageDataset) -> Iterator[Notice]:
    if batch_size(config, len(pictures.train)) < config.train_batch_size:
        yield Notice("batch_reduced", {"value": config.train_batch_size, "pictures": len(pictures.train)})
    if pictures.source["kind"] != "built-in":
        yield from (Notice(*line.notice) for line in pictures.account if line.code not in COUNTS)
