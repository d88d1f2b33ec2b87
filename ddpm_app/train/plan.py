"""What is measured and decided once, before the first step, and written into the run: so that the clock steers nothing
inside it. Minutes become a number of steps here."""

import copy
import dataclasses
import functools
import json
import math
import os
import pathlib
import platform
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ddpm_app import model, presets
from ddpm_app.config import TrainConfig
from ddpm_app.data.cache import cache_folder
from ddpm_app.data.pictures import Pictures
from ddpm_app.model.outline import outline
from ddpm_app.model.unet import freeze, learning
from ddpm_app.problems import Problem, Stopped
from ddpm_app.runs import Run, write_atomic
from ddpm_app.train import batches
from ddpm_app.train.check import resolve_device, resolve_precision
from ddpm_app.train.optimizer import make_optimizers

VALIDATIONS = 16
"""Validations over a run."""
VALIDATION_PICTURES = 16
"""Pictures of each kind (training, held-out) in a validation."""
LONG_SECONDS = 3600
"""A run without max_train_minutes that is expected to take longer asks first."""
SLOW_SECONDS = 5
"""A step slower than this is timed once: it tells enough, and a person waits for it."""
FORWARD_SHARE = 0.33
"""A forward pass costs about a third of a training step."""


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def rehearse(config: TrainConfig, objective: Any, pictures: Pictures, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Time two real batches on a throw-away copy of the objective's network. Returns step_seconds, forward_seconds (one pass of a preview's
    batch), memory_bytes, precision, threads, parameters. ``stopping`` is asked between steps; raises Stopped."""
    torch.set_num_threads(config.threads or cores())
    device = objective.device.type
    network = copy.deepcopy(objective.module).train()
    if device == "cpu":
        model.use_plain_attention(network)
    freeze(network, config.trainable)
    optimizers = make_optimizers(config, learning(network), fused=device in ("cpu", "cuda"))
    loader = batches.Batches(objective.config, pictures, objective.device, examples=objective.examples)
    timing = (config, objective, network, optimizers, loader)
    choices = [known] if (known := resolve_precision(config, device) or _remembered(config)) else ["no", "bf16"]
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    timed = {precision: _time_steps(*timing, precision, stopping) for precision in choices}
    precision = min(timed, key=timed.__getitem__)
    if len(choices) > 1:
        _remember(config, precision)
    # On a busy machine threads that wait for each other lose to a single one.
    if device == "cpu" and not config.threads and cores() > 1 and timed[precision] < SLOW_SECONDS:
        torch.set_num_threads(1)
        alone = _time_steps(*timing, precision, stopping)
        if alone > timed[precision]:
            torch.set_num_threads(cores())
        timed[precision] = min(alone, timed[precision])
    network.eval()
    with autocast(device, precision):
        forward = _timed(lambda: objective.probe(network, min(config.eval_batch_size, config.preview_images)), device, repeats=2)
    memory = torch.cuda.max_memory_allocated() if device == "cuda" else _memory(*timing[:3], loader, precision)
    return {"step_seconds": timed[precision], "forward_seconds": forward, "memory_bytes": memory, "precision": precision,
            "threads": torch.get_num_threads(), "parameters": model.count_parameters(network), "preview_passes": objective.preview_passes}


def autocast(device: str, precision: str) -> torch.autocast:
    """The context in which a network runs in "fp16", "bf16" or, for "no", as it is."""
    return torch.autocast(device, torch.float16 if precision == "fp16" else torch.bfloat16, enabled=precision != "no")


def _memory(config, objective, network, loader, precision) -> int:
    """Bytes of a step: what its forward pass keeps for the backward pass, weights, gradients and optimiser."""
    saved, batch = _Saved(), objective.batch(loader, 0, 0, loader.indices(0)[0])
    with autocast(objective.device.type, precision), torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda t: t):
        objective.losses(objective.trained(network), *batch)
    return saved.bytes + _weights_bytes(config, network)


def _time_steps(config, objective, network, optimizers, loader, precision, stopping) -> float:
    device = objective.device.type
    called = objective.trained(network)

    def step(k: int) -> None:
        if stopping():
            raise Stopped
        for number, indices in enumerate(loader.indices(k % loader.per_epoch)):
            batch = objective.batch(loader, k, number, indices)
            with autocast(device, precision):
                loss = objective.losses(called, *batch).mean()
            loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.max_grad_norm)
        for optimizer in optimizers:
            optimizer.step()
        network.zero_grad()
        if ema:
            ema.step(network.parameters())

    ema = model.make_ema(network, config.ema_window) if config.use_ema else None
    first = _timed(lambda: step(0), device, repeats=1)
    return first if first > SLOW_SECONDS else _timed(lambda: step(1), device, repeats=3)


def _timed(call: Callable[[], Any], device: str, repeats: int) -> float:
    """The median of a few calls' seconds; one call is enough when it takes over two."""
    seconds = []
    while len(seconds) < repeats and sum(seconds) < 2:
        start = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[len(seconds) // 2]


def _memory_file() -> pathlib.Path:
    return cache_folder() / "precision.json"


def _machine_key(config: TrainConfig) -> str:
    machine = f"{platform.processor() or platform.machine()} {os.cpu_count()} torch {torch.__version__}"
    kind = f"{config.objective} {config.vae} {config.conditioning} {config.init_from} {config.vae_channels}"
    return f"{machine} {kind} {tuple(config.unet_shape)} {config.image_size} {config.train_batch_size}"


def _remembered(config: TrainConfig) -> str | None:
    try:
        return json.loads(_memory_file().read_text()).get(_machine_key(config))
    except (OSError, ValueError):
        return None


def _remember(config: TrainConfig, precision: str) -> None:
    try:
        known = json.loads(_memory_file().read_text())
    except (OSError, ValueError):
        known = {}
    _memory_file().parent.mkdir(parents=True, exist_ok=True)
    write_atomic(_memory_file(), json.dumps(known | {_machine_key(config): precision}))


def make_plan(config: TrainConfig, pictures: Pictures, measured: dict[str, Any], device: str, processes: int = 1) -> dict[str, Any]:
    """The plan of a new run: number of steps, intervals, and how long it should take."""
    parts = math.ceil(config.preview_images / config.eval_batch_size)
    plan = measured | {
        "device": device,
        "processes": processes,
        "images": len(pictures.train),
        "held_out": len(pictures.held_out),
        "batch_size": batches.batch_size(config, len(pictures.train)),
        "preview_seconds": measured["forward_seconds"] * measured["preview_passes"] * parts,
        "save_seconds": 0.05 + measured["parameters"] * 4 * 6 / 500e6,
    }
    return _with_length(config, plan, done=0)


def _with_length(config: TrainConfig, plan: dict[str, Any], done: int) -> dict[str, Any]:
    """The plan with its number of steps and its intervals. Minutes come on top of the ``done`` steps."""
    per_epoch = batches.steps_per_epoch(config, plan["images"], plan["processes"])
    image_every = config.save_image_steps or config.save_image_epochs * per_epoch
    checkpoint_every = config.checkpointing_steps or config.save_model_epochs * per_epoch
    picture_seconds = plan["step_seconds"] / (plan["batch_size"] * config.gradient_accumulation_steps)
    validation = VALIDATIONS * 2 * VALIDATION_PICTURES * picture_seconds * FORWARD_SHARE
    ends = 2 * plan["preview_seconds"] + plan["save_seconds"] + validation
    per_step = plan["step_seconds"] + plan["preview_seconds"] / image_every + plan["save_seconds"] / checkpoint_every
    if config.max_train_minutes:
        total = done + max(1, round((config.max_train_minutes * 60 - ends) / per_step))
    else:
        total = config.max_train_steps or config.num_epochs * per_epoch
    return plan | {
        "total_steps": total,
        "steps_per_epoch": per_epoch,
        "save_image_every": image_every,
        "checkpoint_every": checkpoint_every,
        "validate_every": max(1, total // VALIDATIONS),
        "total_seconds": ends + per_step * (total - done),
        "agreed": False,
    }


def lengthened(run: Run, config: TrainConfig) -> dict[str, Any] | None:
    """The plan of a run that goes on to a new length; None where the run never came to having a plan.

    Raises Problem("already_longer") when the new length is not beyond what is done.
    """
    if run.plan is None:
        return None
    done = int(run.checkpoints[-1].name.split("-")[1]) if run.checkpoints else 0
    plan = _with_length(config, run.plan, done)
    if plan["total_steps"] <= done:
        raise Problem("already_longer", "max_train_steps", value=plan["total_steps"], done=done)
    return plan


def is_long(config: TrainConfig, plan: dict[str, Any]) -> bool:
    """Whether the person should agree before the run starts."""
    return config.max_train_minutes is None and plan["total_seconds"] > LONG_SECONDS


@dataclasses.dataclass
class _Saved:
    bytes: int = 0

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        self.bytes += tensor.numel() * tensor.element_size()
        return tensor


def estimate(config: TrainConfig, images: int, labels: int = 0, runs_dir: pathlib.Path | None = None) -> dict[str, Any] | None:
    """What a config means, without training: parameters, trainable, steps_per_epoch, flops (one step), memory_bytes. The network is only
    counted, on the meta device. None where it stands on a part that isn't on this machine yet."""
    found = outline(config, batches.batch_size(config, images), labels, runs_dir)
    if found is None:
        return None
    network, arguments = found  # no weights are drawn there: a run beside it keeps its random numbers
    freeze(network, config.trainable)
    saved = _Saved()
    with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda t: t):
        network(**arguments).sample.mean().backward()
    return {
        "parameters": model.count_parameters(network),
        "trainable": sum(p.numel() for p in learning(network)),
        "steps_per_epoch": batches.steps_per_epoch(config, images),
        "flops": counter.get_total_flops() * config.gradient_accumulation_steps,
        "memory_bytes": saved.bytes + _weights_bytes(config, network),
    }


def _weights_bytes(config: TrainConfig, network: torch.nn.Module) -> int:
    """Weights, their average, the network that draws; and gradients and two moments of what learns."""
    learns = sum(p.numel() for p in learning(network))
    return 4 * ((2 + config.use_ema) * model.count_parameters(network) + 3 * learns)


@functools.cache
def machine_speed() -> float:
    """Operations per second of a training step on this machine: a first guess from one small network, in about two seconds."""
    config = presets.build("first-butterflies")
    device = resolve_device(config)
    unet = model.build_unet(config).to(device)
    batch = torch.zeros(config.train_batch_size, config.channels, config.image_size, config.image_size, device=device)
    seconds = _timed(lambda: unet(batch, 0).sample.mean().backward(), device, repeats=3)
    return estimate(config, config.train_batch_size)["flops"] / seconds
