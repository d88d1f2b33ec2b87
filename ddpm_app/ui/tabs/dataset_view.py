"""What the Dataset tab shows of a data set, as HTML and small pictures."""

import base64
import collections
import contextlib
import html
import io
import pathlib
from typing import Any

from PIL import Image

from ddpm_app.data.open_datasets import OpenDataset
from ddpm_app.errors import Problem, as_problem
from ddpm_app.i18n import format_bytes, problem_text, t

THUMBNAIL = 128
LABELS_SHOWN = 24
SEEN = 256
"""Side at which one picture is shown, in pixels."""


def _uri(kind: str, buffer: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def img(picture: Image.Image, told: str, side: int) -> str:
    """An <img> that carries its pixels, lossless up to ``side`` pixels; small ones are blown up with hard edges."""
    small = picture.copy()
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    style = ' class="pixelated"' if max(small.size) <= side // 4 else ""
    return f'<img{style} alt="{html.escape(told, quote=True)}" src="{_uri("png", buffer)}">'


def preview(source: Any) -> str:
    """The first four pictures in a row, drawn by matplotlib as the tutorial draws them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 4), layout="constrained")
    for i, axis in enumerate(figure.subplots(1, 4)):
        axis.set_axis_off()
        with contextlib.suppress(IndexError, Problem):  # fewer than four, or a broken one: its place stays empty
            axis.imshow(source.thumbnail(i, 512))
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format="webp", transparent=True, pil_kwargs={"quality": 90}
    )  # as PNG it would be half a megabyte
    shown = [source.captions[i] if source.captions else source.names[i] for i in range(min(4, len(source)))]
    return f'<img alt="{html.escape("; ".join(shown), quote=True)}" src="{_uri("webp", buffer)}">'


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
        bars += (
            f'<div><span>{told} px</span><i style="width:{100 * count / max(counts):.1f}%"></i><b>{count:,}</b></div>'
        )
    shapes = (
        f"{min(found)[0]} x {min(found)[1]}"
        if len(set(found)) == 1
        else t("ui.dataset.shapes", lang, count=len(set(found)))
    )
    return f'<div class="histogram">{bars}</div><p class="quiet">{t("ui.dataset.longer_side", lang)} {shapes}</p>'


def counts(source: Any, lang: str) -> str:
    """How many pictures have which label, as bars: the ``LABELS_SHOWN`` most frequent ones, then the rest in a line."""
    if not source.label_names:
        return f'<p class="quiet">{t("ui.dataset.no_labels", lang)}</p>'
    found = collections.Counter(source.labels)
    bare = found.pop(-1, 0)
    ranked = sorted(range(len(source.label_names)), key=lambda k: -found[k])
    shown, rest = ranked[:LABELS_SHOWN], ranked[LABELS_SHOWN:]
    lines = [(source.label_names[k], found[k]) for k in shown] + (
        [(t("ui.dataset.counts_none", lang), bare)] if bare else []
    )
    most = max(count for _, count in lines)
    bars = "".join(
        f'<div><span>{html.escape(name)}</span><i style="width:{100 * count / most:.1f}%"></i><b>{count:,}</b></div>'
        for name, count in lines
    )
    more = t("ui.dataset.counts_more", lang, count=len(rest), pictures=sum(found[k] for k in rest)) if rest else ""
    return f'<div class="histogram">{bars}</div>' + (f'<p class="quiet">{more}</p>' if more else "")


def found(source: Any, search: str) -> list[int]:
    """Rows whose label, caption or name holds all words of ``search``."""
    asked = search.lower().split()
    if not asked:
        return list(range(len(source)))
    return [
        i
        for i in range(len(source))
        if all(word in f"{label_of(source, i)} {caption_of(source, i)} {source.names[i]}".lower() for word in asked)
    ]


def label_of(source: Any, i: int) -> str:
    """The name of a picture's label, "" where it has none."""
    return source.label_names[source.labels[i]] if source.labels and source.labels[i] >= 0 else ""


def caption_of(source: Any, i: int) -> str:
    """A picture's caption, "" where it has none."""
    return source.captions[i] if source.captions else ""


def thumbnail(source: Any, i: int) -> tuple[Image.Image, str]:
    """A picture for the gallery with its label and caption, or its name; an unfit one is an empty square."""
    try:
        told = " · ".join(filter(None, (label_of(source, i), caption_of(source, i))))
        return source.thumbnail(i, THUMBNAIL), told or source.names[i]
    except Exception as error:
        return Image.new("RGB", (THUMBNAIL, THUMBNAIL), "#b3261e"), problem_text(as_problem(error))


def facts(entry: OpenDataset, lang: str) -> str:
    """How many pictures, labels and captions there are, where they come from, and their licence."""
    source = entry.source
    told = [t("ui.dataset.pictures", lang, count=len(source))]
    if entry.pictures is not None:
        told.append(
            t("ui.dataset.shares", lang, train=len(entry.pictures.train), held_out=len(entry.pictures.held_out))
        )
    if source.label_names:
        told.append(t("ui.dataset.labels", lang, count=len(source.label_names)))
    told += [t("ui.dataset.captions", lang)] if source.captions else []
    kind = t(
        f"ui.dataset.kind_{source.kind.replace('-', '_')}",
        lang,
        name=source.name if source.kind == "hub" else pathlib.Path(source.name).name,
    )
    told += [kind, t("ui.dataset.license", lang, license=source.license or t("ui.dataset.no_license", lang))][
        : 1 if source.kind == "built-in" else 2
    ]
    return '<div class="facts">' + "".join(f"<span>{html.escape(fact)}</span>" for fact in told) + "</div>"


def left_out(entry: OpenDataset, lang: str) -> str:
    """The pictures that can't be used, each with the reason."""
    if entry.pictures is None:
        return f'<p class="quiet">{t("ui.dataset.unchecked", lang)}</p>'
    left = entry.pictures.rejected
    if not left:
        return f'<p class="quiet">{t("ui.dataset.none_left_out", lang)}</p>'
    lines = "".join(
        f"<li>{html.escape(t(f'notice.left_out_{reason}', lang, name=name))}</li>" for name, reason in left[:50]
    )
    return f"<p>{t('ui.dataset.some_left_out', lang, count=len(left))}</p><ul>{lines}</ul>"


def one(entry: OpenDataset, i: int, mode: str, lang: str) -> str:
    """One picture as it is and as the model sees it, side by side. Raises Problem("picture_unfit")."""
    from ddpm_app.data.preprocess import square

    source, config = entry.source, entry.config
    original = source.picture(i)
    pixels = square(original, config.image_size, mode, config.channels)
    seen = Image.fromarray(pixels[..., 0] if config.channels == 1 else pixels)
    sides = [
        (original, t("ui.dataset.original", lang, width=original.width, height=original.height)),
        (seen, t("ui.dataset.seen", lang, size=config.image_size, mode=mode)),
    ]
    figures = "".join(
        f"<figure>{img(picture, told, SEEN)}<figcaption>{html.escape(told)}</figcaption></figure>"
        for picture, told in sides
    )
    told = " · ".join(html.escape(part) for part in (label_of(source, i), source.names[i]) if part)
    return f'<div class="pair">{figures}</div><p class="told"><b>{told}</b><br>{html.escape(caption_of(source, i))}</p>'


def progress(entry: OpenDataset, lang: str) -> str:
    """How far opening or decoding is."""
    amount = ""
    if entry.total:
        amount = t("ui.header.part", lang, done=entry.done, total=entry.total)
    elif entry.phase == "download" and entry.done:
        amount = t("ui.header.megabytes", lang, done=entry.done / 1e6)
    bar = (
        f'<div class="bar"><i style="width:{100 * entry.done / entry.total:.0f}%"></i></div>'
        if entry.total
        else '<div class="bar open"><i></i></div>'
    )
    return f'<div role="status">{t(f"ui.phase.{entry.phase}", lang)} {amount}</div>{bar}'


def cache_line(path: str, size: int, lang: str) -> str:
    """Where decoded pictures lie, and how much they take."""
    return f'<p class="quiet">{t("ui.dataset.cache", lang, path=html.escape(path), size=format_bytes(size))}</p>'
