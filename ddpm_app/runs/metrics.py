"""A run's metrics.jsonl: rows appended one by one, and the last one read."""

import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from ddpm_app.runs.records import MetricRow


class MetricsWriter:
    """Appends rows to metrics.jsonl; each row is in the system's hands when ``add`` returns, so that kill -9 loses none."""

    def __init__(self, path: pathlib.Path):
        self._file = open(path, "ab", buffering=0)

    def add(self, step: int, **values: Any) -> None:
        self._file.write((json.dumps({"step": step, **values}) + "\n").encode())

    def close(self) -> None:
        self._file.close()


def last_row(path: pathlib.Path) -> MetricRow:
    """The last whole row of a training step in a metrics.jsonl, {} where there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(-min(4096, file.seek(0, os.SEEK_END)), os.SEEK_END)
            lines = file.read().split(b"\n")[1:-1]
        rows: Iterator[MetricRow] = map(json.loads, reversed(lines))
        return next((row for row in rows if "seconds" in row), MetricRow())
    except (OSError, ValueError):
        return {}
