"""Models in memory: loaded once for all who draw with them."""

import pathlib
from typing import Literal

from ddpm_app.config import from_dict
from ddpm_app.device import resolve_device
from ddpm_app.device_lock import DEVICE
from ddpm_app.errors import Problem
from ddpm_app.model import locate, pipeline
from ddpm_app.model.describe import saved_version
from ddpm_app.model.pipeline import Model
from ddpm_app.runs.run import Run

KEPT_MODELS, KEPT_BYTES = 4, 1_000_000_000
"""Models that stay in memory, and the bytes of their UNets together beyond which only the last stays."""
_loaded: dict[tuple[str, str, tuple[int, ...]], Model] = {}


def load(place: pathlib.Path | str, weights: Literal["ema", "raw"]) -> Model:
    """``load_model`` on the best device there is. A download keeps no device from training."""
    if not pathlib.Path(place).is_dir():
        place = locate.download(str(place))
    if (model := _loaded.get(_key(place, weights))) is not None:
        return model
    with DEVICE:
        return load_locked(place, weights)


def load_locked(place: pathlib.Path | str, weights: Literal["ema", "raw"]) -> Model:
    """As ``load``, for one who holds the device. The last models stay in memory while they are small together."""
    key = _key(place, weights)
    model = _loaded.get(key)
    if model is None:
        model = load_model(place, weights, resolve_device(from_dict({"device": "auto"})))
        for old in [old for old in _loaded if old[:2] == key[:2]]:  # the run has saved again
            _loaded.pop(old, None)
        _loaded[key] = model
        while len(_loaded) > 1 and (len(_loaded) > KEPT_MODELS or sum(map(_bytes, _loaded.values())) > KEPT_BYTES):
            _loaded.pop(next(iter(_loaded)))
    return model


def is_loaded(model: Model) -> bool:
    """Whether ``model`` is still in memory."""
    return any(model is other for other in list(_loaded.values()))


def _key(place: pathlib.Path | str, weights: Literal["ema", "raw"]) -> tuple[str, str, tuple[int, ...]]:
    return str(place), weights, saved_version(place)


def _bytes(model: Model) -> int:
    return sum(p.numel() * p.element_size() for p in model.unet.parameters())


def load_model(
    source: str | pathlib.Path,
    weights: Literal["ema", "raw"] = "ema",
    device: str = "cpu",
    runs_dir: pathlib.Path | None = None,
) -> Model:
    """A model by its source: a shipped model, a run's name or folder, one of its checkpoints, a diffusers folder or a Hub id.
    ``weights`` "raw" takes those of the checkpoint, or of a run's latest one.

    Reads safetensors only, and never runs code from the folder. Raises Problem: "model_missing", "no_snapshot" (the run has saved
    nothing yet), "checkpoint_missing", "no_raw_weights", "no_network", "model_unreadable", "model_is_autoencoder".
    """
    folder, checkpoint = locate.resolve(source, runs_dir), locate.checkpoint(source, runs_dir)
    if weights == "raw" and checkpoint is None:
        local = locate.find_local(source, runs_dir)
        if local is None or not (checkpoint := next(reversed(Run(local).checkpoints), None)):
            raise Problem("no_raw_weights", value=str(source))
    return pipeline.load(folder, str(source), checkpoint=checkpoint, weights=weights).to(device)
