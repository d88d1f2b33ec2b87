"""Pictures decoded once and kept as bytes on disk: 100,000 of them cost neither memory nor a decode per epoch."""

import collections
import hashlib
import os
import pathlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch

from ddpm_app.config import TrainConfig
from ddpm_app.data import alike, cache, decode, preprocess
from ddpm_app.data.account import Account
from ddpm_app.data.image_source import ImageSource
from ddpm_app.data.open_source import Cancelled, Progress, originals
from ddpm_app.errors import Problem, Stopped

CACHE_VERSION = 2
"""Part of the cache's key: raise it when decoding, resizing or the files change."""

FEW = 10
"""Sets smaller than this hold out none: one picture of nine would say little and be missed in training."""

SQUARE_ENOUGH = 1.25
"""A picture whose longer side is longer than so many times the shorter one changes visibly when it is made square."""

DECODERS = min(4, os.cpu_count() or 1)
"""Threads that decode; Pillow lets go of Python's lock while it works."""


class ImageDataset(torch.utils.data.Dataset):
    """Square uint8 pictures, memory-mapped, with their labels, captions and names.

    ``images``: uint8 [N, size, size, channels]; ``labels`` (None or N ints) with ``label_names``; ``captions`` (the first of each picture)
    and ``caption_choices`` (all of them); ``names``; ``rejected``: (name, reason) of those that can't be used; ``account``: the source's,
    with what decoding showed; ``train`` and ``held_out``: disjoint index arrays; ``fingerprint``: a hash
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
        self.caption_choices = source.caption_choices and [source.caption_choices[i] for i in rows]
        self.names = [source.names[i] for i in rows]
        self.rejected = [(name, reason) for name, reason in meta["left_out"]]
        self.account = _account(config, source, self.rejected, meta)
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
        source.fingerprint,
        source.image_column,
        config.image_size,
        config.resize_mode,
        config.channels,
        config.background,
        CACHE_VERSION,
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
    marks: collections.Counter[str] = collections.Counter()
    equal: dict[bytes, int] = {}
    distinct: list[int] = []
    hashes: list[tuple[int, bytes]] = []
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
            digest.update(result.pixels.data)
            file.write(result.pixels.data)
            marks.update(result.marks)
            own = hashlib.blake2b(result.pixels.data, digest_size=16).digest()
            if own not in equal:
                distinct.append(i)
                hashes.append(result.hash)
            equal[own] = equal.get(own, 0) + 1
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, header(len(rows)))
        assert file.tell() == start
        file.flush()
        os.fsync(file.fileno())
    _require_some(config, rows, rejected)
    what = f"{config.dataset_name}: {len(rows)} x {size} px, {config.resize_mode}, {channels}"
    same = sum(count - 1 for count in equal.values())
    return {
        "rows": rows,
        "left_out": rejected,
        "fingerprint": digest.hexdigest(),
        "what": what,
        "marks": marks | {"equal": same},
        "alike": [[source.names[distinct[k]] for k in group] for group in alike.groups(hashes)],
    }


def _require_some(config: TrainConfig, usable: Sequence[Any], rejected: list[tuple[str, str]]) -> None:
    """Raises Problem("all_left_out") where no picture can be used."""
    if not usable:
        lines = [line.notice for line in _rejected(rejected)]
        values = {"value": config.dataset_name, "count": len(rejected), "lines": lines}
        raise Problem("all_left_out", "dataset_name", **values)


class Sample(NamedTuple):
    """Some pictures of a set, uint8 [N, size, size, channels], and how many of them bear each of decode.MARKS."""

    pixels: np.ndarray
    marks: collections.Counter[str]


def sample(config: TrainConfig, source: ImageSource, count: int, cancelled: Cancelled | None = None) -> Sample:
    """At most ``count`` pictures spread over a set, without decoding the rest. Raises Problem("all_left_out") and Stopped."""
    rejected, usable = list[tuple[str, str]](), list[_Decoded]()
    for i, result in _decode_all(config, source, None, cancelled, source.spread(count)):
        if isinstance(result, decode.UnusableImage):
            rejected.append((source.names[i], result.reason))
        else:
            usable.append(result)
    _require_some(config, usable, rejected)
    marks = collections.Counter(mark for picture in usable for mark in picture.marks)
    return Sample(np.stack([picture.pixels for picture in usable]), marks)


def training_rows(config: TrainConfig, source: ImageSource) -> np.ndarray:
    """The rows a training would learn from if every picture can be used."""
    return _limit(config, _split(config, list(range(len(source))), source.held_out)[0])


class _Decoded(NamedTuple):
    """A picture as the model will see it, what was changed on the way, and its hash (see alike)."""

    pixels: np.ndarray
    marks: frozenset[str]
    hash: tuple[int, bytes]


def _decode_all(
    config: TrainConfig,
    source: ImageSource,
    progress: Progress | None,
    cancelled: Cancelled | None,
    chosen: Sequence[int] | None = None,
) -> Iterator[tuple[int, _Decoded | decode.UnusableImage]]:
    """(row, picture or why it can't be used) of each row in order, or of those ``chosen``, a few decoded ahead by threads. Raises Stopped."""
    order = range(len(source)) if chosen is None else chosen
    draft = None if chosen is None else config.image_size  # quick is good enough for a sample
    source.grey  # noqa: B018 - found once, before threads ask for it

    def decode_row(i: int) -> _Decoded | decode.UnusableImage:
        try:
            if cancelled and cancelled():
                raise Stopped
            picture, marks = source.marked_picture(i, draft)
            short, long = sorted(picture.size)
            marks |= {"small"} if short < config.image_size else set()
            marks |= {"squashed"} if long > SQUARE_ENOUGH * short else set()
            square = preprocess.square(
                picture, config.image_size, config.resize_mode, config.channels, config.background
            )
            return _Decoded(np.ascontiguousarray(square), marks, alike.fingerprint(square))
        except decode.UnusableImage as error:
            return error

    ahead = 4 * DECODERS
    with ThreadPoolExecutor(DECODERS) as pool:
        for first in range(0, len(order), ahead):
            rows = order[first : first + ahead]
            yield from zip(rows, pool.map(decode_row, rows), strict=True)
            if progress:
                progress("decode", first + len(rows), len(order))


def _account(
    config: TrainConfig, source: ImageSource, rejected: list[tuple[str, str]], meta: dict[str, Any]
) -> Account:
    """The source's account, with pictures that can't be used taken out of those that are, and what happens to the rest."""
    account, marks, count = Account([*source.account, *_rejected(rejected)]), meta["marks"], len(meta["rows"])
    for code in ("pictures", "pictures_in_shards", "rows"):
        account.take(code, len(rejected))
    rows = meta["rows"]
    if source.caption_choices is not None:  # of those that can't be used nobody misses a caption
        account.recount("caption_gaps", [source.names[i] for i in rows if not source.caption_choices[i]])
    if source.labels is not None:
        account.recount("label_gaps", [source.names[i] for i in rows if source.labels[i] < 0])
    values: dict[str, Any] = {"of": count, "size": config.image_size, "mode": config.resize_mode}
    for mark in ("frames", "profiles", "small"):
        account.add(mark, marks.get(mark, 0), **values)
    account.add("transparent", marks.get("transparent", 0), ground=config.background, **values)
    if marks.get("deep") and source.grey:
        account.add("deep", marks["deep"], black=f"{source.grey.black:g}", white=f"{source.grey.white:g}", **values)
    if marks.get("squashed"):
        account.add(f"squashed_{config.resize_mode}", marks["squashed"], **values)
    account.add("equal", marks["equal"])
    account.add("alike", [name for group in meta["alike"] for name in group])
    if source.kind != "built-in" and config.random_flip:
        account.add("mirrored", count)
    return account


def _rejected(rejected: list[tuple[str, str]]) -> Account:
    """Pictures that can't be used, by reason."""
    account = Account()
    for name, reason in rejected:
        account.add(reason, [name])
    return account


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
