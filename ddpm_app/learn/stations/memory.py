"""Station 13, did it memorise? Pictures the model draws beside the nearest it has learnt from, against how near unseen pictures come."""

from collections.abc import Generator, Iterator
from typing import Any

import numpy as np

from ddpm_app import plots
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.station import Choice, Panel, Station, StationRequest

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
SHOWN = 4
"""Unseen pictures shown beside their nearest."""
SIDES = {4: 96, 8: 64}
"""Larger pictures are shown at this side, by how many are drawn: so many large ones would travel long."""
BINS = 24
TONES = {"memorised": "bad", "some": "warn", "no": "good"}


def show(bench: LearnContext, asked: StationRequest) -> Iterator[list[Panel] | None]:
    """The pictures as they are drawn, their nearest, then the distances and what they say."""
    train, unseen, own = _indices(bench)
    drawn: list[Any] = []
    for first in range(0, int(asked["count"]), AT_ONCE):
        for guess in _drawn(bench, asked, first, train):
            if guess is None:
                yield None
                continue
            now = [*drawn, *guess]
            yield [_pairs(bench, asked, now, train, None)]
        drawn = now
    import torch

    queries = torch.stack(drawn)
    found = yield from _searched(bench, queries, train)
    yield [_pairs(bench, asked, drawn, train, found)]
    if "usual" not in asked.memory:
        asked.memory["usual"] = yield from _searched(bench, bench.pictures.tensors(unseen), train, own)
    yield _told(bench, asked, drawn, found, train, unseen, own)


def _indices(bench: LearnContext) -> tuple[np.ndarray, np.ndarray, Any]:
    """Training pictures to compare with; pictures that tell how near unseen ones come; and, where those are training pictures themselves because
    none are held out, their places among the first, else ()."""
    train = _some(bench.pictures.train, COMPARED)
    if len(bench.pictures.held_out):
        return train, _some(bench.pictures.held_out, UNSEEN), ()
    own = _some(np.arange(len(train)), UNSEEN)
    return train, train[own], own


def _some(indices: np.ndarray, most: int) -> np.ndarray:
    return indices[np.linspace(0, len(indices) - 1, min(most, len(indices))).round().astype(int)]


def _drawn(bench: LearnContext, asked: StationRequest, first: int, train: np.ndarray) -> Iterator[Any]:
    """Pictures [AT_ONCE, C, S, S] as they look after some of the steps, None after the others. A model with labels or words is asked for
    those of training pictures: there it has most to remember."""
    from ddpm_app import sample
    from ddpm_app.diffusion import generator

    model = bench.model
    noise = bench.noise(asked.seed, first + AT_ONCE)[first:]
    key = np.random.default_rng(generator(asked.seed, "memory", first).initial_seed())
    condition = bench.conditions(key.choice(train, AT_ONCE))
    guided = sample.CFGDenoiser(model.unet, condition, condition, 1)
    for frame in sample.denoise(
        guided, noise, sample.make_sampler("dpmpp_2m", model.scheduler), min(STEPS, bench.timesteps)
    ):
        shown = frame.step % SHOW_EVERY == 1 or frame.step == frame.total
        yield model.codec.decode(frame.x0).cpu().clamp(-1, 1) if shown else None


def _searched(
    bench: LearnContext, queries: Any, train: np.ndarray, own: Any = ()
) -> Generator[None, None, tuple[Any, Any]]:
    """(place in ``train``, distance) of each query's nearest training picture."""
    from ddpm_app.learn.probes import memorization

    parts = (bench.pictures.tensors(train[k : k + PART]) for k in range(0, len(train), PART))
    search = memorization.search(queries, parts, own)
    found = next(search)
    for nearer in search:
        yield None
        found = nearer
    return found


# ---- what is shown ------------------------------------------------------------------------------------------------------
def _pairs(
    bench: LearnContext,
    asked: StationRequest,
    drawn: list[Any],
    train: np.ndarray,
    found: Any,
    limit: float | None = None,
) -> Panel:
    """The drawn pictures over their nearest ones."""
    known = bench.pictures
    above = [_image(x, len(drawn), "", "prediction") for x in drawn]
    below = []
    for k in range(len(drawn) if found else 0):
        place, distance = train[int(found[0][k])], float(found[1][k])
        key = "distance" if limit is None else "copy" if distance < limit else "no_copy"
        below.append(_image(known.tensors([place])[0], len(drawn), asked.say(key, distance=f"{distance:.3f}"), "data"))
    rows = [
        panels.row(asked.say("drawn"), above, "prediction"),
        panels.row(asked.say("nearest"), below or [_nothing(x) for x in above], "data"),
    ]
    return panels.pictures("pairs", rows, note=asked.say("pairs_told"))


