"""The folder of decoded pictures: where it is, what lies in it, how to clear it. No torch, no datasets."""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import filelock

from ddpm_app.errors import Problem, Stopped
from ddpm_app.files import read_json, write_atomic

META = "meta.json"


def cache_folder() -> pathlib.Path:
    """$DDPM_CACHE or ~/.cache/ddpm-studio. It holds ``pictures/`` (decoded) and ``sources/`` (what `datasets` prepared)."""
    return pathlib.Path(os.environ.get("DDPM_CACHE") or "~/.cache/ddpm-studio").expanduser().resolve()


def key_of(*parts: object) -> str:
    """A short name that changes with any of ``parts`` (plain JSON values)."""
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=12).hexdigest()


@contextlib.contextmanager
def entry_lock(path: pathlib.Path, cancelled: Callable[[], bool] | None = None) -> Iterator[None]:
    """Hold the lock of a cache entry. The system frees it when its process dies. Raises Stopped while waiting."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(f"{path}.lock")
    while True:
        try:
            lock.acquire(timeout=0.1)
            break
        except filelock.Timeout:
            if cancelled and cancelled():
                raise Stopped from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def write_errors(folder: pathlib.Path) -> Iterator[None]:
    """Turns a full or unwritable disk inside the block into Problem("cache_unwritable") that names ``folder``."""
    try:
        yield
    except OSError as error:
        raise Problem("cache_unwritable", folder=str(folder), reason=error.strerror or str(error)) from error


def make(
    path: pathlib.Path, build: Callable[[], dict[str, Any]], cancelled: Callable[[], bool] | None = None
) -> dict[str, Any]:
    """Make the cache entry ``path`` unless it is there and return its meta: ``build()`` fills the folder and returns the meta.

    The meta file, renamed into place last, makes an entry whole: what a stopped or killed process left has none, is
    ignored, and wiped by the next to build it. One process builds while others wait. Raises Stopped and Problem.
    """
    with write_errors(path), entry_lock(path, cancelled):
        if meta := read_json(path / META):
            return meta
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        try:
            meta = build()
            write_atomic(path / META, json.dumps(meta))
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
        return meta


def caches() -> list[tuple[str, int, str]]:
    """(path, bytes, what it is) of each entry, the biggest first."""
    entries = []
    for path in cache_folder().glob("*/*"):
        if path.is_dir():
            size = 0
            with contextlib.suppress(OSError):  # an entry that is being built changes under our eyes
                size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            entries.append((str(path), size, str(read_json(path / META).get("what", path.name))))
    return sorted(entries, key=lambda entry: -entry[1])


def clear_cache() -> int:
    """Remove all entries but those being built at this moment; returns the bytes freed. A running training keeps its
    pictures: elsewhere a removed file lives until it is closed, and on Windows an entry with an open file stays."""
    freed = 0
    for path, size, _ in caches():
        lock = filelock.FileLock(f"{path}.lock")
        with contextlib.suppress(filelock.Timeout), lock.acquire(timeout=0):
            freed += size if _remove(pathlib.Path(path)) else 0
    return freed


def _remove(path: pathlib.Path) -> bool:
    """Remove a whole entry; False where Windows refuses, because a file in it is open. Renamed first, so that it is never half there."""
    try:
        shutil.rmtree(path.rename(path.with_name(f"{path.name}.removed")), ignore_errors=True)
    except OSError:
        return False
    return True
