"""Which columns hold the pictures, the labels and the captions."""

from collections.abc import Callable

from datasets import ClassLabel, Dataset, Features, Image, Value

from ddpm_app.errors import Problem

CAPTION_NAMES = ("caption", "text", "prompt", "description")
LABEL_NAME = "label"


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


def image_column(features: Features, name: str | None) -> str:
    """The column ``name``; for None "image", or else the first whose feature is an Image. Raises Problem."""
    images = [column for column in features if _is_image(features[column])]
    if name is None and not images:
        raise Problem("no_image_column", "image_column", columns=", ".join(features))
    return _chosen_column(features, name, "image_column", _is_image) or ("image" if "image" in images else images[0])


def labels(rows: Dataset, name: str | None) -> tuple[list[int] | None, tuple[str, ...] | None]:
    """(number per row, -1 for none; names of the labels) of the column ``name``; for None of the first ClassLabel column, or else
    of one named "label"; (None, None) without any. Only a column named by one of these names may hold strings, whole numbers or
    booleans instead of a ClassLabel; an empty string is no label. Raises Problem."""
    features = rows.features
    usual = next((column for column in features if isinstance(features[column], ClassLabel)), None)
    if usual is None and LABEL_NAME in features and _is_label(features[LABEL_NAME]):
        usual = LABEL_NAME
    column = _chosen_column(features, name, "label_column", _is_label) or usual
    if column is None:
        return None, None
    values = rows[column][:]
    if isinstance(features[column], ClassLabel):
        return [-1 if value is None else value for value in values], tuple(features[column].names)
    names = sorted(set(values) - {None, ""})
    number = {value: i for i, value in enumerate(names)}
    return [number.get(value, -1) for value in values], tuple(str(value) for value in names)


def captions(rows: Dataset, name: str | None) -> list[str] | None:
    """The texts of the column ``name``; for None of the first of CAPTION_NAMES that holds strings, None without any. Raises Problem."""
    features = rows.features
    usual = next((column for column in CAPTION_NAMES if column in features and _is_text(features[column])), None)
    column = _chosen_column(features, name, "caption_column", _is_text) or usual
    return None if column is None else [value or "" for value in rows[column][:]]


def _is_image(feature: object) -> bool:
    return isinstance(feature, Image)


def _is_label(feature: object) -> bool:
    plain = isinstance(feature, Value) and feature.dtype.startswith(("int", "uint", "bool", "string", "large_string"))
    return plain or isinstance(feature, ClassLabel)


def _is_text(feature: object) -> bool:
    return isinstance(feature, Value) and feature.dtype in ("string", "large_string")
