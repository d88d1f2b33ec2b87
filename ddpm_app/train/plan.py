"""What is decided once, from what the rehearsal and the first seconds of real steps measured, and written into the run: so that the clock
steers nothing inside it. Minutes become a number of steps here, and seconds between previews a list of steps. Arithmetic only."""

import math
from collections.abc import Iterator
from typing import TypedDict

from ddpm_app.config import TrainConfig
from ddpm_app.data.image_dataset import ImageDataset
from ddpm_app.errors import Problem
from ddpm_app.presets import FEWEST_STEPS
from ddpm_app.runs.records import Course, Plan
from ddpm_app.runs.run import Run
from ddpm_app.train import batches
from ddpm_app.train.events import Notice

VALIDATIONS, VALIDATION_SHARE = 16, 0.1
"""Validations over a run at the most, and the share of its steps' time that they may take."""
VALIDATION_PICTURES = 16
"""Pictures of each kind (training, held-out) in a validation."""
LONG_SECONDS = 3600
"""A run without max_train_minutes that is expected to take longer asks first."""
FORWARD_SHARE = 0.33
"""A forward pass costs about a third of a training step."""
FIRST_PREVIEW_SECONDS, PREVIEW_SECONDS, PREVIEW_GROWTH = 4.0, 15.0, 0.05
"""Seconds of training before the first preview by time; the most between two; and how much more the next takes with each second trained."""
PREVIEW_SHARE, LEAST_PREVIEW_SHARE = 0.15, 0.02
"""Of a run's time, what previews by time may take in all, and those before its end at the least."""
MOST_PREVIEWS = 240
"""A long run's previews by time are further apart, so that its folder stays small."""
MOST_EXTENSION = 5
"""A run whose minutes are too short for FEWEST_STEPS becomes up to so many times as long."""
WARMUP_SHARE = 0.1
"""Of the steps that minutes become, at most this share is warm-up."""
FEWEST_TIMED_STEPS = 5
"""Steps from which the second look judges speed."""


