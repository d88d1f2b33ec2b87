"""What all stations work on: a model with its settings, a picture, and noise by seed. Never the module that trains: a snapshot."""

import collections
import dataclasses
import functools
import pathlib
import random
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ddpm_app import presets
from ddpm_app.config import BUILT_IN, BUILT_IN_256, TrainConfig
from ddpm_app.errors import Problem
from ddpm_app.model import locate
from ddpm_app.runs.run import Run

OFFERED = 12
"""Pictures that one may choose from at a time."""
RECIPES = {"butterflies-64": "butterflies-64", "butterflies-words": "words-128"}
"""Presets that the shipped models were made with (assets/make/models.py)."""


@dataclasses.dataclass
class LearnContext:
    """``model``: a snapshot in eval mode (model.pipeline.Model); ``config``: the settings it was trained with, as far as they are known;
    ``run``: where it comes from one; ``source``: the pictures as they came (data.image_source.ImageSource); ``picture``: one of them, PIL RGB in full
    size, number ``index`` of the source or, the viewer's own, None, known to the browser as ``key``. Tensors are float32 on the model's device."""

    model: Any
    config: TrainConfig
    run: Run | None
    place: pathlib.Path | str
    source: Any
    picture: Image.Image
    index: int | None
    key: str = ""

    @property
    def device(self) -> Any:
        return self.model.unet.device

    @property
    def told(self) -> dict[str, Any]:
        """What the browser must know of it: T, the picture's key, and by what the model is asked."""
        return {"timesteps": self.timesteps, "picture": self.key, "asked": self.model.conditioning.kind}

    @functools.cached_property
    def abar(self) -> Any:
        """alpha-bar of every timestep [T]."""
        return self.model.scheduler.alphas_cumprod.to(self.device)

    @property
    def timesteps(self) -> int:
        """T."""
        return len(self.abar)

    @functools.cached_property
    def x(self) -> Any:
        """The picture as a tensor [1, C, S, S] in [-1, 1]."""
        from ddpm_app.data import preprocess

        channels = 3 if self.model.codec.vae is not None else self.model.shape[0]
        pixels = preprocess.square(self.picture, self.model.image_size, self.config.resize_mode, channels)
        return preprocess.to_tensors(np.array(pixels[None])).to(self.device)

    @functools.cached_property
    def x0(self) -> Any:
        """What the model denoises of it [1, c, h, w]: the picture itself, or its latents."""
        return self.model.codec.encode(self.x)

    def noise(self, seed: int, count: int = 1) -> Any:
        """eps [count, c, h, w] of a seed: the first are the same however many there are."""
        import torch

        from ddpm_app import diffusion

        draw = diffusion.generator(seed, "learn")
        return torch.cat([torch.randn((1, *self.model.shape), generator=draw) for _ in range(count)]).to(self.device)

    def condition(self, count: int = 1) -> dict[str, Any]:
        """The UNet's arguments by which the picture is asked for, ``count`` times; nothing is asked of the viewer's own."""
        at = [] if self.index is None else [self.index] * count
        return self._asked(
            [_of(self.source.labels, i, -1) for i in at] or [-1] * count, [self.text(i) for i in at] or [""] * count
        )

    def conditions(self, indices: Sequence[int] | np.ndarray) -> dict[str, Any]:
        """The UNet's arguments for pictures of ``pictures``, in their order."""
        known = self.pictures
        labels = [_of(known.labels, i, -1) for i in indices]
        return self._asked(labels, [_told(self.config, known, i) for i in indices])

    def _asked(self, labels: Sequence[int], texts: Sequence[str]) -> dict[str, Any]:
        asking = self.model.conditioning
        if asking.kind == "labels":
            labels = [k if k < asking.none else -1 for k in labels]
        found = asking.conditional(len(labels), tuple(texts), tuple(labels))
        return {name: value.to(self.device) for name, value in found.items()}

    def text(self, index: int | None) -> str:
        """The text by which a picture of the source is asked for; "" for the viewer's own."""
        return "" if index is None else _told(self.config, self.source, index)

    @functools.cached_property
    def pictures(self) -> Any:
        """All pictures as the model sees them (data.image_dataset.ImageDataset), with ``train`` and ``held_out`` indices. The first time they are
        decoded, which may take some seconds."""
        from ddpm_app.data import image_dataset

        looked = (*_source_key(self.config), self.config.image_size, self.config.resize_mode, self.config.channels)
        split = (self.config.seed, self.config.validation_share, self.config.max_train_samples)
        return _once((*looked, *split), lambda: image_dataset.load(self.config))

    def clean(self, indices: Sequence[int] | np.ndarray) -> Any:
        """What the model denoises of pictures of ``pictures`` [B, c, h, w]."""
        return self.model.codec.encode(self.pictures.tensors(indices).to(self.device))

    def raw(self) -> Any:
        """The model with the weights of the run's latest checkpoint instead of their average. Raises Problem("no_raw_weights")."""

        if self.run is None or not self.config.use_ema or not self.run.checkpoints:
            raise Problem("no_raw_weights", value=pathlib.Path(self.place).name)
        from ddpm_app.model import loaded

        return loaded.load_locked(self.place, "raw")


def _of(values: Sequence[Any] | None, index: int, otherwise: Any) -> Any:
    return values[index] if values else otherwise


def _told(config: TrainConfig, known: Any, index: int) -> str:
    label = _of(known.labels, index, -1)
    name = known.label_names[label] if known.label_names and label >= 0 else ""
    return config.caption_template.format(caption=_of(known.captions, index, ""), label=name)


def offered(source: Any, page: int) -> list[int]:
    """Numbers of up to ``OFFERED`` pictures of a source, others on every ``page``."""
    every = range(len(source))
    return sorted(random.Random(page).sample(every, OFFERED)) if len(every) > OFFERED else list(every)


def open_source(config: TrainConfig) -> Any:
    """The pictures of a model's data set. Raises Problem."""
    from ddpm_app.data.image_source import originals

    return _once(_source_key(config), lambda: originals(config))


_made: dict[tuple, Any] = {}
_making: collections.defaultdict[tuple, threading.Lock] = collections.defaultdict(threading.Lock)
KEPT = 6
"""Data sets that stay open."""


def _once(key: tuple, make: Any) -> Any:
    """What ``make`` gives, made once however many ask."""
    with _making[key]:
        if (found := _made.get(key)) is None:
            if len(_made) >= KEPT:
                _made.clear()
            found = _made[key] = make()
        return found


def _source_key(config: TrainConfig) -> tuple:
    return config.dataset_name, config.split, config.image_column, config.label_column, config.caption_column


def settings(model: Any, place: pathlib.Path | str) -> tuple[TrainConfig, Run | None]:
    """The settings of a run as the model has them, or, where the model is no run's, those of its preset or
    what it tells of itself, on the built-in pictures."""
    trained = model.scheduler.config
    known = {
        "prediction_type": trained.prediction_type,
        "num_train_timesteps": trained.num_train_timesteps,
        "image_size": model.image_size,
    }
    folder = pathlib.Path(place)
    if (folder / "status.json").is_file():
        run = Run(folder)
        return dataclasses.replace(run.config, **known), run
    if folder.name in RECIPES and folder.parent == locate.SHIPPED:
        return dataclasses.replace(presets.build(RECIPES[folder.name]), **known), None
    channels = 3 if model.codec.vae is not None else model.shape[0]
    built_in = BUILT_IN_256 if model.image_size > 128 else BUILT_IN
    return TrainConfig(dataset_name=built_in, channels=channels, conditioning=model.conditioning.kind, **known), None
