"""Tiny models for the stations of the Learn tab, and how a station is asked."""

import dataclasses
import itertools
import pathlib
import threading
from collections.abc import Iterator
from typing import Any

from PIL import Image

from ddpm_app.access import AccessPolicy
from ddpm_app.config import from_dict
from ddpm_app.data import image_dataset
from ddpm_app.learn import stations
from ddpm_app.learn.context import LearnContext, open_source, trained_settings
from ddpm_app.learn.panels import Panel
from ddpm_app.learn.sessions import Answer, LearnSessions
from ddpm_app.learn.station import StationRequest
from ddpm_app.model import loaded, pipeline
from ddpm_app.model_choices import ModelChoices
from ddpm_app.runs.monitor import RunMonitor
from kits import engine as engine_kit
from kits import models as models_kit

PanelJson = dict[str, Any]
"""A panel as the browser gets it."""


def context(
    kind: str,
    captioned: pathlib.Path,
    parts: pathlib.Path,
    own: Image.Image | None = None,
    index: int = 3,
    **changes: Any,
) -> LearnContext:
    """A tiny model of ``kind`` (a key of models_kit.KINDS, or "pixels") that has learnt nothing, with picture ``index`` of the folder
    ``captioned`` or a picture of the viewer's ``own``. ``changes``: further settings of its run."""
    of_kind = models_kit.changes(kind, captioned, parts) if kind != "pixels" else {"dataset_name": str(captioned)}
    config = from_dict(engine_kit.TINY | of_kind | changes)
    source = open_source(config)
    model = pipeline.make(config, image_dataset.load(config))
    model.unet.eval().requires_grad_(False)
    return LearnContext(model, config, None, "tiny", source, own or source.picture(index), None if own else index)


def open_run(location: pathlib.Path) -> LearnContext:
    """The model of a run's or pipeline's folder with the first picture of its data set, loaded anew."""
    model = loaded.load_model(location)
    config, run = trained_settings(model, location)
    source = open_source(config)
    return LearnContext(model, config, run, location, source, source.picture(0), 0)


def request(
    station: str,
    lang: str = "en",
    t: int = 300,
    seed: int = 0,
    pressed: str = "",
    memory: dict | None = None,
    **values: Any,
) -> StationRequest:
    """What a viewer requests of a station; controls not named here stand at their defaults."""
    values = stations.SPECS[station].read(values)
    return StationRequest(station, lang, t, seed, values, pressed, {} if memory is None else memory)


def begin(station: str, at: LearnContext, **options: Any) -> Iterator[list[Panel] | None]:
    """The station's generator. ``options`` as for ``request``."""
    return stations.load(station)(at, request(station, **options))


def turns(station: str, at: LearnContext, **options: Any) -> list[list[PanelJson] | None]:
    """All turns of a station's generator, None where there was nothing to show."""
    return [to_json(panels) for panels in begin(station, at, **options)]


def to_json(panels: list[Panel] | None) -> list[PanelJson] | None:
    """Panels as the browser gets them."""
    return None if panels is None else [dataclasses.asdict(panel) for panel in panels]


def shows(station: str, at: LearnContext, **options: Any) -> list[dict[str, PanelJson]]:
    """Everything a station shows on its way, each time as panels by name."""
    return [by_name(panels) for panels in turns(station, at, **options) if panels is not None]


def panels(station: str, at: LearnContext, **options: Any) -> dict[str, PanelJson]:
    """The station's panels by name, once it has shown everything."""
    return shows(station, at, **options)[-1]


def by_name(panels: list[PanelJson]) -> dict[str, PanelJson]:
    return {panel["name"]: panel for panel in panels}


def learn_sessions(runs_dir: pathlib.Path, public: bool = False) -> LearnSessions:
    """The sessions of an app over ``runs_dir`` whose engine is warm."""
    warm = threading.Event()
    warm.set()
    return LearnSessions(ModelChoices(RunMonitor(runs_dir), AccessPolicy(runs_dir, public)), warm)


class Client:
    """A browser that asks ``sessions``: each ``ask`` is a new query, ``more`` what comes after its last answer."""

    def __init__(self, sessions: LearnSessions, client: str = "student", **defaults: Any):
        self.sessions = sessions
        plain = {"lang": "en", "station": "noise", "model": "", "picture": "", "t": 300, "seed": 0, "values": {}}
        self.defaults = plain | {"client": client} | defaults
        self.query: dict[str, Any] = {}
        self._turns = itertools.count(1)

    def ask(self, **changes: Any) -> Answer:
        """The first answer to a new query."""
        self.query = self.defaults | {"turn": next(self._turns)} | changes
        return self.sessions.ask(self.query)

    def more(self) -> Answer:
        """The next answer to the same query."""
        return self.sessions.ask(self.query | {"more": True})

    def ask_all(self, **changes: Any) -> list[Answer]:
        """All answers to a new query, piece by piece."""
        answers = [self.ask(**changes)]
        while answers[-1].get("more"):
            answers.append(self.more())
        return answers
