"""Data sets that the page has opened: each in a thread of its own that can be stopped, shared by all viewers."""

import collections
import dataclasses
import threading
from typing import TYPE_CHECKING

from ddpm_app.config import TrainConfig
from ddpm_app.errors import Problem, Stopped

if TYPE_CHECKING:
    from ddpm_app.data.image_dataset import ImageDataset
    from ddpm_app.data.image_source import ImageSource

MOST_OPEN = 4
"""Data sets that stay open in memory: rows stay on disk, so this is small."""

SOURCE = ("dataset_name", "subset", "split", "image_column", "label_column", "caption_column")
FIELDS = (*SOURCE, "image_size", "resize_mode", "channels", "validation_share", "max_train_samples")
"""The settings that decide what is opened, and with the rest how it is decoded."""


@dataclasses.dataclass
class OpenDataset:
    """One data set under one preparation. ``source`` comes first, ``pictures`` once all are decoded; ``problem`` says what stood in
    the way. ``preview`` is the page's row of the first four, drawn once for all viewers.
    ``opened`` is set when ``source`` or ``problem`` is there, ``ended`` when no more will come."""

    config: TrainConfig
    phase: str = "download"
    done: int = 0
    total: int | None = None
    source: "ImageSource | None" = None
    pictures: "ImageDataset | None" = None
    problem: Problem | None = None
    preview: str = ""
    opened: threading.Event = dataclasses.field(default_factory=threading.Event)
    stop: threading.Event = dataclasses.field(default_factory=threading.Event)
    ended: threading.Event = dataclasses.field(default_factory=threading.Event)

    def follow(self, phase: str, done: int, total: int | None) -> None:
        self.phase, self.done, self.total = phase, done, total


class OpenDatasets:
    """Opens data sets and keeps the last few. ``warm`` is awaited before pictures are decoded: that takes torch."""

    def __init__(self, warm: threading.Event):
        self._warm = warm
        self._lock = threading.Lock()
        self._entries: collections.OrderedDict[str, OpenDataset] = collections.OrderedDict()
        self._edits: collections.Counter[str] = collections.Counter()

    def ask(self, config: TrainConfig, again: bool = False) -> str:
        """Open the config's data set unless it is open or being opened; returns its key. ``again`` retries a failed or stopped one."""
        with self._lock:
            key = repr([self._edits[config.dataset_name], *(getattr(config, name) for name in FIELDS)])
            entry = self._entries.get(key)
            if entry is None or again and entry.problem:
                entry = self._entries[key] = OpenDataset(config)
                threading.Thread(target=self._open, args=(entry,), name="open-data", daemon=True).start()
            self._entries.move_to_end(key)
            while len(self._entries) > MOST_OPEN:
                self._entries.popitem(last=False)[1].stop.set()
        return key

    def forget(self, name: str) -> None:
        """Forget a data set whose captions or labels have changed, so that ``ask`` opens it anew."""
        with self._lock:
            self._edits[name] += 1
            for key in [key for key, entry in self._entries.items() if entry.config.dataset_name == name]:
                self._entries.pop(key).stop.set()

    def get(self, key: str) -> OpenDataset | None:
        with self._lock:
            return self._entries.get(key)

    def find(self, config: TrainConfig) -> OpenDataset | None:
        """The config's data set where it is open, decoded at best, whatever its pictures' size."""
        with self._lock:
            same = [
                e
                for e in self._entries.values()
                if e.source is not None and all(getattr(e.config, f) == getattr(config, f) for f in SOURCE)
            ]
        return max(same, key=lambda e: e.pictures is not None, default=None)

    def training_count(self, config: TrainConfig) -> int | None:
        """How many pictures a training would learn from; None while that isn't known. Before all are decoded it is a guess
        that counts those in that can't be used."""
        entry = self.find(config)
        if entry is None or entry.source is None:
            return None
        count = len(entry.source if entry.pictures is None else entry.pictures)
        if config.validation_share:
            count -= len(entry.source.held_out or ()) or round(count * config.validation_share)
        return min(count, config.max_train_samples or count)

    def _open(self, entry: OpenDataset) -> None:
        from ddpm_app.data.open_source import originals

        try:
            entry.source = originals(entry.config, entry.follow, entry.stop.is_set)
            entry.opened.set()
            self._decode(entry)
        except Stopped:
            entry.problem = Problem("data_stopped", value=entry.config.dataset_name)
        except Problem as problem:
            entry.problem = problem
        except Exception as error:
            entry.problem = Problem("crash", reason=f"{type(error).__name__}: {error}")
        finally:
            entry.ended.set()
            entry.opened.set()

    def _decode(self, entry: OpenDataset) -> None:
        """What a training would do first, done early: it tells which pictures are unfit, and Start then finds them decoded."""
        entry.follow("decode", 0, None)
        while not self._warm.wait(0.2):
            if entry.stop.is_set():
                raise Stopped
        from ddpm_app.data.image_dataset import load

        entry.pictures = load(entry.config, entry.follow, entry.stop.is_set)
