"""A run on disk: settings, status, requests, metrics, preview pictures, checkpoints, pipeline. The only place that writes them.

Everything is written to a temporary name, flushed, then renamed, so that a reader never sees half a file and a killed
process never leaves one. What the page and the terminal show is read from here, whoever trains.
"""

import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import shutil
import socket
import time
from collections.abc import Callable
from typing import Any, Literal, Unpack, cast

import filelock
import psutil

from ddpm_app import config as configs
from ddpm_app.config import TrainConfig
from ddpm_app.errors import Problem
from ddpm_app.files import folder_atomic, read_json, write_atomic
from ddpm_app.runs.metrics import MetricsWriter
from ddpm_app.runs.records import MetricRow, Plan, Requests, RunRecord, Status

ACTIVE = ("preparing", "waiting", "training", "paused")
"""States of a run that some process is working on."""
STATES = (*ACTIVE, "stopped", "finished", "failed", "interrupted")
QUIET_SECONDS = 120
"""A run of another host counts as interrupted when its heartbeat is older than this."""
NO_REQUESTS: Requests = {
    "stop": False,
    "pause": False,
    "go": False,
    "sample": 0,
    "save": 0,
    "owner": None,
    "dataset_name": None,
    "most_minutes": None,
}


@dataclasses.dataclass(frozen=True)
class Run:
    """One run: the folder ``path``. Reading never fails on a young or damaged folder: what is missing reads as empty."""

    path: pathlib.Path

    @property
    def name(self) -> str:
        return self.path.name

    def read_json(self, name: str) -> dict[str, Any]:
        """What the JSON file of that name holds, {} where there is none."""
        return read_json(self.path / name)

    # ---- settings -------------------------------------------------------------------------------------------------
    @property
    def record(self) -> RunRecord:
        """config.json: "config" (the settings), "libraries", "created", later "data" (fingerprint, counts) and "plan"."""
        return cast(RunRecord, self.read_json("config.json"))

    @property
    def config(self) -> TrainConfig:
        """The settings. Raises Problem("run_broken") when they can't be read."""
        values = self.record.get("config")
        if not values:
            raise Problem("run_broken", value=self.name)
        return configs.from_dict(values)

    @property
    def working_config(self) -> TrainConfig:
        """The settings to go on with: ``config`` with the place that a request names as that of the pictures. train.prepare writes them
        into the record once the fingerprint has proved it. Raises Problem("run_broken")."""
        place = self.requests["dataset_name"]
        return dataclasses.replace(self.config, dataset_name=place) if place else self.config

    @property
    def plan(self) -> Plan | None:
        """What was measured and decided once, before the first step (see train.plan); None until then."""
        return self.record.get("plan")

    def update_record(self, **parts: Unpack[RunRecord]) -> None:
        """Put parts ("plan", "data", ...) into config.json."""
        write_atomic(self.path / "config.json", json.dumps(self.record | parts, indent=2) + "\n")

    # ---- status ---------------------------------------------------------------------------------------------------
    @property
    def status(self) -> Status:
        """status.json: state, phase, step, total_steps, heartbeat, error, ... A state that says a process is at work
        while that process is gone reads as "interrupted"."""
        status = cast(Status, {"state": "interrupted", "step": 0, **self.read_json("status.json")})
        if status["state"] in ACTIVE and not _is_alive(status):
            status["state"] = "interrupted"
        return status

    @property
    def heartbeat(self) -> float:
        """When status.json was last written, in seconds since 1970; 0 where there is none."""
        return self.read_json("status.json").get("heartbeat", 0)

    def update_status(self, **news: Unpack[Status]) -> None:
        """Update status.json with ``news``, this process's identity and the time."""
        process: Status = {
            "pid": os.getpid(),
            "born": psutil.Process().create_time(),
            "host": socket.gethostname(),
            "heartbeat": time.time(),
        }
        status = self.read_json("status.json") | process | news
        write_atomic(self.path / "status.json", json.dumps(status) + "\n")

    def begin(self, owner: str | None = None, dataset_name: str | None = None) -> None:
        """Say that this process starts (or resumes) the run: old requests are void. ``owner`` is who may stop it in public mode,
        ``dataset_name`` where its pictures are said to lie now."""
        requests = NO_REQUESTS | {"owner": owner, "dataset_name": dataset_name}
        write_atomic(self.path / "control.json", json.dumps(requests) + "\n")
        self.update_status(
            state="preparing",
            phase="start",
            notices=[],
            error=None,
            traceback=None,
            done=None,
            total=None,
            eta_seconds=None,
            images_per_second=None,
            published=None,
        )

    @property
    def active(self) -> bool:
        return self.status["state"] in ACTIVE

    # ---- requests -------------------------------------------------------------------------------------------------
    @property
    def requests(self) -> Requests:
        """control.json: stop, pause and go are flags, sample and save are counters (one more is one more request)."""
        return cast(Requests, NO_REQUESTS | self.read_json("control.json"))

    def request(self, *counters: Literal["sample", "save"], **flags: bool | str | float | None) -> None:
        """Ask the process that trains: ``run.request(stop=True)``, ``run.request("sample")``."""
        with filelock.FileLock(self.path / ".control.lock"):
            before = self.requests
            requests = before | flags | {name: before[name] + 1 for name in counters}
            write_atomic(self.path / "control.json", json.dumps(requests) + "\n")

    # ---- metrics --------------------------------------------------------------------------------------------------
    @property
    def metrics_path(self) -> pathlib.Path:
        return self.path / "metrics.jsonl"

    def read_metrics(self, offset: int = 0, generation: int = -1, limit: int = -1) -> tuple[list[MetricRow], int, int]:
        """Rows from ``offset`` (bytes) on, with the next offset and the file's generation. Where that is another than
        ``generation``, the file was rewritten and rows come from its start. An unfinished last line waits for the next call.
        ``limit``: at most so many bytes at once (a few rows' length at least)."""
        try:
            with open(self.metrics_path, "rb") as file:
                head = file.readline()
                current = json.loads(head)["generation"]
                file.seek(max(offset, len(head)) if current == generation else len(head))
                start = file.tell()
                block = file.read(limit)
        except (OSError, ValueError, KeyError, TypeError):
            return [], 0, -1
        block = block[: block.rfind(b"\n") + 1]
        # all rows at once: several times faster than line by line
        rows = json.loads(b"[" + block[:-1].replace(b"\n", b",") + b"]")
        return rows, start + len(block), current

    def open_metrics(self, step: int) -> MetricsWriter:
        """A writer that goes on after ``step``: rows of later steps are pruned, and the file becomes a new generation."""
        rows, _, generation = self.read_metrics()
        earlier = [row for row in rows if row["step"] <= step]
        if generation < 0 or len(earlier) < len(rows) or self._has_torn_line():
            lines = [{"generation": generation + 1}, *earlier]
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
    def checkpoints_folder(self) -> pathlib.Path:
        return self.path / "checkpoints"

    @property
    def checkpoints(self) -> list[pathlib.Path]:
        """Whole checkpoints, oldest first: checkpoints/step-0000300/."""
        return sorted(self.checkpoints_folder.glob("step-*"), key=_step)

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
        path = self.checkpoints_folder / f"step-{step:07}"
        if path.exists():  # the same step of the same run is the same checkpoint, bit for bit
            return path
        with folder_atomic(path) as part:
            fill(part)
        for old in self.checkpoints[:-keep] if keep else []:
            shutil.rmtree(old)
        return path

    def prune_after(self, step: int) -> None:
        """Remove preview pictures and checkpoints of steps later than ``step``: a resumed run makes them again."""
        for part in self.checkpoints_folder.glob(".step-*"):  # half-written by a killed process
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


def _step(path: pathlib.Path) -> int:
    return int(path.stem.split("-")[1])


def _is_alive(status: Status) -> bool:
    if status.get("host") != socket.gethostname():
        return time.time() - status.get("heartbeat", 0) < QUIET_SECONDS
    try:
        process = psutil.Process(status["pid"])
        return abs(process.create_time() - status["born"]) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False
