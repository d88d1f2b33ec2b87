"""Station 13, did it memorise? Pictures the model draws beside the nearest it has learnt from, against how near unseen pictures come."""

import dataclasses
from collections.abc import Generator, Iterator, Sequence

import numpy as np
import torch
from markupsafe import Markup
from torch import Tensor

from ddpm_app import plots, sample
from ddpm_app.diffusion import generator
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.panels import MarkupPanel, Panel, Picture, PictureRow, PicturesPanel
from ddpm_app.learn.probes import memorization
from ddpm_app.learn.probes.tensors import histogram
from ddpm_app.learn.station import StationRequest

STEPS = 10
"""Denoising steps of a picture."""
SHOW_EVERY = 3
"""Steps from one look at them to the next."""
AT_ONCE = 4
"""Pictures drawn in one slice."""
PART = 128
"""Training pictures compared in one slice."""
COMPARED, UNSEEN = 20_000, 128
"""Training pictures compared at most, and unseen ones measured at most."""
SHOWN_UNSEEN = 4
"""Unseen pictures shown beside their nearest."""
SIDES = {4: 96, 8: 64}
"""Larger pictures are shown at this side, by how many are drawn: so many large ones would travel long."""
BINS = 24
TONES = {"memorised": "bad", "some": "warn", "no": "good"}
EMPTY = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"

Nearest = tuple[Tensor, Tensor]
"""Of each query: the place of its nearest picture among the training pictures compared, and the distance."""


@dataclasses.dataclass(frozen=True)
class _Sets:
    """Indices of ``train``, the training pictures to compare with, and of ``unseen``, pictures that tell how near unseen ones come. Where none
    are held out these are training pictures themselves, at the places ``own`` among the first; else ``own`` is empty."""

    train: np.ndarray
    unseen: np.ndarray
    own: np.ndarray

    @property
    def held_out(self) -> bool:
        return not len(self.own)


def show(context: LearnContext, request: StationRequest) -> Iterator[list[Panel] | None]:
    """The pictures as they are drawn, their nearest, then the distances and what they say."""
    sets = _sets(context)
    drawn: list[Tensor] = []
    for first in range(0, int(request["count"]), AT_ONCE):
        for guesses in _drawn(context, request, first, sets.train):
            if guesses is None:
                yield None
                continue
            so_far = [*drawn, *guesses]
            yield [_pairs(context, request, so_far, sets.train, None)]
        drawn = so_far
    nearest = yield from _search(context, torch.stack(drawn), sets.train)
    yield [_pairs(context, request, drawn, sets.train, nearest)]
    if "usual" not in request.memory:
        unseen = context.pictures.tensors(sets.unseen)
        request.memory["usual"] = yield from _search(context, unseen, sets.train, sets.own)
    yield _results(context, request, drawn, nearest, sets)


def _sets(context: LearnContext) -> _Sets:
    pictures = context.pictures
    train = _spread(pictures.train, COMPARED)
    if len(pictures.held_out):
        return _Sets(train, _spread(pictures.held_out, UNSEEN), np.empty(0, np.int64))
    own = _spread(np.arange(len(train)), UNSEEN)
    return _Sets(train, train[own], own)


def _spread(indices: np.ndarray, most: int) -> np.ndarray:
    """At most so many of ``indices``, evenly spread."""
    return indices[np.linspace(0, len(indices) - 1, min(most, len(indices))).round().astype(int)]


def _drawn(
    context: LearnContext, request: StationRequest, first: int, train: np.ndarray
) -> Iterator[Sequence[Tensor] | None]:
    """Pictures [AT_ONCE, C, S, S] as they look after some of the steps, None after the others. A model with labels or words is asked for
    those of training pictures: there it has most to remember."""
    model = context.model
    noise = context.noise(request.seed, first + AT_ONCE)[first:]
    rng = np.random.default_rng(generator(request.seed, "memory", first).initial_seed())
    condition = context.conditions(rng.choice(train, AT_ONCE))
    denoiser = sample.CFGDenoiser(model.unet, condition, condition, 1)
    sampler = sample.make_sampler("dpmpp_2m", model.scheduler)
    for frame in sample.denoise(denoiser, noise, sampler, min(STEPS, context.timesteps)):
        visible = frame.step % SHOW_EVERY == 1 or frame.step == frame.total
        yield model.codec.decode(frame.x0).cpu().clamp(-1, 1) if visible else None


def _search(
    context: LearnContext, queries: Tensor, train: np.ndarray, own: Sequence[int] | np.ndarray = ()
) -> Generator[None, None, Nearest]:
    """The nearest training picture of each query."""
    parts = (context.pictures.tensors(train[k : k + PART]) for k in range(0, len(train), PART))
    search = memorization.search(queries, parts, own)
    nearest = next(search)
    for nearer in search:
        yield None
        nearest = nearer
    return nearest


