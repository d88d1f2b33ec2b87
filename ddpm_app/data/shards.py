"""WebDataset shards: tar files whose members belong together by their key, the name up to the first dot."""

import functools
import json
import os
import posixpath
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

from ddpm_app.data import decode
from ddpm_app.data.account import Account
from ddpm_app.data.rows import FolderRows, Piece, folder_labels, read_piece
from ddpm_app.data.text_files import CAPTION_SUFFIXES, decode_text, lines_of
from ddpm_app.errors import Problem, Stopped

CLASS_SUFFIX = ".cls"


def read_shards(folder: str, shards: list[str], account: Account, cancelled: Callable[[], bool] | None) -> FolderRows:
    """The pictures in tar files, each with the members of the same key (its name up to the first dot) beside it: texts, .cls labels, and
    JSON whose values become columns. Raises Problem("shard_broken") and Stopped."""
    places: dict[str, Piece] = {}
    names: dict[str, str] = {}
    texts: dict[str, tuple[str, ...]] = {}
    cells: dict[str, dict[str, Any]] = {}
    unused, members = list[str](), 0
    for shard in shards:
        path = os.path.join(folder, *shard.split("/"))
        for name, piece, data in _members(path, cancelled):
            members += 1
            directory, base = posixpath.split(name)
            stem, _, ending = base.partition(".")
            key, suffix = f"{shard}/{directory}/{stem}", f".{ending.lower()}"
            last = f".{ending.rpartition('.')[2].lower()}"
            if last in decode.SUFFIXES:
                places[key], names[key] = piece, name if len(shards) == 1 else f"{shard}/{name}"
            elif last in CAPTION_SUFFIXES or suffix == ".text":
                texts[key] = lines_of(decode_text(data()))
            elif suffix == CLASS_SUFFIX:
                cells.setdefault(key, {})["label"] = decode_text(data()).strip()
            elif last == ".json":
                content = _json(data())
                cells.setdefault(key, {}).update(content if isinstance(content, dict) else {})
            else:
                unused.append(name)
    keys = sorted(places, key=lambda key: (places[key].path, places[key].offset))
    account.add("shards", shards, members=members)
    account.add("lone_members", unused)
    account.add("pictures_in_shards", len(keys))
    columns = list(dict.fromkeys(column for key in keys for column in cells.get(key, ())))
    return FolderRows(
        places=[places[key] for key in keys],
        names=[names[key] for key in keys],
        labels=folder_labels(names[key] for key in keys),
        texts=[texts.get(key, ()) for key in keys],
        columns={column: [cells.get(key, {}).get(column) for key in keys] for column in columns},
        account=account,
    )


def _members(path: str, cancelled: Callable[[], bool] | None) -> Iterator[tuple[str, Piece, Callable[[], bytes]]]:
    """(name, place, its bytes when called) of each file in a tar. Raises Problem("shard_broken") and Stopped."""
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if cancelled and cancelled():
                    raise Stopped
                if member.isfile() and not posixpath.basename(member.name).startswith("."):
                    piece = Piece(path, member.offset_data, member.size)
                    yield member.name, piece, functools.partial(read_piece, piece)
    except tarfile.TarError as error:
        raise Problem("shard_broken", "dataset_name", name=os.path.basename(path)) from error


def _json(data: bytes) -> object:
    try:
        return json.loads(data)
    except ValueError:
        return None
