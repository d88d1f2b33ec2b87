"""Files written whole or not at all, and small JSON files read."""

import contextlib
import json
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
WINDOWS = os.name == "nt"
PATIENCE_SECONDS = 2.0
"""Windows refuses to replace what another process has open, and to open what is just being replaced. Both last a moment; a folder
with a file that somebody has mapped into memory stays refused."""


def write_atomic(path: pathlib.Path, content: str | bytes) -> None:
    """Write a file whole or not at all, and have it on the disk before its name shows it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with open(part, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    replace(part, path)


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
            with open(file, "r+b") as handle:  # writable, or Windows refuses to flush it
                os.fsync(handle.fileno())
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        replace(path, old)
    replace(part, path)
    shutil.rmtree(old, ignore_errors=True)


def replace(source: pathlib.Path, target: pathlib.Path) -> None:
    """os.replace, with patience for others who have a file of source or target open (see PATIENCE_SECONDS)."""
    _with_patience(lambda: os.replace(source, target))


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """The object in a JSON file, {} where there is none or it is damaged."""
    try:
        value = json.loads(_with_patience(lambda: path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _with_patience(action: Callable[[], T]) -> T:
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return action()
        except PermissionError:
            if not WINDOWS or time.monotonic() >= end:
                raise
        time.sleep(0.01)
