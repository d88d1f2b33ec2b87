"""Panels: plain records that assets/js/learn.js draws. Pictures are clamped once, in data.preprocess; rows share one scale."""

import functools
import html
from collections.abc import Sequence
from typing import Any

from PIL import Image

from ddpm_app import plots
from ddpm_app.film import LATENT_RANGE, film_value
from ddpm_app.i18n import format_bytes, t
from ddpm_app.images import data_uri, rows_grid
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.station import Panel

MAPS = {"signed": "PuOr_r", "size": "cividis"}
"""matplotlib's colour maps that colour-blind eyes can read: around zero, and from zero up."""
STEPS = 9
"""Colours of a colour bar."""
MOST_PARAMETERS = 200_000_000
"""A larger model isn't copied for a station."""


def image(x: Any, told: str = "", **more: Any) -> dict[str, Any]:
    """A picture: a tensor [C, H, W] or [H, W] in [-1, 1], clamped, or a PIL image; ``told`` stands below it. Sent without loss.

    ``more``: ``set``, a dict of controls that a click on it sets; ``colour``, one of plots.COLOURS, for its frame.
    """
    return {"src": data_uri(x if isinstance(x, Image.Image) else _pil(x)), "told": told, **more}


def _pil(x: Any) -> Image.Image:
    from ddpm_app.data.preprocess import to_images

    return to_images((x if x.dim() == 3 else x[None])[None])[0]


def seen(model: Any, x: Any) -> Any:
    """What a person sees of x [..., c, h, w]: of a model in pixels the picture itself, of latents the first three channels (or one, where
    there are fewer), shown from -LATENT_RANGE to LATENT_RANGE."""
    return x if model.codec.vae is None else x[..., : 3 if x.shape[-3] >= 3 else 1, :, :] / LATENT_RANGE


def small(x: Any, side: int) -> Any:
    """Square pictures [B, C, H, W] as float32, larger ones as means over some pixels, ``side`` wide."""
    from torch.nn import functional

    return functional.interpolate(x.float(), size=side, mode="area") if x.shape[-1] > side else x.float()


def heat(values: Any, limit: float, told: str = "", kind: str = "signed", **more: Any) -> dict[str, Any]:
    """Numbers [H, W] as colours: "signed" from -limit over a neutral 0 to limit, "size" from 0 to limit."""
    low = -limit if kind == "signed" else 0.0
    share = ((values.detach().float().cpu() - low) / ((limit - low) or 1)).nan_to_num(0).clamp(0, 1)
    picture = Image.fromarray((share * 255).round().byte().numpy())
    picture.putpalette(_palette(kind))  # a third of the bytes of three channels
    return image(picture, told, **more)


@functools.cache
def _palette(kind: str) -> bytes:
    return (_map(kind)(range(256))[:, :3] * 255).round().astype("uint8").tobytes()


@functools.cache
def _map(kind: str) -> Any:
    import matplotlib

    return matplotlib.colormaps[MAPS[kind]]


def scale(kind: str, limit: float, told: str = "") -> dict[str, Any]:
    """The colour bar of ``heat``."""
    low = -limit if kind == "signed" else 0.0
    colours = [_map(kind)(k / (STEPS - 1)) for k in range(STEPS)]
    stops = ["rgb({:.0f} {:.0f} {:.0f})".format(*(255 * part for part in colour[:3])) for colour in colours]
    return {"low": f"{low:.3g}", "high": f"{limit:.3g}", "stops": stops, "told": told}


