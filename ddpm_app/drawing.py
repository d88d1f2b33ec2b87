"""Pictures drawn row after row on the Sample tab, with what the film and the preview under way show of them."""

import dataclasses
import itertools
import textwrap
import time
from collections.abc import Iterator

import torch
from PIL import Image
from torch import Tensor

from ddpm_app import sample
from ddpm_app.data.preprocess import to_images
from ddpm_app.film import LATENT_RANGE, MAX_PICTURES, SIDE, FilmRecorder
from ddpm_app.i18n import t
from ddpm_app.images import image_grid
from ddpm_app.model.pipeline import Model
from ddpm_app.sample import Request

SHOW_SECONDS = 0.3
"""At least so long between two sheets under way."""

LIVE_SHARE = 0.2
"""How much of the time may be spent on showing pictures under way."""

LIVE_PICTURES = 64

UNREAD_LENGTH = 160
"""Characters that a note quotes of what the text encoder does not read or know."""

FILM_PIXELS = MAX_PICTURES * 256**2
"""Pixels of one row of a film of latents: decoding great pictures costs more than drawing them."""


@dataclasses.dataclass
class DrawingProgress:
    """How far drawing is: ``step`` of ``total``, pictures finished so far, and now and then a sheet of all as they look."""

    step: int
    total: int
    images: list[Image.Image]
    live: Image.Image | None


def draw_rows(model: Model, requests: list[tuple[str, Request]], recorder: FilmRecorder) -> Iterator[DrawingProgress]:
    """Draw the rows one after the other. What the film and the sheet under way show is decoded here, where the device is held."""
    finished: list[Image.Image] = []
    last_sheet, pause, columns = 0.0, SHOW_SECONDS, requests[0][1].num_images if len(requests) > 1 else None
    for r, (_, request) in enumerate(requests):
        for frame, done in sample.draw(model, request):
            so_far, live = [*finished, *done], None
            if frame.step <= request.num_inference_steps and (room := recorder.wants(frame.step)):
                room = min(room, max(1, recorder.pictures // len(requests)))
                recorder.add(frame.step, frame.timestep, film_rows(model, frame.x[:room], frame.x0[:room]))
            if (start := time.monotonic()) - last_sheet > pause:
                guesses = to_images(model.codec.decode(frame.x0)) if frame.step % request.num_inference_steps else []
                live = image_grid([*so_far[-LIVE_PICTURES:], *guesses], columns)
                last_sheet = time.monotonic()
                pause = max(SHOW_SECONDS, (last_sheet - start) / LIVE_SHARE)
            yield DrawingProgress(r * frame.total + frame.step, len(requests) * frame.total, so_far, live)
        finished = so_far


def film_pictures(model: Model) -> int:
    """How many pictures a film of this model shows."""
    return MAX_PICTURES if model.codec.vae is None else max(1, min(MAX_PICTURES, FILM_PIXELS // model.image_size**2))


def film_rows(model: Model, x: Tensor, x0: Tensor) -> list[list[Image.Image]]:
    """The rows of a film for x_t and the guess of x0, both [N, C, H, W]: as pictures, and of latents x_t also as it is."""
    images = to_images(model.codec.decode(torch.cat([x, x0])))
    rows = [images[: len(x)], images[len(x) :]]
    if model.codec.vae is None:
        return rows
    raw = to_images(x[:, : 3 if x.shape[1] >= 3 else 1] / LATENT_RANGE)
    side = min(SIDE, images[0].width), min(SIDE, images[0].height)
    return [[image.resize(side, Image.Resampling.NEAREST) for image in raw], *rows]


def latents_note(model: Model, lang: str) -> str:
    """How the film shows latents."""
    if model.codec.vae is None:
        return ""
    channels = model.shape[0]
    return t(
        "ui.film.latents_colour" if channels >= 3 else "ui.film.latents_grey",
        lang,
        channels=channels,
        range=LATENT_RANGE,
    )


def conditions_drawn(model: Model, request: Request) -> list[str]:
    """What each picture of a request shows, where it isn't the same for all: the name of its label, or its text."""
    if model.conditioning.kind == "text" and len(request.prompt) < 2:
        return [""] * request.num_images
    return sample.conditions(model, request)


def text_remarks(model: Model, requests: list[tuple[str, Request]], lang: str) -> list[str]:
    """A line for each text of which the encoder doesn't see the end, and of the words that it doesn't know, with some that it
    knows."""
    conditioning = model.conditioning
    if conditioning.kind != "text":
        return []
    texts = list(
        dict.fromkeys(
            text for _, request in requests for text in (*request.prompt[: request.num_images], request.negative_prompt)
        )
    )
    unread = [conditioning.unread(text) for text in texts]
    ends = [textwrap.shorten(end, UNREAD_LENGTH, placeholder=" ...") for end in unread if end]
    lines = [t("ui.sample.cut", lang, longest=conditioning.longest, text=end) for end in ends]
    if unknown := list(dict.fromkeys(itertools.chain(*conditioning.unknown_words(texts)))):
        words = textwrap.shorten(", ".join(unknown), UNREAD_LENGTH, placeholder=" ...")
        lines.append(t("ui.sample.unknown", lang, words=words))
        if examples := ", ".join(conditioning.example_words(unknown)):
            lines.append(t("ui.sample.example_words", lang, examples=examples))
    return lines
