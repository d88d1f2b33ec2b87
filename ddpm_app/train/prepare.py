"""What comes before the loop: the parts are loaded and checked, the run is rehearsed and planned, and a person agrees to a long one."""

import dataclasses
from collections.abc import Generator, Iterator

from accelerate.state import PartialState
from accelerate.utils import broadcast_object_list

from ddpm_app.config import TrainConfig
from ddpm_app.data.image_dataset import ImageDataset
from ddpm_app.device import resolve_device
from ddpm_app.errors import Problem, Stopped
from ddpm_app.model import locate
from ddpm_app.model.pipeline import CLIP
from ddpm_app.runs import registry
from ddpm_app.runs.records import Plan
from ddpm_app.runs.run import Run
from ddpm_app.train import events
from ddpm_app.train import plan as plans
from ddpm_app.train.autoencoding import Autoencoding
from ddpm_app.train.check import check
from ddpm_app.train.denoising import Denoising
from ddpm_app.train.events import Control, Event, yield_device
from ddpm_app.train.objective import Objective
from ddpm_app.train.rehearse import rehearse

OBJECTIVES: dict[str, type[Denoising] | type[Autoencoding]] = {"diffusion": Denoising, "autoencoder": Autoencoding}


def prepare(
    config: TrainConfig, run: Run, control: Control, pictures: ImageDataset
) -> Generator[Event, None, tuple[Objective, Plan]]:
    """Check, load the parts, rehearse and plan; a run that has a plan keeps it. Raises Problem and Stopped."""
    if run.record.get("data", {}).get("fingerprint", pictures.fingerprint) != pictures.fingerprint:
        raise Problem("data_changed", "dataset_name", value=config.dataset_name, **_ways_on(config, run))
    device = resolve_device(config)
    objective: Objective = OBJECTIVES[config.objective](
        config, pictures, run.path.parent, device, control.progress, lambda: yield_device(control)
    )
    _check_parts(config, run, objective)
    notices = [*check(objective.config, pictures), *objective.notices()]
    processes = PartialState(cpu=device == "cpu")
    if processes.is_main_process:
        yield from notices
    box: list[Plan | None] = [None]
    try:
        if processes.is_main_process:
            box = [(yield from _plan(objective, run, control, pictures, processes.num_processes))]
    finally:  # also when it was stopped or failed: the other processes wait for this
        if processes.num_processes > 1:
            broadcast_object_list(box)
    plan = box[0]
    if plan is None:
        raise Stopped
    machine = {"device": (device, plan["device"]), "processes": (processes.num_processes, plan["processes"])}
    for field, (value, planned) in machine.items():
        if value != planned:  # it would go on as another run: other kernels, other batches
            command = registry.continue_command(run, device="auto")
            raise Problem("plan_changed", "device", what=field, value=value, planned=planned, command=command)
    return objective, plan


def with_own_autoencoder(config: TrainConfig, run: Run) -> TrainConfig:
    """``config`` with the autoencoder that a run saved beside its UNet where the one it names is on this machine no more: a run that
    was deleted, or one that shipped with an earlier version."""
    if not config.vae or locate.HUB_ID.fullmatch(config.vae) or locate.find_local(config.vae, run.path.parent):
        return config
    return dataclasses.replace(config, vae=str(run.pipeline)) if run.pipeline.is_dir() else config


def _ways_on(config: TrainConfig, run: Run) -> dict[str, str]:
    """Values of a Problem that keeps a run from going on with ``config``: the command that resumes it with its own pictures in another
    place, and the one that goes on from its weights as a new run."""
    moved = config.dataset_name != run.config.dataset_name
    changes = {"dataset_name": config.dataset_name} if moved else {}
    return {
        "run": str(run.path),
        "resume": registry.resume_command(run),
        "command": registry.continue_command(run, **changes),
    }


def _check_parts(config: TrainConfig, run: Run, objective: Objective) -> None:
    """Raises Problem("part_changed") where a run would go on with another autoencoder, text encoder, labels or captions than it began with."""
    recorded = run.record.get("parts", {})
    for name, fingerprint in objective.fingerprints.items():
        if recorded.get(name, fingerprint) != fingerprint:
            field = "init_from" if config.init_from and name != "dataset_name" else name
            raise Problem("part_changed", field, value=getattr(config, field) or CLIP, **_ways_on(config, run))


def _plan(
    objective: Objective, run: Run, control: Control, pictures: ImageDataset, processes: int
) -> Generator[Event, None, Plan]:
    """The run's plan, made by a rehearsal where it has none, agreed to by somebody where it is long."""
    plan, config = run.plan, objective.config
    if plan is None:
        control.progress("rehearsal")
        measured = rehearse(config, objective, pictures, lambda: yield_device(control))
        most_minutes = control.requests()["most_minutes"]
        plan = plans.make_plan(config, pictures, measured, objective.device.type, processes, most_minutes)
        yield from plans.notices(config, plan)
    yield from _agree(config, plan, control)
    plan = {**plan, "agreed": True}
    if run.requests["dataset_name"]:  # by now it is proved to hold the run's pictures
        run.update_record(config=run.working_config.to_dict())
    run.update_record(
        plan=plan,
        data={
            "fingerprint": pictures.fingerprint,
            **pictures.source,
            "account": pictures.account.to_json() if pictures.source["kind"] != "built-in" else [],
        },
        parts=objective.fingerprints,
    )
    return plan


def _agree(config: TrainConfig, plan: Plan, control: Control) -> Iterator[Event]:
    """Tell the plan, and wait for the go of somebody where the run is long. Raises Stopped."""
    if plan["agreed"]:
        return
    long = plans.is_long(config, plan)
    yield events.Planned(plan, long)
    while long and not control.requests()["go"]:
        if control.stopping():
            raise Stopped
        control.wait()
