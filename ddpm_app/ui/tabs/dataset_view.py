"""The Dataset tab's cards: the first four pictures, the gallery, one picture, and what is counted."""

import collections
import contextlib
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from markupsafe import Markup
from PIL import Image

from ddpm_app.config import FIELDS
from ddpm_app.data import cache, open_datasets
from ddpm_app.data.account import INFORMATION
from ddpm_app.data.open_datasets import OpenDataset
from ddpm_app.data.upload import display_name
from ddpm_app.errors import Problem, as_problem
from ddpm_app.i18n import format_bytes, t
from ddpm_app.images import data_uri
from ddpm_app.ui.html import bar, histogram, join, notice, quiet, thumbnail
from ddpm_app.ui.state import PARALLEL, App, Page, Updates, Values, label
from ddpm_app.ui.tabs.dataset_editor import CaptionEditor, caption_of, label_of
from ddpm_app.ui.tabs.dataset_gallery import DatasetGallery, open_entry

if TYPE_CHECKING:
    from ddpm_app.data.image_source import ImageSource

PICTURE_SIDE = 256
"""Side at which a picture is sent, in pixels."""
MAX_BARS, MAX_LABELS = 12, 24
"""Bars of the histogram of sizes; labels that are listed."""


class DatasetView:
    """The pictures and figures of the data set with the ``key`` on show, and what the viewer has turned to in it.

    ``stage`` holds all of it; ``identity``: what decides which pictures these are; ``row`` of the picture counts from 0."""

    def __init__(self, app: App, key: gr.Textbox):
        self.app = app
        self.key, self.identity = key, gr.State("")
        self.row = gr.State(0)
        with gr.Column(elem_id="stage") as self.stage:
            self._draw()

    def _draw(self) -> None:
        with gr.Column(elem_classes="card"):
            gr.Markdown(label("ui.dataset.preview"), elem_classes="title")
            self.preview = gr.HTML(elem_id="preview")
            self.facts = gr.HTML(elem_id="facts")
        with gr.Row():
            with gr.Column(scale=7, min_width=320, elem_classes="card"):
                self.gallery = DatasetGallery(self.app, self.key)
            with gr.Column(scale=4, min_width=300, elem_classes="card"):
                gr.Markdown(label("ui.dataset.one"), elem_classes="title")
                self.picture = gr.HTML(elem_id="one")
                self.editor = CaptionEditor(self.app)
                self.resize_mode = gr.Radio(
                    list(FIELDS["resize_mode"].choices),
                    value="squash",
                    label="resize_mode",
                    info=label("field.resize_mode"),
                    elem_id="resize",
                )
        with gr.Row():
            with gr.Column(scale=4, min_width=300, elem_classes="card"):
                gr.Markdown(label("ui.dataset.counts"), elem_classes="title")
                self.counts = gr.HTML(elem_id="counts")
            with gr.Column(scale=4, min_width=300, elem_classes="card"):
                gr.Markdown(label("ui.dataset.sizes"), elem_classes="title")
                self.sizes = gr.HTML(elem_id="sizes")
            with gr.Column(scale=4, min_width=300, elem_classes="card"):
                gr.Markdown(label("ui.dataset.account"), elem_classes="title")
                self.account = gr.HTML(elem_id="account")
                self.cache = gr.HTML(elem_id="cache")
                self.clear = gr.Button(label("ui.dataset.clear"), size="sm", visible=not self.app.public)

    def wire(self, page: Page) -> None:
        """Connect what needs only the data set on show. The listeners ``showing``, ``looking`` and ``editing`` fill the cards, the
        picture and the fields below it: for events of the tab to be followed by."""
        self.page = page
        mode = page.form.components["resize_mode"]
        self.showing: dict[str, Any] = {
            "fn": self.show,
            "inputs": {
                self.key,
                page.lang,
                self.identity,
                self.row,
                self.gallery.search,
                self.gallery.page_number,
            },
            "outputs": [
                self.preview,
                self.sizes,
                self.counts,
                self.identity,
                self.row,
                self.picture,
                *self.gallery.outputs,
            ],
            **PARALLEL,
        }
        self.looking: dict[str, Any] = {
            "fn": self.show_picture,
            "inputs": [self.key, page.lang, self.row, mode],
            "outputs": self.picture,
            **PARALLEL,
        }
        self.editing: dict[str, Any] = {
            "fn": self.editor.show,
            "inputs": [self.key, self.row, page.visitor],
            "outputs": [self.editor.caption, self.editor.label, self.editor.save],
            **PARALLEL,
        }
        self.gallery.wire(page)
        picked = self.gallery.pictures.select(
            self.gallery.pick, [self.key, self.gallery.search, self.gallery.page_number], self.row, **PARALLEL
        )
        picked.then(**self.looking).then(**self.editing)
        self.resize_mode.input(lambda mode: mode, self.resize_mode, mode, **PARALLEL)
        mode.change(lambda mode: mode, mode, self.resize_mode, **PARALLEL).then(**self.looking)

    # ---- handlers ----------------------------------------------------------------------------------------------------
    def show(self, data: Values) -> Updates:
        """The first four, the figures, and a page of the gallery: the first, or, where the same pictures were on show before, the
        one that was."""
        key, lang = data[self.key], data[self.page.lang]
        entry = open_entry(self.app, key)
        if entry is None:
            return gr.skip()
        entry.preview = entry.preview or preview(entry.source)
        identity = repr([getattr(entry.config, name) for name in open_datasets.SOURCE])
        search, page_number, row = data[self.gallery.search], data[self.gallery.page_number], data[self.row]
        others: Updates = {}
        if identity != data[self.identity]:
            search, page_number, row = "", 0, 0
            others = {self.picture: ""}  # another set's picture is no picture of this one, however long the next takes
        return others | {
            self.preview: entry.preview,
            self.sizes: sizes(entry.source.sizes(), lang),
            self.counts: label_counts(entry.source, lang),
            self.identity: identity,
            self.row: row,
            **self.gallery.turn(key, lang, search, page_number),
        }

    def show_figures(self, key: str, lang: str) -> Updates:
        """Counts and licence, what became of everything, the cache."""
        entry = open_entry(self.app, key)
        if entry is None:
            return gr.skip()
        return {
            self.facts: facts(entry, lang),
            self.account: account_list(entry, lang),
            self.cache: self.cache_size(lang),
        }

    def show_picture(self, key: str, lang: str, row: int, resize_mode: str) -> Markup | Updates:
        """One picture as it is and as the model sees it, once torchvision is loaded."""
        entry = open_entry(self.app, key)
        if entry is None or not 0 <= row < len(entry.source) or not self.app.warm.is_set():
            return (
                gr.skip()
            )  # looked at again once all are decoded: an answer that waited could come after that of the next set
        try:
            return picture_pair(entry, row, resize_mode, lang)
        except Exception as error:
            return notice(as_problem(error), lang)

    def cache_size(self, lang: str) -> Markup:
        """Where decoded pictures lie, and how much they take."""
        if self.app.public:
            return Markup()
        size = sum(size for _, size, _ in cache.caches())
        return quiet(t("ui.dataset.cache", lang, path=cache.cache_folder(), size=format_bytes(size)))


