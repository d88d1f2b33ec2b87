"""The training loop: *once in a while: validate, sample, save; then one training step; then tell.*"""

import contextlib
import io
import math
import queue
import threading
import time
from collections.abc import Iterator

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import broadcast_object_list

from ddpm_app import diffusion, hub
from ddpm_app.config import TrainConfig, irrelevant_fields
from ddpm_app.data.image_dataset import ImageDataset, load
from ddpm_app.device import resolve_device
from ddpm_app.errors import Problem, Stopped
from ddpm_app.images import image_grid
from ddpm_app.model import locate
from ddpm_app.model.pipeline import CLIP
from ddpm_app.runs.metrics import MetricsWriter
from ddpm_app.runs.run import Run
from ddpm_app.train import events
from ddpm_app.train import plan as plans
from ddpm_app.train.autoencoding import Autoencoding
from ddpm_app.train.batches import Batches
from ddpm_app.train.check import check
from ddpm_app.train.denoising import Denoising
from ddpm_app.train.events import Control, Event
from ddpm_app.train.rehearse import rehearse
from ddpm_app.train.state import TrainState

Objective = Denoising | Autoencoding
OBJECTIVES = {"diffusion": Denoising, "autoencoder": Autoencoding}
FETCH_POLL_SECONDS = 0.5
RATE_FACTOR = 0.5
"""The learning rate is lowered by this after a loss that was not a number."""


def train(config: TrainConfig, run: Run, control: Control) -> Iterator[Event]:
    """Train ``run`` from its last checkpoint, or from the start, to its planned end.

    Yields events; writes metrics, pictures, checkpoints and the pipeline through ``run``; asks ``control`` between slices.
    The weights and metrics depend on the config, the data and the plan alone. Raises Problem, and Stopped when somebody
    stops it before the loop (nothing is lost: nothing was there).
    """
    pictures = load(config, control.progress, control.stopping)
    _fetch(config, run, control)
    with control.device():
        objective, plan = yield from _prepare(config, run, control, pictures)
        torch.set_num_threads(plan["threads"])
        with contextlib.closing(_Work(config, run, control, pictures, objective, plan)) as work:
            yield events.Started(work.state.step, plan["total_steps"])

            while True:
                work.poll_requests()
                if work.due(plan["validate_every"]):
                    yield from work.validate()
                if work.asked("sample") or work.due(plan["save_image_every"]) or work.preview_is_missing:
                    yield from work.preview()
                    work.poll_requests()
                if work.asked("save") or work.due(plan["checkpoint_every"]):
                    yield from work.save()
                if work.at_the_end() or work.requests["stop"]:
                    break
                yield from work.step()

            yield from work.finish()


