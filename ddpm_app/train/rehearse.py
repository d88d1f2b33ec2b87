"""The rehearsal: real steps on a throw-away copy, timed before a run begins."""

import copy
import dataclasses
import json
import os
import pathlib
import platform
import time
from collections.abc import Callable
from typing import Any

import torch

from ddpm_app.config import TrainConfig
from ddpm_app.data.cache import cache_folder
from ddpm_app.data.image_dataset import ImageDataset
from ddpm_app.device import autocast, cores, resolve_precision
from ddpm_app.errors import Stopped
from ddpm_app.files import write_atomic
from ddpm_app.model.ema import make_ema
from ddpm_app.model.unet import count_parameters, freeze, learning, use_plain_attention
from ddpm_app.train import batches
from ddpm_app.train.optimizer import make_optimizers

SLOW_SECONDS = 5
"""A step slower than this is timed once: it tells enough, and a person waits for it."""


def rehearse(
    config: TrainConfig, objective: Any, pictures: ImageDataset, stopping: Callable[[], bool]
) -> dict[str, Any]:
    """Time two real batches on a throw-away copy of the objective's network. Returns step_seconds, forward_seconds (one pass of a preview's
    batch), memory_bytes, precision, threads, parameters. ``stopping`` is asked between steps; raises Stopped."""
    torch.set_num_threads(config.threads or cores())
    device = objective.device.type
    network = copy.deepcopy(objective.module).train()
    if device == "cpu":
        use_plain_attention(network)
    freeze(network, config.trainable)
    optimizers = make_optimizers(config, learning(network), fused=device in ("cpu", "cuda"))
    loader = batches.Batches(objective.config, pictures, objective.device, training_tensors=objective.training_tensors)
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
        forward = median_seconds(
            lambda: objective.probe(network, min(config.eval_batch_size, config.preview_images)), device, repeats=2
        )
    memory = torch.cuda.max_memory_allocated() if device == "cuda" else _memory(*timing[:3], loader, precision)
    return {
        "step_seconds": timed[precision],
        "forward_seconds": forward,
        "memory_bytes": memory,
        "precision": precision,
        "threads": torch.get_num_threads(),
        "parameters": count_parameters(network),
        "preview_passes": objective.preview_passes,
    }


def _memory(config, objective, network, loader, precision) -> int:
    """Bytes of a step: what its forward pass keeps for the backward pass, weights, gradients and optimiser."""
    saved, batch = SavedTensors(), objective.batch(loader, 0, 0, loader.indices(0)[0])
    with autocast(objective.device.type, precision), torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda t: t):
        objective.losses(objective.trained(network), *batch)
    return saved.bytes + weights_bytes(config, network)


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

    ema = make_ema(network, config.ema_window) if config.use_ema else None
    first = median_seconds(lambda: step(0), device, repeats=1)
    return first if first > SLOW_SECONDS else median_seconds(lambda: step(1), device, repeats=3)


def median_seconds(call: Callable[[], Any], device: str, repeats: int) -> float:
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


@dataclasses.dataclass
class SavedTensors:
    """Counts the ``bytes`` that a forward pass keeps for the backward pass."""

    bytes: int = 0

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        self.bytes += tensor.numel() * tensor.element_size()
        return tensor


def weights_bytes(config: TrainConfig, network: torch.nn.Module) -> int:
    """Weights, their average, the network that draws; and gradients and two moments of what learns."""
    learns = sum(p.numel() for p in learning(network))
    return 4 * ((2 + config.use_ema) * count_parameters(network) + 3 * learns)
