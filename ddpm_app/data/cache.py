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

META = "meta.json"


def cache_folder() -> pathlib.Path:
    """$DDPM_CACHE or ~/.cache/ddpm-studio. It holds ``pictures/`` (decoded) and ``sources/`` (what `datasets` prepared)."""
    return pathlib.Path(os.environ.get("DDPM_CACHE") or "~/.cache/ddpm-studio").expanduser().resolve()


def key_of(*parts: Any) -> str:
    """A short name that changes with any of ``parts`` (plain JSON values)."""
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=12).hexdigest()


@contextlib.contextmanager
def locked(path: pathlib.Path, cancelled: Callable[[], bool] | None = None) -> Iterator[None]:
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
def writing(folder: pathlib.Path) -> Iterator[None]:
    """Turns a full or unwritable disk inside the block into Problem("cache_unwritable") that names ``folder``."""
    try:
        yield
    except OSError as error:
        raise Problem("cache_unwritable", folder=str(folder), reason=error.strerror or str(error)) from error


def make(path: pathlib.Path, build: Callable[[], dict], cancelled: Callable[[], bool] | None = None) -> dict:
    """Make the cache entry ``path`` unless it is there and return its meta: ``build()`` fills the folder and returns the meta.

    The meta file, renamed into place last, makes an entry whole: what a stopped or killed process left has none, is
    ignored, and wiped by the next to build it. One process builds while others wait. Raises Stopped and Problem.
    """
    with writing(path), locked(path, cancelled):
        if (path / META).exists():
            return read_meta(path)
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        try:
            meta = build()
            with open(path / f"{META}.tmp", "w", encoding="utf-8") as file:
                json.dump(meta, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(path / f"{META}.tmp", path / META)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
        return meta


def read_meta(path: pathlib.Path) -> dict:
    """What ``make`` stored with an entry."""
    return json.loads((path / META).read_text(encoding="utf-8"))


def caches() -> list[tuple[str, int, str]]:
    """(path, bytes, what it is) of each entry, the biggest first."""
    found = []
    for path in cache_folder().glob("*/*"):
        if path.is_dir():
            size, what = 0, path.name
            with contextlib.suppress(OSError, ValueError):  # one that is being built changes under our eyes
                size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
                what = read_meta(path)["what"]
            found.append((str(path), size, what))
    return sorted(found, key=lambda entry: -entry[1])


def clear_cache() -> int:
    """Remove all entries but those being built at this moment; returns the bytes freed. A running training keeps its
    pictures: an open file lives until it is closed."""
    freed = 0
    for path, size, _ in caches():
        lock = filelock.FileLock(f"{path}.lock")
        with contextlib.suppress(filelock.Timeout), lock.acquire(timeout=0):
            shutil.rmtree(path, ignore_errors=True)
            freed += size
    return freed
