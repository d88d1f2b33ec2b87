"""How the Sample tab draws: the model, row after row, and what the film and the sheet under way show of it."""

import dataclasses
import pathlib
import textwrap
import threading
import time
from collections.abc import Iterator
from typing import Any

from PIL import Image

from ddpm_app import jobs
from ddpm_app.config import from_dict
from ddpm_app.runs import Run
from ddpm_app.text import t
from ddpm_app.ui.film import MAX_PICTURES, SIDE, Recorder

SNAPSHOT_SECONDS = 20
"""How long drawing waits for a running run to save before it takes what is there."""
SHOW_SECONDS = 0.3
LIVE_SHARE = 0.2
"""How much of the time may be spent on showing pictures under way."""
LIVE_PICTURES = 64
UNREAD_SHOWN = 160
"""Characters shown of what the text encoder does not read."""
FILM_PIXELS = MAX_PICTURES * 256**2
"""Pixels of one row of a film of latents: decoding great pictures costs more than drawing them."""
KEPT_MODELS, KEPT_BYTES = 4, 1_000_000_000
"""Models kept in memory, and the bytes of their UNets together beyond which only the last is kept."""
LATENT_RANGE = 3
"""Latents have about unit variance: from minus to plus this they are shown."""


# ---- drawing --------------------------------------------------------------------------------------------------------
@dataclasses.dataclass
class Now:
    """How far drawing is: ``step`` of ``total``, pictures finished so far, and now and then a sheet of all as they look."""

    step: int
    total: int
    images: list[Image.Image]
    live: Image.Image | None


