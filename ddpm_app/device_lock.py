"""The lock by which training and sampling share the device, and whether the machine has a device to share at all times."""

import collections
import os
import threading
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


class DeviceLock:
    """A lock that is handed on in the order of asking, so that the loop, which wants it back at once, can't starve others."""

    def __init__(self) -> None:
        self._queue: collections.deque[object] = collections.deque()
        self._changed = threading.Condition()

    def __enter__(self) -> "DeviceLock":
        me = object()
        with self._changed:
            self._queue.append(me)
            self._changed.wait_for(lambda: self._queue[0] is me)
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._queue.popleft()
            self._changed.notify_all()

    def slices(self, frames: Iterator[T]) -> Iterator[T]:
        """The same frames, each computed while holding the lock: how sampling takes its turns beside training."""
        while True:
            with self:
                try:
                    frame = next(frames)
                except StopIteration:
                    return
            yield frame


DEVICE = DeviceLock()
"""The lock of this process's device."""


def on_zero_gpu() -> bool:
    """Whether this is a Hugging Face Space on ZeroGPU hardware, which lends its GPU to single calls and else has none."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "true", "yes", "t", "on")
