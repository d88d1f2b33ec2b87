"""Which columns hold the pictures, the labels and the captions: of a table that `datasets` reads, or of a folder."""

import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from datasets import ClassLabel, Dataset, Features, Image, List, Value

from ddpm_app.data.rows import FolderRows
from ddpm_app.data.text_files import texts_in
from ddpm_app.errors import Problem

IMAGE_NAME, LABEL_NAME = "image", "label"
CAPTION_NAMES = ("caption", "text", "prompt", "description", "captions", "texts", "txt", "tags")
LABEL_NAMES = (LABEL_NAME, "labels", "class", "category", "cls")
FILE_NAME, FOLDER = "file_name", "folder"
"""Columns that every source of files has, to be named by hand: a caption made of the file's name, a label of its folder."""


class Labels(NamedTuple):
    """A number for each row, -1 for none, and the names of the labels; None for both without labels. ``column``: where a new one belongs,
    ``origin``: where they come from."""

    numbers: list[int] | None
    names: tuple[str, ...] | None
    column: str
    origin: str = ""


class Captions(NamedTuple):
    """The texts of each row, none to several; None without captions. ``column``: where they stand, or where a new one belongs."""

    choices: list[tuple[str, ...]] | None
    column: str


# ---- tables ----------------------------------------------------------------------------------------------------------
def image_column(features: Features, name: str | None) -> str:
    """The column ``name``; for None "image", or else the first whose feature is an Image, or else the first that holds bytes.
    Raises Problem."""
    images = [column for column in features if isinstance(features[column], Image)]
    images = images or [column for column in features if _holds_bytes(features[column])]
    if name is None and not images:
        raise Problem("no_image_column", "image_column", columns=", ".join(features))
    return _chosen_column(features, name, "image_column", _is_image) or (
        IMAGE_NAME if IMAGE_NAME in images else images[0]
    )


def table_labels(rows: Dataset, name: str | None) -> Labels:
    """The labels in the column ``name``; for None in the first ClassLabel column, or else in one of LABEL_NAMES. Only a column named by one
    of these names may hold strings, whole numbers or booleans instead of a ClassLabel; an empty string is no label. Raises Problem."""
    features = rows.features
    usual = next((column for column in features if isinstance(features[column], ClassLabel)), None)
    usual = usual or next((column for column in LABEL_NAMES if _is_label(features.get(column))), None)
    column = _chosen_column(features, name, "label_column", _is_label) or usual
    if column is None:
        return Labels(None, None, LABEL_NAME)
    values = rows[column][:]
    if isinstance(features[column], ClassLabel):
        return Labels(
            [-1 if value is None else value for value in values], tuple(features[column].names), column, column
        )
    return _numbered([None if value in (None, "") else str(value) for value in values], column, column)


def table_captions(rows: Dataset, name: str | None, names: Sequence[str]) -> Captions:
    """The texts in the column ``name``; for None in the first of CAPTION_NAMES that holds strings or lists of them. Raises Problem."""
    features = rows.features
    if name == FILE_NAME and name not in features:
        return Captions(_from_names(names), name)
    usual = next((column for column in CAPTION_NAMES if _is_text(features.get(column))), None)
    column = _chosen_column(features, name, "caption_column", _is_text) or usual
    if column is None:
        return Captions(None, CAPTION_NAMES[0])
    return Captions([texts_in(value) for value in rows[column][:]], column)


def _chosen_column(features: Features, name: str | None, field: str, fits: Callable[[object], bool]) -> str | None:
    """The column ``name`` that the setting ``field`` names, if its feature ``fits``; None for None.

    Raises Problem: "column_missing", "column_type".
    """
    if name is None:
        return None
    if name not in features:
        raise Problem("column_missing", field, value=name, columns=", ".join(features))
    if not fits(features[name]):
        raise Problem("column_type", field, value=name, type=str(features[name]))
    return name


def _is_image(feature: object) -> bool:
    return isinstance(feature, Image) or _holds_bytes(feature)


