"""What is decided once, before the first step, from what the rehearsal measured, and written into the run: so that the clock steers nothing
inside it. Minutes become a number of steps here. Arithmetic only."""

import math
from typing import TypedDict

from ddpm_app.config import TrainConfig
from ddpm_app.data.image_dataset import ImageDataset
from ddpm_app.errors import Problem
from ddpm_app.runs.records import Plan
from ddpm_app.runs.run import Run
from ddpm_app.train import batches

VALIDATIONS = 16
"""Validations over a run."""
VALIDATION_PICTURES = 16
"""Pictures of each kind (training, held-out) in a validation."""
LONG_SECONDS = 3600
"""A run without max_train_minutes that is expected to take longer asks first."""
FORWARD_SHARE = 0.33
"""A forward pass costs about a third of a training step."""


class Measurements(TypedDict):
    """What the rehearsal finds out. Times in seconds: of a step, and of one pass over a batch of preview pictures, of which a preview
    takes ``preview_passes``; ``memory_bytes`` of a step."""

    step_seconds: float
    forward_seconds: float
    memory_bytes: int
    precision: str
    threads: int
    parameters: int
    preview_passes: int


class Costs(Measurements):
    """What a run costs, whatever its length."""

    device: str
    processes: int
    images: int
    held_out: int
    batch_size: int
    preview_seconds: float
    save_seconds: float


def make_plan(
    config: TrainConfig, pictures: ImageDataset, measured: Measurements, device: str, processes: int = 1
) -> Plan:
    """The plan of a new run: number of steps, intervals, and how long it should take."""
    parts = math.ceil(config.preview_images / config.eval_batch_size)
    costs: Costs = {
        **measured,
        "device": device,
        "processes": processes,
        "images": len(pictures.train),
        "held_out": len(pictures.held_out),
        "batch_size": batches.batch_size(config, len(pictures.train)),
        "preview_seconds": measured["forward_seconds"] * measured["preview_passes"] * parts,
        "save_seconds": 0.05 + measured["parameters"] * 4 * 6 / 500e6,
    }
    return _with_length(config, costs, done=0)


def _with_length(config: TrainConfig, costs: Costs, done: int) -> Plan:
    """The plan with its number of steps and its intervals. Minutes come on top of the ``done`` steps."""
    per_epoch = batches.steps_per_epoch(config, costs["images"], costs["processes"])
    image_every = config.save_image_steps or config.save_image_epochs * per_epoch
    checkpoint_every = config.checkpointing_steps or config.save_model_epochs * per_epoch
    picture_seconds = costs["step_seconds"] / (costs["batch_size"] * config.gradient_accumulation_steps)
    validation = VALIDATIONS * 2 * VALIDATION_PICTURES * picture_seconds * FORWARD_SHARE
    ends = 2 * costs["preview_seconds"] + costs["save_seconds"] + validation
    per_step = costs["step_seconds"] + costs["preview_seconds"] / image_every + costs["save_seconds"] / checkpoint_every
    if config.max_train_minutes:
        total = done + max(1, round((config.max_train_minutes * 60 - ends) / per_step))
    else:
        total = config.max_train_steps or config.num_epochs * per_epoch
    return {
        **costs,
        "total_steps": total,
        "steps_per_epoch": per_epoch,
        "save_image_every": image_every,
        "checkpoint_every": checkpoint_every,
        "validate_every": max(1, total // VALIDATIONS),
        "total_seconds": ends + per_step * (total - done),
        "agreed": False,
    }


def lengthened(run: Run, config: TrainConfig) -> Plan | None:
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


def is_long(config: TrainConfig, plan: Plan) -> bool:
    """Whether the person should agree before the run starts."""
    return config.max_train_minutes is None and plan["total_seconds"] > LONG_SECONDS
