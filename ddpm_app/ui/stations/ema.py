"""Station 11, EMA or raw: one noise through the averaged and through the latest weights, and how the average is made."""

from collections.abc import Iterator
from typing import Any

from ddpm_app import plots, text
from ddpm_app.problems import Problem
from ddpm_app.ui.learn import scene
from ddpm_app.ui.learn.bench import Bench
from ddpm_app.ui.learn.station import Asked, Panel, Slider, Station

STEPS = 1000
"""Steps of the window's drawing for a model whose run is not known."""
POINTS = 120
"""Points of a curve."""


def show(bench: Bench, asked: Asked) -> Iterator[list[Panel] | None]:
    """The window at once; then, step by step, both weights' pictures."""
    window = _window(bench, asked)
    try:
        raw = _raw(bench, asked)
    except Problem as problem:
        yield [*_without(bench, asked, problem), *window]
        return
    step = 0
    for both in _walk(bench, asked, raw):
        if both is None:
            yield None
            continue
        step += 1
        flow = scene.flow([(asked.say("average"), both[0], "prediction"), (asked.say("raw"), both[1], "prediction")], asked.lang)
        yield [*_pair(bench, asked, both, step, raw), *window, flow]


def _raw(bench: Bench, asked: Asked) -> Any:
    """The model with its latest weights, loaded once."""
    if "raw" not in asked.memory:
        asked.memory["raw"] = bench.raw()
    return asked.memory["raw"]


def _without(bench: Bench, asked: Asked, problem: Problem) -> list[Panel]:
    """Why there are no two kinds of weights, and the way to some."""
    if bench.run is not None and not bench.config.use_ema:
        return [scene.note(asked.say("no_average"))]
    if bench.run is not None:
        return [scene.note(text.tell(problem, asked.lang), "warn")]
    return [scene.note(asked.say("shipped")), scene.note(asked.say("train_one")) | {"name": "way_out"}]


def _walk(bench: Bench, asked: Asked, raw: Any) -> Iterator[tuple[Any, Any] | None]:
    """The guesses of x0 of both models, [1, c, h, w], after each step, and None between the two; the last are the pictures."""
    from ddpm_app import sample
    from ddpm_app.probes import walking

    condition, noise, steps = bench.condition(), bench.noise(asked.seed), _steps(bench, asked)
    both = [
        sample.denoise(walking.network(model, condition), noise, sample.make_sampler("dpmpp_2m", model.scheduler), steps)
        for model in (bench.model, raw)
    ]
    for _ in range(steps):
        average = next(both[0]).x0
        yield None
        yield average, next(both[1]).x0


def _steps(bench: Bench, asked: Asked) -> int:
    return min(asked["steps"], bench.timesteps)


def _pair(bench: Bench, asked: Asked, both: tuple[Any, Any], step: int, raw: Any) -> list[Panel]:
    from ddpm_app.probes.average import difference
    from ddpm_app.sample import to_images

    pictures = [to_images(bench.model.codec.decode(x))[0] for x in both]
    if "apart" not in asked.memory:
        asked.memory["apart"] = difference(bench.model.unet, raw.unet)
    told = asked.say("step", step=step, total=_steps(bench, asked))
    apart = asked.say("apart", share=f"{100 * asked.memory['apart']:.2g}")
    return [
        scene.slider("pair", (asked.say("average"), pictures[0]), (asked.say("raw"), pictures[1]), told, asked.lang),
        scene.note(apart),
    ]


def _window(bench: Bench, asked: Asked) -> list[Panel]:
    """What each past step counts in the average: for the window chosen, and for that of the model's own settings."""
    from ddpm_app.probes import average

    steps = (bench.run.status.get("step") if bench.run else 0) or STEPS
    at = sorted({round(1 + k * (steps - 1) / (POINTS - 1)) for k in range(POINTS)})

    def line(key: str, colour: str, window: float, style: str) -> dict[str, Any]:
        weights = average.weights(window, steps)
        told = asked.say(key, window=f"{window:g}")
        return plots.line(told, colour, (at, [float(f"{100 * float(weights[k - 1]):.4g}") for k in at]), style)

    own, window = bench.config.ema_window, asked["window"]
    lines = [line("line_chosen", "prediction", window, "line")]
    if bench.config.use_ema and own != window:
        lines.append(line("line_own", "data", own, "dashed"))
    weights = average.weights(window, steps)
    share, last, count = 100 * average.half(window), 100 * float(weights[-1]), float(1 / weights.square().sum())
    told = asked.say("window_told", share=f"{share:.2g}", count=f"{count:,.0f}", steps=f"{steps:,}", last=f"{last:.2g}")
    chart = plots.chart("window", asked.say("chart"), asked.say("axis"), lines, x_max=steps, wide=True)
    return [scene.charts("window", [chart], asked.lang), scene.note(told) | {"name": "window_told"}]


STATION = Station(
    "ema",
    show,
    controls=(Slider("window", 0.01, 1.0, 0.01, 0.1), Slider("steps", 2, 20, 1, 8)),
    maths=(
        r"ar	heta_n=d_n\,ar	heta_{n-1}+(1-d_n)\,	heta_n,\quad d_n=1-rac{1}{1+w\,(n-1)}",
        r"ar	heta_n=\sum_{k=1}^{n}c_k\,	heta_k,\quad c_k=(1-d_k)\prod_{j=k+1}^{n}d_j\;\propto\;k^{1/w-1}",
    ),
    code=("ddpm_app.model.unet:make_ema", "ddpm_app.probes.average:weights"),
    uses=("picture", "seed"),
)
