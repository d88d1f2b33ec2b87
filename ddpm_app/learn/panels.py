"""Panels: plain records that stage_panels.js draws. Pictures are clamped once, in data.preprocess; rows share one scale."""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence

import matplotlib
from markupsafe import Markup
from matplotlib.colors import Colormap
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ddpm_app import plots
from ddpm_app.data.preprocess import to_images
from ddpm_app.film import LATENT_RANGE, FilmOptions, FilmValue, Frame, film_value
from ddpm_app.i18n import format_bytes, t
from ddpm_app.images import data_uri, rows_grid
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.probes.tensors import facts
from ddpm_app.model.pipeline import Model
from ddpm_app.model.unet import count_parameters

MAPS = {"signed": "PuOr_r", "size": "cividis"}
"""matplotlib's colour maps that colour-blind eyes can read: around zero, and from zero up."""
STEPS = 9
"""Colours of a colour bar."""
MAX_PARAMETERS = 200_000_000
"""A larger model isn't copied for a station."""

PLACES = ("stage", "beside")
"""Where pictures and markup stand: what a hand moves on the stage, which stays in view, and the rest beside it, as charts and notes do.
Tables are folded there."""

Settings = Mapping[str, str | int | float | bool]
"""What a click sets: a station's controls, or "model", "picture", "seed", "t", "station", "tab", "preset"."""


# ---- the parts of a panel -----------------------------------------------------------------------------------------------
@dataclasses.dataclass(frozen=True)
class Picture:
    """``src``: a data URI; ``caption`` stands below it; ``colour``, one of plots.COLOURS, is that of its frame; a click on it sets ``set``."""

    src: str
    caption: str = ""
    colour: str = ""
    set: Settings | None = None


@dataclasses.dataclass(frozen=True)
class ColourBar:
    """``stops``: CSS colours from ``low`` to ``high``."""

    low: str
    high: str
    stops: list[str]
    caption: str = ""


@dataclasses.dataclass(frozen=True)
class PictureRow:
    """Pictures side by side under a ``label`` in one of the colours of plots.COLOURS."""

    label: str
    images: Sequence[Picture]
    colour: str = ""
    colour_bar: ColourBar | None = None


@dataclasses.dataclass(frozen=True)
class Cell:
    """``colour``: of a dot before the text; ``bar``: length of a bar behind it, 0 to 1; a click on it sets ``set``."""

    text: str
    colour: str = ""
    bar: float | None = None
    set: Settings | None = None


# ---- panels -------------------------------------------------------------------------------------------------------------
@dataclasses.dataclass(frozen=True)
class Panel:
    """One thing on the stage. A panel takes the place of the one of the same ``name``. ``kind``: who draws it (PANELS in stage_panels.js)."""

    name: str


@dataclasses.dataclass(frozen=True)
class PicturesPanel(Panel):
    """Rows of pictures. ``size``: on the stage "normal" ones are as large as the screen allows, "small" ones share a line; beside it they
    are 96 px and 60 px wide. ``place``: see PLACES."""

    rows: Sequence[PictureRow]
    title: str = ""
    note: str = ""
    size: str = "normal"
    place: str = "stage"
    kind: str = dataclasses.field(default="pictures", init=False)


@dataclasses.dataclass(frozen=True)
class TablePanel(Panel):
    """A table; an empty ``head`` is left out."""

    head: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    title: str = ""
    kind: str = dataclasses.field(default="table", init=False)


@dataclasses.dataclass(frozen=True)
class NotePanel(Panel):
    """A sentence; ``tone`` "good", "warn" or "bad" frames it."""

    text: str
    tone: str = ""
    kind: str = dataclasses.field(default="note", init=False)


@dataclasses.dataclass(frozen=True)
class MarkupPanel(Panel):
    """HTML or SVG of a station's own. An element with ``clickable`` attributes sets controls. ``place``: see PLACES."""

    html: Markup
    place: str = "stage"
    kind: str = dataclasses.field(default="markup", init=False)


@dataclasses.dataclass(frozen=True)
class ChartsPanel(Panel):
    """Plots, see ``charts``."""

    value: plots.ChartFrame
    kind: str = dataclasses.field(default="charts", init=False)


@dataclasses.dataclass(frozen=True)
class FilmPanel(Panel):
    """A film with play, pause and a slider, see ``film``."""

    value: FilmValue
    kind: str = dataclasses.field(default="film", init=False)


@dataclasses.dataclass(frozen=True)
class ComparisonPanel(Panel):
    """Two pictures, as data URIs, on top of each other with a slider between them; ``words``: their labels and that of the slider."""

    before: str
    after: str
    words: dict[str, str]
    caption: str
    kind: str = dataclasses.field(default="slider", init=False)


def note(text: str, tone: str = "", name: str = "note") -> NotePanel:
    """A sentence; a station with several names those after the first."""
    return NotePanel(name, text, tone)


def charts(name: str, plot_charts: list[plots.Chart], lang: str) -> ChartsPanel:
    """Plots made by ``plots.chart``."""
    return ChartsPanel(name, plots.frame(plot_charts, lang))