def row(
    label: str, images: Sequence[dict[str, Any]], colour: str = "", scale: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Pictures side by side, named in one of the colours of plots.COLOURS."""
    return {"label": label, "images": list(images), "colour": colour, "scale": scale}


def pictures(name: str, rows: Sequence[dict[str, Any]], title: str = "", note: str = "", size: str = "normal") -> Panel:
    """Rows of pictures. ``size``: "small" (64 px), "normal" (128 px) or "large" (256 px) each on a wide page."""
    return {"kind": "pictures", "name": name, "rows": list(rows), "title": title, "note": note, "size": size}


def flow(tensors: Sequence[tuple[str, Any, str]], lang: str) -> Panel:
    """What flows: (label, tensor, colour) as a table of shape, dtype, min, max, mean, standard deviation."""
    from ddpm_app.learn.probes.tensors import facts

    found = [(label, colour, facts(tensor)) for label, tensor, colour in tensors]
    head = [t(f"ui.learn.flow.{key}", lang) for key in ("name", "shape", "dtype", "min", "max", "mean", "std")]
    cells = [
        [
            {"text": label, "colour": colour},
            "×".join(map(str, f.shape)) or "1",
            f.dtype,
            *map(_number, (f.min, f.max, f.mean, f.std)),
        ]
        for label, colour, f in found
    ]
    return table("flow", head, cells, t("ui.learn.flow.title", lang))


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"


def charts(name: str, drawn: Sequence[dict[str, Any]], lang: str) -> Panel:
    """Plots made by ``plots.chart``."""
    return {"kind": "charts", "name": name, "value": plots.frame(list(drawn), lang)}


def film(
    name: str,
    frames: Sequence[tuple[str, list[list[Image.Image]]]],
    lang: str,
    rows: Sequence[tuple[str, str]] = (),
    **options: Any,
) -> Panel:
    """A film with play, pause and a slider in the browser: (caption, rows of pictures) per frame; ``rows``: (label, colour) of each row.
    ``options`` as for films.reel."""
    shown = [{"caption": caption, "src": data_uri(rows_grid(pictures), small=True)} for caption, pictures in frames]
    return {
        "kind": "film",
        "name": name,
        "value": film_value(name, t("ui.film.alt", lang), lang, frames=shown, rows=list(rows), **options),
    }


def slider(name: str, before: tuple[str, Image.Image], after: tuple[str, Image.Image], told: str, lang: str) -> Panel:
    """Two (label, picture) on top of each other with a slider between them."""
    words = {"before": before[0], "after": after[0], "slide": t("ui.train.compare_slide", lang)}
    pair = {"before": data_uri(before[1]), "after": data_uri(after[1])}
    return {"kind": "slider", "name": name, "words": words, "caption": told, **pair}


def table(name: str, head: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> Panel:
    """Rows of cells: text, or a dict of "text" with "colour", "bar" (0 to 1, a bar behind it), "src" (a picture) or "set" (a click)."""
    return {"kind": "table", "name": name, "head": list(head), "rows": [list(row) for row in rows], "title": title}


def note(text: str, kind: str = "") -> Panel:
    """A sentence; ``kind`` "good", "warn" or "bad" frames it."""
    return {"kind": "note", "name": "note", "text": text, "tone": kind}


def markup(name: str, made: str) -> Panel:
    """HTML or SVG of a station's own. An element with ``data-set`` (see ``setting``) is a button that sets controls."""
    return {"kind": "markup", "name": name, "html": made}


def setting(**values: Any) -> str:
    """The attribute of an element in ``markup`` that sets controls, or "model", "picture", "seed", "t", "station", when it is clicked."""
    import json

    return f'data-set="{html.escape(json.dumps(values), quote=True)}" role="button" tabindex="0"'


def too_large(bench: LearnContext, lang: str, per_parameter: int) -> list[Panel]:
    """Instead of a station that would copy a model beyond MOST_PARAMETERS: the reason, and a way out; [] for other models. ``per_parameter``:
    bytes that the copies would take for each parameter."""
    from ddpm_app.model.unet import count_parameters

    size = count_parameters(bench.model.unet)
    if size <= MOST_PARAMETERS:
        return []
    told = t("ui.learn.copy.large", lang, parameters=f"{size:,}", bytes=format_bytes(per_parameter * size))
    way_out = html.escape(t("ui.learn.copy.way_out", lang))
    return [
        note(told, "warn"),
        markup("way-out", f'<button class="soft" {setting(model="shipped:butterflies-words")}>{way_out}</button>'),
    ]
