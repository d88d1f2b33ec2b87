"""The rehearsal: real steps on a throw-away copy, timed before a run begins."""

import copy
import dataclasses
import functools
import json
import os
import pathlib
import platform
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ddpm_app.config import TrainConfig
from ddpm_app.data.cache import cache_folder
from ddpm_app.data.image_dataset import ImageDataset
from ddpm_app.device import autocast, cores, resolve_precision
from ddpm_app.errors import Stopped
from ddpm_app.files import read_json, write_atomic
from ddpm_app.model.ema import make_ema
from ddpm_app.model.unet import count_parameters, freeze, learning, use_plain_attention
from ddpm_app.train.batches import Batches
from ddpm_app.train.objective import Objective, accumulate
from ddpm_app.train.optimizer import make_optimizers
from ddpm_app.train.plan import Measurements

SLOW_SECONDS = 5
"""A step slower than this is timed once: it tells enough, and a person waits for it. So is a preview."""
STEPS, MOST_STEPS, MOST_SECONDS = 3, 12, 4.0
"""Steps that are timed at the least, and where they disagree at the most, within how many seconds."""
AGREEMENT = 1.2
"""Times whose longest is at most so many times their shortest agree."""


def rehearse(
    config: TrainConfig, objective: Objective, pictures: ImageDataset, stopping: Callable[[], bool]
) -> Measurements:
    """Time a few real batches on a throw-away copy of the objective's network, more where they disagree. ``stopping`` is called between
    steps; raises Stopped."""
    torch.set_num_threads(config.threads or cores())
    device = objective.device.type
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    trial = _Trial(config, objective, pictures, stopping)
    resolved = resolve_precision(config, device) or _remembered_precision(config)
    timed = {precision: trial.step_seconds(precision) for precision in ([resolved] if resolved else ["no", "bf16"])}
    precision = min(timed, key=timed.__getitem__)
    if resolved is None:
        _remember_precision(config, precision)
    # On a busy machine threads that wait for each other lose to a single one.
    if device == "cpu" and not config.threads and cores() > 1 and timed[precision] < SLOW_SECONDS:
        torch.set_num_threads(1)
        alone = trial.step_seconds(precision)
        if alone > timed[precision]:
            torch.set_num_threads(cores())
        timed[precision] = min(alone, timed[precision])
    forward_seconds = trial.forward_seconds(precision)
    return {
        "step_seconds": timed[precision],
        "forward_seconds": forward_seconds,
        "quick_seconds": trial.quick_seconds(precision, forward_seconds * objective.preview_passes),
        "memory_bytes": torch.cuda.max_memory_allocated() if device == "cuda" else trial.memory_bytes(precision),
        "precision": precision,
        "threads": torch.get_num_threads(),
        "parameters": count_parameters(trial.network),
        "preview_passes": objective.preview_passes,
    }


