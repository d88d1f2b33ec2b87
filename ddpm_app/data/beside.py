"""What lies beside pictures and says something of them: text files of the same name, and tables with a column of names."""

import os
import posixpath
from collections.abc import Callable, Iterable
from typing import Any

from ddpm_app.data.account import Account
from ddpm_app.data.text_files import Row, decode_text, lines_of, read_table
from ddpm_app.errors import Problem, Stopped

METADATA = "metadata"
"""A table of this name lists the pictures that are meant: others beside it are left out."""
NAME_COLUMNS = ("file_name", "filename", "file", "image", "image_path", "path", "img", "name", "id")
"""Columns in which a table names its pictures, the usual first; any other column is tried after them."""
ROWS_TRIED = 50
"""Rows in which a column is looked through for names of pictures."""


class PictureIndex:
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


def read_texts(
    folder: str, names: list[str], index: PictureIndex, account: Account, cancelled: Callable[[], bool] | None
) -> dict[str, tuple[str, ...]]:
    """The texts of the caption files ``names`` by picture: each line that isn't empty is one. Raises Stopped."""
    texts: dict[str, tuple[str, ...]] = {}
    lone, used = [], []
    for name in names:
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


def read_columns(folder: str, names: list[str], index: PictureIndex, account: Account) -> dict[str, dict[str, Any]]:
    """The cells of the tables ``names`` that name pictures, by column and picture. Two rows of a picture give a list.
    Raises Problem("table_unreadable") for a metadata table."""
    columns: dict[str, dict[str, Any]] = {}
    for table in names:
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
        if column is not None and index.meant(column, inside, NAME_COLUMNS[0]):
            rows, column = _with_header(rows, column), NAME_COLUMNS[0]
        if column is None:
            account.add("lone_tables", [table])
            continue
        account.add("tables", [table])
        _merge(rows, column, inside, index, columns, account, is_metadata)
    return columns


def _name_column(rows: list[Row], index: PictureIndex, inside: str) -> str | None:
    """The column that names pictures which lie there; None without any."""
    candidates = list(dict.fromkeys((*NAME_COLUMNS, *(rows[0] if rows else ()))))
    for column in candidates:
        if any(index.meant(row.get(column), inside, column) for row in rows[:ROWS_TRIED]):
            return column
    return next((c for c in candidates if any(index.meant(row.get(c), inside, c) for row in rows)), None)


def _with_header(rows: list[Row], name_column: str) -> list[Row]:
    """The rows of a table without a header, whose first row was taken for one: its names under "file_name", what follows under "caption"."""
    first = {column: column for column in rows[0]}
    others = [column for column in rows[0] if column != name_column]
    names = {name_column: NAME_COLUMNS[0], **dict.fromkeys(others[:1], "caption")}
    return [{names.get(column, column): cell for column, cell in row.items()} for row in (first, *rows)]


def _merge(
    rows: list[Row],
    name_column: str,
    inside: str,
    index: PictureIndex,
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
