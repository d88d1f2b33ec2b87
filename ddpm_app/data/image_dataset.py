"""Pictures decoded once and kept as bytes on disk: 100,000 of them cost neither memory nor a decode per epoch."""

import hashlib
import os
import pathlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from ddpm_app.config import TrainConfig
from ddpm_app.data import cache, decode, preprocess
from ddpm_app.data.image_source import Cancelled, ImageSource, Progress, originals
from ddpm_app.errors import Problem, Stopped

CACHE_VERSION = 1
"""Part of the cache's key: raise it when decoding, resizing or the files change."""

FEW = 10
"""Sets smaller than this hold out none: one picture of nine would say little and be missed in training."""

DECODERS = min(4, os.cpu_count() or 1)
"""Threads that decode; Pillow lets go of Python's lock while it works."""


class ImageDataset(torch.utils.data.Dataset):
    """Square uint8 pictures, memory-mapped, with their labels, captions and names.

    ``images``: uint8 [N, size, size, channels]; ``labels`` (None or N ints) with ``label_names``; ``captions``; ``names``;
    ``rejected``: (name, reason) of those that can't be used; ``train`` and ``held_out``: disjoint index arrays; ``fingerprint``: a hash
    of all pixels, equal only for equal pictures in equal order; ``cache_path``: where the memory map lies;
    ``source``: kind, name and license.

    Equality with the tutorial: it converts to RGB, resizes, flips at random, and applies ToTensor and Normalize([0.5], [0.5])
    anew each epoch. Resize is the same every time and gives bytes, so it can be done once and stored; what remains - flip,
    ToTensor, Normalize - happens in ``tensors`` with the same arithmetic, the flip decided by the caller's key.
    """

    def __init__(self, config: TrainConfig, source: ImageSource, path: pathlib.Path, meta: dict[str, Any]):
        self.images = np.load(path / "pixels.npy", mmap_mode="r")
        rows = meta["rows"]
        self.labels = source.labels and [source.labels[i] for i in rows]
        self.label_names = source.label_names
        self.captions = source.captions and [source.captions[i] for i in rows]
        self.names = [source.names[i] for i in rows]
        self.rejected = [(name, reason) for name, reason in meta["left_out"]] + source.rejected
        self.fingerprint = meta["fingerprint"]
        self.cache_path = path
        self.source = dict(kind=source.kind, name=source.name, license=source.license)
        train, self.held_out = _split(config, rows, source.held_out)
        self.train = _limit(config, train)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        """{"images": float32 [C, H, W] in [-1, 1]}, not flipped, as the tutorial's batches are keyed."""
        return {"images": self.tensors([i])[0]}

    def tensors(
        self, indices: Sequence[int] | np.ndarray, flips: Sequence[bool] | np.ndarray | None = None
    ) -> torch.Tensor:
        """float32 [B, C, H, W] in [-1, 1] of the pictures ``indices``; picture k is mirrored where ``flips[k]``."""
        return preprocess.to_tensors(np.asarray(self.images)[np.asarray(indices)], flips)


def load(config: TrainConfig, progress: Progress | None = None, cancelled: Cancelled | None = None) -> ImageDataset:
    """Open the source, decode it once, map it. The one entry of the trainer.

    ``progress(phase, done, total)``: phase "download" counts bytes (total None), phase "decode" pictures. Raises Problem in
    plain words for whatever stands in the way, and Stopped soon after ``cancelled()`` turned true.
    """
    source = originals(config, progress, cancelled)
    key = cache.key_of(
        source.fingerprint, source.image_column, config.image_size, config.resize_mode, config.channels, CACHE_VERSION
    )
    path = cache.cache_folder() / "pictures" / key
    meta = cache.make(path, lambda: _build(config, source, path, progress, cancelled), cancelled)
    return ImageDataset(config, source, path, meta)


def _build(
    config: TrainConfig, source: ImageSource, path: pathlib.Path, progress: Progress | None, cancelled: Cancelled | None
) -> dict[str, Any]:
    """Decode all pictures into ``path``/pixels.npy; returns the entry's meta."""
    size, channels = config.image_size, config.channels
    rows: list[int] = []
    rejected: list[tuple[str, str]] = []
    digest = hashlib.blake2b(digest_size=16)

    def header(count: int) -> dict[str, Any]:
        return {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, channels)}

    # Written as a plain file, not through a memory map: a full disk is then an error and not a crash. numpy pads the header
    # so that the true count, known at the end, takes the same room.
    with open(path / "pixels.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, header(len(source)))
        start = file.tell()
        for i, result in _decode_all(config, source, progress, cancelled):
            if isinstance(result, decode.UnusableImage):
                rejected.append((source.names[i], result.reason))
                continue
            rows.append(i)
            digest.update(result.data)
            file.write(result.data)
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, header(len(rows)))
        assert file.tell() == start
        file.flush()
        os.fsync(file.fileno())
    if not rows:
        raise Problem(
            "all_left_out", "dataset_name", value=config.dataset_name, count=len(rejected), name=rejected[0][0]
        )
    what = f"{config.dataset_name}: {len(rows)} x {size} px, {config.resize_mode}, {channels}"
    return {"rows": rows, "left_out": rejected, "fingerprint": digest.hexdigest(), "what": what}


def _decode_all(
    config: TrainConfig, source: ImageSource, progress: Progress | None, cancelled: Cancelled | None
) -> Iterator[tuple[int, np.ndarray | decode.UnusableImage]]:
    """(row, uint8 [S, S, C] or why it can't be used) of each row in order, a few decoded ahead by threads. Raises Stopped."""

    def decode_row(i: int) -> np.ndarray | decode.UnusableImage:
        try:
            if cancelled and cancelled():
                raise Stopped
            picture = decode.read(source.file(i))
            return np.ascontiguousarray(
                preprocess.square(picture, config.image_size, config.resize_mode, config.channels)
            )
        except decode.UnusableImage as error:
            return error

    ahead = 4 * DECODERS
    with ThreadPoolExecutor(DECODERS) as pool:
        for first in range(0, len(source), ahead):
            rows = range(first, min(first + ahead, len(source)))
            yield from zip(rows, pool.map(decode_row, rows), strict=True)
            if progress:
                progress("decode", rows.stop, len(source))


def _split(config: TrainConfig, rows: list[int], held_out: list[int] | None) -> tuple[np.ndarray, np.ndarray]:
    """(train, held out) as indices into ``rows``. ``held_out``: rows that the source itself never trains on."""
    count = len(rows)
    if held_out is not None:
        out = np.isin(rows, held_out)
        return np.flatnonzero(~out), np.flatnonzero(out) if config.validation_share else np.empty(0, np.int64)
    share = 0 if config.validation_share == 0 or count < FEW else max(1, round(config.validation_share * count))
    order = np.random.default_rng([config.seed, *b"held-out"]).permutation(count)
    return np.sort(order[share:]), np.sort(order[:share])


def _limit(config: TrainConfig, train: np.ndarray) -> np.ndarray:
    """``train``, or ``config.max_train_samples`` of them."""
    order = np.random.default_rng([config.seed, *b"samples"]).permutation(train)
    return np.sort(order[: config.max_train_samples])
