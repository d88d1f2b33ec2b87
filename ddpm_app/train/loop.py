"""The training loop: *once in a while: validate, sample, save; then one training step; then tell.*"""

import contextlib
import io
import math
import statistics
import time
from collections.abc import Iterator
from typing import Literal

import torch
from accelerate.utils import broadcast_object_list
from PIL import Image

from ddpm_app.config import TrainConfig
from ddpm_app.data.image_dataset import ImageDataset, load
from ddpm_app.errors import Problem
from ddpm_app.images import PREVIEW_COLUMNS, image_grid
from ddpm_app.runs.metrics import MetricsWriter
from ddpm_app.runs.records import Plan, Requests
from ddpm_app.runs.run import NO_REQUESTS, Run
from ddpm_app.train import events
from ddpm_app.train.batches import Batches
from ddpm_app.train.events import Control, Event, yield_device
from ddpm_app.train.hub_transfers import check_rights, fetch_models, publish
from ddpm_app.train.objective import Objective, accumulate
from ddpm_app.train.optimizer import planned_lr
from ddpm_app.train.plan import FEWEST_TIMED_STEPS, has_preview, has_validation, is_quick, notices, settled
from ddpm_app.train.prepare import prepare, with_own_autoencoder
from ddpm_app.train.state import TrainState, make_accelerator

RATE_FACTOR = 0.5
"""The learning rate is lowered by this after a loss that was not a number."""


def train(config: TrainConfig, run: Run, control: Control) -> Iterator[Event]:
    """Train ``run`` from its last checkpoint, or from the start, to its planned end.

    Yields events; writes metrics, pictures, checkpoints and the pipeline through ``run``; asks ``control`` between slices.
    The weights and metrics depend on the config, the data and the plan alone. Raises Problem, and Stopped when somebody
    stops it before the loop (nothing is lost: nothing was there).
    """
    yield from check_rights(config)
    pictures = load(config, control.progress, control.stopping)
    config = with_own_autoencoder(config, run)
    fetch_models(config, run, control)
    with control.device():
        objective, plan = yield from prepare(config, run, control, pictures)
        torch.set_num_threads(plan["threads"])
        with contextlib.closing(_Work(config, run, control, pictures, objective, plan)) as work:
            yield events.Started(work.state.step, plan["total_steps"])

            while True:
                work.poll_requests()
                if work.is_new and has_validation(work.plan, work.state.step):
                    yield from work.validate()
                if work.requested("sample") or work.preview_is_due():
                    yield from work.preview()
                    work.poll_requests()
                if work.second_look_is_due():
                    yield from work.look_again()
                if work.requested("save") or work.checkpoint_is_due():
                    yield from work.save()
                if work.at_the_end() or work.requests["stop"]:
                    break
                yield from work.step()

            yield from work.finish()


