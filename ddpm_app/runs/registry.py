"""The folder of runs: which there are, new ones, names, and the trash."""

import contextlib
import datetime
import importlib.metadata
import pathlib
import platform
import shlex
import shutil
import time
from collections.abc import Collection, Iterator
from typing import Any

import filelock

from ddpm_app import config as configs
from ddpm_app.config import TrainConfig
from ddpm_app.errors import Problem
from ddpm_app.files import replace
from ddpm_app.runs.queue import RunQueue
from ddpm_app.runs.run import Run

TRASH = ".trash"
DEFAULT_FOLDER = pathlib.Path("runs")
"""Where the page and the terminal look for runs unless another folder is named."""

LIBRARIES = ("torch", "torchvision", "diffusers", "accelerate", "datasets", "transformers", "gradio")


# ---- the folder of runs ---------------------------------------------------------------------------------------------
def list_runs(runs_dir: pathlib.Path) -> list[Run]:
    """All runs, the one that changed last first."""
    return sorted(map(Run, run_folders(runs_dir)), key=lambda run: run.heartbeat, reverse=True)


def run_folders(runs_dir: pathlib.Path) -> list[pathlib.Path]:
    """The folders of all runs, in no order."""
    return [file.parent for file in runs_dir.glob("*/config.json") if not file.parent.name.startswith(".")]


def find(runs_dir: pathlib.Path, name: str) -> Run:
    """The run of that name. Raises Problem("run_missing"), also for a name that leaves the folder."""
    path = runs_dir / (name or "")
    if not name or pathlib.PurePath(name).name != name or name.startswith(".") or not (path / "config.json").is_file():
        raise Problem("run_missing", value=name, known=", ".join(run.name for run in list_runs(runs_dir)) or "-")
    return Run(path)


def active_run(runs_dir: pathlib.Path) -> Run | None:
    """The run that some process is working on, if any."""
    return next((run for run in list_runs(runs_dir) if run.active), None)


@contextlib.contextmanager
def claim(runs_dir: pathlib.Path) -> Iterator[None]:
    """Held while a run is begun, so that two that start at once don't both. Raises Problem: "busy" while any run of the
    folder is active, "runs_dir" where nothing can be written."""
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(runs_dir / ".start.lock")
        lock.acquire()
    except OSError as error:
        raise Problem("runs_dir", value=str(runs_dir), reason=error.strerror or str(error)) from error
    try:
        if busy := active_run(runs_dir):
            raise Problem("busy", value=busy.name)
        yield
    finally:
        lock.release()


def free_name(runs_dir: pathlib.Path, name: str, besides: Collection[str] = ()) -> str:
    """``name``, or name-2, name-3, ...: the first that no run has and that isn't among those ``besides``."""
    stem, _, digits = name.rpartition("-")
    is_numbered = stem and digits.isdigit() and int(digits) < 1000 and (runs_dir / stem).exists()
    stem, number = (stem, int(digits)) if is_numbered else (name, 1)
    while (runs_dir / name).exists() or name in besides:
        number += 1
        name = f"{stem}-{number}"
    return name


def create(runs_dir: pathlib.Path, config: TrainConfig, owner: str | None = None) -> Run:
    """A new run folder with config.json and status.json. An old run of that name moves to the trash.

    Raises Problem: "run_exists" (overwrite_output_dir is off), "run_busy" (the old one is being trained), "runs_dir".
    """
    path = runs_dir / config.output_dir
    try:
        if path.exists():
            if not config.overwrite_output_dir:
                raise Problem(
                    "run_exists", "output_dir", value=config.output_dir, free=free_name(runs_dir, config.output_dir)
                )
            discard(Run(path))
        (path / "checkpoints").mkdir(parents=True)
    except OSError as error:
        raise Problem("runs_dir", value=str(runs_dir), reason=error.strerror or str(error)) from error
    run = Run(path)
    versions = {name: _version(name) for name in LIBRARIES} | {"python": platform.python_version()}
    try:
        run.update_record(config=config.to_dict(), libraries=versions, created=time.time())
        run.begin(owner)
    except OSError as error:  # no folder stays that is no run
        shutil.rmtree(path, ignore_errors=True)
        raise Problem("runs_dir", value=str(runs_dir), reason=error.strerror or str(error)) from error
    return run