class Measurements(TypedDict):
    """What the rehearsal finds out. Times in seconds: of a step, of one pass over a batch of preview pictures, of which a preview
    takes ``preview_passes``, and of a quick preview; ``memory_bytes`` of a step."""

    step_seconds: float
    forward_seconds: float
    quick_seconds: float
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
    config: TrainConfig,
    pictures: ImageDataset,
    measured: Measurements,
    device: str,
    processes: int = 1,
    most_minutes: float | None = None,
) -> Plan:
    """The plan of a new run: number of steps, intervals, and how long it should take. ``most_minutes``: what a run that is too short for a
    picture may become at the longest."""
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
    pace = _Pace(config, costs)
    plan = _with_length(pace, pace.new_length(most_minutes))
    if config.max_train_minutes or not plan["save_image_every"]:
        look_step = max(FEWEST_TIMED_STEPS, round(FIRST_PREVIEW_SECONDS / pace.step_seconds))
        plan["look_step"] = min(look_step, plan["total_steps"] // 4)
    return plan


def settled(
    config: TrainConfig, plan: Plan, step_seconds: float, quick_seconds: float, most_minutes: float | None
) -> Plan:
    """``plan`` after its second look: with the seconds of real steps and of a quick preview. What was done up to there stays as it was."""
    look_step, ratio = plan["look_step"], step_seconds / plan["step_seconds"]
    costs: Plan = {
        **plan,
        "step_seconds": step_seconds,
        "forward_seconds": plan["forward_seconds"] * ratio,
        "preview_seconds": plan["preview_seconds"] * ratio,
        "quick_seconds": quick_seconds,
    }
    pace = _Pace(config, costs)
    new = _with_length(pace, max(pace.new_length(most_minutes), look_step + 1))
    soonest = look_step + FIRST_PREVIEW_SECONDS / pace.step_seconds / 2
    previews = [step for step in plan["preview_steps"] if step <= look_step]
    previews += [step for step in new["preview_steps"] if step > soonest or step == new["total_steps"]]
    course: Course = {"total_steps": plan["total_steps"], "warmup_steps": plan["warmup_steps"]}
    return {**new, "preview_steps": previews, "look_step": look_step, "first_course": course, "agreed": True}


def lengthened(run: Run, config: TrainConfig) -> Plan | None:
    """The plan of a run that goes on to a new length; None where the run never came to having a plan.

    Raises Problem("already_longer") when the new length is not beyond what is done.
    """
    if run.plan is None:
        return None
    done = int(run.checkpoints[-1].name.split("-")[1]) if run.checkpoints else 0
    pace = _Pace(config, run.plan)
    # minutes come on top of what is done
    total = done + pace.steps_within(config.max_train_minutes) if config.max_train_minutes else pace.fixed_length()
    if total <= done:
        raise Problem("already_longer", "max_train_steps", value=total, done=done)
    return _with_length(pace, total, done)


def is_long(config: TrainConfig, plan: Plan) -> bool:
    """Whether the person should agree before the run starts."""
    return config.max_train_minutes is None and plan["total_seconds"] > LONG_SECONDS


def notices(config: TrainConfig, plan: Plan) -> Iterator[Notice]:
    """What should be said of a new plan whose minutes are too short for a picture."""
    minutes = config.max_train_minutes
    steps = _Pace(config, plan).steps_within(minutes) if minutes else FEWEST_STEPS
    if minutes is None or config.init_from or steps >= FEWEST_STEPS:
        return
    needed = f"{minutes * FEWEST_STEPS / steps:.2g}"
    code = "extended" if plan["total_steps"] >= FEWEST_STEPS else "too_short"
    values = {"steps": steps, "minutes": f"{minutes:g}", "wanted": FEWEST_STEPS, "needed": needed}
    yield Notice(code, {**values, "total": plan["total_steps"], "longer": f"{plan['total_seconds'] / 60:.2g}"})


def has_preview(plan: Plan, step: int) -> bool:
    """Whether the run draws a preview after ``step`` steps."""
    if every := plan["save_image_every"]:
        return step % every == 0 or step == plan["total_steps"]
    return step in plan["preview_steps"]


def is_quick(plan: Plan, step: int) -> bool:
    """Whether a preview after ``step`` steps is a quick one."""
    return not plan["save_image_every"] and step < plan["total_steps"]


def has_validation(plan: Plan, step: int) -> bool:
    """Whether the run measures its losses after ``step`` steps. Not between its start and the second look, which changes the interval."""
    early = 0 < step <= plan.get("look_step", 0)
    return not early and step % plan["validate_every"] == 0 or step == plan["total_steps"]


# ---- from seconds to steps --------------------------------------------------------------------------------------------
class _Pace:
    """What costs mean for a config. ``step_seconds`` of a step with its share of what comes at intervals of steps; ``quick_seconds`` of a
    preview on the way; ``validation_seconds`` of one validation."""

    def __init__(self, config: TrainConfig, costs: Costs | Plan):
        self.config, self.costs = config, costs
        per_epoch = batches.steps_per_epoch(config, costs["images"], costs["processes"])
        self.steps_per_epoch = per_epoch
        self.image_every = config.save_image_steps or (config.save_image_epochs or 0) * per_epoch
        self.checkpoint_every = config.checkpointing_steps or config.save_model_epochs * per_epoch
        self.step_seconds = costs["step_seconds"] + costs["save_seconds"] / self.checkpoint_every
        if self.image_every:
            self.step_seconds += costs["preview_seconds"] / self.image_every
        images = costs["batch_size"] * config.gradient_accumulation_steps
        self.validation_seconds = 2 * VALIDATION_PICTURES * costs["step_seconds"] / images * FORWARD_SHARE
        by_time = costs.get("quick_seconds", costs["preview_seconds"])
        self.quick_seconds = costs["preview_seconds"] if self.image_every else by_time

    def fixed_length(self) -> int:
        """Steps of a run without minutes."""
        return self.config.max_train_steps or self.config.num_epochs * self.steps_per_epoch

    def new_length(self, most_minutes: float | None) -> int:
        """Steps of a new run: those that its minutes hold, or more where these are too few for a picture."""
        minutes = self.config.max_train_minutes
        if not minutes:
            return self.fixed_length()
        steps = self.steps_within(minutes)
        if steps >= FEWEST_STEPS or self.config.init_from:
            return steps
        longest = min(MOST_EXTENSION * minutes, most_minutes or math.inf)
        return max(steps, min(FEWEST_STEPS, self.steps_within(longest)))

    def steps_within(self, minutes: float) -> int:
        """Steps that fit into minutes, with previews, checkpoints and validations; at least one."""
        seconds, previews = 60 * minutes - self.ends(), 0
        if not self.image_every:
            for previews, trained in enumerate(self.preview_seconds(60 * minutes)):
                if trained * (1 + VALIDATION_SHARE) + previews * self.quick_seconds >= seconds:
                    break
        seconds -= previews * self.quick_seconds
        seconds -= self.validations(seconds / (1 + VALIDATION_SHARE)) * self.validation_seconds
        return max(1, round(seconds / self.step_seconds))

    def ends(self) -> float:
        """Seconds of what comes once whatever the length: the first and the last preview, and saving."""
        return self.quick_seconds + self.costs["preview_seconds"] + self.costs["save_seconds"]

    def validations(self, seconds: float) -> int:
        """How often a run whose steps take ``seconds`` measures its losses."""
        return max(1, min(VALIDATIONS, math.floor(VALIDATION_SHARE * seconds / self.validation_seconds)))

    def preview_seconds(self, total_seconds: float) -> Iterator[float]:
        """Seconds of training before each preview by time after the one of step 0, for a run of about ``total_seconds``, without end."""
        at_the_ends = (self.quick_seconds + self.costs["preview_seconds"]) / total_seconds
        share = max(PREVIEW_SHARE - at_the_ends, LEAST_PREVIEW_SHARE)
        least = max(self.quick_seconds * (1 - share) / share, total_seconds / MOST_PREVIEWS)
        trained = 0.0
        while True:
            trained += max(min(FIRST_PREVIEW_SECONDS + PREVIEW_GROWTH * trained, PREVIEW_SECONDS), least)
            yield trained

    def preview_steps(self, total: int, done: int) -> list[int]:
        """The steps of the previews by time, 0 and the last among them, those of a run that goes on counted from ``done``."""
        steps, seconds = [] if done else [0], (total - done) * self.step_seconds
        for trained in self.preview_seconds(max(seconds, self.step_seconds)):
            step = done + max(1, round(trained / self.step_seconds))
            if trained > seconds - FIRST_PREVIEW_SECONDS / 2 or step >= total:
                return list(dict.fromkeys([*steps, total]))
            steps.append(step)
        return steps


def _with_length(pace: _Pace, total: int, done: int = 0) -> Plan:
    """The plan of ``total`` steps, ``done`` of which are over, with its intervals."""
    config = pace.config
    previews = [] if pace.image_every else pace.preview_steps(total, done)
    warmup = config.lr_warmup_steps
    if config.max_train_minutes:  # nobody knew how many steps they would be
        warmup = min(warmup, math.ceil(WARMUP_SHARE * total))
    trained = pace.step_seconds * (total - done)
    validations = pace.validations(trained)
    on_the_way = max(0, len(previews) - 2) * pace.quick_seconds + validations * pace.validation_seconds
    return {
        **pace.costs,
        "total_steps": total,
        "warmup_steps": warmup,
        "steps_per_epoch": pace.steps_per_epoch,
        "save_image_every": pace.image_every,
        "preview_steps": previews,
        "checkpoint_every": pace.checkpoint_every,
        "validate_every": max(1, total // validations),
        "total_seconds": pace.ends() + on_the_way + trained,
        "agreed": False,
        "look_step": 0,
        "first_course": None,
    }
