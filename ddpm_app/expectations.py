"""What can be expected of the pictures that the page has opened: judged once for each set, in the background."""

import dataclasses
import threading
from typing import TYPE_CHECKING

from ddpm_app import jobs
from ddpm_app.config import ConfigValues
from ddpm_app.data.open_datasets import OpenDataset
from ddpm_app.device_lock import DEVICE
from ddpm_app.errors import Problem, as_problem

if TYPE_CHECKING:
    from ddpm_app.train.recipes import Judgement, Recipe


@dataclasses.dataclass
class Expectation:
    """The judgement of a set and its recipes, the best first; or the ``problem`` in their way. Empty until ``ended`` is set."""

    judgement: "Judgement | None" = None
    recipes: "list[Recipe]" = dataclasses.field(default_factory=list)
    problem: Problem | None = None
    ended: threading.Event = dataclasses.field(default_factory=threading.Event)


class Expectations:
    """The expectations of open data sets, by OpenDatasets' entry."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of_entry: dict[int, tuple[OpenDataset, Expectation]] = {}

    def of(self, entry: OpenDataset) -> Expectation:
        """What is expected of a set; the first call begins to judge it as soon as it is decoded."""
        with self._lock:
            if id(entry) in self._of_entry:
                return self._of_entry[id(entry)][1]
            expectation = Expectation()
            self._of_entry = {key: value for key, value in self._of_entry.items() if value[0].pictures is not None}
            self._of_entry[id(entry)] = entry, expectation
        threading.Thread(target=self._judge, args=(entry, expectation), name="judge-data", daemon=True).start()
        return expectation

    def _judge(self, entry: OpenDataset, expectation: Expectation) -> None:
        try:
            entry.ended.wait()
            if entry.pictures is None or entry.source is None:
                return
            jobs.engine()
            from ddpm_app.train import recipes

            values: ConfigValues = entry.config.to_dict()
            with DEVICE:
                expectation.judgement = recipes.judge(entry.config, entry.pictures, entry.source.sizes())
                expectation.recipes = recipes.recipes(expectation.judgement, values)
        except Exception as error:
            expectation.problem = as_problem(error)
        finally:
            expectation.ended.set()