class _Trial:
    """The copy, with all that a step needs."""

    def __init__(self, config: TrainConfig, objective: Objective, pictures: ImageDataset, stopping: Callable[[], bool]):
        self.config, self.objective, self.stopping = config, objective, stopping
        self.device = objective.device.type
        self.network = copy.deepcopy(objective.module).train()
        if self.device == "cpu":
            use_plain_attention(self.network)
        freeze(self.network, config.trainable)
        self.optimizers = make_optimizers(config, learning(self.network), fused=self.device in ("cpu", "cuda"))
        self.ema = make_ema(self.network, config.ema_window) if config.use_ema else None
        self.batches = Batches(
            objective.config, pictures, objective.device, training_tensors=objective.training_tensors
        )
        self.module = objective.training_module(self.network)

    def step_seconds(self, precision: str) -> float:
        """Seconds of a step: the median of a few."""
        first = median_seconds(lambda: self._step(0, precision), self.device, repeats=1)
        if first > SLOW_SECONDS:
            return first
        step = functools.partial(self._step, 1, precision)
        return median_seconds(step, self.device, STEPS, MOST_STEPS, MOST_SECONDS)

    def _step(self, step: int, precision: str) -> None:
        if self.stopping():
            raise Stopped
        network = autocast(self.device, precision)(self.module.forward)
        parts = self.batches.indices(step % self.batches.per_epoch)
        images = sum(map(len, parts))
        for number, indices in enumerate(parts):
            batch = self.objective.batch(self.batches, step, number, indices)
            accumulate(self.objective, network, batch, images, (step, number, 0))
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.max_grad_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        self.network.zero_grad()
        if self.ema:
            self.ema.step(self.network.parameters())

    def forward_seconds(self, precision: str) -> float:
        """Seconds of one pass over a preview's batch."""
        self.network.eval()
        count = min(self.config.eval_batch_size, self.config.preview_images)
        with autocast(self.device, precision):
            return median_seconds(lambda: self.objective.preview_pass(self.network, count), self.device, repeats=2)

    def quick_seconds(self, precision: str, most: float) -> float:
        """Seconds of a quick preview, which takes at ``most`` so long; it is drawn only where that isn't too long to wait for."""
        if most > SLOW_SECONDS:
            return most
        return median_seconds(functools.partial(self._quick_preview, precision), self.device, repeats=1)

    def _quick_preview(self, precision: str) -> None:
        with autocast(self.device, precision):
            for _ in self.objective.preview(self.network.eval(), quick=True):
                if self.stopping():
                    raise Stopped

    def memory_bytes(self, precision: str) -> int:
        """Bytes of a step: what its forward pass keeps for the backward pass, weights, gradients and optimiser."""
        saved, batch = SavedTensors(), self.objective.batch(self.batches, 0, 0, self.batches.indices(0)[0])
        with autocast(self.device, precision), torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda t: t):
            self.objective.losses(self.module, batch)
        return saved.bytes + weights_bytes(self.config, self.network)


def median_seconds(
    call: Callable[[], object], device: str, repeats: int, most: int = 0, most_seconds: float = 2.0
) -> float:
    """The median of ``repeats`` calls' seconds, and of up to ``most`` as long as they disagree; a call is the last once all together took
    ``most_seconds``."""
    seconds: list[float] = []
    while sum(seconds) < most_seconds and (len(seconds) < repeats or len(seconds) < most and not _agree(seconds)):
        start = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[len(seconds) // 2]


def _agree(seconds: list[float]) -> bool:
    """Whether times tell of one speed. Of many, the shortest and the longest may be chance."""
    middle = sorted(seconds)[len(seconds) // 6 : len(seconds) - len(seconds) // 6]
    return middle[-1] <= AGREEMENT * middle[0]


# ---- the faster precision of a CPU, measured once per machine and kind of network -------------------------------------
def _precision_file() -> pathlib.Path:
    return cache_folder() / "precision.json"


def _machine_key(config: TrainConfig) -> str:
    machine = f"{platform.processor() or platform.machine()} {os.cpu_count()} torch {torch.__version__}"
    kind = f"{config.objective} {config.vae} {config.conditioning} {config.init_from} {config.vae_channels}"
    return f"{machine} {kind} {tuple(config.unet_shape)} {config.image_size} {config.train_batch_size}"


def _remembered_precision(config: TrainConfig) -> str | None:
    return read_json(_precision_file()).get(_machine_key(config))


def _remember_precision(config: TrainConfig, precision: str) -> None:
    _precision_file().parent.mkdir(parents=True, exist_ok=True)
    write_atomic(_precision_file(), json.dumps(read_json(_precision_file()) | {_machine_key(config): precision}))


# ---- memory ---------------------------------------------------------------------------------------------------------
@dataclasses.dataclass
class SavedTensors:
    """Counts the ``bytes`` that a forward pass keeps for the backward pass."""

    bytes: int = 0

    def pack(self, tensor: Tensor) -> Tensor:
        self.bytes += tensor.numel() * tensor.element_size()
        return tensor


def weights_bytes(config: TrainConfig, network: nn.Module) -> int:
    """Bytes of the weights, their average and the network that holds it; and gradients and two moments of what learns."""
    learns = sum(p.numel() for p in learning(network))
    return 4 * ((2 + config.use_ema) * count_parameters(network) + 3 * learns)
