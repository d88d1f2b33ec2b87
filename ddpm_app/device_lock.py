"""The lock by which training and sampling share the device."""

import collections
import threading
from collections.abc import Iterator
from typing import Any


class DeviceLock:
    """A lock that is handed on in the order of asking, so that the loop, which wants it back at once, can't starve others."""

    def __init__(self):
        self._queue: collections.deque[object] = collections.deque()
        self._changed = threading.Condition()

    def __enter__(self) -> "DeviceLock":
        me = object()
        with self._changed:
            self._queue.append(me)
            self._changed.wait_for(lambda: self._queue[0] is me)
        return self

    def __exit__(self, *_: Any) -> None:
        with self._changed:
            self._queue.popleft()
            self._changed.notify_all()

    def slices(self, frames: Iterator) -> Iterator:
        """The same frames, each made while holding the lock: how sampling takes its turns beside training."""
        end = object()
        while True:
            with self:
                frame = next(frames, end)
            if frame is end:
                return
            yield frame


DEVICE = DeviceLock()
"""The lock of this process's device."""
