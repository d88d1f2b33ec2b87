"""Where a run computes, in which number format, and on how many cores."""

import os

import torch

from ddpm_app.config import TrainConfig
from ddpm_app.errors import Problem


def resolve_device(config: TrainConfig) -> str:
    """ "cuda", "mps" or "cpu". Raises Problem("no_device") when the machine lacks the device of the settings."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if config.device == "auto":
        return next(name for name, is_available in available.items() if is_available)
    if not available[config.device]:
        raise Problem("no_device", "device", value=config.device)
    return config.device


def resolve_precision(config: TrainConfig, device: str) -> str | None:
    """ "no", "fp16" or "bf16"; None where "auto" on a CPU has to be measured."""
    if config.mixed_precision == "bf16" and device == "cuda" and not torch.cuda.is_bf16_supported():
        raise Problem("bf16_unsupported", "mixed_precision", value="bf16")
    if config.mixed_precision == "fp16" and device != "cuda":
        return "no"
    if config.mixed_precision != "auto":
        return config.mixed_precision
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return None if device == "cpu" else "no"


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def autocast(device: str, precision: str) -> torch.autocast:
    """The context in which a network runs in "fp16", "bf16" or, for "no", as it is."""
    return torch.autocast(device, torch.float16 if precision == "fp16" else torch.bfloat16, enabled=precision != "no")
