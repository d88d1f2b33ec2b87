"""What can be expected of the pictures that the page has opened: judged once for each set, in the background."""

import dataclasses
import threading
from typing import TYPE_CHECKING

from ddpm_app import jobs
from ddpm_app.data.open_datasets import OpenDataset
from ddpm_app.errors import Problem, Stopped, as_problem

if TYPE_CHECKING:
    from ddpm_app.train.recipes import Judgement, Recipe


SIZE = 128
"""Pixels along a side at which pictures are judged."""
JUDGED_BY = (
    "dataset_name",
    "resize_mode",
    "channels",
    "background",
    "random_flip",
    "validation_share",
    "max_train_samples",
)
MOST_KEPT = 16


@dataclasses.dataclass
class Expectation:
    """The judgement of a set, and soon after it its recipes, the best first; or the ``problem`` in their way. ``ended`` is set when no more
    will come."""

    judgement: "Judgement | None" = None
    recipes: "list[Recipe]" = dataclasses.field(default_factory=list)
    problem: Problem | None = None
    ended: threading.Event = dataclasses.field(default_factory=threading.Event)


class Expectations:
    """The expectations of data sets that are open, by what decides which pictures they are: at whatever size the form wants them now, they
    are judged once, and at SIZE. ``most_minutes``: what a recipe takes at most."""

    def __init__(self, most_minutes: float | None = None):
        self._limits = {} if most_minutes is None else {"most_minutes": most_minutes}
        self._lock, self._judging = threading.Lock(), threading.Lock()
        self._of_source: dict[tuple[object, ...], Expectation] = {}

    def of(self, entry: OpenDataset) -> Expectation:
        """What is expected of a set whose source is open; the first call begins to judge it."""
        assert entry.source is not None
        config = entry.config
        key = (entry.source.fingerprint, *(getattr(config, name) for name in JUDGED_BY))
        with self._lock:
            if entry.stop.is_set():
                stopped = Expectation(problem=Problem("data_stopped", value=config.dataset_name))
                stopped.ended.set()
                return stopped
            if key in self._of_source:
                return self._of_source[key]
            if len(self._of_source) >= MOST_KEPT:
                del self._of_source[next(iter(self._of_source))]
            expectation = self._of_source[key] = Expectation()
        threading.Thread(target=self._judge, args=(entry, expectation, key), name="judge-data", daemon=True).start()
        return expectation

    def _judge(self, entry: OpenDataset, expectation: Expectation, key: tuple[object, ...]) -> None:
        """One set at a time. A stopped one is forgotten, so that opening it again judges it."""
        try:
            assert entry.source is not None
            jobs.engine()
            from ddpm_app.train import recipes

            config = dataclasses.replace(entry.config, image_size=SIZE)
            with self._judging:
                expectation.judgement = recipes.judge(config, entry.source, entry.stop.is_set)
                expectation.recipes = recipes.recipes(expectation.judgement, config.to_dict(), **self._limits)
        except Stopped:
            expectation.problem = Problem("data_stopped", value=entry.config.dataset_name)
            with self._lock:
                self._of_source.pop(key, None)
        except Exception as error:
            expectation.problem = as_problem(error)
        finally:
            expectation.ended.set()
