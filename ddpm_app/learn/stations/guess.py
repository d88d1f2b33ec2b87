"""Station 5, the guess: noise, clean picture and velocity of one x_t, as they are and as the network says, and where it is good."""

import math
from collections.abc import Iterator

from torch import Tensor

from ddpm_app import diffusion, plots
from ddpm_app.film import LATENT_RANGE
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.panels import Panel, Picture, PictureRow, PicturesPanel, TablePanel
from ddpm_app.learn.probes import guess as probe
from ddpm_app.learn.probes.guess import Guess
from ddpm_app.learn.station import StationRequest

NAMES = {"epsilon": "ε", "sample": "x₀", "v_prediction": "v"}
LINES = {"epsilon": "noise", "sample": "data", "v_prediction": "prediction"}
"""The colours of the error curves."""
FORMULAS = {
    "epsilon": {"sample": "(x_t - √(1-ᾱ) ε) / √ᾱ", "v_prediction": "(ε - √(1-ᾱ) x_t) / √ᾱ"},
    "sample": {"epsilon": "(x_t - √ᾱ x₀) / √(1-ᾱ)", "v_prediction": "(√ᾱ x_t - x₀) / √(1-ᾱ)"},
    "v_prediction": {"epsilon": "√(1-ᾱ) x_t + √ᾱ v", "sample": "√ᾱ x_t - √(1-ᾱ) v"},
}
"""By what the network's output is: the other two from x_t and the output."""
MEASURED = 8
"""Timesteps of the curve."""
LIMIT = 1.0
"""Error maps end at this."""
MAX_GROWTH = 10
"""An error that grows by more than this deserves a warning."""


def show(context: LearnContext, request: StationRequest) -> Iterator[list[Panel] | None]:
    """Target, prediction and error of eps, x0 and v at t; then, timestep by timestep, the errors of the whole schedule."""
    x0, eps, condition = context.x0, context.noise(request.seed), context.condition()
    guess = probe.guess(context.model, x0, eps, request.t, condition)
    content, flow = _at_t(context, request, guess), _flow(request, context, guess)
    errors = request.memory.setdefault(("errors", request.seed), {})
    yield [*content, _curve(context, request, errors), flow]
    timesteps = diffusion.stratified_timesteps(MEASURED, context.timesteps).tolist()
    for t in [t for t in timesteps if t not in errors]:
        guess_at_t = probe.guess(context.model, x0, eps, t, condition)
        errors[t] = {kind: guess_at_t.error(kind) for kind in NAMES}
        yield [*content, _curve(context, request, errors), flow]


def _prediction_type(context: LearnContext) -> str:
    return context.model.scheduler.config.prediction_type


def _at_t(context: LearnContext, request: StationRequest, guess: Guess) -> list[Panel]:
    errors = [
        panels.heat_map(
            (guess.prediction[kind] - guess.target[kind])[0].square().mean(dim=0).sqrt(),
            LIMIT,
            f"{name}: {_format_number(guess.error(kind))}",
            "size",
        )
        for kind, name in NAMES.items()
    ]
    x_t = panels.picture(panels.viewable(context.model, guess.x_t[0]), f"x_t, t = {request.t}", "noise")
    rows = [
        PictureRow(request.say("given"), [x_t], "noise"),
        PictureRow(request.say("target"), _three(context, guess.target), "data"),
        PictureRow(request.say("said"), _three(context, guess.prediction), "prediction"),
        PictureRow(request.say("error"), errors, colour_bar=panels.colour_bar("size", LIMIT)),
    ]
    latent = context.model.codec.vae is not None
    note = request.say("latent_told" if latent else "pixel_told", range=LATENT_RANGE)
    return [PicturesPanel("guess", rows, note=note), _growth_note(context, request), _ways(context, request)]


def _three(context: LearnContext, tensors: dict[str, Tensor]) -> list[Picture]:
    decoded = context.model.codec.decode(tensors["sample"].nan_to_num())[0]
    return [
        panels.picture(decoded if kind == "sample" else panels.viewable(context.model, tensors[kind][0]), name)
        for kind, name in NAMES.items()
    ]


def _format_number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "-"


def _coefficients(context: LearnContext, request: StationRequest) -> dict[str, tuple[float, float]]:
    return probe.coefficients(_prediction_type(context), float(context.alphas_cumprod[request.t]))


def _growth_note(context: LearnContext, request: StationRequest) -> Panel:
    """What the largest growth of an error at this t means, or which of the three the network says itself."""
    output = NAMES[_prediction_type(context)]
    growth = {kind: abs(q) for kind, (_, q) in _coefficients(context, request).items()}
    if undefined := [NAMES[kind] for kind, value in growth.items() if math.isnan(value)]:
        return panels.note(request.say("undefined", said=output, lost=", ".join(undefined)), "bad")
    if wild := [NAMES[kind] for kind, value in growth.items() if value > MAX_GROWTH]:
        times = f"{max(growth.values()):,.0f}"
        return panels.note(request.say("wild", said=output, lost=", ".join(wild), times=times), "warn")
    return panels.note(request.say("calm", said=output), "good")


def _ways(context: LearnContext, request: StationRequest) -> Panel:
    """Each of the three as a sum of x_t and the output, with this timestep's numbers."""
    prediction_type = _prediction_type(context)
    output, formulas = NAMES[prediction_type], FORMULAS[prediction_type]
    rows = []
    for kind, (p, q) in _coefficients(context, request).items():
        number = f"{p:.4g} x_t {'-' if q < 0 else '+'} {abs(q):.4g} {output}"
        now = request.say("itself") if kind == prediction_type else number
        growth = f"x {_format_number(abs(q))}"
        rows.append([NAMES[kind], formulas.get(kind, output), now if math.isfinite(q) else "-", growth])
    head = [request.say(f"head_{key}") for key in ("name", "formula", "now", "growth")]
    return TablePanel("ways", head, rows, request.say("ways"))


def _curve(context: LearnContext, request: StationRequest, errors: dict[int, dict[str, float]]) -> Panel:
    lines = []
    for kind, name in NAMES.items():
        points = [(t, errors[t][kind]) for t in sorted(errors) if math.isfinite(errors[t][kind])]
        xy = [t for t, _ in points], [float(f"{e:.4g}") for _, e in points]
        lines.append(plots.line(request.say("line", name=name), LINES[kind], xy, "dots"))
    title, unit, last = request.say("chart"), request.say("axis"), context.timesteps - 1
    chart = plots.chart("errors", title, unit, lines, log=True, x_max=last, wide=True, at=request.t)
    return panels.charts("errors", [chart], request.lang)


def _flow(request: StationRequest, context: LearnContext, guess: Guess) -> Panel:
    output = _prediction_type(context)
    targets = [
        (request.say("target_of", name=name), guess.target[kind], "noise" if kind == "epsilon" else "data")
        for kind, name in NAMES.items()
    ]
    label = request.say("output", name=NAMES[output])
    return panels.flow(
        [("x_t", guess.x_t, "noise"), (label, guess.prediction[output], "prediction"), *targets], request.lang
    )
