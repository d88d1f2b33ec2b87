"""A folder on this machine, read by our own walk: which files are pictures, and what else there says of them. Neither torch nor datasets.

`datasets` would drop what it doesn't expect without a word - texts beside pictures, the labels of class folders once a metadata file lies
there, linked folders, names with "::" - so it is only given what it alone can read: Parquet and Arrow files.
"""

import dataclasses
import os
import posixpath
from collections.abc import Callable
from typing import NamedTuple

from ddpm_app.data import decode
from ddpm_app.data.account import Account
from ddpm_app.data.beside import PictureIndex, read_columns, read_texts
from ddpm_app.data.rows import FolderRows, folder_labels
from ddpm_app.data.shards import read_shards
from ddpm_app.data.text_files import CAPTION_SUFFIXES, TABLE_SUFFIXES
from ddpm_app.errors import Problem, Stopped

SPLIT_NAMES = {"train", "training", "test", "testing", "eval", "evaluation", "validation", "valid", "val", "dev"}
PARQUET_SUFFIXES = (".parquet", ".arrow")
SHARD_SUFFIX = ".tar"
OTHERS = {
    "archives": (".zip", ".rar", ".7z", ".gz", ".tgz", ".bz2", ".xz", ".tbz2", ".txz", ".zst"),
    "films": (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"),
    "other_formats": (".svg", ".eps", ".pdf", ".psd", ".ai", ".xcf", ".kra", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2", ".exr", ".hdr"),
    "other_tables": (".xlsx", ".xls", ".ods", *PARQUET_SUFFIXES),
}  # fmt: skip
"""Why a file with this ending is not used."""
SYSTEM_FILES = ("thumbs.db", "desktop.ini")
HIDDEN = (".", "__macosx", "__pycache__", "$recycle.bin", "@eadir")


class File(NamedTuple):
    """A file below the folder: its ``name`` with "/" on every system, bytes and time of change."""

    name: str
    size: int
    mtime_ns: int


def walk(folder: str, cancelled: Callable[[], bool] | None = None) -> tuple[list[File], Account]:
    """All files below ``folder``, through linked folders too, by name; and the account of hidden ones, which are not among them, and of
    folders that can't be read or lead back to themselves. Raises Stopped."""
    files: list[File] = []
    account = Account()
    waiting = [(folder, "", False, frozenset({os.path.realpath(folder)}))]
    while waiting:
        path, inside, hidden, above = waiting.pop()
        if cancelled and cancelled():
            raise Stopped
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError:
            account.add("unreadable_folders", [inside])
            continue
        for entry in entries:
            name = inside + entry.name
            out_of_sight = hidden or entry.name.lower().startswith(HIDDEN) or entry.name.lower() in SYSTEM_FILES
            if entry.is_dir():
                real = os.path.realpath(entry.path)
                if real in above:
                    account.add("linked_in_circles", [name])
                else:
                    waiting.append((entry.path, f"{name}/", out_of_sight, above | {real}))
                continue
            if out_of_sight:
                account.add("hidden", [name])
                continue
            try:
                stat = entry.stat()
                files.append(File(name, stat.st_size, stat.st_mtime_ns))
            except OSError:  # a link to nowhere, or a file removed at this moment
                account.add("dead_links", [name])
    return sorted(files), account


def read(
    folder: str, files: list[File], account: Account, split: str, cancelled: Callable[[], bool] | None
) -> FolderRows:
    """The pictures among ``files`` (of ``walk``) and what is said of them; ``account`` is completed.

    Sub-folders named like splits are splits, but only if all are, so that no label gets lost. Raises Problem: "split_missing",
    "table_unreadable"; and Stopped.
    """
    groups = _group(folder, files, account)
    groups.pictures, prefix = _of_split(groups.pictures, split, account)
    if not groups.pictures and groups.shards:
        account.add("lone_captions", groups.captions)
        account.add("lone_tables", groups.tables)
        return read_shards(folder, groups.shards, account, cancelled)
    account.add("archives", groups.shards)
    index = PictureIndex(groups.pictures)
    texts = read_texts(folder, groups.captions, index, account, cancelled)
    columns = read_columns(folder, groups.tables, index, account)
    names = groups.pictures
    if index.listed is not None:
        names = sorted(index.listed)
        account.add("unlisted", [name for name in groups.pictures if name not in index.listed])
    account.add("pictures", len(names))
    return FolderRows(
        places=[os.path.join(folder, *name.split("/")) for name in names],
        names=names,
        labels=folder_labels([name.removeprefix(prefix) for name in names]),
        texts=[texts.get(name, ()) for name in names],
        columns={column: [cells.get(name) for name in names] for column, cells in columns.items()},
        account=account,
    )


# ---- which file is what ----------------------------------------------------------------------------------------------
@dataclasses.dataclass
class _Groups:
    pictures: list[str]
    captions: list[str]
    tables: list[str]
    shards: list[str]
    parquet: list[str]


def _group(folder: str, files: list[File], account: Account) -> _Groups:
    groups = _Groups([], [], [], [], [])
    reason_of = {suffix: reason for reason, suffixes in OTHERS.items() for suffix in suffixes}
    for name, size, _ in files:
        suffix = posixpath.splitext(name)[1].lower()
        if suffix in decode.SUFFIXES:
            groups.pictures.append(name)
        elif suffix in CAPTION_SUFFIXES:
            groups.captions.append(name)
        elif suffix in TABLE_SUFFIXES:
            groups.tables.append(name)
        elif suffix == SHARD_SUFFIX:
            groups.shards.append(name)
        elif suffix in PARQUET_SUFFIXES:
            groups.parquet.append(name)
        elif suffix in reason_of:
            account.add(reason_of[suffix], [name])
        elif size and decode.looks_like_picture(os.path.join(folder, *name.split("/"))):
            groups.pictures.append(name)
        else:
            account.add("others" if size else "empty", [name])
    account.add("other_tables", groups.parquet if groups.pictures else [])
    return groups


def parquet_files(files: list[File]) -> list[str]:
    """Those that `datasets` reads."""
    return [file.name for file in files if file.name.lower().endswith(PARQUET_SUFFIXES)]


def _of_split(pictures: list[str], split: str, account: Account) -> tuple[list[str], str]:
    """The pictures of ``split`` where the folder has splits, and the folder that they lie in, with "/"."""
    top = {name.partition("/")[0] if "/" in name else "" for name in pictures}
    if not top or not top <= SPLIT_NAMES:
        return pictures, ""
    if split not in top:
        raise Problem("split_missing", "split", value=split, there=", ".join(sorted(top)))
    account.add("other_split", [name for name in pictures if not name.startswith(f"{split}/")], split=split)
    return [name for name in pictures if name.startswith(f"{split}/")], f"{split}/"
