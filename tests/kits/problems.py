"""A test expects a Problem: its code and, where it matters, the field under which the page shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import ANY

import pytest

from ddpm_app.errors import Problem
from ddpm_app.i18n import problem_text


@contextmanager
def expect_problem(code: str, field: object = ANY) -> Iterator[pytest.ExceptionInfo[Problem]]:
    """The block must raise a Problem with this code and field (ANY: whatever field). Afterwards `.value` is the problem."""
    with pytest.raises(Problem) as caught:
        yield caught
    problem = caught.value
    assert (problem.code, problem.field) == (code, field), problem.values
    assert problem_text(problem)  # there are words for it, and all their placeholders are filled


def problem_of(
    code: str, call: Callable[..., object], *args: object, field: object = ANY, **options: object
) -> Problem:
    """The problem that ``call(*args, **options)`` raises; it must have this code and field."""
    with expect_problem(code, field) as caught:
        call(*args, **options)
    return caught.value
