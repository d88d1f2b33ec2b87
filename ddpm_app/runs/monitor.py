"""What every viewer's poll reads: one look at a run folder per second, shared by all viewers, and bounded however long the run."""

import dataclasses
import itertools
import math
import os
import pathlib
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ddpm_app.runs import registry
from ddpm_app.runs.curves import MetricCurves
from ddpm_app.runs.metrics import last_row
from ddpm_app.runs.records import NO_PLAN, CurvePoints, RunSnapshot, RunSummary
from ddpm_app.runs.run import ACTIVE, NO_REQUESTS, Run

REFRESH_SECONDS = 0.9
"""A little less than a poll, so that a poll never gets what the last one got."""
FOLLOWED = 8
"""Runs whose curves are kept in memory."""
SETTLED_SECONDS = 2.0
"""Entries that come within one tick of the file system's clock leave a folder's time as it is: a younger time proves nothing."""
NO_RUN: RunSnapshot = {
    "name": "",
    "version": 0,
    "active": False,
    "plan": NO_PLAN,
    "config": {},
    "created": 0.0,
    "data": {},
    "samples": [],
    "log": [],
    "saved": False,
    "requests": NO_REQUESTS,
    "read": 0,
}
NO_POINTS = MetricCurves(Run(pathlib.Path())).series()


@dataclasses.dataclass(frozen=True)
class CachedRun(Run):
    """A run that reads a file again only when it is another than at the last look: one that rests costs a few calls of stat.
    What it returns is shared, not to be changed."""

    _stamps: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict, compare=False, repr=False)
    _contents: dict[str, Any] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    def read_json(self, name: str) -> dict[str, Any]:
        if self._has_changed(name):
            self._contents[name] = super().read_json(name)
        return self._contents[name]

    @property
    def samples(self) -> list[pathlib.Path]:
        if self._has_changed("samples"):
            self._contents["samples"] = super().samples
        return self._contents["samples"]

    def log_tail(self, lines: int = 20) -> list[str]:
        if self._has_changed(self.log_path.name):
            self._contents["log"] = super().log_tail(lines)
        return self._contents["log"]

    @property
    def seconds(self) -> float:
        """Seconds trained since the start or the last resume."""
        if self._has_changed(self.metrics_path.name):
            self._contents["seconds"] = last_row(self.metrics_path).get("seconds", 0.0)
        return self._contents["seconds"]

    def size(self, *key: object) -> int:
        """Bytes on the disk, counted anew only when ``key`` is another than at the last call."""
        if self._contents.get("size", (None,))[0] != key:
            self._contents["size"] = key, self.disk_bytes()
        return self._contents["size"][1]

    def _has_changed(self, name: str) -> bool:
        """Whether the file or folder of that name may be another than at the last call."""
        try:
            info = os.stat(self.path / name)
        except OSError:
            stamp: tuple[int, ...] = ()
            is_young = False
        else:
            stamp = info.st_mtime_ns, info.st_size, info.st_ino
            is_young = stat.S_ISDIR(info.st_mode) and time.time() - info.st_mtime < SETTLED_SECONDS
        before = self._stamps.get(name)
        self._stamps[name] = stamp
        return is_young or stamp != before