def work(model: Any, requests: list[tuple[str, Any]], recorder: Recorder) -> Iterator[Now]:
    """Draw the rows one after the other. What the film and the sheet under way show is decoded here, where the device is held."""
    from ddpm_app import sample

    finished: list[Image.Image] = []
    shown, pause, columns = 0.0, SHOW_SECONDS, requests[0][1].num_images if len(requests) > 1 else None
    for r, (_, request) in enumerate(requests):
        for frame, done in sample.draw(model, request):
            so_far, live = [*finished, *done], None
            if frame.step <= request.num_inference_steps and (room := recorder.wants(frame.step)):
                room = min(room, max(1, recorder.pictures // len(requests)))
                recorder.add(frame.step, frame.timestep, film_rows(model, frame.x[:room], frame.x0[:room]))
            if (began := time.monotonic()) - shown > pause:
                begun = sample.to_images(model.codec.decode(frame.x0)) if frame.step % request.num_inference_steps else []
                live = sample.grid([*so_far[-LIVE_PICTURES:], *begun], columns)
                shown = time.monotonic()
                pause = max(SHOW_SECONDS, (shown - began) / LIVE_SHARE)
            yield Now(r * frame.total + frame.step, len(requests) * frame.total, so_far, live)
        finished = so_far


def film_pictures(model: Any) -> int:
    """How many pictures a film of this model shows."""
    return MAX_PICTURES if model.codec.vae is None else max(1, min(MAX_PICTURES, FILM_PIXELS // model.image_size**2))


def film_rows(model: Any, x: Any, x0: Any) -> list[list[Image.Image]]:
    """The rows of a film for x_t and the guess of x0, both [N, C, H, W]: as pictures, and of latents x_t also as it is."""
    import torch

    from ddpm_app import sample

    images = sample.to_images(model.codec.decode(torch.cat([x, x0])))
    rows = [images[: len(x)], images[len(x) :]]
    if model.codec.vae is None:
        return rows
    raw = sample.to_images(x[:, : 3 if x.shape[1] >= 3 else 1] / LATENT_RANGE)
    side = min(SIDE, images[0].width), min(SIDE, images[0].height)
    return [[image.resize(side, Image.Resampling.NEAREST) for image in raw], *rows]


def latents_told(model: Any, lang: str) -> str:
    """How the film shows latents."""
    if model.codec.vae is None:
        return ""
    channels = model.shape[0]
    return t("ui.film.latents_colour" if channels >= 3 else "ui.film.latents_grey", lang, channels=channels, range=LATENT_RANGE)


def asked_of(model: Any, request: Any) -> list[str]:
    """What each picture of a request shows, where it isn't the same for all: the name of its label, or its text."""
    kind, count = model.conditioning.kind, request.num_images
    turn: list[str] = []
    if kind == "labels":
        names = [*model.conditioning.names, ""]  # -1, no label, takes the last
        turn = [names[k] for k in request.labels or range(len(names) - 1)]
    elif kind == "text" and len(request.prompt) > 1:
        turn = list(request.prompt)
    return [turn[k % len(turn)] if turn else "" for k in range(count)]


def cut_short(model: Any, requests: list[tuple[str, Any]], lang: str) -> list[str]:
    """A line for each text of which the encoder doesn't see the end."""
    if model.conditioning.kind != "text":
        return []
    texts = dict.fromkeys(text for _, request in requests for text in (*request.prompt[: request.num_images], request.negative_prompt))
    unread = [model.conditioning.unread(text) for text in texts]
    ends = [textwrap.shorten(end, UNREAD_SHOWN, placeholder=" ...") for end in unread if end]
    return [t("ui.sample.cut", lang, longest=model.conditioning.longest, text=end) for end in ends]


# ---- the model -------------------------------------------------------------------------------------------------------
def fresh_snapshot(run: Run, lang: str, stop: threading.Event) -> Iterator[str]:
    """Ask a training run to save and wait for it, telling so; gives up when the run pauses, ends or takes too long."""
    before, end = version(run.path), time.monotonic() + SNAPSHOT_SECONDS
    if run.status["state"] == "training":
        run.wish("save")
    while time.monotonic() < end and version(run.path) == before and run.status["state"] == "training" and not stop.is_set():
        yield t("ui.sample.snapshot", lang)
        time.sleep(0.2)


def version(place: pathlib.Path | str) -> tuple[int, ...]:
    """Changes when a run has saved or a pipeline folder was replaced."""
    found = [
        path for path in (pathlib.Path(place, "pipeline", "model_index.json"), pathlib.Path(place, "model_index.json")) if path.is_file()
    ]
    return tuple(n for path in found for n in (path.stat().st_ino, path.stat().st_mtime_ns))


_loaded: dict[tuple, Any] = {}


def load(place: pathlib.Path | str, weights: str) -> Any:
    """``sample.load`` on the best device there is. A download keeps no device from training."""
    jobs.engine()
    from ddpm_app.model import places

    if not pathlib.Path(place).is_dir():
        place = places.fetch(str(place))
    if (model := _loaded.get(_key(place, weights))) is not None:
        return model
    with jobs.DEVICE:
        return kept(place, weights)


def kept(place: pathlib.Path | str, weights: str) -> Any:
    """As ``load``, for one who holds the device. The last models are kept in memory while they are small together."""
    from ddpm_app import sample
    from ddpm_app.train.check import resolve_device

    key = _key(place, weights)
    model = _loaded.get(key)
    if model is None:
        model = sample.load(place, weights, resolve_device(from_dict({"device": "auto"})))
        for old in [old for old in _loaded if old[:2] == key[:2]]:  # the run has saved again
            _loaded.pop(old, None)
        _loaded[key] = model
        while len(_loaded) > 1 and (len(_loaded) > KEPT_MODELS or sum(map(_bytes, _loaded.values())) > KEPT_BYTES):
            _loaded.pop(next(iter(_loaded)))
    return model


def keeps(model: Any) -> bool:
    """Whether ``model`` is among those kept in memory."""
    return any(model is known for known in list(_loaded.values()))


def _key(place: pathlib.Path | str, weights: str) -> tuple:
    return str(place), weights, version(place)


def _bytes(model: Any) -> int:
    return sum(p.numel() * p.element_size() for p in model.unet.parameters())
