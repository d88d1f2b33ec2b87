"""Grids of pictures, plain or with captions, pictures as data URIs, and what a PNG says of itself."""

import base64
import io
import math
import os
from typing import IO

from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

SMALLEST, GREATEST = 96, 256
"""Sides between which pictures stand on a captioned grid: small ones are blown up with hard edges, great ones scaled down."""
CAPTION_WIDTH, FONT_SIZE, GAP = 150, 15, 4
CHINESE_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "wqy-zenhei.ttc",
    "msyh.ttc",
    "PingFang.ttc",
    "STHeiti Light.ttc",
)
"""Fonts of Linux, Windows and macOS with Chinese characters, which the one that comes with Pillow has not."""


def captioned_grid(rows: list[tuple[str, list[Image.Image]]]) -> Image.Image:
    """Rows of pictures of one size on a white sheet, each with its caption on the left."""
    font = _font("".join(caption for caption, _ in rows))
    width, height = _cell_size(*rows[0][1][0].size)
    captions = [_wrap(caption, font) for caption, _ in rows]
    left = 3 * GAP + math.ceil(max(font.getlength(line) for lines in captions for line in lines))
    columns = max(len(images) for _, images in rows)
    sheet = Image.new("RGB", (left + columns * (width + GAP), len(rows) * (height + GAP) - GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for r, (lines, (_, images)) in enumerate(zip(captions, rows, strict=True)):
        top = r * (height + GAP)
        pen.multiline_text(
            (left - 2 * GAP, top + height / 2),
            "\n".join(_shorten(lines, height)),
            "#1f1d1a",
            font,
            "rm",
            align="right",
        )
        for c, image in enumerate(images):
            hard = Image.Resampling.NEAREST if image.width < width else Image.Resampling.LANCZOS
            sheet.paste(image.convert("RGB").resize((width, height), hard), (left + c * (width + GAP), top))
    return sheet


def _font(text: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, or, for a text with characters beyond Latin, the first of CHINESE_FONTS that this system has."""
    for name in CHINESE_FONTS if any(ord(letter) > 0x2000 for letter in text) else ():
        try:
            return ImageFont.truetype(name, FONT_SIZE)
        except OSError:
            continue
    return ImageFont.load_default(FONT_SIZE)


def _cell_size(width: int, height: int) -> tuple[int, int]:
    """The size at which a picture stands on a captioned grid."""
    side = max(width, height)
    if side > GREATEST:
        return max(1, width * GREATEST // side), max(1, height * GREATEST // side)
    times = math.ceil(SMALLEST / side)
    return width * times, height * times


def _wrap(caption: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """The caption in lines that fit beside the pictures; a word longer than that is cut."""
    lines = [""]
    for word in caption.split() or [""]:
        while len(word) > 1 and font.getlength(word) > CAPTION_WIDTH:
            word = word[:-1]
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= CAPTION_WIDTH:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _shorten(lines: list[str], height: int) -> list[str]:
    """As many lines as a row is high, with dots where some are left out."""
    most = max(1, height // (FONT_SIZE + 4))
    return lines if len(lines) <= most else [*lines[: most - 1], lines[most - 1].rpartition(" ")[0] + " ..."]


GRID_GAP = 2
"""Pixels between two pictures of ``image_grid``."""
PREVIEW_COLUMNS = 4
"""Pictures in a row of a quick preview."""


def image_grid(images: list[Image.Image], columns: int | None = None, gap: int = GRID_GAP) -> Image.Image:
    """All pictures on one white sheet, ``columns`` (default: about square) to a row."""
    columns = columns or math.ceil(math.sqrt(len(images)))
    rows = [images[k : k + columns] for k in range(0, len(images), columns)]
    return _paste(rows, columns, gap, "RGB", "white")


def grid_cells(grid: Image.Image, side: int, count: int) -> list[Image.Image]:
    """The first ``count`` pictures of a grid of ``image_grid`` (fewer where it holds fewer), ``side`` pixels each."""
    step = side + GRID_GAP
    columns, rows = (grid.width + GRID_GAP) // step, (grid.height + GRID_GAP) // step
    corners = [(k % columns * step, k // columns * step) for k in range(min(count, columns * rows))]
    return [grid.crop((left, top, left + side, top + side)) for left, top in corners]


def rows_grid(rows: list[list[Image.Image]], gap: int = 1) -> Image.Image:
    """Rows of pictures of one size on a transparent sheet."""
    return _paste(rows, max(map(len, rows)), gap, "RGBA", "#0000")


def _paste(rows: list[list[Image.Image]], columns: int, gap: int, mode: str, background: str) -> Image.Image:
    width, height = rows[0][0].size
    sheet = Image.new(mode, (columns * (width + gap) - gap, len(rows) * (height + gap) - gap), background)
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            sheet.paste(image.convert(mode), (c * (width + gap), r * (height + gap)))
    return sheet


def add_info(image: Image.Image, texts: dict[str, str]) -> None:
    """Put ``texts`` into ``image.info``, for ``save_png``."""
    for name, text in texts.items():
        image.info[name] = text


def save_png(image: Image.Image, file: str | os.PathLike | IO[bytes]) -> None:
    """Write a PNG with the texts of ``image.info`` as its text chunks, which Pillow alone leaves out."""
    chunks = PngImagePlugin.PngInfo()
    for name, text in image.info.items():
        if isinstance(text, str):
            chunks.add_text(name, text)
    image.save(file, "PNG", pnginfo=chunks)


def joint_info(images: list[Image.Image]) -> dict[str, str]:
    """The texts of ``info`` of all ``images``, for a sheet of them: where they differ, each different one on a line of its own."""
    names = dict.fromkeys(name for image in images for name in image.info)
    return {name: "\n".join(dict.fromkeys(i.info[name] for i in images if name in i.info)) for name in names}


EXACT_PIXELS = 24_000
"""Sheets up to this size travel without loss: hard pixels show every error of a compressed colour."""


def data_uri(image: Image.Image, small: bool = False) -> str:
    """A picture as a data URI: PNG, or with ``small`` WebP, which loses a little where the picture is large."""
    file = io.BytesIO()
    if not small:
        image.save(file, "PNG")
        return encoded_uri(file.getvalue(), "png")
    exact = image.width * image.height <= EXACT_PIXELS
    image.save(file, "WEBP", lossless=exact, quality=50 if exact else 85, method=2)
    return encoded_uri(file.getvalue(), "webp")


def encoded_uri(content: bytes, kind: str) -> str:
    """A picture's file as a data URI; ``kind`` is its format: "png", "webp", ..."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