def _image(x: Any, count: int, told: str, colour: str) -> dict[str, Any]:
    """A picture [C, S, S], made smaller where it is one of many large ones."""
    return panels.image(panels.small(x[None], SIDES[4 if count <= 4 else 8])[0], told, colour=colour)


def _nothing(image: dict[str, Any]) -> dict[str, Any]:
    """Holds the place of a picture of the same size."""
    return image | {
        "src": "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7",
        "colour": "",
    }


def _told(
    bench: LearnContext,
    asked: StationRequest,
    drawn: list[Any],
    found: Any,
    train: np.ndarray,
    unseen: np.ndarray,
    own: Any,
) -> list[Panel]:
    import torch

    from ddpm_app.learn.probes import memorization

    among, usual = asked.memory["usual"]
    button = f'<p><button type="button" class="soft" {panels.setting(preset="overfit-8")}>{asked.say("overfit")}</button></p>'
    ends = [
        panels.markup("overfit", button),
        panels.flow([(asked.say("flow"), torch.stack(drawn), "prediction")], asked.lang),
    ]
    if not usual.isfinite().all():
        return [_pairs(bench, asked, drawn, train, found), panels.note(asked.say("single"), "warn"), *ends]
    result = memorization.verdict(found[1], usual)
    values = {
        "copies": sum(result.copies),
        "count": len(drawn),
        "limit": f"{result.limit:.3f}",
        "usual": f"{result.usual:.3f}",
        "generated": f"{result.generated:.3f}",
    }
    other = asked.say("among_themselves" if len(own) else "by_accident", copies=result.unseen_copies, count=len(usual))
    part = asked.say("some_only", compared=f"{len(train):,}", all=f"{len(bench.pictures.train):,}")
    return [
        _pairs(bench, asked, drawn, train, found, result.limit),
        panels.note(asked.say(result.kind, **values), TONES[result.kind]),
        panels.charts("distances", [_chart(asked, found[1], usual, result.limit, bool(len(own)))], asked.lang),
        panels.note(other) | {"name": "control"},
        *([panels.note(part) | {"name": "part"}] if len(train) < len(bench.pictures.train) else []),
        _unseen(bench, asked, train, unseen, among, usual, bool(len(own))),
        *ends,
    ]


def _chart(asked: StationRequest, generated: Any, usual: Any, limit: float, themselves: bool) -> dict[str, Any]:
    """How the distances spread, in percent of the unseen and of the generated pictures."""
    from ddpm_app.learn.probes.tensors import histogram

    high = 1.1 * max(float(generated.max()), float(usual.max()))
    unseen = ("line_training", "data") if themselves else ("line_held_out", "held-out")
    lines = []
    for (key, colour), distances in ((unseen, usual), (("line_drawn", "prediction"), generated)):
        middles, shares = histogram(distances, 0.0, high, BINS)
        lines.append(
            plots.line(
                asked.say(key),
                colour,
                ([float(f"{x:.4g}") for x in middles], [round(100 * share, 1) for share in shares]),
                "bars",
            )
        )
    return plots.chart(
        "distances", asked.say("chart", limit=f"{limit:.3f}"), asked.say("axis"), lines, x_max=high, at=limit
    )


def _unseen(
    bench: LearnContext,
    asked: StationRequest,
    train: np.ndarray,
    unseen: np.ndarray,
    among: Any,
    usual: Any,
    themselves: bool,
) -> Panel:
    """Some unseen pictures beside their nearest: what mere likeness looks like."""
    chosen, known = _some(np.arange(len(unseen)), SHOWN), bench.pictures
    colour, key = ("data", "other_training") if themselves else ("held-out", "held_out")
    above = [_image(known.tensors([unseen[k]])[0], 2 * len(chosen), "", colour) for k in chosen]
    told = [asked.say("distance", distance=f"{float(usual[k]):.3f}") for k in chosen]
    below = [
        _image(known.tensors([train[int(among[k])]])[0], 2 * len(chosen), text, "data")
        for k, text in zip(chosen, told, strict=True)
    ]
    return panels.pictures(
        "unseen",
        [panels.row(asked.say(key), above, colour), panels.row(asked.say("nearest"), below, "data")],
        asked.say("unseen"),
    )


STATION = Station(
    "memory",
    show,
    controls=(Choice("count", ("4", "8")),),
    maths=(
        r"d(x,y)=\min\left(\,\Vert\downarrow x-\downarrow y\Vert,\;\Vert\downarrow\mathrm{mirror}(x)-\downarrow y\Vert\,\right)/\sqrt{n}",
        r"\min_{y\in\mathrm{train}}d(x,y)\;<\;0.4\cdot\mathrm{median}_{h\in\mathrm{held\,out}}\;\min_{y\in\mathrm{train}}d(h,y)",
    ),
    code=("ddpm_app.learn.probes.memorization:search", "ddpm_app.learn.probes.memorization:verdict"),
    uses=("seed",),
    whole=True,
)