def _holds_bytes(feature: object) -> bool:
    """Bytes, or {bytes, path} without the mark that makes it a picture for `datasets`."""
    if isinstance(feature, dict):
        return {"bytes", "path"} <= feature.keys() or _holds_bytes(feature.get("bytes"))
    return isinstance(feature, Value) and feature.dtype in ("binary", "large_binary")


def _is_label(feature: object) -> bool:
    plain = isinstance(feature, Value) and feature.dtype.startswith(("int", "uint", "bool", "string", "large_string"))
    return plain or isinstance(feature, ClassLabel)


def _is_text(feature: object) -> bool:
    inner = feature.feature if isinstance(feature, List) else feature
    return isinstance(inner, Value) and inner.dtype in ("string", "large_string")


# ---- folders ---------------------------------------------------------------------------------------------------------
def folder_labels(rows: FolderRows, name: str | None) -> Labels:
    """The labels in the column ``name`` of the folder's tables; for None in the first of LABEL_NAMES, and the folder's name for pictures
    of which that column says nothing (an empty cell says that there is none). Raises Problem."""
    if name == FOLDER and name not in rows.columns:
        return _numbered(rows.labels, LABEL_NAME, FOLDER) if any(rows.labels) else Labels(None, None, LABEL_NAME)
    column = _folder_column(rows, name, "label_column", FOLDER) or _usual(rows, LABEL_NAMES)
    cells = rows.columns[column] if column else [None] * len(rows.names)
    others = rows.labels if name is None else [None] * len(cells)
    labels = [other if cell is None else _label(cell, column or "") for cell, other in zip(cells, others, strict=True)]
    if not any(labels):
        return Labels(None, None, LABEL_NAME)
    return _numbered(labels, column or LABEL_NAME, column or FOLDER)


def folder_captions(rows: FolderRows, name: str | None) -> Captions:
    """The texts in the column ``name`` of the folder's tables; for None in the first of CAPTION_NAMES, and for rows without one there those
    of the files beside the picture. Raises Problem."""
    if name == FILE_NAME and name not in rows.columns:
        return Captions(_from_names(rows.names), name)
    column = _folder_column(rows, name, "caption_column", FILE_NAME) or _usual(rows, CAPTION_NAMES)
    written = [texts_in(cell) for cell in rows.columns[column]] if column else [()] * len(rows.names)
    choices = [texts or beside for texts, beside in zip(written, rows.texts, strict=True)]
    return Captions(choices if any(choices) else None, column or CAPTION_NAMES[0])


def _folder_column(rows: FolderRows, name: str | None, field: str, own: str) -> str | None:
    if name is not None and name not in rows.columns:
        raise Problem("column_missing", field, value=name, columns=", ".join([*rows.columns, own]))
    return name


def _usual(rows: FolderRows, names: Iterable[str]) -> str | None:
    return next((name for name in names if name in rows.columns), None)


def _label(cell: Any, column: str) -> str | None:
    """The label in a cell: pandas writes whole numbers as 1.0 where others are missing. Raises Problem for fractions and lists."""
    texts = texts_in(int(cell) if isinstance(cell, float) and cell.is_integer() else cell)
    if len(texts) > 1 or isinstance(cell, float) and texts and not cell.is_integer():
        raise Problem("column_type", "label_column", value=column, type=type(cell).__name__)
    return texts[0] if texts else None


def _numbered(labels: Sequence[str | None], column: str, origin: str) -> Labels:
    """Labels as numbers in the order of their names, whole numbers by size."""
    distinct = {label for label in labels if label}
    names = sorted(distinct, key=int if all(re.fullmatch(r"-?\d+", label) for label in distinct) else str)
    number = {name: i for i, name in enumerate(names)}
    return Labels([number.get(label or "", -1) for label in labels], tuple(names), column, origin)


def _from_names(names: Sequence[str]) -> list[tuple[str, ...]]:
    """A caption made of each file's name: words apart, without the ending and a number at the end."""
    return [texts_in(_words(posixpath.splitext(posixpath.basename(name))[0])) for name in names]


def _words(stem: str) -> str:
    return re.sub(r"[\s_\-+.]*\(?\d+\)?$", "", re.sub(r"[_\-+.\s]+", " ", stem)).strip()