def _version(name: str) -> str | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(name)
    return None


def continue_command(run: Run, **changes: Any) -> str:
    """The terminal command that goes on from a run's weights as a new run, with its settings and ``changes``. It names the run's own
    config.json, whose settings ``train --config`` takes."""
    # by its path: a model that ships may have the run's name
    options = {"config": run.path / "config.json"} | ({"init_from": run.path} if run.pipeline.is_dir() else {})
    options |= {"output_dir": free_name(run.path.parent, run.name)} | changes
    return _command("train", run, options)


def resume_command(run: Run, dataset_name: str = "FOLDER") -> str:
    """The terminal command that resumes a run with its pictures in another place."""
    return _command(f"resume {shlex.quote(run.name)}", run, {"dataset_name": dataset_name})


def _command(verb: str, run: Run, options: dict[str, Any]) -> str:
    if run.path.parent != DEFAULT_FOLDER:
        options = options | {"runs_dir": run.path.parent}
    words = [word for name, value in options.items() for word in (f"--{name}", _option_text(value))]
    return f"python -m ddpm_app {verb} {shlex.join(words)}"


def _option_text(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return ",".join(map(str, value))
    return "none" if value in (None, "") else str(value)


def rename(run: Run, name: str) -> Run:
    """Give a run another name. Raises Problem: "run_busy", "run_name", "run_exists"."""
    config = configs.from_dict(run.config.to_dict() | {"output_dir": name})
    if run.active:
        raise Problem("run_busy", "output_dir", value=run.name)
    if (run.path.parent / name).exists():
        raise Problem("run_exists", "output_dir", value=name, free=free_name(run.path.parent, name))
    target = Run(run.path.parent / name)
    replace(run.path, target.path)
    target.update_record(config=config.to_dict())
    return target


# ---- trash ------------------------------------------------------------------------------------------------------------
def discard(run: Run) -> pathlib.Path:
    """Move a run to the trash. Raises Problem("run_busy") while it is being trained."""
    if run.active:
        raise Problem("run_busy", "output_dir", value=run.name)
    target = run.path.parent / TRASH / f"{run.name}~{datetime.datetime.now():%Y%m%d-%H%M%S-%f}"
    target.parent.mkdir(exist_ok=True)
    replace(run.path, target)
    return target


def trash(runs_dir: pathlib.Path) -> list[Run]:
    """Runs in the trash, newest first; their names carry the time they were moved there."""
    folders = (runs_dir / TRASH).glob("*~*")
    return [Run(p) for p in sorted(folders, key=lambda p: p.name.rpartition("~")[2], reverse=True)]


def restore(runs_dir: pathlib.Path, name: str) -> Run:
    """Bring a run back from the trash, under a free name. Raises Problem("run_missing")."""
    discarded = {run.name: run for run in trash(runs_dir)}
    if name not in discarded:
        raise Problem("run_missing", value=name, known=", ".join(discarded) or "-")
    run = Run(runs_dir / free_name(runs_dir, name.rpartition("~")[0]))
    replace(discarded[name].path, run.path)
    if config := run.record.get("config"):
        run.update_record(config=config | {"output_dir": run.name})
    return run


def data_places(runs_dir: pathlib.Path) -> dict[pathlib.Path, list[str]]:
    """The folders of pictures that runs refer to, with the names of these runs: those in the queue and those in the trash, which can come
    back, count too."""
    places: dict[pathlib.Path, list[str]] = {}
    settings = [(run.name, run.record.get("config", {})) for run in (*list_runs(runs_dir), *trash(runs_dir))]
    settings += [(each["config"]["output_dir"], each["config"]) for each in RunQueue(runs_dir).waiting()]
    for name, config in settings:
        if (place := pathlib.Path(str(config.get("dataset_name") or "")).expanduser()).is_dir():
            places.setdefault(place.resolve(), []).append(name)
    return places


def empty_trash(runs_dir: pathlib.Path) -> int:
    """Delete what is in the trash for good; returns the number of bytes freed."""
    freed = 0
    for run in trash(runs_dir):
        freed += run.disk_bytes()
        shutil.rmtree(run.path)
    return freed
