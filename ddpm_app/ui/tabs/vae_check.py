"""Does the autoencoder fit the pictures? What it makes of some of them, and its error beside that on the held-out specimens."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import gradio as gr
from markupsafe import Markup
from PIL import Image

from ddpm_app.config import BUILT_IN, BUILT_IN_256, FIELDS, TrainConfig
from ddpm_app.data import open_datasets
from ddpm_app.data.open_datasets import OpenDataset
from ddpm_app.device_lock import DEVICE
from ddpm_app.errors import as_problem
from ddpm_app.i18n import t
from ddpm_app.ui.html import histogram, join, note, notice, thumbnail
from ddpm_app.ui.state import PARALLEL, QUICK, App, Page, Values, label
from ddpm_app.ui.tabs.config_summary import train_modules
from ddpm_app.ui.tabs.dataset_view import progress

if TYPE_CHECKING:
    from ddpm_app.data.image_dataset import ImageDataset

MAX_PICTURES = 4
"""Pictures shown beside their reconstructions."""
SIDE = 256
"""Side at which a picture is sent at most, in pixels."""
POLL_SECONDS = 0.5
DEPENDS_ON = ("vae", "init_from", "dataset_name", "image_size", "resize_mode", "channels")
"""Settings that make an answer out of date."""


class VaeCheck:
    """The card with the button and the answer."""

    def __init__(self, app: App):
        self.app = app
        with gr.Column(elem_classes=["card", "group"], elem_id="fit"):
            gr.Markdown(label("ui.fit.title"), elem_classes="title")
            gr.Markdown(label("ui.fit.note"), elem_classes="quiet")
            self.button = gr.Button(label("ui.fit.look"), size="md", elem_id="fit-look")
            self.answer = gr.HTML(elem_id="fit-answer")

    def wire(self, page: Page) -> None:
        """Connect the card."""
        self.page, form = page, page.form
        inputs = {page.visitor, page.lang, *form.inputs}
        self.button.click(self.check, inputs, self.answer, **QUICK | {"concurrency_limit": 2})
        gr.on([form.components[name].change for name in DEPENDS_ON], lambda: "", None, self.answer, **PARALLEL)

    def check(self, data: Values) -> Iterator[Markup]:
        """How far the check is, then its answer."""
        access, lang = self.app.access, data[self.page.lang]
        try:
            config = self.page.form.read(data)
            access.check_models(config)
            yield from self.compare(access.check_data(config, data[self.page.visitor]), lang)
        except Exception as error:
            yield notice(access.redact(as_problem(error)), lang)

    def compare(self, config: TrainConfig, lang: str) -> Iterator[Markup]:
        """As ``check``, for settings that are allowed. Raises Problem."""
        datasets, runs_dir = self.app.datasets, self.app.runs_dir
        yield _waiting(lang)
        _, _, summary = train_modules()
        from ddpm_app.data import preprocess
        from ddpm_app.device import resolve_device
        from ddpm_app.model import pipeline, reconstruction

        model = summary.summarize(config, 0, runs_dir)
        if model and all(part.name != "vae" for part in model.parts):
            yield notice(t("ui.fit.pixels", lang, value=config.init_from))
            return
        entry = datasets.get(datasets.ask(config, again=True))
        while not entry.ended.wait(POLL_SECONDS):
            yield progress(entry, lang)
        if entry.problem:
            raise entry.problem
        specimens = _specimens(config, entry)
        field = "init_from" if config.init_from else "vae"
        codec = pipeline.load_vae(getattr(config, field), runs_dir, field).to(resolve_device(config))
        codec.shape(config.channels, config.image_size)
        yield _waiting(lang)
        with DEVICE:
            originals, reconstructions = reconstruction.reconstruct(codec, entry.pictures)
            specimens_psnr = reconstruction.dataset_psnr(codec, specimens, held_out=True)
        psnr = reconstruction.psnr(originals, reconstructions)
        n = len(originals)
        rows = [round(k * (n - 1) / max(1, MAX_PICTURES - 1)) for k in range(min(MAX_PICTURES, n))]
        pairs = {
            t("ui.fit.original", lang): preprocess.to_images(originals[rows]),
            t("ui.fit.again", lang): preprocess.to_images(reconstructions[rows]),
        }
        yield pairs_html(pairs) + self._verdict(psnr, specimens_psnr, reconstruction.UNFIT_PSNR, lang)

    def _verdict(self, psnr: float, specimens_psnr: float, limit: float, lang: str) -> Markup:
        """The error in decibels, beside that on the specimens, and what to do about it."""
        bars = histogram(
            (t(f"ui.fit.{name}", lang), max(0.01, min(1, value / 40)), f"{value:.1f} dB")
            for name, value in (("yours", psnr), ("specimens", specimens_psnr))
        )
        if psnr >= limit:
            return bars + note(t("ui.fit.fits", lang, limit=limit), "good")
        return bars + note(t("ui.fit.unfit_public" if self.app.public else "ui.fit.unfit", lang, limit=limit), "bad")


def _specimens(config: TrainConfig, entry: OpenDataset) -> "ImageDataset":
    """Pictures whose held-out ones are the built-in specimens that nothing that ships has learnt from, at the run's size."""
    if config.dataset_name in (BUILT_IN, BUILT_IN_256) and len(entry.pictures.held_out):
        return entry.pictures
    from ddpm_app.data.image_dataset import load

    plain = {name: FIELDS[name].default for name in (*open_datasets.SOURCE, "resize_mode", "validation_share")}
    return load(dataclasses.replace(config, **plain | {"dataset_name": BUILT_IN}))


def _waiting(lang: str) -> Markup:
    return Markup('<div role="status">{}</div>').format(t("ui.fit.working", lang))


def pairs_html(rows: Mapping[str, Sequence[Image.Image]]) -> Markup:
    """The same pictures as they fare in different ways, each row under its caption."""
    figures = (
        Markup("<figure><figcaption>{}</figcaption><div>{}</div></figure>").format(
            caption, join(thumbnail(image, caption, SIDE) for image in images)
        )
        for caption, images in rows.items()
    )
    return Markup('<div class="fit-pairs">{}</div>').format(join(figures))
