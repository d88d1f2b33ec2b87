"""What every viewer's tick reads: one look at a run folder per second, shared by all viewers, and bounded however long the run."""

import itertools
import math
import pathlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ddpm_app.runs import registry
from ddpm_app.runs.curves import MetricCurves
from ddpm_app.runs.metrics import last_row
from ddpm_app.runs.run import ACTIVE, NO_REQUESTS, Run

REFRESH_SECONDS = 0.9
"""A little less than a tick, so that a tick never finds what the last one saw."""
FOLLOWED = 8
"""Runs whose curves are kept in memory."""
NO_SERIES = MetricCurves(Run(pathlib.Path())).series()


class RunMonitor:
    """The runs of a folder as the page shows them. Every answer is at most about a second old and costs one read for all."""

    def __init__(self, runs_dir: str | pathlib.Path, clock: Callable[[], float] = time.monotonic):
        self.runs_dir = pathlib.Path(runs_dir)
        self._clock = clock
        self._lock = threading.RLock()
        self._versions = itertools.count(1)
        self._listed: tuple[float, list[Run], Run | None] = (-math.inf, [], None)
        self._shots: OrderedDict[str, tuple[float, dict[str, Any]]] = OrderedDict()
        self._histories: dict[str, MetricCurves] = {}
        self._briefs: tuple[float, list[dict[str, Any]]] = (-math.inf, [])
        self._sizes: dict[str, tuple[tuple, int]] = {}
        self._series: tuple[int, dict[str, Any]] = (0, NO_SERIES)

    def names(self) -> list[str]:
        """Names of all runs, the one that changed last first."""
        return [run.name for run in self._runs()[0]]

    def refresh(self) -> None:
        """Forget what was seen: the next answer is read anew (after a start, a rename, a move to the trash)."""
        with self._lock:
            self._listed, self._briefs = (-math.inf, [], None), (-math.inf, [])
            self._shots = OrderedDict((name, (-math.inf, shot)) for name, (_, shot) in self._shots.items())

    def snapshot(self, name: str = "") -> dict[str, Any]:
        """The run of that name; of "" or an unknown name, the one at work or the newest.

        ``version`` changes when anything a page shows has changed, and differs between runs. Without any run ``name`` is "".
        All of status.json (state, step, loss, ...) with name, version, active, plan, config, created, data, samples (steps), log (lines),
        saved (a pipeline exists), wishes, read (bytes of metrics taken in).
        """
        with self._lock:
            run = self._choose(name)
            if run is None:
                return {
                    "name": "",
                    "version": 0,
                    "active": False,
                    "plan": {},
                    "config": {},
                    "created": 0.0,
                    "data": {},
                    "samples": [],
                    "log": [],
                    "saved": False,
                    "requests": NO_REQUESTS,
                    "read": 0,
                }
            seen, old = self._shots.get(run.name, (-math.inf, {}))
            if self._clock() - seen < REFRESH_SECONDS:
                return old
            shot = self._look(run)
            same = {k: v for k, v in old.items() if k != "version"} == shot
            shot["version"] = old["version"] if same else next(self._versions)
            self._shots[run.name] = (self._clock(), shot)
            self._shots.move_to_end(run.name)
            while len(self._shots) > FOLLOWED:
                gone, _ = self._shots.popitem(last=False)
                self._histories.pop(gone, None)
            return shot

    def series(self, name: str = "") -> dict[str, Any]:
        """The curves of the run that ``snapshot(name)`` shows (see ``History.series``)."""
        with self._lock:
            shot = self.snapshot(name)
            if self._series[0] != shot["version"]:
                self._series = (shot["version"], self._histories[shot["name"]].series() if shot["name"] else NO_SERIES)
            return self._series[1]

    def summaries(self) -> list[dict[str, Any]]:
        """One dict per run for a list: all of status.json with name, active, config, created, sample (step of the latest
        preview), seconds (trained since the start or the last resume), bytes (on the disk), saved."""
        with self._lock:
            seen, found = self._briefs
            if self._clock() - seen >= REFRESH_SECONDS:
                found = [self._summary(run) for run in self._runs()[0]]
                self._briefs = (self._clock(), found)
            return found

    def _summary(self, run: Run) -> dict[str, Any]:
        record, status, samples, saved = run.record, run.status, run.samples, run.pipeline.is_dir()
        key = (
            record.get("created"),
            status["state"],
            len(samples),
            saved,
        )  # counting the bytes anew only when one changes
        if self._sizes.get(run.name, (None,))[0] != key:
            self._sizes[run.name] = (key, run.disk_bytes())
        return {
            **status,
            "name": run.name,
            "active": status["state"] in ACTIVE,
            "config": record.get("config", {}),
            "created": record.get("created", 0.0),
            "sample": int(samples[-1].stem[5:]) if samples else None,
            "seconds": last_row(run.metrics_path).get("seconds", 0.0),
            "bytes": self._sizes[run.name][1],
            "saved": saved,
        }

    def _runs(self) -> tuple[list[Run], Run | None]:
        """All runs, and the one that is shown where nobody chose."""
        with self._lock:
            seen, found, first = self._listed
            if self._clock() - seen >= REFRESH_SECONDS:
                found = registry.list_runs(self.runs_dir)
                first = next((run for run in found[:5] if run.active), found[0] if found else None)
                self._listed = (self._clock(), found, first)
            return found, first

    def _choose(self, name: str) -> Run | None:
        found, first = self._runs()
        return next((run for run in found if run.name == name), first)

    def _look(self, run: Run) -> dict[str, Any]:
        record, status = run.record, run.status
        history = self._histories.get(run.name)
        if history is None or history.created != record.get("created"):  # another run may have taken the name
            history = self._histories[run.name] = MetricCurves(run, record.get("created"))
        history.read(self._clock)
        for hidden in ("heartbeat", "born", "pid", "host"):
            status.pop(hidden, None)
        return {
            **status,
            "name": run.name,
            "active": status["state"] in ACTIVE,
            "plan": record.get("plan") or {},
            "config": record.get("config", {}),
            "created": record.get("created", 0.0),
            "data": record.get("data", {}),
            "samples": [int(p.stem[5:]) for p in run.samples],
            "log": run.log_tail(),
            "saved": run.pipeline.is_dir(),
            "requests": run.requests,
            "read": history.offset,
        }
