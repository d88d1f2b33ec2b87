"""What settings cost, counted without training: operations, memory, and how fast this machine is."""

import functools
import pathlib
from typing import TypedDict

import torch
from torch.utils.flop_counter import FlopCounterMode

from ddpm_app import presets
from ddpm_app.config import TrainConfig
from ddpm_app.device import resolve_device
from ddpm_app.model.meta import build_on_meta
from ddpm_app.model.unet import build_unet, count_parameters, freeze, learning
from ddpm_app.train import batches
from ddpm_app.train.rehearse import SavedTensors, median_seconds, weights_bytes


class Estimate(TypedDict):
    """What a config means: numbers of parameters and of those that learn, ``flops`` and ``memory_bytes`` of one step."""

    parameters: int
    trainable: int
    steps_per_epoch: int
    flops: int
    memory_bytes: int


def estimate(
    config: TrainConfig, images: int, labels: int = 0, runs_dir: pathlib.Path | None = None
) -> Estimate | None:
    """What a config means for ``images`` training pictures with ``labels`` names of labels. The network is only counted, on the meta device.
    None where it stands on a part that isn't on this machine yet."""
    built = build_on_meta(config, batches.batch_size(config, images), labels, runs_dir)
    if built is None:
        return None
    network, arguments = built  # no weights are drawn there: a run beside it keeps its random numbers
    freeze(network, config.trainable)
    saved = SavedTensors()
    with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda t: t):
        network(**arguments).sample.mean().backward()
    return {
        "parameters": count_parameters(network),
        "trainable": sum(p.numel() for p in learning(network)),
        "steps_per_epoch": batches.steps_per_epoch(config, images),
        "flops": counter.get_total_flops() * config.gradient_accumulation_steps,
        "memory_bytes": saved.bytes + weights_bytes(config, network),
    }


def seconds_needed(config: TrainConfig, images: int) -> float:
    """How long a run with these settings takes on this machine: the minutes that they say, or as long as the fewest steps take that draw
    more than noise."""
    counted = estimate(config, images)
    assert counted is not None  # its parts ship with the app
    return max(60 * (config.max_train_minutes or 0), presets.FEWEST_STEPS * counted["flops"] / machine_speed())


@functools.cache
def machine_speed() -> float:
    """Operations per second of a training step on this machine: a first guess from one small network, in about two seconds."""
    config = presets.build("first-butterflies")
    device = resolve_device(config)
    unet = build_unet(config).to(device)
    batch = torch.zeros(config.train_batch_size, config.channels, config.image_size, config.image_size, device=device)
    seconds = median_seconds(lambda: unet(batch, 0).sample.mean().backward(), device, repeats=3)
    counted = estimate(config, config.train_batch_size)
    assert counted is not None  # this preset stands on no other part
    return counted["flops"] / seconds
