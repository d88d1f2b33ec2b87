"""Any picture file -> a clean RGB picture. Needs Pillow and numpy only; HEIC and JPEG XL are read where their plug-ins are installed."""

import contextlib
import functools
import importlib
import io
import warnings
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms, ImageColor, ImageOps, UnidentifiedImageError

MAX_PIXELS = Image.MAX_IMAGE_PIXELS
"""A picture with more pixels than this (Pillow's own limit, about 89 million) is left out: it would cost gigabytes."""

FORMATS = (
    *("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "TGA", "JPEG2000", "ICO", "AVIF"),
    *("HEIF", "JXL"),
)
"""Raster formats only: others start outside programs (EPS runs Ghostscript) and have no place in a set of photographs."""

PLUG_INS = {"needs_heif": "pillow_heif.HeifImagePlugin", "needs_jxl": "pillow_jxl.JpegXLImagePlugin"}
"""The module that reads a format Pillow doesn't, by the reason given where it is missing."""

SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".ico"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".j2k", ".avif", ".avifs", ".heic", ".heif", ".hif", ".jxl"),
)
"""Endings of pictures. A file is decoded by what is in it; an ending alone makes it a picture that is damaged, not another thing."""

REASONS = ("missing", "too_large", "broken", "unsupported", *PLUG_INS)
"""Why a picture can't be used (texts: notice.left_out_<reason>)."""

MARKS = ("frames", "profiles", "deep", "transparent")
"""What was changed on the way to RGB: the first of several frames taken, a colour profile applied, more than 8 bits brought to 8, a ground
laid under transparency."""

HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")

# Pillow only warns between MAX_PIXELS and twice that. As an error it is handled like every other picture that can't be used.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)

Image.init()
for plug_in in PLUG_INS.values():
    with contextlib.suppress(ImportError):
        importlib.import_module(plug_in)


class UnusableImage(Exception):
    """A picture that can't be used. ``reason`` is one of REASONS."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class Range(NamedTuple):
    """Values that become black and white: those of all pictures of a set with more than 8 bits, so that they stay comparable."""

    black: float
    white: float


def looks_like_picture(path: str) -> bool:
    """Whether a file of any name begins as pictures do."""
    try:
        with open(path, "rb") as file:
            return _format(file.read(32)) is not None
    except OSError:
        return False


def _format(head: bytes) -> str | None:
    """The format that the first 32 bytes of a file show; None for none of FORMATS."""
    starts = {
        b"\x89PNG\r\n\x1a\n": "PNG",
        b"\xff\xd8\xff": "JPEG",
        b"GIF8": "GIF",
        b"II*\0": "TIFF",
        b"MM\0*": "TIFF",
        b"\xff\x0a": "JXL",
        b"\0\0\0\x0cJXL ": "JXL",
        b"\0\0\0\x0cjP  ": "JPEG2000",
    }
    for start, name in starts.items():
        if head.startswith(start):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        return "BMP"
    if head[4:8] == b"ftyp":
        return "AVIF" if head[8:12] in (b"avif", b"avis") else "HEIF" if head[8:12] in HEIF_BRANDS else None
    return None


def _open(file: str | bytes) -> Image.Image:
    """The picture with its header read and nothing decoded. Raises UnusableImage."""
    try:
        formats = [name for name in FORMATS if name in Image.OPEN]
        return Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=formats)
    except FileNotFoundError as error:
        raise UnusableImage("missing") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnusableImage("too_large") from error
    except Exception as error:  # Pillow's plugins raise nearly anything on a damaged header
        raise UnusableImage(_why(file, error)) from error


def _why(file: str | bytes, error: Exception) -> str:
    """The reason that a picture whose bytes raised ``error`` can't be used."""
    head = file[:32] if isinstance(file, bytes) else b""
    if isinstance(file, str):
        with contextlib.suppress(OSError), open(file, "rb") as opened:
            head = opened.read(32)
    kind = _format(head)
    for reason, name in zip(PLUG_INS, ("HEIF", "JXL"), strict=True):
        if kind == name and name not in Image.OPEN:
            return reason
    unsupported = kind == "TIFF" and isinstance(error, UnidentifiedImageError) and len(head) == 32
    return "unsupported" if unsupported else "broken"


def size(file: str | bytes) -> tuple[int, int]:
    """(width, height) as the picture is shown, from its header alone. Raises UnusableImage."""
    with _open(file) as picture:
        try:
            sideways = picture.getexif().get(0x0112, 1) >= 5  # orientations 5 to 8 lie on their side
        except Exception:  # damaged EXIF: the picture itself may be sound
            sideways = False
        return picture.size[::-1] if sideways else picture.size