class _Work:
    """What the loop's verbs share. On several processes each runs the same verbs; only the main one writes."""

    def __init__(
        self, config: TrainConfig, run: Run, control: Control, pictures: ImageDataset, objective: Objective, plan: Plan
    ):
        self.config, self.run, self.control, self.objective, self.plan = config, run, control, objective, plan
        self.accelerator = a = make_accelerator(plan["precision"], plan["device"])
        self.state = TrainState(config, objective, planned_lr(config, plan), a)
        self.batches = Batches(
            objective.config, pictures, a.device, a.process_index, a.num_processes, objective.training_tensors
        )
        self.main = a.is_main_process
        self.requests: Requests = NO_REQUESTS
        self.requests_met = {"sample": 0, "save": 0}
        self.seconds, self.tick = 0.0, time.perf_counter()
        self.step_seconds: list[float] = []
        self.quick_seconds = plan.get("quick_seconds", plan["preview_seconds"])
        """Of the last quick preview."""
        self.saved_at: int | None = None
        self.metrics: MetricsWriter | None = None
        """The main process's."""
        self.go_back_to_last_checkpoint()

    def close(self) -> None:
        if self.metrics:
            self.metrics.close()

    def at_the_end(self) -> bool:
        return self.state.step == self.plan["total_steps"]

    # ---- between steps ----------------------------------------------------------------------------------------------
    def poll_requests(self) -> None:
        """Let others have the device, read the requests (all processes the same ones), and wait while paused."""
        while True:
            self.control.yield_device()
            box = [self.control.requests()]
            if self.accelerator.num_processes > 1:
                broadcast_object_list(box)
            self.requests = box[0]
            if self.requests["stop"] or not self.requests["pause"]:
                return
            self.control.progress("paused")
            self.control.wait()
            self.tick = time.perf_counter()

    @property
    def is_new(self) -> bool:
        """Whether this step was reached now: what a checkpoint was resumed at had all its due before."""
        return self.state.step != self.resumed_at

    def preview_is_due(self) -> bool:
        return self.preview_is_missing or self.is_new and has_preview(self.plan, self.state.step)

    def checkpoint_is_due(self) -> bool:
        return self.is_new and (self.state.step % self.plan["checkpoint_every"] == 0 or self.at_the_end())

    def second_look_is_due(self) -> bool:
        look_step = self.plan.get("look_step", 0)
        return 0 < look_step == self.state.step and self.plan.get("first_course") is None

    def requested(self, name: Literal["sample", "save"]) -> bool:
        """Whether somebody asked for it since the last time."""
        count = self.requests[name]
        self.requests_met[name], before = count, self.requests_met[name]
        return count > before

    # ---- once in a while --------------------------------------------------------------------------------------------
    def validate(self) -> Iterator[Event]:
        """Loss on fixed noise of the averaged weights."""
        if self.metrics:
            with self.accelerator.autocast():
                event = self.objective.measure(self.state.load_ema_weights(), self.state.step)
            losses = {"train_loss": event.train_loss, "held_out_loss": event.held_out_loss, "bands": event.bands}
            self.metrics.add(self.state.step, kind="validation", **losses)
            yield event

    def preview(self) -> Iterator[Event]:
        """Pictures from the run's own noise, or reconstructions; given up when somebody stops the run meanwhile."""
        if not self.main:
            return
        self.control.progress("preview")
        begin, images = time.perf_counter(), list[Image.Image]()
        quick = self.preview_is_due() and is_quick(self.plan, self.state.step)
        with self.accelerator.autocast():
            for pictures in self.objective.preview(self.state.load_ema_weights(), quick):
                if pictures is not None:
                    images = pictures
                elif yield_device(self.control):
                    return
        png = io.BytesIO()
        image_grid(images, PREVIEW_COLUMNS if quick else None).save(png, "PNG")
        if quick:
            self.quick_seconds = time.perf_counter() - begin
        yield events.Sampled(self.state.step, self.run.save_sample(self.state.step, png.getvalue()))

    def look_again(self) -> Iterator[Event]:
        """Settle the plan by the speed of the steps so far, once for the whole run: it is written down before the next step, so that a
        run resumed from an earlier checkpoint takes the same course."""
        box = [self.plan]
        if self.main:
            most_minutes = self.requests["most_minutes"]
            box = [settled(self.config, self.plan, self.speed(), self.quick_seconds, most_minutes)]
            self.run.update_record(plan=box[0])
        if self.accelerator.num_processes > 1:
            broadcast_object_list(box)
        self.plan = box[0]
        self.state.lr_lambda = planned_lr(self.config, self.plan)
        if self.main:
            yield events.Settled(self.plan)
            yield from notices(self.config, self.plan)

    def speed(self) -> float:
        """Seconds of a step: the mean of those since the start or the resume, without the first, which warm up, and the extremes."""
        timed = sorted(self.step_seconds[2:])
        cut = len(timed) // 10
        enough = len(timed) >= FEWEST_TIMED_STEPS - 2
        return statistics.mean(timed[cut : len(timed) - cut]) if enough else self.plan["step_seconds"]

    def save(self) -> Iterator[Event]:
        """A checkpoint and the pipeline, once per step."""
        if self.main and self.saved_at != self.state.step:
            self.control.progress("saving")
            self.saved_at = self.state.step
            yield events.Saved(self.state.step, self.state.save(self.run))
            if self.config.hub_push_every_save and self.config.push_to_hub:
                yield from publish(self.config, self.run, self.control)
        self.accelerator.wait_for_everyone()

    # ---- one step ---------------------------------------------------------------------------------------------------
    def step(self) -> Iterator[Event]:
        """One optimiser step over all pictures of its batches: the gradient is that of their mean loss."""
        begin = time.perf_counter()
        state, accelerator, self.preview_is_missing = self.state, self.accelerator, False
        parts = self.batches.indices(state.step)
        images, total = sum(map(len, parts)), torch.zeros((), device=accelerator.device)
        for k, indices in enumerate(parts):
            last, key = k == len(parts) - 1, (state.step, k, self.batches.rank)
            with contextlib.nullcontext() if last else accelerator.no_sync(state.network):
                batch = self.objective.batch(self.batches, state.step, k, indices)
                losses = accumulate(self.objective, state.network, batch, images, key, accelerator.backward)
            total += losses.sum() / images
        loss = float(accelerator.reduce(total, "mean"))
        norm = float(accelerator.clip_grad_norm_(state.module.parameters(), self.config.max_grad_norm))
        scaled = accelerator.scaler is not None  # a scaler skips a step whose gradient isn't finite itself
        if not math.isfinite(loss) or not scaled and not math.isfinite(norm):
            yield from self.roll_back()
            return
        rate = self.config.learning_rate * state.lr_factor()
        state.update()
        now = time.perf_counter()
        self.seconds, self.tick = self.seconds + now - self.tick, now
        if self.metrics:
            self.metrics.add(
                state.step, kind="step", loss=loss, lr=rate, grad_norm=norm, seconds=round(self.seconds, 3)
            )
        yield events.Stepped(state.step, self.plan["total_steps"], loss, rate, norm, images * accelerator.num_processes)
        if state.step <= self.plan.get("look_step", 0):
            self.step_seconds.append(time.perf_counter() - begin)

    def roll_back(self) -> Iterator[Event]:
        """Back to the last checkpoint with a lower rate; a second time it is given up with an explanation."""
        failed, factor = self.state.step + 1, self.state.rate_factor * RATE_FACTOR
        if self.state.rate_factor < 1:
            raise Problem("diverged", "learning_rate", value=self.config.learning_rate, step=failed)
        self.state.module.zero_grad()
        self.go_back_to_last_checkpoint()
        self.state.rate_factor = factor
        if self.metrics:  # a row of the step to come: a run resumed from this very checkpoint comes to this point again
            self.metrics.add(self.state.step + 1, kind="rollback", failed_step=failed, factor=factor)
        yield events.RolledBack(self.state.step, failed, factor)

    def go_back_to_last_checkpoint(self) -> None:
        """The state of the last checkpoint, if there is one; later metrics, previews and checkpoints are pruned."""
        checkpoints = self.run.checkpoints
        if checkpoints:
            self.state.load(checkpoints[-1])
        self.resumed_at = self.state.step if checkpoints else None
        # Stopped in the middle of a preview. All processes look before the main one draws it.
        has_one = has_preview(self.plan, self.state.step)
        self.preview_is_missing = bool(checkpoints) and has_one and not self.run.sample_path(self.state.step).exists()
        self.accelerator.wait_for_everyone()
        if self.main:
            self.run.prune_after(self.state.step)
            self.close()
            # Without a checkpoint step 0 is measured again.
            self.metrics = self.run.open_metrics(self.state.step if checkpoints else -1)

    def finish(self) -> Iterator[Event]:
        """Save what is not saved yet, publish if asked, and say how it ended."""
        yield from self.save()
        if self.main:
            if self.at_the_end() and self.config.push_to_hub:
                yield from publish(self.config, self.run, self.control)
            yield events.Ended(self.state.step, "finished" if self.at_the_end() else "stopped")
        self.accelerator.wait_for_everyone()
