"""Does the autoencoder fit the pictures? What it makes of some of them, and its error beside that on the held-out specimens."""

import dataclasses
import html
from collections.abc import Iterator
from typing import Any

import gradio as gr

from ddpm_app import jobs
from ddpm_app.config import BUILT_IN, BUILT_IN_256, FIELDS, TrainConfig
from ddpm_app.data import open_datasets
from ddpm_app.data.open_datasets import OpenDataset
from ddpm_app.device_lock import DEVICE
from ddpm_app.errors import as_problem
from ddpm_app.i18n import t
from ddpm_app.ui.html import notice
from ddpm_app.ui.state import App, Page, label
from ddpm_app.ui.tabs import dataset_view

SHOWN = 4
"""Pictures shown beside their reconstructions."""
SIDE = 256
"""Side at which one is shown at most, in pixels."""
POLL_SECONDS = 0.5
PICTURED_BY = ("vae", "init_from", "dataset_name", "image_size", "resize_mode", "channels")
"""Settings that make an answer out of date."""


def build(app: App, shared: Page) -> None:
    """Draw the card; it is connected once the form exists."""
    with gr.Column(elem_classes=["card", "group"], elem_id="fit"):
        gr.Markdown(label("ui.fit.title"), elem_classes="title")
        gr.Markdown(label("ui.fit.note"), elem_classes="quiet")
        button = gr.Button(label("ui.fit.look"), size="md", elem_id="fit-look")
        answer = gr.HTML(elem_id="fit-answer")

    def look(visitor: str, lang: str, *given: Any) -> Iterator[str]:
        try:
            config = shared.form.read(given)
            app.access.check_models(config)
            yield from looked(app, app.access.check_data(config, visitor), lang)
        except Exception as error:
            yield notice(app.access.redact(as_problem(error)), lang)

    def wire() -> None:
        form, quiet = shared.form.components, {"show_progress": "hidden", "api_visibility": "private"}
        button.click(look, [shared.visitor, shared.lang, *shared.form.inputs], answer, concurrency_limit=2, **quiet)
        gr.on([form[name].change for name in PICTURED_BY], lambda: "", None, answer, concurrency_limit=None, **quiet)

    shared.later.append(wire)


def looked(app: App, config: TrainConfig, lang: str) -> Iterator[str]:
    """How far it is, then the answer, as HTML. Raises Problem."""
    yield _waiting(t("ui.fit.working", lang))
    jobs.engine()
    from ddpm_app.train import summary

    made = summary.summarize(config, 0, app.runs_dir)
    if made and all(part.name != "vae" for part in made.parts):
        yield notice(t("ui.fit.pixels", lang, value=config.init_from))
        return
    from ddpm_app.device import resolve_device
    from ddpm_app.model import pipeline, reconstruction

    entry = app.datasets.get(app.datasets.ask(config, again=True))
    while not entry.ended.wait(POLL_SECONDS):
        yield dataset_view.progress(entry, lang)
    if entry.problem:
        raise entry.problem
    specimens = _specimens(config, entry)
    field = "init_from" if config.init_from else "vae"
    codec = pipeline.load_vae(getattr(config, field), app.runs_dir, field).to(resolve_device(config))
    codec.shape(config.channels, config.image_size)
    yield _waiting(t("ui.fit.working", lang))
    with DEVICE:
        x, y = reconstruction.reconstruct(codec, entry.pictures)
        known = reconstruction.dataset_psnr(codec, specimens, held_out=True)
    found = reconstruction.psnr(x, y)
    yield _pairs(x, y, lang) + _verdict(app, found, known, reconstruction.UNFIT_PSNR, lang)


def _specimens(config: TrainConfig, entry: OpenDataset) -> Any:
    """Pictures whose held-out ones are the built-in specimens that nothing that ships has learnt from, at the run's size."""
    if config.dataset_name in (BUILT_IN, BUILT_IN_256) and len(entry.pictures.held_out):
        return entry.pictures
    from ddpm_app.data.image_dataset import load

    plain = {name: FIELDS[name].default for name in (*open_datasets.SOURCE, "resize_mode", "validation_share")}
    return load(dataclasses.replace(config, **plain | {"dataset_name": BUILT_IN}))


def _waiting(told: str) -> str:
    return f'<div role="status">{told}</div>'


def _pairs(x: Any, y: Any, lang: str) -> str:
    """Pictures over their reconstructions, float [N, 3, S, S] in [-1, 1] both."""
    from ddpm_app.data.preprocess import to_images

    chosen = [round(k * (len(x) - 1) / max(1, SHOWN - 1)) for k in range(min(SHOWN, len(x)))]
    rows = ""
    for name, pictures in (("original", x), ("again", y)):
        told = html.escape(t(f"ui.fit.{name}", lang))
        shown = "".join(dataset_view.img(picture, told, SIDE) for picture in to_images(pictures[chosen]))
        rows += f"<figure><figcaption>{told}</figcaption><div>{shown}</div></figure>"
    return f'<div class="fit-pairs">{rows}</div>'


def _verdict(app: App, found: float, known: float, limit: float, lang: str) -> str:
    """The error in decibels, beside that on the specimens, and what to do about it."""
    told, kind = t("ui.fit.fits", lang, limit=limit), "good"
    if found < limit:
        told, kind = t("ui.fit.unfit_public" if app.public else "ui.fit.unfit", lang, limit=limit), "bad"
    bars = "".join(
        f'<div><span>{html.escape(t(f"ui.fit.{name}", lang))}</span><i style="width:{max(1, min(100, 2.5 * value)):.0f}%"></i>'
        f"<b>{value:.1f} dB</b></div>"
        for name, value in (("yours", found), ("specimens", known))
    )
    return f'<div class="histogram">{bars}</div><div class="note {kind}">{html.escape(told)}</div>'
