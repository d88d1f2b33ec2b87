"""A test expects a Problem: its code and, where it matters, the field under which the page shows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import ANY

import pytest

from ddpm_app.errors import Problem


@contextmanager
def expect_problem(code: str, field: object = ANY) -> Iterator[pytest.ExceptionInfo[Problem]]:
    """The block must raise a Problem with this code and field (ANY: whatever field). Afterwards `.value` is the problem."""
    with pytest.raises(Problem) as caught:
        yield caught
    problem = caught.value
    assert (problem.code, problem.field) == (code, field), problem.values