# ---- HTML ---------------------------------------------------------------------------------------------------------------
def preview(source: "ImageSource") -> Markup:
    """The first four pictures in a row, drawn by matplotlib as the tutorial draws them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # a second that the first page needn't take
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 4), layout="constrained", facecolor="none")
    for i, axis in enumerate(figure.subplots(1, 4)):
        axis.set_axis_off()
        with contextlib.suppress(IndexError, Problem):  # fewer than four, or a broken one: its place stays empty
            axis.imshow(source.thumbnail(i, 512))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    row = Image.fromarray(np.asarray(canvas.buffer_rgba()))
    captions = [source.captions[i] if source.captions else source.names[i] for i in range(min(4, len(source)))]
    # as PNG it would be half a megabyte
    return Markup('<img alt="{}" src="{}">').format("; ".join(captions), data_uri(row, small=True))


def sizes(dimensions: list[tuple[int, int]], lang: str) -> Markup:
    """How many pictures have which longer side, for (width, height) of each, as bars of at most ``MAX_BARS`` ranges."""
    if not dimensions:
        return Markup()
    longest = [max(size) for size in dimensions]
    low, high = min(longest), max(longest)
    bins = min(MAX_BARS, high - low + 1)
    edges = [low + (high - low + 1) * k / bins for k in range(bins + 1)]
    ranges = list(zip(edges, edges[1:], strict=False))
    counts = [sum(a <= side < b for side in longest) for a, b in ranges]
    names = [f"{int(a)}" if b - a <= 1 else f"{int(a)} - {int(b) - 1}" for a, b in ranges]
    bars = [(f"{name} px", n / max(counts), f"{n:,}") for name, n in zip(names, counts, strict=True)]
    shapes = set(dimensions)
    width, height = min(shapes)
    shape = f"{width} x {height}" if len(shapes) == 1 else t("ui.dataset.shapes", lang, count=len(shapes))
    return histogram(bars) + quiet(f"{t('ui.dataset.longer_side', lang)} {shape}")


def label_counts(source: "ImageSource", lang: str) -> Markup:
    """How many pictures have which label, as bars: the ``MAX_LABELS`` most frequent ones, then the rest in a line."""
    if not source.label_names:
        return quiet(t("ui.dataset.no_labels", lang))
    counts = collections.Counter(source.labels)
    unlabelled = counts.pop(-1, 0)
    ranked = sorted(range(len(source.label_names)), key=lambda k: -counts[k])
    top, rest = ranked[:MAX_LABELS], ranked[MAX_LABELS:]
    lines = [(source.label_names[k], counts[k]) for k in top]
    lines += [(t("ui.dataset.counts_none", lang), unlabelled)] if unlabelled else []
    most = max(count for _, count in lines)
    bars = histogram((name, count / most, f"{count:,}") for name, count in lines)
    if not rest:
        return bars
    return bars + quiet(t("ui.dataset.counts_more", lang, count=len(rest), pictures=sum(counts[k] for k in rest)))


def facts(entry: OpenDataset, lang: str) -> Markup:
    """How many pictures, labels and captions there are, where they come from, and their licence."""
    source = entry.source
    lines = [t("ui.dataset.pictures", lang, count=len(source if entry.pictures is None else entry.pictures))]
    if entry.pictures is not None:
        train, held_out = len(entry.pictures.train), len(entry.pictures.held_out)
        lines.append(t("ui.dataset.shares", lang, train=train, held_out=held_out))
    if source.label_names:
        lines.append(t("ui.dataset.labels", lang, count=len(source.label_names)))
    if source.captions:
        lines.append(t("ui.dataset.captions", lang))
    name = source.name if source.kind == "hub" else display_name(source.name)
    lines.append(t(f"ui.dataset.kind_{source.kind.replace('-', '_')}", lang, name=name))
    if source.kind != "built-in":
        license = source.license or t("ui.dataset.no_license", lang)
        lines.append(t("ui.dataset.license", lang, license=license))
    return Markup('<div class="facts">{}</div>').format(join(Markup("<span>{}</span>").format(line) for line in lines))


def account_list(entry: OpenDataset, lang: str) -> Markup:
    """What everything in the source was taken for: what is used first, then what is changed or not used, each with what to do."""
    account = entry.pictures.account if entry.pictures is not None else entry.source.account
    lines = join(
        Markup('<li class="{}">{}</li>').format("used" if line.code in INFORMATION else "unused", line.text(lang))
        for line in sorted(account, key=lambda line: line.code not in INFORMATION)
    )
    waiting = quiet(t("ui.dataset.unchecked", lang)) if entry.pictures is None else ""
    return Markup("<ul>{}</ul>{}").format(lines, waiting)


def picture_pair(entry: OpenDataset, i: int, resize_mode: str, lang: str) -> Markup:
    """One picture as it is and as the model sees it, side by side. Raises Problem("picture_unfit")."""
    from ddpm_app.data.preprocess import square

    source, config = entry.source, entry.config
    original = source.picture(i)
    pixels = square(original, config.image_size, resize_mode, config.channels)
    prepared = Image.fromarray(pixels[..., 0] if config.channels == 1 else pixels)
    captions = (
        t("ui.dataset.original", lang, width=original.width, height=original.height),
        t("ui.dataset.seen", lang, size=config.image_size, mode=resize_mode),
    )
    figures = join(
        Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(
            thumbnail(image, caption, PICTURE_SIDE), caption
        )
        for image, caption in zip((original, prepared), captions, strict=True)
    )
    name = " · ".join(filter(None, (label_of(source, i), source.names[i])))
    return Markup('<div class="pair">{}</div><p class="told"><b>{}</b><br>{}</p>').format(
        figures, name, caption_of(source, i)
    )


def progress(entry: OpenDataset, lang: str) -> Markup:
    """How far opening or decoding is."""
    amount = ""
    if entry.total:
        amount = t("ui.header.part", lang, done=entry.done, total=entry.total)
    elif entry.phase == "download" and entry.done:
        amount = t("ui.header.megabytes", lang, done=entry.done / 1e6)
    line = Markup('<div role="status">{} {}</div>').format(t(f"ui.phase.{entry.phase}", lang), amount)
    return line + bar(entry.done / entry.total if entry.total else None)