# ---- what is shown ------------------------------------------------------------------------------------------------------
def _pairs(
    context: LearnContext,
    request: StationRequest,
    drawn: list[Tensor],
    train: np.ndarray,
    nearest: Nearest | None,
    limit: float | None = None,
) -> Panel:
    """The drawn pictures over their nearest ones."""
    above = [_picture(x, len(drawn), "", "prediction") for x in drawn]
    below = [Picture(EMPTY)] * len(drawn)
    if nearest:
        below = []
        for place, distance in zip(nearest[0].tolist(), nearest[1].tolist(), strict=True):
            x = context.pictures.tensors([train[place]])[0]
            key = "distance" if limit is None else "copy" if distance < limit else "no_copy"
            below.append(_picture(x, len(drawn), request.say(key, distance=f"{distance:.3f}"), "data"))
    rows = [
        PictureRow(request.say("drawn"), above, "prediction"),
        PictureRow(request.say("nearest"), below, "data"),
    ]
    return PicturesPanel("pairs", rows, note=request.say("pairs_told"))


def _picture(x: Tensor, count: int, caption: str, colour: str) -> Picture:
    """A picture [C, S, S], made smaller where it is one of many large ones."""
    return panels.picture(panels.shrink(x[None], SIDES[4 if count <= 4 else 8])[0], caption, colour)


def _results(
    context: LearnContext, request: StationRequest, drawn: list[Tensor], nearest: Nearest, sets: _Sets
) -> list[Panel]:
    """Everything, once all is measured."""
    usual_places, usual = request.memory["usual"]
    button = panels.button(request.say("overfit"), preset="overfit-8")
    ends = [
        MarkupPanel("overfit", Markup("<p>{}</p>").format(button), "beside"),
        panels.flow([(request.say("flow"), torch.stack(drawn), "prediction")], request.lang),
    ]
    if not usual.isfinite().all():
        return [
            _pairs(context, request, drawn, sets.train, nearest),
            panels.note(request.say("single"), "warn"),
            *ends,
        ]
    verdict = memorization.verdict(nearest[1], usual)
    sentence = request.say(
        verdict.kind,
        copies=sum(verdict.copies),
        count=len(drawn),
        limit=f"{verdict.limit:.3f}",
        usual=f"{verdict.usual:.3f}",
        generated=f"{verdict.generated:.3f}",
    )
    control = "by_accident" if sets.held_out else "among_themselves"
    notes = [panels.note(request.say(control, copies=verdict.unseen_copies, count=len(usual)), name="control")]
    if len(sets.train) < (count := len(context.pictures.train)):
        part = request.say("some_only", compared=f"{len(sets.train):,}", all=f"{count:,}")
        notes.append(panels.note(part, name="part"))
    chart = _chart(request, nearest[1], usual, verdict.limit, sets.held_out)
    return [
        _pairs(context, request, drawn, sets.train, nearest, verdict.limit),
        panels.note(sentence, TONES[verdict.kind]),
        panels.charts("distances", [chart], request.lang),
        *notes,
        _unseen(context, request, sets, usual_places, usual),
        *ends,
    ]


def _chart(request: StationRequest, generated: Tensor, usual: Tensor, limit: float, held_out: bool) -> plots.Chart:
    """How the distances spread, in percent of the unseen and of the generated pictures."""
    high = 1.1 * max(float(generated.max()), float(usual.max()))
    unseen = ("line_held_out", "held-out") if held_out else ("line_training", "data")
    lines = []
    for (key, colour), distances in ((unseen, usual), (("line_drawn", "prediction"), generated)):
        middles, shares = histogram(distances, 0.0, high, BINS)
        points = [float(f"{x:.4g}") for x in middles], [round(100 * share, 1) for share in shares]
        lines.append(plots.line(request.say(key), colour, points, "bars"))
    title = request.say("chart", limit=f"{limit:.3f}")
    return plots.chart("distances", title, request.say("axis"), lines, x_max=high, at=limit)


def _unseen(context: LearnContext, request: StationRequest, sets: _Sets, places: Tensor, distances: Tensor) -> Panel:
    """Some unseen pictures beside their nearest: what mere likeness looks like."""
    chosen, tensors = _spread(np.arange(len(sets.unseen)), SHOWN_UNSEEN), context.pictures.tensors
    key, colour = ("held_out", "held-out") if sets.held_out else ("other_training", "data")
    above, below = [], []
    for k in chosen:
        caption = request.say("distance", distance=f"{float(distances[k]):.3f}")
        above.append(_picture(tensors([sets.unseen[k]])[0], 2 * len(chosen), "", colour))
        below.append(_picture(tensors([sets.train[int(places[k])]])[0], 2 * len(chosen), caption, "data"))
    rows = [PictureRow(request.say(key), above, colour), PictureRow(request.say("nearest"), below, "data")]
    return PicturesPanel("unseen", rows, request.say("unseen"), place="beside")
