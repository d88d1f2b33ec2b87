"""Part of a Hub data set: the splits of a ``split`` and, of a slice of parquet files, the files it needs. Prepared apart from the whole set."""

import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import datasets
import pyarrow.parquet
from datasets.arrow_reader import make_file_instructions
from datasets.data_files import DataFilesDict, DataFilesList

from ddpm_app.data import cache
from ddpm_app.errors import Problem
from ddpm_app.files import read_json

Rows = dict[str, int | None]
"""By split: its first n rows, its last n as -n, all of them as None."""
NAME = re.compile(r"(?:^|\+)\s*([\w.-]+)")
SLICE = re.compile(r"([\w.-]+)(?:\[(-?[\d_]*):(-?[\d_]*)\])?")


class Part(NamedTuple):
    """What of a set is fetched: the ``files`` of each split, which hold ``rows``; ``slices`` reads the split from these rows alone."""

    slices: str
    rows: Rows
    files: DataFilesDict


def split_names(split: str) -> list[str]:
    """The names in a split that may be sliced and added up as in `datasets`: train[:10%]+test. Raises Problem("split_unreadable")."""
    try:
        datasets.ReadInstruction.from_spec(split)
    except (ValueError, AssertionError) as error:
        raise Problem("split_unreadable", "split", value=split) from error
    return NAME.findall(split)


def choose(builder: datasets.DatasetBuilder, split: str) -> Part | None:
    """The part of the set that ``split`` needs; None where that is all of it, or where all of it lies here already."""
    files = builder.config.data_files
    is_whole = os.path.isfile(os.path.join(builder.cache_dir, datasets.config.DATASET_INFO_FILENAME))
    names = {*split_names(split)}
    if is_whole or not files or not names <= files.keys():
        return None
    counts = {name: info.num_examples for name, info in (builder.info.splits or {}).items()}
    slices = _absolute(split, counts) if names <= counts.keys() else split
    is_table = builder.name == "parquet"
    rows = _rows(slices) if is_table else dict.fromkeys(names)
    part = DataFilesDict()
    for name, count in rows.items():
        paths = list(files[name]) if count is None else _files_with(files[name], count)
        part[name] = DataFilesList(paths, files[name].origin_metadata)
    if part == files:
        return None
    return Part(slices, rows, part)


def prepare(builder: datasets.DatasetBuilder, part: Part, hub_set: Sequence[str | None], split: str) -> dict[str, Any]:
    """Download and convert the part, once; returns its "folder" and "slices". ``hub_set``: its id and its subset as typed."""
    key = cache.key_of(hub_set, split, builder.config.name, part.files)
    folder = cache.cache_folder() / "sources" / key
    rows = folder / "rows"

    def build() -> dict[str, Any]:
        builder.config.data_files = part.files
        builder.info.size_in_bytes = None  # the whole set's, for which there may be no room
        try:
            builder.download_and_prepare(output_dir=str(rows), verification_mode="no_checks")
        except OSError as error:  # the Hub's too, which are not the cache's
            raise datasets.exceptions.DatasetGenerationError from error
        what = f"{hub_set[0]} {split}"
        return {"what": what, "hub_set": hub_set, "split": split, "slices": part.slices, "rows": part.rows}

    return {"folder": str(rows), **cache.make(folder, build)}


def find(hub_set: Sequence[str | None], split: str) -> dict[str, Any] | None:
    """A part of ``hub_set`` that was prepared before and holds ``split``, as ``prepare`` returns it: the very one at best, else the newest."""
    rows = _rows(split)
    matches = []
    for file in (cache.cache_folder() / "sources").glob(f"*/{cache.META}"):
        meta = read_json(file)
        if meta.get("hub_set") != list(hub_set):
            continue
        is_same = meta["split"] == split
        if is_same or all(name in meta["rows"] and _holds(meta["rows"][name], count) for name, count in rows.items()):
            slices = meta["slices"] if is_same else split
            matches.append((is_same, file.stat().st_mtime, {"folder": str(file.parent / "rows"), "slices": slices}))
    return max(matches, key=lambda match: match[:2])[2] if matches else None


def row_ranges(info: datasets.DatasetInfo, split: str, folder: str) -> list[tuple[str, int, int]]:
    """(arrow file, first row, number of rows) of each piece of ``split`` in a folder that `datasets` has prepared."""
    rows = make_file_instructions(info.dataset_name, list(info.splits.values()), split, "arrow", folder)
    ranges = []
    for piece in rows.file_instructions:
        file, first, count = piece["filename"], piece["skip"], piece["take"]
        # -1: to the end of a file that is one of several
        ranges.append((file, first, len(datasets.Dataset.from_file(file)) - first if count == -1 else count))
    return ranges


def _absolute(split: str, counts: dict[str, int]) -> str:
    """A split with its per cent as rows, given the number of rows of each of its names."""
    if "%" not in split:
        return split
    slices = datasets.ReadInstruction.from_spec(split).to_absolute(counts)
    return "+".join(f"{part.splitname}[{part.from_}:{part.to}]" for part in slices)


def _rows(split: str) -> Rows:
    """Which rows of each name the split needs. Where only the number of all rows would tell, all."""
    rows: Rows = {}
    for text in re.sub(r"\s", "", split).split("+"):
        part = SLICE.fullmatch(text)
        name, first, last = part.groups(default="") if part else (*NAME.findall(text), "", "")
        count = None
        if last and int(last) >= 0 and not first.startswith("-"):
            count = int(last)
        elif first.startswith("-") and (not last or last.startswith("-")):
            count = int(first)
        rows[name] = _union(rows[name], count) if name in rows else count
    return rows


def _union(a: int | None, b: int | None) -> int | None:
    """Rows that hold those of ``a`` and those of ``b``."""
    return None if a is None or b is None or (a < 0) != (b < 0) else max(a, b, key=abs)


def _holds(rows: int | None, count: int | None) -> bool:
    """Whether the rows of a part hold the ``count`` that a split needs."""
    return rows is None or count is not None and _union(rows, count) == rows


def _files_with(files: DataFilesList, count: int) -> list[str]:
    """Those of the parquet files that hold the first ``count`` rows (the last -count where it is negative). Downloads them to count."""
    manager = datasets.DownloadManager(record_checksums=False)
    paths: list[str] = []
    rows = 0
    for file in files if count >= 0 else reversed(files):
        paths.append(file)
        rows += pyarrow.parquet.read_metadata(manager.download(file)).num_rows
        if rows >= abs(count):
            break
    return paths if count >= 0 else paths[::-1]
