"""Benches of tiny models for the stations of the Learn tab, and how a station is asked."""

import pathlib
from typing import Any

from PIL import Image

from ddpm_app.config import from_dict
from ddpm_app.learn import context as benches
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.station import Panel, Station, StationRequest
from ddpm_app.model import pipeline
from kits import engine as engine_kit
from kits import models as parts_kit


def bench(
    kind: str, told: pathlib.Path, parts: pathlib.Path, own: Image.Image | None = None, index: int = 3, **changes: Any
) -> LearnContext:
    """The bench of a tiny model of ``kind`` (a key of parts_kit.KINDS, or "pixels") that has learnt nothing, with picture ``index`` of the
    folder ``told`` or a picture of the viewer's ``own``. ``changes``: further settings of its run."""
    given = parts_kit.changes(kind, told, parts) if kind != "pixels" else {"dataset_name": str(told)}
    config = from_dict(engine_kit.TINY | given | changes)
    source = benches.open_source(config)
    from ddpm_app.data import image_dataset

    model = pipeline.make(config, image_dataset.load(config))
    model.unet.eval().requires_grad_(False)
    return LearnContext(model, config, None, "tiny", source, own or source.picture(index), None if own else index)


def asked(
    station: Station,
    lang: str = "en",
    t: int = 300,
    seed: int = 0,
    pressed: str = "",
    memory: dict | None = None,
    **values: Any,
) -> StationRequest:
    """What a viewer asks of a station; controls not named here stand at their defaults."""
    return StationRequest(station.id, lang, t, seed, station.read(values), pressed, {} if memory is None else memory)


def panels(station: Station, at: LearnContext, **given: Any) -> dict[str, Panel]:
    """The station's panels by name, once it has shown everything. ``given`` as for ``asked``."""
    shown = [one for one in station.show(at, asked(station, **given)) if one is not None]
    return {panel["name"]: panel for panel in shown[-1]}


def clicks(desk: Any, station: str, turn: int = 1, **given: Any) -> list[dict[str, Any]]:
    """All answers of a desk to one question, piece by piece."""
    query = {
        "client": "student",
        "turn": turn,
        "lang": "en",
        "station": station,
        "model": "",
        "picture": "",
        "t": 300,
        "seed": 0,
        "values": {},
    }
    answers = [desk.ask(query | given)]
    while answers[-1].get("more"):
        answers.append(desk.ask(query | given | {"more": True}))
    return answers
