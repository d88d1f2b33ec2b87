"""Station 14, between two noises: what the model draws on the way from one seed to another, or from one label or text to another."""

import math
from collections.abc import Generator, Iterator
from typing import Any

from PIL import Image

from ddpm_app import plots
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.station import Choice, Panel, Slider, Station, StationRequest, Words
from ddpm_app.learn.stations.words import condition_of, name_of, no_words, said_of

FRAMES, STEPS = 9, 8
STRIP = (0, 2, 4, 6, 8)
"""Frames shown side by side."""
ORDER = ((0, 4, 8), (2, 6, 1), (3, 5, 7))
"""Which frames are drawn together: the ends and the middle first."""
GUIDANCE = 3.0
THUMB = 64
"""Side of the pictures in the strip."""
POINTS = 33


def show(bench: LearnContext, asked: StationRequest) -> Iterator[list[Panel] | None]:
    """All frames as noise, then as they are drawn, three at a time."""
    import torch

    said = None
    if asked["way"] == "asked":
        if bench.model.conditioning.kind == "none":
            yield no_words(asked)
            return
        said = said_of(bench, asked, "first", "last")
    shares = torch.linspace(0, 1, FRAMES)
    noise = _noise(bench, asked, shares)
    seen = _seen(bench, noise)
    drawn = dict(enumerate(seen))
    yield _panels(bench, asked, noise, seen, drawn, said)
    for rows in map(list, ORDER):
        x0 = yield from _walked(bench, noise[rows], shares[rows], said)
        drawn |= zip(rows, _images(bench.model.codec.decode(x0)), strict=True)
        yield _panels(bench, asked, noise, seen, drawn, said)


def _noise(bench: LearnContext, asked: StationRequest, shares: Any) -> Any:
    """What each frame starts from [FRAMES, c, h, w]."""
    from ddpm_app.learn.probes import slerp

    first, second = (bench.noise(seed).expand(FRAMES, -1, -1, -1) for seed in (asked.seed, asked["second"]))
    if asked["way"] == "asked" or asked.seed == asked["second"]:
        return first.clone()
    return (slerp.lerp if asked["way"] == "line" else slerp.slerp)(first, second, shares)


def _walked(bench: LearnContext, noise: Any, shares: Any, said: list[Any] | None) -> Generator[None, None, Any]:
    """What becomes of ``noise``. Between two noises a conditional model is asked for what the picture shows."""
    from ddpm_app import sample
    from ddpm_app.learn.probes.slerp import blended

    model, count = bench.model, len(noise)
    if said is None:
        unet, wanted = model.unet, bench.condition(count)
        blank = {name: value.to(bench.device) for name, value in model.conditioning.unconditional(count).items()}
    else:
        unet, wanted, blank = blended(
            model.unet, *(condition_of(bench, one) for one in (*said, None)), shares.to(bench.device)
        )
    guided = sample.CFGDenoiser(unet, wanted, blank, GUIDANCE)
    for frame in sample.denoise(
        guided, noise, sample.make_sampler("dpmpp_2m", model.scheduler), min(STEPS, bench.timesteps)
    ):
        x = frame.x
        yield None
    return x


# ---- what is shown ------------------------------------------------------------------------------------------------------
def _images(x: Any) -> list[Image.Image]:
    from ddpm_app.data.preprocess import to_images

    return to_images(x)


def _seen(bench: LearnContext, x: Any) -> list[Image.Image]:
    """Noise as a person sees it, as large as the pictures."""
    side = bench.model.image_size
    return [image.resize((side, side), Image.Resampling.NEAREST) for image in _images(panels.seen(bench.model, x))]


def _panels(
    bench: LearnContext,
    asked: StationRequest,
    noise: Any,
    seen: list[Image.Image],
    drawn: dict[int, Image.Image],
    said: list[Any] | None,
) -> list[Panel]:
    ends = (
        [name_of(bench, one) for one in said]
        if said
        else [asked.say("seed", seed=seed) for seed in (asked.seed, asked["second"])]
    )
    told = [
        asked.say("frame", share=f"{100 * k / (FRAMES - 1):.0f}", first=ends[0], last=ends[1]) for k in range(FRAMES)
    ]
    frames = [(told[k], [[seen[k]], [drawn[k]]]) for k in range(FRAMES)]
    rows = [(asked.say("noise"), "noise"), (asked.say("drawn"), "prediction")]
    done = sum(drawn[k] is not seen[k] for k in range(FRAMES))
    strip = [
        panels.image(
            _thumb(drawn[k]), f"{100 * k / (FRAMES - 1):.0f} %", colour="noise" if drawn[k] is seen[k] else "prediction"
        )
        for k in STRIP
    ]
    half = noise[FRAMES // 2 : FRAMES // 2 + 1]
    flow = [
        (ends[0] if not said else asked.say("noise"), noise[:1], "noise"),
        (asked.say("half"), half, "noise"),
        (ends[1], noise[-1:], "noise"),
    ]
    same = not said and asked.seed == asked["second"]
    return [
        panels.film(
            "between",
            frames,
            asked.lang,
            rows,
            pace=220,
            autoplay=done == FRAMES,
            made=done,
            note=asked.say("same") if same else "",
        ),
        panels.pictures("strip", [panels.row("", strip)], size="small"),
        panels.note(asked.say(f"told_{asked['way']}")),
        *([] if said else [panels.charts("length", [_length(bench, asked)], asked.lang)]),
        panels.flow(flow[:1] if said else flow, asked.lang),
    ]


def _thumb(image: Image.Image) -> Image.Image:
    return image if image.width <= THUMB else image.resize((THUMB, THUMB), Image.Resampling.BOX)


def _length(bench: LearnContext, asked: StationRequest) -> dict[str, Any]:
    """How long the noise is along the arc and along the straight line, over sqrt(D)."""
    import torch

    from ddpm_app.learn.probes import slerp

    shares = torch.linspace(0, 1, POINTS)
    ends = [bench.noise(seed).cpu().expand(POINTS, -1, -1, -1) for seed in (asked.seed, asked["second"])]
    lines = []
    for key, colour, way in (("line_arc", "prediction", slerp.slerp), ("line_straight", "noise", slerp.lerp)):
        long = way(*ends, shares).flatten(1).norm(dim=1) / math.sqrt(ends[0][0].numel())
        lines.append(
            plots.line(
                asked.say(key), colour, ([100 * float(u) for u in shares], [float(f"{v:.4g}") for v in long]), "line"
            )
        )
    return plots.chart("length", asked.say("chart"), asked.say("axis"), lines, x_max=100)


STATION = Station(
    "between",
    show,
    controls=(
        Choice("way", ("slerp", "line", "asked")),
        Slider("second", 0, 99, 1, 1),
        Words("first", asking=True),
        Words("last", asking=True),
    ),
    maths=(
        r"\mathrm{slerp}(a,b,u)=\frac{\sin((1-u)\,\theta)}{\sin\theta}\,a+\frac{\sin(u\,\theta)}{\sin\theta}\,b",
        r"\cos\theta=\frac{a\cdot b}{\Vert a\Vert\,\Vert b\Vert}",
        r"\mathrm{lerp}(a,b,u)=(1-u)\,a+u\,b,\quad\Vert\mathrm{lerp}\Vert\approx\sqrt{u^2+(1-u)^2}\,\sqrt{D}",
    ),
    code=("ddpm_app.learn.probes.slerp:slerp", "ddpm_app.learn.probes.slerp:blended"),
    uses=("asked", "seed"),
)
