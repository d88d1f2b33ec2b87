"""What can go wrong, as a code with values. The words for a code are in assets/i18n (key ``problem.<code>``)."""

from __future__ import annotations  # the doctor also runs on a Python that is too old for the rest

import errno
from typing import Any


class Problem(Exception):
    """An error a person can mend: ``code`` picks the sentence, ``values`` fill it, ``field`` is the setting it is about.

    ``field`` is None where no single setting is to blame. Values are plain strings and numbers. ``also`` holds further
    problems found by the same check.
    """

    def __init__(self, code: str, field: str | None = None, **values: Any):
        super().__init__(code)
        self.code = code
        self.field = field
        self.values = values
        self.also: tuple[Problem, ...] = ()

    def __str__(self) -> str:
        values = {"field": self.field, **self.values}
        details = ", ".join(f"{name}={value!r}" for name, value in values.items() if value is not None)
        return f"{self.code} ({details})" if details else self.code


class Stopped(Exception):
    """Raised inside long work (a download, a cache being built, a step) when the person asked to stop."""


def as_problem(error: BaseException) -> Problem:
    """Any error as a Problem, so that there are words for it."""
    return error if isinstance(error, Problem) else Problem("crash", reason=f"{type(error).__name__}: {error}")


def explain(error: BaseException) -> Problem:
    """The Problem behind whatever ended a run: itself, "save_failed" for a full disk, "out_of_memory", or "crash"."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Problem("save_failed", reason=error.strerror)
    is_torch_memory = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    if isinstance(error, MemoryError) or is_torch_memory:
        return Problem("out_of_memory", "train_batch_size")
    return as_problem(error)
