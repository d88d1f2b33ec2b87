"""Small pictures inside HTML: the tutorial's row of four, the size histogram, a picture as a data URI."""

import base64
import html
import io
from typing import Any

from PIL import Image

from ddpm_app.text import t


def img(picture: Image.Image, told: str, side: int) -> str:
    """An <img> that carries its pixels, lossless up to ``side`` pixels; small ones are blown up with hard edges."""
    small = picture.copy()
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    style = ' class="pixelated"' if max(small.size) <= side // 4 else ""
    return f'<img{style} alt="{html.escape(told, quote=True)}" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def preview(source: Any) -> str:
    """The first four pictures in a row, drawn by matplotlib as the tutorial draws them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 4), layout="constrained")
    axes = figure.subplots(1, 4)
    for i, axis in enumerate(axes):
        axis.set_axis_off()
        if i < len(source):
            axis.imshow(source.thumbnail(i, 512))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="webp", transparent=True, pil_kwargs={"quality": 90})  # as PNG it would be half a megabyte
    shown = [source.captions[i] if source.captions else source.names[i] for i in range(min(4, len(source)))]
    return f'<img alt="{html.escape("; ".join(shown), quote=True)}" src="data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def sizes(found: list[tuple[int, int]], lang: str) -> str:
    """How many pictures have which longer side, as bars of at most 12 ranges."""
    if not found:
        return ""
    longest = sorted(max(size) for size in found)
    low, high = longest[0], longest[-1]
    bins = min(12, high - low + 1)
    edges = [low + (high - low + 1) * k / bins for k in range(bins + 1)]
    counts = [sum(a <= side < b for side in longest) for a, b in zip(edges, edges[1:], strict=False)]
    bars = ""
    for a, b, count in zip(edges, edges[1:], counts, strict=False):
        told = f"{int(a)}" if b - a <= 1 else f"{int(a)} - {int(b) - 1}"
        bars += f'<div><span>{told} px</span><i style="width:{100 * count / max(counts):.1f}%"></i><b>{count:,}</b></div>'
    shapes = f"{min(found)[0]} x {min(found)[1]}" if len(set(found)) == 1 else t("ui.dataset.shapes", lang, count=len(set(found)))
    return f'<div class="histogram">{bars}</div><p class="quiet">{t("ui.dataset.longer_side", lang)} {shapes}</p>'
