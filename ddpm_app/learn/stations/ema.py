"""Station 11, EMA or raw: one noise through the averaged and through the latest weights, and how the average is made."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from ddpm_app import i18n, plots
from ddpm_app.errors import Problem
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.station import Panel, Slider, Station, StationRequest

TRIED, PER_STEP = 6, 2
"""Steps that a copy of a model without raw weights goes on for, and pictures of each."""
FIRST = 8
"""Sampling steps of the picture shown meanwhile."""
STEPS = 1000
"""Steps of the window's drawing for a model whose run is not known."""
POINTS = 120
"""Points of a curve."""


def show(bench: LearnContext, asked: StationRequest) -> Iterator[list[Panel] | None]:
    """The window at once; then, step by step, both weights' pictures. Of a model that brings no raw weights a copy goes on training first."""
    window = _window(bench, asked)
    if bench.run is not None:
        try:
            ema, raw = bench.model, _once(asked, "raw", bench.raw)
        except Problem as problem:
            yield [
                panels.note(asked.say("no_average"))
                if not bench.config.use_ema
                else panels.note(i18n.problem_text(problem, asked.lang), "warn"),
                *window,
            ]
            return
        told = []
    else:
        told = [panels.note(asked.say("tried", steps=TRIED)) | {"name": "tried"}]
        if "tried" not in asked.memory:
            yield from _try(bench, asked, [*told, *window])
        ema, raw = asked.memory["tried"]
    step = 0
    for both in _walk(bench, asked, ema, raw):
        if both is None:
            yield None
            continue
        step += 1
        flow = panels.flow(
            [(asked.say("average"), both[0], "prediction"), (asked.say("raw"), both[1], "prediction")], asked.lang
        )
        yield [*_pair(bench, asked, both, step, (ema, raw)), *told, *window, flow]


def _once(asked: StationRequest, name: str, make: Any) -> Any:
    """What is made once while a viewer stays."""
    if name not in asked.memory:
        asked.memory[name] = make()
    return asked.memory[name]


def _try(bench: LearnContext, asked: StationRequest, below: list[Panel]) -> Iterator[list[Panel] | None]:
    """Train a copy for TRIED steps; meanwhile the picture that the model itself draws."""
    from ddpm_app import sample
    from ddpm_app.learn.probes import ema, samplers

    frames = sample.denoise(
        samplers.network(bench.model, bench.condition()),
        bench.noise(asked.seed),
        sample.make_sampler("dpmpp_2m", bench.model.scheduler),
        FIRST,
    )
    for frame in frames:
        x = frame.x
        yield None
    drawn = panels.image(bench.model.codec.decode(x)[0], asked.say("as_it_is"), colour="prediction")
    yield [panels.pictures("before", [panels.row("", [drawn])], size="large"), *below]
    turns = ema.go_on(bench.config, bench.model.unet, bench.abar.float(), _batches(bench))
    for both in turns:
        if both:
            asked.memory["tried"] = tuple(dataclasses.replace(bench.model, unet=unet) for unet in both)
        else:
            yield None


def _batches(bench: LearnContext) -> Iterator[Any]:
    """Training pictures, timesteps and noise of TRIED steps."""
    import torch

    from ddpm_app import diffusion
    from ddpm_app.learn.probes.step import Batch

    known, draw = bench.pictures.train, diffusion.generator(bench.config.seed, "ema")
    for _ in range(TRIED):
        chosen = known[torch.randint(len(known), (PER_STEP,), generator=draw).numpy()]
        x0 = bench.clean(chosen)
        timesteps = torch.randint(bench.timesteps, (PER_STEP,), generator=draw).to(bench.device)
        yield Batch(x0, torch.randn(x0.shape, generator=draw).to(bench.device), timesteps, bench.conditions(chosen))


def _walk(bench: LearnContext, asked: StationRequest, average: Any, raw: Any) -> Iterator[tuple[Any, Any] | None]:
    """The guesses of x0 of both models, [1, c, h, w], after each step, and None between the two; the last are the pictures."""
    from ddpm_app import sample
    from ddpm_app.learn.probes import samplers

    condition, noise, steps = bench.condition(), bench.noise(asked.seed), _steps(bench, asked)
    both = [
        sample.denoise(
            samplers.network(model, condition), noise, sample.make_sampler("dpmpp_2m", model.scheduler), steps
        )
        for model in (average, raw)
    ]
    for _ in range(steps):
        guess = next(both[0]).x0
        yield None
        yield guess, next(both[1]).x0


def _steps(bench: LearnContext, asked: StationRequest) -> int:
    return min(asked["steps"], bench.timesteps)


def _pair(
    bench: LearnContext, asked: StationRequest, both: tuple[Any, Any], step: int, models: tuple[Any, Any]
) -> list[Panel]:
    from ddpm_app.data.preprocess import to_images
    from ddpm_app.learn.probes.ema import difference

    pictures = [to_images(bench.model.codec.decode(x))[0] for x in both]
    share = _once(asked, "apart", lambda: difference(*(model.unet for model in models)))
    told = asked.say("step", step=step, total=_steps(bench, asked))
    apart = asked.say("apart", share=f"{100 * share:.2g}")
    return [
        panels.slider("pair", (asked.say("average"), pictures[0]), (asked.say("raw"), pictures[1]), told, asked.lang),
        panels.note(apart),
    ]


def _window(bench: LearnContext, asked: StationRequest) -> list[Panel]:
    """What each past step counts in the average: for the window chosen, and for that of the model's own settings."""
    from ddpm_app.learn.probes import ema

    steps = (bench.run.status.get("step") if bench.run else 0) or STEPS
    at = sorted({round(1 + k * (steps - 1) / (POINTS - 1)) for k in range(POINTS)})

    def line(key: str, colour: str, window: float, style: str) -> dict[str, Any]:
        weights = ema.weights(window, steps)
        told = asked.say(key, window=f"{window:g}")
        return plots.line(told, colour, (at, [float(f"{100 * float(weights[k - 1]):.4g}") for k in at]), style)

    own, window = bench.config.ema_window, asked["window"]
    lines = [line("line_chosen", "prediction", window, "line")]
    if bench.config.use_ema and own != window:
        lines.append(line("line_own", "data", own, "dashed"))
    weights = ema.weights(window, steps)
    share, last, count = 100 * ema.half(window), 100 * float(weights[-1]), float(1 / weights.square().sum())
    told = asked.say("window_told", share=f"{share:.2g}", count=f"{count:,.0f}", steps=f"{steps:,}", last=f"{last:.2g}")
    chart = plots.chart("window", asked.say("chart"), asked.say("axis"), lines, x_max=steps, wide=True)
    return [panels.charts("window", [chart], asked.lang), panels.note(told) | {"name": "window_told"}]


STATION = Station(
    "ema",
    show,
    controls=(Slider("window", 0.01, 1.0, 0.01, 0.1), Slider("steps", 2, 20, 1, 8)),
    maths=(
        r"\bar\theta_n=d_n\,\bar\theta_{n-1}+(1-d_n)\,\theta_n,\quad d_n=1-\frac{1}{1+w\,(n-1)}",
        r"\bar\theta_n=\sum_{k=1}^{n}c_k\,\theta_k,\quad c_k=(1-d_k)\prod_{j=k+1}^{n}d_j\;\propto\;k^{1/w-1}",
    ),
    code=("ddpm_app.model.ema:make_ema", "ddpm_app.learn.probes.ema:weights"),
    uses=("asked", "seed"),
    whole=True,
)
