"""The folder of runs: which there are, new ones, names, and the trash."""

import contextlib
import datetime
import importlib.metadata
import pathlib
import platform
import shutil
import time
from collections.abc import Iterator

import filelock

from ddpm_app import config as configs
from ddpm_app.config import TrainConfig
from ddpm_app.errors import Problem
from ddpm_app.files import replace
from ddpm_app.runs.run import Run

TRASH = ".trash"

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


def free_name(runs_dir: pathlib.Path, name: str) -> str:
    """``name``, or name-2, name-3, ...: the first that no run has."""
    stem, _, digits = name.rpartition("-")
    is_numbered = stem and digits.isdigit() and int(digits) < 1000 and (runs_dir / stem).exists()
    stem, number = (stem, int(digits)) if is_numbered else (name, 1)
    while (runs_dir / name).exists():
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
    run.update_record(config=config.to_dict(), libraries=versions, created=time.time())
    run.begin(owner)
    return run


def _version(name: str) -> str | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(name)
    return None


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


def empty_trash(runs_dir: pathlib.Path) -> int:
    """Delete what is in the trash for good; returns the number of bytes freed."""
    freed = 0
    for run in trash(runs_dir):
        freed += run.disk_bytes()
        shutil.rmtree(run.path)
    return freed