def film(
    name: str,
    frames: Sequence[tuple[str, list[list[Image.Image]]]],
    lang: str,
    rows: Sequence[tuple[str, str]],
    note: str,
    pace: int,
    autoplay: bool = False,
) -> FilmPanel:
    """A film of (caption, rows of pictures) per frame; ``rows``: (label, colour) of each row; ``pace``: ms per frame."""
    sheets: list[Frame] = [
        {"caption": caption, "src": data_uri(rows_grid(images), small=True)} for caption, images in frames
    ]
    options: FilmOptions = {"frames": sheets, "rows": list(rows), "note": note, "pace": pace, "autoplay": autoplay}
    return FilmPanel(name, film_value(name, t("ui.film.alt", lang), lang, **options))


def comparison(
    name: str, before: tuple[str, Image.Image], after: tuple[str, Image.Image], caption: str, lang: str
) -> ComparisonPanel:
    """Two (label, picture)."""
    words = {"before": before[0], "after": after[0], "slide": t("ui.train.compare_slide", lang)}
    return ComparisonPanel(name, data_uri(before[1]), data_uri(after[1]), words, caption)


def flow(tensors: Sequence[tuple[str, Tensor, str]], lang: str) -> TablePanel:
    """What flows: (label, tensor, colour) as a table of shape, dtype, min, max, mean, standard deviation."""
    head = [t(f"ui.learn.flow.{key}", lang) for key in ("name", "shape", "dtype", "min", "max", "mean", "std")]
    rows: list[list[str | Cell]] = []
    for label, tensor, colour in tensors:
        f = facts(tensor)
        numbers = map(_format_number, (f.min, f.max, f.mean, f.std))
        rows.append([Cell(label, colour), "×".join(map(str, f.shape)) or "1", f.dtype, *numbers])
    return TablePanel("flow", head, rows, t("ui.learn.flow.title", lang))


def _format_number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"


def size_warning(context: LearnContext, lang: str, per_parameter: int) -> list[Panel]:
    """Instead of a station that would copy a model beyond MAX_PARAMETERS: the reason, and a way out; [] for other models.
    ``per_parameter``: bytes that the copies would take for each parameter."""
    size = count_parameters(context.model.unet)
    if size <= MAX_PARAMETERS:
        return []
    reason = t("ui.learn.copy.large", lang, parameters=f"{size:,}", bytes=format_bytes(per_parameter * size))
    way_out = button(t("ui.learn.copy.way_out", lang), model="shipped:butterflies-words")
    return [note(reason, "warn"), MarkupPanel("way-out", way_out)]


# ---- pictures -----------------------------------------------------------------------------------------------------------
def picture(x: Tensor | Image.Image, caption: str = "", colour: str = "", set: Settings | None = None) -> Picture:
    """A tensor [C, H, W] or [H, W] in [-1, 1], clamped, or a PIL image. Sent without loss."""
    image = x if isinstance(x, Image.Image) else to_images((x if x.dim() == 3 else x[None])[None])[0]
    return Picture(data_uri(image), caption, colour, set)


def viewable(model: Model, x: Tensor) -> Tensor:
    """What a person is shown of x [..., c, h, w]: of a model in pixels the picture itself, of latents the first three channels (or one,
    where there are fewer), from -LATENT_RANGE to LATENT_RANGE."""
    return x if model.codec.vae is None else x[..., : 3 if x.shape[-3] >= 3 else 1, :, :] / LATENT_RANGE


def shrink(x: Tensor, side: int) -> Tensor:
    """Square pictures [B, C, H, W] as float32, larger ones as means over some pixels, ``side`` wide."""
    return functional.interpolate(x.float(), size=side, mode="area") if x.shape[-1] > side else x.float()


def heat_map(values: Tensor, limit: float, caption: str = "", kind: str = "signed") -> Picture:
    """Numbers [H, W] as colours: "signed" from -limit over a neutral 0 to limit, "size" from 0 to limit."""
    low = -limit if kind == "signed" else 0.0
    share = ((values.detach().float().cpu() - low) / ((limit - low) or 1)).nan_to_num(0).clamp(0, 1)
    image = Image.fromarray((share * 255).round().byte().numpy())
    image.putpalette(_palette(kind))  # a third of the bytes of three channels
    return picture(image, caption)


@functools.cache
def _palette(kind: str) -> bytes:
    return (_colormap(kind)(range(256))[:, :3] * 255).round().astype("uint8").tobytes()


@functools.cache
def _colormap(kind: str) -> Colormap:
    return matplotlib.colormaps[MAPS[kind]]


def colour_bar(kind: str, limit: float, caption: str = "") -> ColourBar:
    """The scale of ``heat_map``."""
    low = -limit if kind == "signed" else 0.0
    colours = [_colormap(kind)(k / (STEPS - 1)) for k in range(STEPS)]
    stops = ["rgb({:.0f} {:.0f} {:.0f})".format(*(255 * part for part in colour[:3])) for colour in colours]
    return ColourBar(f"{low:.3g}", f"{limit:.3g}", stops, caption)


# ---- markup -------------------------------------------------------------------------------------------------------------
def clickable(**values: str | int) -> Markup:
    """The attributes of an element of a MarkupPanel that makes these settings when it is clicked."""
    return Markup('data-set="{}" role="button" tabindex="0"').format(json.dumps(values))


def button(text: str, **values: str | int) -> Markup:
    """A button that makes these settings."""
    return Markup('<button type="button" class="soft" {}>{}</button>').format(clickable(**values), text)