class RunMonitor:
    """The runs of a folder as the page shows them. Every answer is at most about a second old and costs one read for all."""

    def __init__(self, runs_dir: str | pathlib.Path, clock: Callable[[], float] = time.monotonic):
        self.runs_dir = pathlib.Path(runs_dir)
        self._clock = clock
        self._lock = threading.RLock()
        self._versions = itertools.count(1)
        self._cached: dict[pathlib.Path, CachedRun] = {}
        self._listed: tuple[float, list[CachedRun], CachedRun | None] = (-math.inf, [], None)
        self._snapshots: OrderedDict[str, tuple[float, RunSnapshot]] = OrderedDict()
        self._curves: dict[str, MetricCurves] = {}
        self._summaries: tuple[float, list[RunSummary]] = (-math.inf, [])
        self._series: tuple[int, CurvePoints] = (0, NO_POINTS)

    def names(self) -> list[str]:
        """Names of all runs, the one that changed last first."""
        return [run.name for run in self._runs()[0]]

    def refresh(self) -> None:
        """Let the next answer be read anew (after a start, a rename, a move to the trash)."""
        with self._lock:
            self._listed, self._summaries = (-math.inf, [], None), (-math.inf, [])
            self._snapshots = OrderedDict(
                (name, (-math.inf, snapshot)) for name, (_, snapshot) in self._snapshots.items()
            )

    def snapshot(self, name: str = "") -> RunSnapshot:
        """The run of that name; of "" or an unknown name, the one at work or the newest.

        ``version`` changes when anything a page shows has changed, and differs between runs. Without any run ``name`` is "".
        """
        with self._lock:
            run = self._choose(name)
            if run is None:
                return NO_RUN
            time_read, before = self._snapshots.get(run.name, (-math.inf, NO_RUN))
            if self._clock() - time_read < REFRESH_SECONDS:
                return before
            snapshot = self._read_snapshot(run)
            snapshot["version"] = before["version"]
            if snapshot != before:
                snapshot["version"] = next(self._versions)
            self._snapshots[run.name] = (self._clock(), snapshot)
            self._snapshots.move_to_end(run.name)
            while len(self._snapshots) > FOLLOWED:
                oldest, _ = self._snapshots.popitem(last=False)
                self._curves.pop(oldest, None)
            return snapshot

    def series(self, name: str = "") -> CurvePoints:
        """The curves of the run that ``snapshot(name)`` shows (see MetricCurves.series)."""
        with self._lock:
            snapshot = self.snapshot(name)
            if self._series[0] != snapshot["version"]:
                points = self._curves[snapshot["name"]].series() if snapshot["name"] else NO_POINTS
                self._series = (snapshot["version"], points)
            return self._series[1]

    def summaries(self) -> list[RunSummary]:
        """All runs for a list, the one that changed last first."""
        with self._lock:
            time_read, summaries = self._summaries
            if self._clock() - time_read >= REFRESH_SECONDS:
                summaries = [_summary(run) for run in self._runs()[0]]
                self._summaries = (self._clock(), summaries)
            return summaries

    def _runs(self) -> tuple[list[CachedRun], CachedRun | None]:
        """All runs, and the one that is shown where nobody chose."""
        with self._lock:
            time_read, runs, default = self._listed
            if self._clock() - time_read >= REFRESH_SECONDS:
                folders = registry.run_folders(self.runs_dir)
                self._cached = {path: self._cached.get(path) or CachedRun(path) for path in folders}
                runs = sorted(self._cached.values(), key=lambda run: run.heartbeat, reverse=True)
                default = next((run for run in runs[:5] if run.active), runs[0] if runs else None)
                self._listed = (self._clock(), runs, default)
            return runs, default

    def _choose(self, name: str) -> CachedRun | None:
        runs, default = self._runs()
        return next((run for run in runs if run.name == name), default)

    def _read_snapshot(self, run: CachedRun) -> RunSnapshot:
        record, status = run.record, run.status
        created = record.get("created", 0.0)
        curves = self._curves.get(run.name)
        if curves is None or curves.created != created:  # another run may have taken the name
            curves = self._curves[run.name] = MetricCurves(run, created)
        curves.read(self._clock)
        for key in ("heartbeat", "born", "pid", "host"):
            status.pop(key, None)  # type: ignore[misc]
        return {
            **status,
            "name": run.name,
            "active": status["state"] in ACTIVE,
            "plan": record.get("plan") or NO_PLAN,
            "config": record.get("config", {}),
            "created": created,
            "data": record.get("data", {}),
            "samples": [int(path.stem[5:]) for path in run.samples],
            "log": run.log_tail(),
            "saved": run.pipeline.is_dir(),
            "requests": run.requests,
            "read": curves.offset,
        }


def _summary(run: CachedRun) -> RunSummary:
    record, status, samples, saved = run.record, run.status, run.samples, run.pipeline.is_dir()
    created = record.get("created", 0.0)
    return {
        **status,
        "name": run.name,
        "active": status["state"] in ACTIVE,
        "config": record.get("config", {}),
        "created": created,
        "sample": int(samples[-1].stem[5:]) if samples else None,
        "seconds": run.seconds,
        "bytes": run.size(created, status["state"], len(samples), saved),
        "saved": saved,
    }