class _Work:
    """What the loop's verbs share. On several processes each runs the same verbs; only the main one writes."""

    def __init__(
        self, config: TrainConfig, run: Run, control: Control, pictures: ImageDataset, objective: Objective, plan: dict
    ):
        self.config, self.run, self.control, self.plan = config, run, control, plan
        self.accelerator = make_accelerator(plan)
        self.objective = objective
        self.state = TrainState(config, objective, plan["total_steps"], self.accelerator)
        a = self.accelerator
        self.batches = Batches(
            objective.config, pictures, a.device, a.process_index, a.num_processes, objective.training_tensors
        )
        self.main = a.is_main_process
        self.requests: dict = {}
        self.requests_met = {"sample": 0, "save": 0}
        self.seconds, self.tick = 0.0, time.perf_counter()
        self.saved_at: int | None = None
        self.metrics: MetricsWriter | None = None
        self.go_back_to_last_checkpoint()

    def close(self) -> None:
        if self.metrics:
            self.metrics.close()

    def at_the_end(self) -> bool:
        return self.state.step == self.plan["total_steps"]

    # ---- between steps ----------------------------------------------------------------------------------------------
    def poll_requests(self) -> None:
        """Let others have the device, learn the wishes (all processes the same ones), and wait while paused."""
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

    def due(self, every: int) -> bool:
        """At every ``every``-th step and at the end, except where a checkpoint says that it was done before."""
        return self.state.step != self.resumed_at and (self.state.step % every == 0 or self.at_the_end())

    def asked(self, wish: str) -> bool:
        """Whether somebody asked for it since the last time."""
        asked, self.requests_met[wish] = self.requests[wish] > self.requests_met[wish], self.requests[wish]
        return asked

    # ---- once in a while --------------------------------------------------------------------------------------------
    def validate(self) -> Iterator[Event]:
        """Loss on fixed noise of the averaged weights."""
        if self.main:
            with self.accelerator.autocast():
                measured = self.objective.measure(self.state.averaged(), self.state.step)
            losses = {
                "train_loss": measured.train_loss,
                "held_out_loss": measured.held_out_loss,
                "bands": measured.bands,
            }
            self.metrics.add(self.state.step, kind="validation", **losses)
            yield measured

    def preview(self) -> Iterator[Event]:
        """Pictures from the run's own noise, or reconstructions; given up when somebody stops the run meanwhile."""
        if not self.main:
            return
        self.control.progress("preview")
        with self.accelerator.autocast():
            for images in self.objective.preview(self.state.averaged()):
                if images is None and _yield_device(self.control):
                    return
        png = io.BytesIO()
        image_grid(images).save(png, "PNG")
        yield events.Sampled(self.state.step, self.run.save_sample(self.state.step, png.getvalue()))

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
        state, accelerator, self.preview_is_missing = self.state, self.accelerator, False
        parts = self.batches.indices(state.step)
        images, loss = sum(map(len, parts)), 0.0
        for k, indices in enumerate(parts):
            last = k == len(parts) - 1
            with contextlib.nullcontext() if last else accelerator.no_sync(state.network):
                batch = self.objective.batch(self.batches, state.step, k, indices)
                if self.config.dropout:  # it draws from the global generator
                    torch.manual_seed(
                        diffusion.generator(
                            self.config.seed, "dropout", state.step, k, self.batches.rank
                        ).initial_seed()
                    )
                part = self.objective.losses(state.network, *batch).sum() / images
                accelerator.backward(part)
            loss += part.detach()
        loss = float(accelerator.reduce(loss, "mean"))
        norm = float(accelerator.clip_grad_norm_(state.module.parameters(), self.config.max_grad_norm))
        if not math.isfinite(loss) or (
            not math.isfinite(norm) and accelerator.scaler is None
        ):  # a scaler skips such a step itself
            yield from self.roll_back()
            return
        rate = self.config.learning_rate * state.rate()
        state.update()
        now = time.perf_counter()
        self.seconds, self.tick = self.seconds + now - self.tick, now
        if self.main:
            self.metrics.add(
                state.step, kind="step", loss=loss, lr=rate, grad_norm=norm, seconds=round(self.seconds, 3)
            )
        yield events.Stepped(state.step, self.plan["total_steps"], loss, rate, norm, images * accelerator.num_processes)

    def roll_back(self) -> Iterator[Event]:
        """Back to the last checkpoint with a lower rate; a second time it is given up with an explanation."""
        failed, factor = self.state.step + 1, self.state.rate_factor * RATE_FACTOR
        if self.state.rate_factor < 1:
            raise Problem("diverged", "learning_rate", value=self.config.learning_rate, step=failed)
        self.state.module.zero_grad()
        self.go_back_to_last_checkpoint()
        self.state.rate_factor = factor
        if self.main:  # a row of the step to come: a run resumed from this very checkpoint comes to this point again
            self.metrics.add(self.state.step + 1, kind="rollback", failed_step=failed, factor=factor)
        yield events.RolledBack(self.state.step, failed, factor)

    def go_back_to_last_checkpoint(self) -> None:
        """The state of the last checkpoint, if there is one; later metrics, previews and checkpoints are forgotten."""
        checkpoints = self.run.checkpoints
        if checkpoints:
            self.state.load(checkpoints[-1])
        self.resumed_at = self.state.step if checkpoints else None
        # Stopped in the middle of a preview. All processes look before the main one draws it.
        due = self.state.step % self.plan["save_image_every"] == 0 or self.at_the_end()
        self.preview_is_missing = bool(checkpoints) and due and not self.run.sample_path(self.state.step).exists()
        self.accelerator.wait_for_everyone()
        if self.main:
            self.run.prune_after(self.state.step)
            self.close()
            self.metrics = self.run.open_metrics(
                self.state.step if checkpoints else -1
            )  # without one, step 0 is measured again

    def finish(self) -> Iterator[Event]:
        """Save what is not saved yet, publish if asked, and say how it ended."""
        yield from self.save()
        if self.main:
            if self.at_the_end() and self.config.push_to_hub:
                yield from publish(self.config, self.run, self.control)
            yield events.Ended(self.state.step, "finished" if self.at_the_end() else "stopped")
        self.accelerator.wait_for_everyone()


def _yield_device(control: Control) -> bool:
    """Let others have the device; True when somebody asked to stop."""
    control.yield_device()
    return control.stopping()


