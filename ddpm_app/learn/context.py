"""What all stations work on: a model with its settings, a picture, and noise by seed. Never the module that trains: a snapshot."""

import collections
import dataclasses
import functools
import pathlib
import random
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ddpm_app import diffusion, presets
from ddpm_app.config import BUILT_IN, BUILT_IN_256, TrainConfig
from ddpm_app.data import image_dataset, preprocess
from ddpm_app.data.image_dataset import ImageDataset
from ddpm_app.data.image_source import ImageSource
from ddpm_app.data.open_datasets import FIELDS, SOURCE
from ddpm_app.data.open_source import originals
from ddpm_app.errors import Problem
from ddpm_app.model import loaded, locate
from ddpm_app.model.pipeline import Model
from ddpm_app.runs.run import Run

CHOICES = 12
"""Pictures that one may choose from at a time."""
SHIPPED_PRESETS = {"butterflies-64": "butterflies-64", "butterflies-words": "words-128"}
"""Presets that the shipped models were made with (assets/make/models.py)."""


@dataclasses.dataclass
class LearnContext:
    """``model``: a snapshot in eval mode; ``config``: the settings it was trained with, as far as they are known; ``run``: the run it comes
    from, where it comes from one, and ``location`` its folder or Hub id; ``source``: the pictures as they came; ``picture``: one of them,
    PIL RGB in full size, number ``index`` of the source or, the viewer's own, None. The browser knows the picture by its ``key``.
    Tensors are float32 on the model's device."""

    model: Model
    config: TrainConfig
    run: Run | None
    location: pathlib.Path | str
    source: ImageSource
    picture: Image.Image
    index: int | None
    key: str = ""

    @property
    def device(self) -> torch.device:
        return self.model.unet.device

    @functools.cached_property
    def alphas_cumprod(self) -> Tensor:
        """alpha-bar of every timestep [T]."""
        return self.model.scheduler.alphas_cumprod.to(self.device)

    @property
    def timesteps(self) -> int:
        """T."""
        return len(self.alphas_cumprod)

    @property
    def channels(self) -> int:
        """Of the model's pictures, 1 or 3."""
        return _channels(self.model)

    @functools.cached_property
    def x(self) -> Tensor:
        """The picture as a tensor [1, C, S, S] in [-1, 1]."""
        pixels = preprocess.square(self.picture, self.model.image_size, self.config.resize_mode, self.channels)
        return preprocess.to_tensors(np.array(pixels[None])).to(self.device)

    @functools.cached_property
    def x0(self) -> Tensor:
        """What the model denoises of it [1, c, h, w]: the picture itself, or its latents."""
        return self.model.codec.encode(self.x)

    def noise(self, seed: int, count: int = 1) -> Tensor:
        """eps [count, c, h, w] of a seed: the first are the same however many there are."""
        generator = diffusion.generator(seed, "learn")
        return torch.cat([torch.randn((1, *self.model.shape), generator=generator) for _ in range(count)]).to(
            self.device
        )

    def alpha_bar(self, t: int) -> Tensor:
        """alpha-bar of one timestep [1]."""
        return self.alphas_cumprod[t : t + 1].float()

    # ---- conditions -------------------------------------------------------------------------------------------------
    def condition(self, count: int = 1) -> dict[str, Tensor]:
        """The UNet's arguments for the picture's own label or text, ``count`` times; for the viewer's own picture, none."""
        if self.index is None:
            return self._condition([-1] * count, [""] * count)
        label = self.source.labels[self.index] if self.source.labels else -1
        return self._condition([label] * count, [self.text(self.index)] * count)

    def conditions(self, indices: Iterable[int]) -> dict[str, Tensor]:
        """The UNet's arguments for ``pictures`` of these indices, in their order."""
        labels = [self.pictures.labels[i] if self.pictures.labels else -1 for i in indices]
        return self._condition(labels, [_text(self.config, self.pictures, i) for i in indices])

    def _condition(self, labels: Sequence[int], texts: Sequence[str]) -> dict[str, Tensor]:
        conditioning = self.model.conditioning
        if conditioning.kind == "labels":  # a label that the model doesn't know becomes none
            labels = [label if label < conditioning.none else -1 for label in labels]
        return self.on_device(conditioning.conditional(len(labels), tuple(texts), tuple(labels)))

    def unconditional(self, count: int = 1) -> dict[str, Tensor]:
        """The UNet's arguments for ``count`` pictures of nothing in particular."""
        return self.on_device(self.model.conditioning.unconditional(count))

    def on_device(self, condition: dict[str, Tensor]) -> dict[str, Tensor]:
        """The UNet's arguments on the model's device."""
        return {name: value.to(self.device) for name, value in condition.items()}

    def text(self, index: int | None) -> str:
        """The text that goes with a picture of the source; "" for the viewer's own."""
        return "" if index is None else _text(self.config, self.source, index)

    # ---- all pictures -----------------------------------------------------------------------------------------------
    @functools.cached_property
    def pictures(self) -> ImageDataset:
        """All pictures as the model gets them, with ``train`` and ``held_out`` indices. The first time they are decoded, which may take
        some seconds."""
        key = tuple(getattr(self.config, name) for name in (*FIELDS, "seed"))
        return _open_once(key, lambda: image_dataset.load(self.config))

    def clean(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """What the model denoises of ``pictures`` of these indices [B, c, h, w]."""
        return self.model.codec.encode(self.pictures.tensors(indices).to(self.device))

    def raw_model(self) -> Model:
        """The model with the weights of the run's latest checkpoint instead of their average. Raises Problem("no_raw_weights")."""
        if self.run is None or not self.config.use_ema or not self.run.checkpoints:
            raise Problem("no_raw_weights", value=pathlib.Path(self.location).name)
        return loaded.load_locked(self.location, "raw")


def open_context(location: pathlib.Path | str, picture: str, own: Image.Image | None = None) -> LearnContext:
    """The model of a folder or Hub id with picture number ``picture`` of its data set ("": the first that is offered), or with the viewer's
    ``own``, whose key ``picture`` is then. Raises Problem."""
    model = loaded.load(location, "ema")
    config, run = trained_settings(model, location)
    source = open_source(config)
    if own is not None:
        return LearnContext(model, config, run, location, source, own, None, picture)
    if picture.startswith("own:"):
        raise Problem("own_forgotten")
    try:
        index = min(max(0, int(float(picture))), len(source) - 1)
    except (ValueError, OverflowError):
        index = 0 if picture else picture_choices(source, 0)[0]
    return LearnContext(model, config, run, location, source, source.picture(index), index, str(index))


def _channels(model: Model) -> int:
    return 3 if model.codec.vae is not None else model.shape[0]


def _text(config: TrainConfig, pictures: ImageSource | ImageDataset, index: int) -> str:
    label = pictures.labels[index] if pictures.labels else -1
    name = pictures.label_names[label] if pictures.label_names and label >= 0 else ""
    caption = pictures.captions[index] if pictures.captions else ""
    return config.caption_template.format(caption=caption, label=name)


def picture_choices(source: ImageSource, page: int) -> list[int]:
    """Numbers of up to CHOICES pictures of a source, others on every ``page``."""
    numbers = range(len(source))
    return sorted(random.Random(page).sample(numbers, CHOICES)) if len(numbers) > CHOICES else list(numbers)


def trained_settings(model: Model, location: pathlib.Path | str) -> tuple[TrainConfig, Run | None]:
    """The settings of a run as the model has them, or, where the model is no run's, those of its preset or what it tells of itself, on
    the built-in pictures."""
    scheduler = model.scheduler.config
    own = {
        "prediction_type": scheduler.prediction_type,
        "num_train_timesteps": scheduler.num_train_timesteps,
        "image_size": model.image_size,
    }
    folder = pathlib.Path(location)
    if (folder / "status.json").is_file():
        run = Run(folder)
        return dataclasses.replace(run.config, **own), run
    if folder.name in SHIPPED_PRESETS and folder.parent == locate.SHIPPED:
        return dataclasses.replace(presets.build(SHIPPED_PRESETS[folder.name]), **own), None
    built_in = BUILT_IN_256 if model.image_size > 128 else BUILT_IN
    conditioning = model.conditioning.kind
    return TrainConfig(dataset_name=built_in, channels=_channels(model), conditioning=conditioning, **own), None


# ---- open data sets -----------------------------------------------------------------------------------------------------
# Not those of the page (data.open_datasets): they decode all pictures at once, and a visitor who opens others would close them.
OPEN_DATASETS = 6
"""Data sets that stay open."""
_open_datasets: dict[tuple, ImageSource | ImageDataset] = {}
_locks: collections.defaultdict[tuple, threading.Lock] = collections.defaultdict(threading.Lock)
_Opened = TypeVar("_Opened", ImageSource, ImageDataset)


def open_source(config: TrainConfig) -> ImageSource:
    """The pictures of a model's data set. Raises Problem."""
    return _open_once(tuple(getattr(config, name) for name in SOURCE), lambda: originals(config))


def _open_once(key: tuple, load: Callable[[], _Opened]) -> _Opened:
    """What ``load`` returns, loaded once however many viewers ask for it."""
    with _locks[key]:
        if (opened := _open_datasets.get(key)) is None:
            if len(_open_datasets) >= OPEN_DATASETS:
                _open_datasets.clear()
            opened = _open_datasets[key] = load()
        return opened
