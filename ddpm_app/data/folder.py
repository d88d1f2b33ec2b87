"""A folder on this machine, read by our own walk: which files are pictures, and what else there says of them. Neither torch nor datasets.

`datasets` would drop what it doesn't expect without a word - texts beside pictures, the labels of class folders once a metadata file lies
there, linked folders, names with "::" - so it is only given what it alone can read: Parquet and Arrow files.
"""

import dataclasses
import functools
import json
import os
import posixpath
import tarfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from ddpm_app.data import decode
from ddpm_app.data.account import Account
from ddpm_app.data.text_files import TABLE_SUFFIXES, Row, decode_text, read_table
from ddpm_app.errors import Problem, Stopped

SPLIT_NAMES = {"train", "training", "test", "testing", "eval", "evaluation", "validation", "valid", "val", "dev"}
CAPTION_SUFFIXES = (".txt", ".caption", ".cap")
PARQUET_SUFFIXES = (".parquet", ".arrow")
SHARD_SUFFIX = ".tar"
METADATA = "metadata"
"""A table of this name lists the pictures that are meant: others beside it are left out."""
NAME_COLUMNS = ("file_name", "filename", "file", "image", "image_path", "path", "img", "name", "id")
"""Columns in which a table names its pictures, the usual first; any other column is tried after them."""
ROWS_TRIED = 50
"""Rows in which a column is looked through for names of pictures."""
CLASS_SUFFIX = ".cls"
OTHERS = {
    "archives": (".zip", ".rar", ".7z", ".gz", ".tgz", ".bz2", ".xz", ".tbz2", ".txz", ".zst"),
    "films": (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"),
    "other_formats": (".svg", ".eps", ".pdf", ".psd", ".ai", ".xcf", ".kra", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2", ".exr", ".hdr"),
    "other_tables": (".xlsx", ".xls", ".ods", *PARQUET_SUFFIXES),
}  # fmt: skip
"""Why a file with this ending is not used."""
SYSTEM_FILES = ("thumbs.db", "desktop.ini")
HIDDEN = (".", "__macosx", "__pycache__", "$recycle.bin", "@eadir")


class Piece(NamedTuple):
    """``size`` bytes from ``offset`` of the file ``path``: a member of a shard."""

    path: str
    offset: int
    size: int


class File(NamedTuple):
    """A file below the folder: its ``name`` with "/" on every system, bytes and time of change."""

    name: str
    size: int
    mtime_ns: int


@dataclasses.dataclass
class FolderRows:
    """The pictures of a folder: where each lies, its name below the folder, its ``label`` by the folders (None for none), its ``texts`` from
    files beside it, and the ``columns`` of tables."""

    places: list[str | Piece]
    names: list[str]
    labels: list[str | None]
    texts: list[tuple[str, ...]]
    columns: dict[str, list[Any]]
    account: Account

    def take(self, rows: list[int]) -> "FolderRows":
        """Some of the rows."""
        return FolderRows(
            [self.places[i] for i in rows],
            [self.names[i] for i in rows],
            [self.labels[i] for i in rows],
            [self.texts[i] for i in rows],
            {column: [cells[i] for i in rows] for column, cells in self.columns.items()},
            self.account,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "account": self.account.to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "FolderRows":
        """What ``to_json`` wrote."""
        places = [place if isinstance(place, str) else Piece(*place) for place in values["places"]]
        texts = [tuple(texts) for texts in values["texts"]]
        return cls(**{**values, "places": places, "texts": texts, "account": Account.from_json(values["account"])})


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
        return _read_shards(folder, groups, account, cancelled)
    account.add("archives", groups.shards)
    index = _Index(groups.pictures)
    texts = _texts_beside(folder, groups, index, account, cancelled)
    columns = _columns(folder, groups, index, account)
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


def folder_labels(names: Iterable[str]) -> list[str | None]:
    """The label of each name: the folder at the first level where folders differ; None for all where none do, and for what lies above."""
    parts = [name.split("/")[:-1] for name in names]
    for level in range(max(map(len, parts), default=0)):
        labels = [folders[level] if len(folders) > level else None for folders in parts]
        if len(set(labels) - {None}) > 1:
            return labels
    return [None] * len(parts)


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


# ---- what lies beside pictures ---------------------------------------------------------------------------------------
class _Index:
    """Finds the picture that a table or a text file means. ``listed``: those that a metadata table names, None without any."""

    def __init__(self, pictures: list[str]):
        self.pictures = set(pictures)
        self.listed: set[str] | None = None
        self._by_base = _unique((posixpath.basename(name), name) for name in pictures)
        self._by_stem = _unique((posixpath.splitext(name)[0], name) for name in pictures)
        self._by_bare_stem = _unique((posixpath.splitext(posixpath.basename(name))[0], name) for name in pictures)

    def beside(self, name: str) -> str | None:
        """The picture that the text file ``name`` lies beside: of the same name, or of the name before the last ending."""
        stem = posixpath.splitext(name)[0]
        return stem if stem in self.pictures else self._by_stem.get(stem)

    def meant(self, value: object, inside: str, column: str) -> str | None:
        """The picture that a cell of a table in the folder ``inside`` means: its path, or its name where only one has it. Without its ending
        only in a ``column`` of NAME_COLUMNS: elsewhere "1" is a number."""
        if not isinstance(value, str | int) or value == "" or column not in NAME_COLUMNS and "." not in str(value):
            return None
        written = str(value).strip().replace("\\", "/")
        path = posixpath.normpath(posixpath.join(inside, written))
        if path in self.pictures:
            return path
        base = posixpath.basename(written)
        return self._by_base.get(base) or self._by_stem.get(path) or self._by_bare_stem.get(base)


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Pairs as a dict, without the keys that come twice."""
    values: dict[str, str] = {}
    twice = set()
    for key, value in pairs:
        if key in values:
            twice.add(key)
        values[key] = value
    return {key: value for key, value in values.items() if key not in twice}


def _texts_beside(
    folder: str, groups: _Groups, index: _Index, account: Account, cancelled: Callable[[], bool] | None
) -> dict[str, tuple[str, ...]]:
    """The texts of caption files by picture: each line that isn't empty is one."""
    texts: dict[str, tuple[str, ...]] = {}
    lone, used = [], []
    for name in groups.captions:
        picture = index.beside(name)
        if picture is None:
            lone.append(name)
            continue
        if cancelled and cancelled():
            raise Stopped
        used.append(name)
        with open(os.path.join(folder, *name.split("/")), "rb") as file:
            texts[picture] = texts.get(picture, ()) + lines_of(decode_text(file.read()))
    account.add("caption_files", used)
    account.add("lone_captions", lone)
    return texts


def lines_of(text: str) -> tuple[str, ...]:
    """The lines of a caption file, each a caption."""
    return tuple(line.strip() for line in text.split("\n") if line.strip())


def _columns(folder: str, groups: _Groups, index: _Index, account: Account) -> dict[str, dict[str, Any]]:
    """The cells of all tables that name pictures, by column and picture. Two rows of a picture give a list."""
    columns: dict[str, dict[str, Any]] = {}
    for table in groups.tables:
        if index.beside(table):
            account.add("sidecars", [table])
            continue
        is_metadata = posixpath.splitext(posixpath.basename(table))[0] == METADATA
        try:
            with open(os.path.join(folder, *table.split("/")), "rb") as file:
                rows = read_table(file.read(), table)
        except Problem:
            if is_metadata:
                raise
            rows = []
        inside = posixpath.dirname(table)
        column = _name_column(rows, index, inside)
        if column is None:
            account.add("lone_tables", [table])
            continue
        account.add("tables", [table])
        _merge(rows, column, inside, index, columns, account, is_metadata)
    return columns


def _name_column(rows: list[Row], index: _Index, inside: str) -> str | None:
    """The column that names pictures which lie there; None without any."""
    candidates = list(dict.fromkeys((*NAME_COLUMNS, *(rows[0] if rows else ()))))
    for column in candidates:
        if any(index.meant(row.get(column), inside, column) for row in rows[:ROWS_TRIED]):
            return column
    return next((c for c in candidates if any(index.meant(row.get(c), inside, c) for row in rows)), None)


def _merge(
    rows: list[Row],
    name_column: str,
    inside: str,
    index: _Index,
    columns: dict[str, dict[str, Any]],
    account: Account,
    is_metadata: bool,
) -> None:
    lone = []
    for row in rows:
        picture = index.meant(row.get(name_column), inside, name_column)
        if picture is None:
            lone.append(str(row.get(name_column)))
            continue
        if is_metadata:
            index.listed = index.listed or set()
            index.listed.add(picture)
        for column, cell in row.items():
            if column == name_column:
                continue
            cells = columns.setdefault(column, {})
            cells[picture] = cell if picture not in cells else [*_as_list(cells[picture]), *_as_list(cell)]
    account.add("lone_rows", lone)


def _as_list(cell: object) -> list:
    return cell if isinstance(cell, list) else [cell]


# ---- WebDataset shards -----------------------------------------------------------------------------------------------
def _read_shards(folder: str, groups: _Groups, account: Account, cancelled: Callable[[], bool] | None) -> FolderRows:
    """The pictures in tar files, each with the members of the same key (its name up to the first dot) beside it: texts, .cls labels, and
    JSON whose values become columns."""
    places: dict[str, Piece] = {}
    names: dict[str, str] = {}
    texts: dict[str, tuple[str, ...]] = {}
    cells: dict[str, dict[str, Any]] = {}
    unused, members = list[str](), 0
    for shard in groups.shards:
        path = os.path.join(folder, *shard.split("/"))
        for name, piece, data in _members(path, cancelled):
            members += 1
            directory, base = posixpath.split(name)
            stem, _, ending = base.partition(".")
            key, suffix = f"{shard}/{directory}/{stem}", f".{ending.lower()}"
            last = f".{ending.rpartition('.')[2].lower()}"
            if last in decode.SUFFIXES:
                places[key], names[key] = piece, name if len(groups.shards) == 1 else f"{shard}/{name}"
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
    account.add("shards", groups.shards, members=members)
    account.add("lone_members", unused)
    account.add("lone_captions", groups.captions)
    account.add("lone_tables", groups.tables)
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


def read_piece(piece: Piece) -> bytes:
    """The bytes of a member of a shard."""
    with open(piece.path, "rb") as file:
        file.seek(piece.offset)
        return file.read(piece.size)


def _json(data: bytes) -> object:
    try:
        return json.loads(data)
    except ValueError:
        return None