def _prepare(config: TrainConfig, run: Run, control: Control, pictures: ImageDataset) -> Iterator[Event]:
    """Check, load the parts, rehearse and plan; a run that has a plan keeps it. Returns (objective, plan); raises Stopped."""
    known = run.record.get("data", {}).get("fingerprint", pictures.fingerprint)
    if known != pictures.fingerprint:
        raise Problem("data_changed", "dataset_name", value=config.dataset_name)
    device = resolve_device(config)
    objective = OBJECTIVES[config.objective](
        config, pictures, run.path.parent, device, control.progress, lambda: _yield_device(control)
    )
    _check_parts(config, run, objective)
    yield from (*check(objective.config, pictures), *objective.notices())
    processes = PartialState(cpu=device == "cpu")
    box: list = [None]
    try:
        if processes.is_main_process:
            box = [(yield from _plan(objective, run, control, pictures, processes.num_processes))]
    finally:  # also when it was stopped or failed: the other processes wait for this
        if processes.num_processes > 1:
            broadcast_object_list(box)
    if box[0] is None:
        raise Stopped
    for field, here in (("device", device), ("processes", processes.num_processes)):
        if box[0][field] != here:  # it would go on as another run: other kernels, other batches
            raise Problem("plan_changed", "device", what=field, value=here, planned=box[0][field])
    return objective, box[0]


def _fetch(config: TrainConfig, run: Run, control: Control) -> None:
    """Bring what only the Hub has to this machine, before the device is taken. Raises Problem, and Stopped without waiting for the rest."""
    for name in sorted({"vae", "init_from", "text_encoder"} - irrelevant_fields(config.to_dict())):
        source, outcome = getattr(config, name), queue.Queue()
        if not source or locate.find_local(source, run.path.parent):
            continue
        threading.Thread(target=_fetched, args=(source, name, outcome), name="fetch", daemon=True).start()
        told = None
        while told is None:
            control.progress("download")
            if control.stopping():
                raise Stopped
            with contextlib.suppress(queue.Empty):
                told = outcome.get(timeout=FETCH_POLL_SECONDS)
        if isinstance(told, Exception):
            raise told


def _fetched(source: str, field: str, outcome: queue.Queue) -> None:
    try:
        outcome.put(locate.download(source, field))
    except Exception as error:  # raised again by the one who waits
        outcome.put(error)


def _check_parts(config: TrainConfig, run: Run, objective: Objective) -> None:
    """Raises Problem("part_changed") where a run would go on with another autoencoder, text encoder, labels or captions than it began with."""
    known = run.record.get("parts", {})
    for name, here in objective.fingerprints.items():
        if known.get(name, here) != here:
            field = "init_from" if config.init_from and name != "dataset_name" else name
            raise Problem("part_changed", field, value=getattr(config, field) or CLIP)


def _plan(objective: Objective, run: Run, control: Control, pictures: ImageDataset, processes: int) -> Iterator[Event]:
    """The run's plan, made by a rehearsal where it has none, agreed to by somebody where it is long."""
    plan, config = run.plan, objective.config
    if plan is None:
        control.progress("rehearsal")
        measured = rehearse(config, objective, pictures, lambda: _yield_device(control))
        plan = plans.make_plan(config, pictures, measured, objective.device.type, processes)
    yield from _ask_if_long(config, plan, control)
    plan = plan | {"agreed": True}
    run.update_record(
        plan=plan, data={"fingerprint": pictures.fingerprint, **pictures.source}, parts=objective.fingerprints
    )
    return plan


def _ask_if_long(config: TrainConfig, plan: dict, control: Control) -> Iterator[Event]:
    """Tell the plan, and wait for the go of somebody where the run is long. Raises Stopped."""
    if plan["agreed"]:
        return
    long = plans.is_long(config, plan)
    yield events.Planned(plan, long)
    while long and not control.requests()["go"]:
        if control.stopping():
            raise Stopped
        control.wait()


def make_accelerator(plan: dict) -> Accelerator:
    """The process's accelerator with the plan's precision and device."""
    if PartialState().num_processes == 1:
        AcceleratorState._reset_state(True)  # another run of this process may have had another precision
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = (
        True,
        False,
    )  # the same kernels in a resumed run
    return Accelerator(mixed_precision=plan["precision"], cpu=plan["device"] == "cpu")


def publish(config: TrainConfig, run: Run, control: Control) -> Iterator[Event]:
    """Push the pipeline to the Hub; what hinders it is said and stops nothing."""
    reason = hub.ready(config)
    if reason is not None:
        yield events.Notice(reason.code, reason.values)
        return
    control.progress("publishing")
    outcome: queue.Queue[str | Problem] = queue.Queue()
    threading.Thread(target=_publish, args=(run, outcome), name="publish", daemon=True).start()
    while outcome.empty():
        if control.stopping():
            yield events.Notice("hub_given_up")
            return
        control.wait()
    told = outcome.get()
    yield events.Notice(told.code, told.values) if isinstance(told, Problem) else events.Published(told)


def _publish(run: Run, outcome: queue.Queue) -> None:
    try:
        outcome.put(hub.publish(run))
    except Problem as problem:
        outcome.put(problem)
    except Exception as error:  # whatever it is, the run itself is well
        outcome.put(Problem("hub_refused", reason=f"{type(error).__name__}: {error}"))
