"""Which columns hold the pictures, the labels and the captions."""

from collections.abc import Callable

from ddpm_app.errors import Problem

CAPTION_NAMES = ("caption", "text", "prompt", "description")
LABEL_NAME = "label"


def _fitting(features, asked: str | None, field: str, fits: Callable) -> str | None:
    """The column the setting ``field`` asks for, or None when it asks for none. Raises Problem."""
    if asked is None:
        return None
    if asked not in features:
        raise Problem("column_missing", field, value=asked, columns=", ".join(features))
    if not fits(features[asked]):
        raise Problem("column_type", field, value=asked, type=str(features[asked]))
    return asked


def image_column(features, asked: str | None) -> str:
    """The column asked for, else the one named "image" or the first whose feature is an Image. Raises Problem."""
    import datasets

    def is_image(feature) -> bool:
        return isinstance(feature, datasets.Image)

    found = [name for name in features if is_image(features[name])]
    if asked is None and not found:
        raise Problem("no_image_column", "image_column", columns=", ".join(features))
    return _fitting(features, asked, "image_column", is_image) or ("image" if "image" in found else found[0])


def labels(rows, asked: str | None) -> tuple[list[int] | None, tuple[str, ...] | None]:
    """(number per row, -1 for none; names) of the first ClassLabel column, or (None, None). A column asked for, and one named "label",
    may also hold strings, whole numbers or booleans; an empty string is no label. Raises Problem."""
    import datasets

    features = rows.features

    def is_label(feature) -> bool:
        plain = isinstance(feature, datasets.Value) and feature.dtype.startswith(
            ("int", "uint", "bool", "string", "large_string")
        )
        return plain or isinstance(feature, datasets.ClassLabel)

    named = next((name for name in features if isinstance(features[name], datasets.ClassLabel)), None)
    if named is None and LABEL_NAME in features and is_label(features[LABEL_NAME]):
        named = LABEL_NAME
    column = _fitting(features, asked, "label_column", is_label) or named
    if column is None:
        return None, None
    values = rows[column][:]
    if isinstance(features[column], datasets.ClassLabel):
        return [-1 if value is None else value for value in values], tuple(features[column].names)
    names = sorted(set(values) - {None, ""})
    number = {value: i for i, value in enumerate(names)}
    return [number.get(value, -1) for value in values], tuple(str(name) for name in names)


def captions(rows, asked: str | None) -> list[str] | None:
    """The texts of the column asked for, else of the first usual name that holds strings, else None. Raises Problem."""
    import datasets

    def is_text(feature) -> bool:
        return isinstance(feature, datasets.Value) and feature.dtype in ("string", "large_string")

    usual = next((name for name in CAPTION_NAMES if name in rows.features and is_text(rows.features[name])), None)
    column = _fitting(rows.features, asked, "caption_column", is_text) or usual
    return None if column is None else [value or "" for value in rows[column][:]]
