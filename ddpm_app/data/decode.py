"""Any picture file -> a clean RGB picture. Needs Pillow and numpy only."""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps

MAX_PIXELS = Image.MAX_IMAGE_PIXELS
"""A picture with more pixels than this (Pillow's own limit, about 89 million) is left out: it would cost gigabytes."""

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "TGA", "JPEG2000", "ICO")
"""Raster formats only: others start outside programs (EPS runs Ghostscript) and have no place in a set of photographs."""

# Pillow only warns between MAX_PIXELS and twice that. As an error it is handled like every other picture that can't be used.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


class UnusableImage(Exception):
    """A picture that can't be used. ``reason`` is "missing", "too_large" or "broken" (texts: notice.left_out_<reason>)."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


def _open(file: str | bytes) -> Image.Image:
    """The picture with its header read and nothing decoded. Raises UnusableImage."""
    try:
        return Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=FORMATS)
    except FileNotFoundError as error:
        raise UnusableImage("missing") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnusableImage("too_large") from error
    except Exception as error:  # Pillow's plugins raise nearly anything on a damaged header
        raise UnusableImage("broken") from error


def size(file: str | bytes) -> tuple[int, int]:
    """(width, height) as the picture is shown, from its header alone. Raises UnusableImage."""
    with _open(file) as picture:
        try:
            sideways = picture.getexif().get(0x0112, 1) >= 5  # orientations 5 to 8 lie on their side
        except Exception:  # damaged EXIF: the picture itself may be sound
            sideways = False
        return picture.size[::-1] if sideways else picture.size


def read(file: str | bytes, draft: int | None = None) -> Image.Image:
    """Decode a file (path or bytes) to RGB: transparency on white, 16 bits scaled to 8, turned as its EXIF says.

    ``draft`` allows a JPEG to be decoded at a reduced size of at least that many pixels a side: for thumbnails only.
    Plain RGB pictures keep their exact pixels. Raises UnusableImage.
    """
    with _open(file) as picture:
        try:
            if draft:
                picture.draft("RGB", (draft, draft))
            picture.load()
            return _to_rgb(_upright(picture))
        except Exception as error:  # a truncated file raises OSError, SyntaxError, struct.error, zlib.error, ...
            raise UnusableImage("broken") from error


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # damaged EXIF: show the picture as it is stored
        return picture


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        return _deep_grey(np.asarray(picture)).convert("RGB")
    if picture.has_transparency_data or picture.mode in ("RGBa", "La"):
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")


def _deep_grey(values: np.ndarray) -> Image.Image:
    """Grey values of 16 or 32 bits or floats -> 8 bits. 65535 / 255 = 257; Pillow's own convert would clip at 255."""
    if values.dtype.kind == "f":
        values = values * 255 if values.max(initial=0) <= 1 else values
    elif values.dtype.itemsize == 2 or values.max(initial=0) > 255:
        values = values / 257
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
