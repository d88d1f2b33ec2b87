"""Where a run computes, in which number format, and on how many cores."""

import os

import torch

from ddpm_app.config import TrainConfig
from ddpm_app.device_lock import on_zero_gpu
from ddpm_app.errors import Problem


def resolve_device(config: TrainConfig) -> str:
    """ "cuda", "mps" or "cpu". A GPU with a number becomes this thread's "cuda".

    Raises Problem when the machine lacks the device of the settings: "no_device", "no_gpu" (of that number), "gpu_of_many"."""
    kind, _, number = config.device.partition(":")
    # on ZeroGPU torch is made to say that there is one
    has_cuda = torch.cuda.is_available() and not on_zero_gpu()
    available = {"cuda": has_cuda, "mps": torch.backends.mps.is_available(), "cpu": True}
    if kind == "auto":
        return next(name for name, is_available in available.items() if is_available)
    if number:
        _choose_gpu(config.device, int(number), torch.cuda.device_count() if has_cuda else 0)
    elif not available[kind]:
        raise Problem("no_device", "device", value=config.device)
    return kind


def _choose_gpu(device: str, number: int, count: int) -> None:
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:  # accelerate gives each process its own
        raise Problem("gpu_of_many", "device", value=device)
    if number >= count:
        raise Problem("no_gpu", "device", value=device, count=count)
    torch.cuda.set_device(number)


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
