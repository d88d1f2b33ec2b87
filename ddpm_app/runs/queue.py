"""Runs that wait for their turn: one file in the folder of runs, so that it outlives the server; its first run begins when nothing is at work."""

import contextlib
import json
import pathlib
import secrets
from collections.abc import Iterator
from typing import Any, TypedDict

import filelock

from ddpm_app.config import TrainConfig
from ddpm_app.errors import Problem
from ddpm_app.files import read_json, write_atomic
from ddpm_app.runs.records import Coded

MOST_WAITING = 20
"""Runs that wait at the same time."""


class WaitingRun(TypedDict):
    """``config``: the settings as a dict; ``owner``: as of a run's requests; ``problem``: why it can't begin, until somebody removes it."""

    id: str
    owner: str | None
    config: dict[str, Any]
    problem: Coded | None


class RunQueue:
    """The queue of one folder of runs, for several processes at once."""

    def __init__(self, runs_dir: pathlib.Path):
        self._file = runs_dir / ".queue.json"

    def waiting(self) -> list[WaitingRun]:
        """All of them, the next first."""
        return read_json(self._file).get("waiting", [])

    def next(self) -> WaitingRun | None:
        """The first that can begin."""
        return next((each for each in self.waiting() if not each["problem"]), None)

    def add(self, config: TrainConfig, owner: str | None = None, most_per_owner: int = MOST_WAITING) -> int:
        """Put a run last. Returns its place, from 1. Raises Problem: "queue_full", "queue_yours" where ``owner`` has ``most_per_owner`` already,
        "runs_dir" where nothing can be written."""
        with self._changed() as waiting:
            if len(waiting) >= MOST_WAITING:
                raise Problem("queue_full", value=MOST_WAITING)
            if sum(each["owner"] == owner for each in waiting) >= most_per_owner:
                raise Problem("queue_yours", value=config.output_dir)
            waiting.append(
                {"id": secrets.token_hex(8), "owner": owner, "config": config.to_dict(), "problem": None},
            )
            return len(waiting)

    def remove(self, id: str) -> None:
        """Take a run out of the queue; one that isn't there (it may just have begun) is no error."""
        with self._changed() as waiting:
            waiting[:] = [each for each in waiting if each["id"] != id]

    def move_up(self, id: str) -> None:
        """Let a run begin before the one in front of it."""
        with self._changed() as waiting:
            for k in range(1, len(waiting)):
                if waiting[k]["id"] == id:
                    waiting[k - 1 : k + 1] = waiting[k], waiting[k - 1]
                    break

    def mark(self, id: str, problem: Problem) -> None:
        """Let the others go past a run that can't begin."""
        with self._changed() as waiting:
            for each in waiting:
                if each["id"] == id:
                    each["problem"] = {"code": problem.code, "field": problem.field, "values": problem.values}

    @contextlib.contextmanager
    def _changed(self) -> Iterator[list[WaitingRun]]:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(self._file.with_name(".queue.lock")):
                waiting = self.waiting()
                yield waiting
                write_atomic(self._file, json.dumps({"waiting": waiting}) + "\n")
        except OSError as error:
            raise Problem("runs_dir", value=str(self._file.parent), reason=error.strerror or str(error)) from error


def seconds_ahead(left: float | None, ahead: list[WaitingRun]) -> float | None:
    """How long a run waits behind one with ``left`` seconds to go and those ``ahead`` of it; None where nobody knows."""
    times = [left, *(60 * (each["config"].get("max_train_minutes") or 0) or None for each in ahead)]
    return None if None in times else sum(time or 0 for time in times)