def range_of(files: Iterable[str | bytes]) -> Range | None:
    """The range of the pictures with more than 8 bits among ``files``; None where there are none. Decodes them.

    Whole numbers go up to the first of 255, 1023, 4095, 16383, 65535 that holds them all (12 bits are often stored in 16), floats to 1, 255 or
    their maximum; with negative values among them black lies as far below 0 as white above it.
    """
    arrays = []
    for file in files:
        with contextlib.suppress(Exception), _open(file) as picture:  # what is damaged is told of when it is decoded
            if _is_deep(picture):
                arrays.append(_extremes(np.asarray(picture)))
    return _range(arrays) if arrays else None


def _extremes(values: np.ndarray) -> tuple[float, float, bool]:
    """Smallest and largest value, and whether they are fractions."""
    values = values[np.isfinite(values)]
    lowest, highest = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    return lowest, highest, values.dtype.kind == "f"


def _range(extremes: list[tuple[float, float, bool]]) -> Range:
    lowest = min(low for low, _, _ in extremes)
    highest, floats = max(high for _, high, _ in extremes), any(fractions for _, _, fractions in extremes)
    most = max(highest, -lowest)
    steps = (1, 255) if floats else (255, 1023, 4095, 16383, 65535)
    white = next((step for step in steps if most <= step), most)
    return Range(-white if lowest < 0 else 0, white)


def is_deep(file: str | bytes) -> bool:
    """Whether the picture holds more than 8 bits of grey, by its header. Raises UnusableImage."""
    with _open(file) as picture:
        return _is_deep(picture)


def _is_deep(picture: Image.Image) -> bool:
    return picture.mode.startswith("I") or picture.mode == "F"


def read(file: str | bytes, draft: int | None = None, ground: str = "white", grey: Range | None = None) -> Image.Image:
    """Decode a file (path or bytes) to RGB: the first frame, in sRGB, transparency on ``ground`` (a colour as CSS writes it), deep greys
    from ``grey`` (None: the range of this picture) to 8 bits, turned as its EXIF says.

    ``draft`` allows a JPEG to be decoded at a reduced size of at least that many pixels a side: for thumbnails only.
    Plain RGB pictures keep their exact pixels. Raises UnusableImage.
    """
    return read_marked(file, draft, ground, grey)[0]


def read_marked(
    file: str | bytes, draft: int | None = None, ground: str = "white", grey: Range | None = None
) -> tuple[Image.Image, frozenset[str]]:
    """As ``read``, with the MARKS that apply."""
    with _open(file) as picture:
        try:
            if draft:
                picture.draft("RGB", (draft, draft))
            several = getattr(picture, "is_animated", False)
            picture.load()
            rgb, marks = _to_rgb(_upright(picture), ground, grey)
            # a phone's MPO holds a preview beside the picture
            return rgb, marks | {"frames"} if several and picture.format != "MPO" else marks
        except Exception as error:  # a truncated file raises OSError, SyntaxError, struct.error, zlib.error, ...
            raise UnusableImage("broken") from error


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture) or picture
    except Exception:  # damaged EXIF: show the picture as it is stored
        return picture


def _to_rgb(picture: Image.Image, ground: str, grey: Range | None) -> tuple[Image.Image, frozenset[str]]:
    if _is_deep(picture):
        values = np.asarray(picture)
        return _deep_grey(values, grey or _range([_extremes(values)])).convert("RGB"), frozenset({"deep"})
    marks, alpha = set(), np.full(1, 255)
    profile = picture.info.get("icc_profile")
    if picture.has_transparency_data or picture.mode in ("RGBa", "La"):
        is_grey = picture.mode in ("LA", "La")
        picture = picture.convert("RGBA")
        channel = picture.getchannel("A")
        alpha = np.asarray(channel)
        picture = picture.getchannel("R") if is_grey else picture.convert("RGB")
    elif picture.mode not in ("L", "RGB", "CMYK", "LAB"):
        picture = picture.convert("RGB")
    if profile and (transform := _to_srgb(profile, picture.mode)):
        picture = ImageCms.applyTransform(picture, transform) or picture
        marks.add("profiles")
    picture = picture.convert("RGB")
    if alpha.min() < 255:
        marks.add("transparent")
        below = Image.new("RGBA", picture.size, ImageColor.getcolor(ground, "RGBA"))
        picture.putalpha(channel)
        picture = Image.alpha_composite(below, picture).convert("RGB")
    return picture, frozenset(marks)


@functools.lru_cache(maxsize=64)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The way from a colour profile to sRGB; None for sRGB itself and for a profile that can't be used: the numbers stay as they are."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _deep_grey(values: np.ndarray, grey: Range) -> Image.Image:
    """Grey values of 16 or 32 bits or floats -> 8 bits; Pillow's own convert would clip at 255. NaN is black."""
    share = (np.nan_to_num(values.astype(np.float64), nan=grey.black) - grey.black) / (grey.white - grey.black)
    return Image.fromarray(np.clip(np.rint(share * 255), 0, 255).astype(np.uint8))
