"""A run on disk: settings, status, wishes, metrics, preview pictures, checkpoints, pipeline. The only place that writes them.

Everything is written to a temporary name, flushed, then renamed, so that a reader never sees half a file and a killed
process never leaves one. What the page and the terminal show is read from here, whoever trains.
"""

import contextlib
import dataclasses
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import filelock
import psutil

from ddpm_app import config as configs
from ddpm_app.config import TrainConfig
from ddpm_app.problems import Problem

ACTIVE = ("preparing", "waiting", "training", "paused")
"""States of a run that some process is working on."""
STATES = (*ACTIVE, "stopped", "finished", "failed", "interrupted")
TRASH = ".trash"
QUIET_SECONDS = 120
"""A run of another host counts as interrupted when its heartbeat is older than this."""
LIBRARIES = ("torch", "torchvision", "diffusers", "accelerate", "datasets", "transformers", "gradio")
NO_WISHES = {"stop": False, "pause": False, "go": False, "sample": 0, "save": 0, "owner": None}


def write_atomic(path: pathlib.Path, content: str | bytes) -> None:
    """Write a file whole or not at all, and have it on the disk before its name shows it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with open(part, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


@contextlib.contextmanager
def folder_atomic(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A new folder to fill, which takes its name only when the block ends well. An old one of that name is removed last."""
    part = path.with_name(f".{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    for file in part.rglob("*"):
        if file.is_file():
            with open(file, "rb") as handle:
                os.fsync(handle.fileno())
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.replace(path, old)
    os.replace(part, path)
    shutil.rmtree(old, ignore_errors=True)


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


@dataclasses.dataclass(frozen=True)
class Run:
    """One run: the folder ``path``. Reading never fails on a young or damaged folder: what is missing reads as empty."""

    path: pathlib.Path

    @property
    def name(self) -> str:
        return self.path.name

    # ---- settings -------------------------------------------------------------------------------------------------
    @property
    def record(self) -> dict[str, Any]:
        """config.json: "config" (the settings), "libraries", "created", later "data" (fingerprint, counts) and "plan"."""
        return _read_json(self.path / "config.json")

    @property
    def config(self) -> TrainConfig:
        """The settings. Raises Problem("run_broken") when they can't be read."""
        values = self.record.get("config")
        if not values:
            raise Problem("run_broken", value=self.name)
        return configs.from_dict(values)

    @property
    def plan(self) -> dict[str, Any] | None:
        """What was measured and decided once, before the first step (see train.plan); None until then."""
        return self.record.get("plan")

    def note(self, **parts: Any) -> None:
        """Put parts ("plan", "data", ...) into config.json."""
        write_atomic(self.path / "config.json", json.dumps(self.record | parts, indent=2) + "\n")

    # ---- status ---------------------------------------------------------------------------------------------------
    @property
    def status(self) -> dict[str, Any]:
        """status.json: state, phase, step, total_steps, heartbeat, error, ... A state that says a process is at work
        while that process is gone reads as "interrupted"."""
        status = {"state": "interrupted", "step": 0, **_read_json(self.path / "status.json")}
        if status["state"] in ACTIVE and not _alive(status):
            status["state"] = "interrupted"
        return status

    def tell(self, **news: Any) -> None:
        """Update status.json with ``news``, this process's identity and the time."""
        me = {"pid": os.getpid(), "born": psutil.Process().create_time(), "host": socket.gethostname(), "heartbeat": time.time()}
        write_atomic(self.path / "status.json", json.dumps(_read_json(self.path / "status.json") | me | news) + "\n")

    def begin(self, owner: str | None = None) -> None:
        """Say that this process starts (or resumes) the run: old wishes are void. ``owner`` is who may stop it in public mode."""
        write_atomic(self.path / "control.json", json.dumps(NO_WISHES | {"owner": owner}) + "\n")
        fresh = dict.fromkeys(("error", "traceback", "done", "total", "eta_seconds", "images_per_second", "published"))
        self.tell(state="preparing", phase="start", notices=[], **fresh)

    @property
    def active(self) -> bool:
        return self.status["state"] in ACTIVE

    # ---- wishes ---------------------------------------------------------------------------------------------------
    @property
    def wishes(self) -> dict[str, Any]:
        """control.json: stop, pause and go are flags, sample and save are counters (one more is one more wish)."""
        return NO_WISHES | _read_json(self.path / "control.json")

    def wish(self, *counted: str, **flags: Any) -> None:
        """Ask the process that trains: ``run.wish(stop=True)``, ``run.wish("sample")``."""
        with filelock.FileLock(self.path / ".control.lock"):
            now = self.wishes
            write_atomic(self.path / "control.json", json.dumps(now | flags | {name: now[name] + 1 for name in counted}) + "\n")

    # ---- metrics --------------------------------------------------------------------------------------------------
    @property
    def metrics_path(self) -> pathlib.Path:
        return self.path / "metrics.jsonl"

    def read_metrics(self, offset: int = 0, generation: int = -1, limit: int = -1) -> tuple[list[dict[str, Any]], int, int]:
        """Rows from ``offset`` (bytes) on, with the next offset and the file's generation. Where the generation is not
        the one given, the file was rewritten and rows come from its start. An unfinished last line waits for the next call.
        ``limit``: at most so many bytes at once (a few rows' length at least)."""
        try:
            with open(self.metrics_path, "rb") as file:
                head = file.readline()
                found = json.loads(head)["generation"]
                file.seek(max(offset, len(head)) if found == generation else len(head))
                start = file.tell()
                block = file.read(limit)
        except (OSError, ValueError, KeyError, TypeError):
            return [], 0, -1
        block = block[: block.rfind(b"\n") + 1]
        rows = json.loads(b"[" + block[:-1].replace(b"\n", b",") + b"]")  # at once: several times faster than line by line
        return rows, start + len(block), found

    def open_metrics(self, step: int) -> "MetricsWriter":
        """A writer that goes on after ``step``: rows of later steps are pruned, and the file becomes a new generation."""
        rows, _, generation = self.read_metrics()
        kept = [row for row in rows if row["step"] <= step]
        if generation < 0 or len(kept) < len(rows) or self._has_torn_line():
            lines = [{"generation": generation + 1}, *kept]
            write_atomic(self.metrics_path, "".join(json.dumps(row) + "\n" for row in lines))
        return MetricsWriter(self.metrics_path)

    def _has_torn_line(self) -> bool:
        with open(self.metrics_path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() != b"\n"

    # ---- pictures, checkpoints, pipeline ----------------------------------------------------------------------------
    @property
    def samples(self) -> list[pathlib.Path]:
        """Preview grids, oldest first: samples/step-0000300.png."""
        return sorted((self.path / "samples").glob("step-*.png"), key=_step)

    @property
    def checkpoints(self) -> list[pathlib.Path]:
        """Whole checkpoints, oldest first: checkpoints/step-0000300/."""
        return sorted((self.path / "checkpoints").glob("step-*"), key=_step)

    @property
    def pipeline(self) -> pathlib.Path:
        """The plain diffusers pipeline, EMA weights where the run keeps them."""
        return self.path / "pipeline"

    def sample_path(self, step: int) -> pathlib.Path:
        return self.path / "samples" / f"step-{step:07}.png"

    def save_sample(self, step: int, png: bytes) -> pathlib.Path:
        path = self.sample_path(step)
        path.parent.mkdir(exist_ok=True)
        write_atomic(path, png)
        return path

    def save_checkpoint(self, step: int, fill: Callable[[pathlib.Path], None], keep: int | None) -> pathlib.Path:
        """``fill(folder)`` writes the files; then the oldest checkpoints beyond ``keep`` (None: all stay) are removed."""
        path = self.path / "checkpoints" / f"step-{step:07}"
        if path.exists():  # the same step of the same run is the same checkpoint, bit for bit
            return path
        with folder_atomic(path) as part:
            fill(part)
        for old in self.checkpoints[:-keep] if keep else []:
            shutil.rmtree(old)
        return path

    def forget_after(self, step: int) -> None:
        """Remove preview pictures and checkpoints of steps later than ``step``: a resumed run makes them again."""
        for part in (self.path / "checkpoints").glob(".step-*"):  # half-written by a killed process
            shutil.rmtree(part)
        for path in [*self.samples, *self.checkpoints]:
            if _step(path) > step:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    @property
    def log_path(self) -> pathlib.Path:
        return self.path / "log.txt"

    def log(self, line: str) -> None:
        """Add a line with the time to log.txt."""
        with open(self.log_path, "a", encoding="utf-8") as file:
            file.write(f"{datetime.datetime.now():%H:%M:%S} {line}\n")

    def log_tail(self, lines: int = 20) -> list[str]:
        try:
            return self.log_path.read_text(encoding="utf-8").splitlines()[-lines:]
        except OSError:
            return []

    def disk_bytes(self) -> int:
        """Bytes of all files; one that is renamed or removed meanwhile counts as none."""
        total = 0
        for folder, _, files in os.walk(self.path):
            for file in files:
                with contextlib.suppress(OSError):
                    total += os.stat(os.path.join(folder, file)).st_size
        return total


class MetricsWriter:
    """Appends rows to metrics.jsonl; each row is in the system's hands when ``add`` returns, so that kill -9 loses none."""

    def __init__(self, path: pathlib.Path):
        self._file = open(path, "ab", buffering=0)

    def add(self, step: int, **values: Any) -> None:
        self._file.write((json.dumps({"step": step, **values}) + "\n").encode())

    def close(self) -> None:
        self._file.close()


def _step(path: pathlib.Path) -> int:
    return int(path.stem.split("-")[1])


def _alive(status: dict[str, Any]) -> bool:
    if status.get("host") != socket.gethostname():
        return time.time() - status.get("heartbeat", 0) < QUIET_SECONDS
    try:
        process = psutil.Process(status["pid"])
        return abs(process.create_time() - status["born"]) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False


# ---- the folder of runs ---------------------------------------------------------------------------------------------
def list_runs(runs_dir: pathlib.Path) -> list[Run]:
    """All runs, the one that changed last first."""
    found = [Run(p.parent) for p in pathlib.Path(runs_dir).glob("*/config.json") if not p.parent.name.startswith(".")]
    return sorted(found, key=lambda run: _read_json(run.path / "status.json").get("heartbeat", 0), reverse=True)


def find(runs_dir: pathlib.Path, name: str) -> Run:
    """The run of that name. Raises Problem("run_missing"), also for a name that leaves the folder."""
    path = pathlib.Path(runs_dir) / (name or "")
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
        pathlib.Path(runs_dir).mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(pathlib.Path(runs_dir) / ".start.lock")
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
    stem, _, number = name.rpartition("-")
    stem, k = (stem, int(number)) if stem and number.isdigit() and int(number) < 1000 and (pathlib.Path(runs_dir) / stem).exists() else (name, 1)
    while (pathlib.Path(runs_dir) / name).exists():
        k += 1
        name = f"{stem}-{k}"
    return name


def create(runs_dir: pathlib.Path, config: TrainConfig, owner: str | None = None) -> Run:
    """A new run folder with config.json and status.json. An old run of that name moves to the trash.

    Raises Problem: "run_exists" (overwrite_output_dir is off), "run_busy" (the old one is being trained), "runs_dir".
    """
    path = pathlib.Path(runs_dir) / config.output_dir
    try:
        if path.exists():
            if not config.overwrite_output_dir:
                raise Problem("run_exists", "output_dir", value=config.output_dir, free=free_name(runs_dir, config.output_dir))
            discard(Run(path))
        (path / "checkpoints").mkdir(parents=True)
    except OSError as error:
        raise Problem("runs_dir", value=str(runs_dir), reason=error.strerror or str(error)) from error
    run = Run(path)
    versions = {name: _version(name) for name in LIBRARIES} | {"python": platform.python_version()}
    run.note(config=config.to_dict(), libraries=versions, created=time.time())
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
    os.replace(run.path, target.path)
    target.note(config=config.to_dict())
    return target


# ---- trash ------------------------------------------------------------------------------------------------------------
def discard(run: Run) -> pathlib.Path:
    """Move a run to the trash. Raises Problem("run_busy") while it is being trained."""
    if run.active:
        raise Problem("run_busy", "output_dir", value=run.name)
    place = run.path.parent / TRASH / f"{run.name}~{datetime.datetime.now():%Y%m%d-%H%M%S-%f}"
    place.parent.mkdir(exist_ok=True)
    os.replace(run.path, place)
    return place


def trash(runs_dir: pathlib.Path) -> list[Run]:
    """Runs in the trash, newest first; their names carry the time they were moved there."""
    return [Run(p) for p in sorted((pathlib.Path(runs_dir) / TRASH).glob("*~*"), key=lambda p: p.name.rpartition("~")[2], reverse=True)]


def restore(runs_dir: pathlib.Path, name: str) -> Run:
    """Bring a run back from the trash, under a free name. Raises Problem("run_missing")."""
    found = next((run for run in trash(runs_dir) if run.name == name), None)
    if found is None:
        raise Problem("run_missing", value=name, known=", ".join(run.name for run in trash(runs_dir)) or "-")
    target = pathlib.Path(runs_dir) / free_name(runs_dir, name.rpartition("~")[0])
    os.replace(found.path, target)
    run = Run(target)
    if config := run.record.get("config"):
        run.note(config=config | {"output_dir": run.name})
    return run


def empty_trash(runs_dir: pathlib.Path) -> int:
    """Delete what is in the trash for good; returns the number of bytes freed."""
    freed = 0
    for run in trash(runs_dir):
        freed += run.disk_bytes()
        shutil.rmtree(run.path)
    return freed
