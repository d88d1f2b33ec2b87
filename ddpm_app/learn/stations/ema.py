"""Station 11, EMA or raw: one noise through the averaged and through the latest weights, and how the average is made."""

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor

from ddpm_app import diffusion, i18n, plots, sample
from ddpm_app.data.preprocess import to_images
from ddpm_app.errors import Problem
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.panels import Panel, PictureRow, PicturesPanel
from ddpm_app.learn.probes import ema as probe
from ddpm_app.learn.probes import samplers
from ddpm_app.learn.station import StationRequest
from ddpm_app.model.pipeline import Model
from ddpm_app.train.objective import Batch

TRAINING_STEPS, PER_STEP = 6, 2
"""Steps that a copy of a model without raw weights goes on for, and pictures of each."""
FIRST_STEPS = 8
"""Sampling steps of the picture shown meanwhile."""
STEPS = 1000
"""Steps of the window's drawing for a model whose run is not known."""
POINTS = 120
"""Points of a curve."""

Pair = tuple[Model, Model]
"""A model with averaged and with raw weights."""


def show(context: LearnContext, request: StationRequest) -> Iterator[list[Panel] | None]:
    """The window at once; then, step by step, both weights' pictures. Of a model that brings no raw weights a copy goes on training first."""
    window, notes = _window(context, request), []
    if context.run is not None:
        if reason := _lacks_raw(context, request):
            yield [reason, *window]
            return
        models: Pair = context.model, request.memory["raw"]
    else:
        notes = [panels.note(request.say("tried", steps=TRAINING_STEPS), name="tried")]
        if "trained" not in request.memory:
            yield from _train(context, request, [*notes, *window])
        models = request.memory["trained"]
    step = 0
    for guesses in _walk(context, request, models):
        if guesses is None:
            yield None
            continue
        step += 1
        labels = request.say("average"), request.say("raw")
        flow = [(label, x0, "prediction") for label, x0 in zip(labels, guesses, strict=True)]
        pair = _pair(context, request, guesses, step, models)
        yield [*pair, *notes, *window, panels.flow(flow, request.lang)]


def _lacks_raw(context: LearnContext, request: StationRequest) -> Panel | None:
    """Why there are no raw weights beside the average; None where ``memory["raw"]`` has them."""
    try:
        if "raw" not in request.memory:
            request.memory["raw"] = context.raw_model()
    except Problem as problem:
        if not context.config.use_ema:
            return panels.note(request.say("no_average"))
        return panels.note(i18n.problem_on_page(problem, request.lang), "warn")
    return None


def _train(context: LearnContext, request: StationRequest, below: list[Panel]) -> Iterator[list[Panel] | None]:
    """Train a copy for TRAINING_STEPS; meanwhile the picture that the model itself draws."""
    model = context.model
    network = samplers.network(model, context.condition())
    sampler = sample.make_sampler("dpmpp_2m", model.scheduler)
    for frame in sample.denoise(network, context.noise(request.seed), sampler, FIRST_STEPS):
        x = frame.x
        yield None
    picture = panels.picture(model.codec.decode(x)[0], request.say("as_it_is"), "prediction")
    yield [PicturesPanel("before", [PictureRow("", [picture])], size="large"), *below]
    for unets in probe.go_on(context.config, model.unet, context.alphas_cumprod.float(), _batches(context)):
        if unets:
            request.memory["trained"] = tuple(dataclasses.replace(model, unet=unet) for unet in unets)
        else:
            yield None


def _batches(context: LearnContext) -> Iterator[Batch]:
    """Training pictures, timesteps and noise of TRAINING_STEPS steps."""
    train, generator = context.pictures.train, diffusion.generator(context.config.seed, "ema")
    for _ in range(TRAINING_STEPS):
        indices = train[torch.randint(len(train), (PER_STEP,), generator=generator).numpy()]
        x0 = context.clean(indices)
        timesteps = torch.randint(context.timesteps, (PER_STEP,), generator=generator).to(context.device)
        noise = torch.randn(x0.shape, generator=generator).to(context.device)
        yield Batch(x0, noise, timesteps, context.conditions(indices))


def _walk(context: LearnContext, request: StationRequest, models: Pair) -> Iterator[tuple[Tensor, Tensor] | None]:
    """The guesses of x0 of both models, [1, c, h, w], after each step, and None between the two; the last are the pictures."""
    condition, noise, steps = context.condition(), context.noise(request.seed), _steps(context, request)
    average, raw = (
        sample.denoise(
            samplers.network(model, condition), noise, sample.make_sampler("dpmpp_2m", model.scheduler), steps
        )
        for model in models
    )
    for _ in range(steps):
        guess = next(average).x0
        yield None
        yield guess, next(raw).x0


def _steps(context: LearnContext, request: StationRequest) -> int:
    return min(request["steps"], context.timesteps)


def _pair(
    context: LearnContext, request: StationRequest, guesses: tuple[Tensor, Tensor], step: int, models: Pair
) -> list[Panel]:
    average, raw = (to_images(context.model.codec.decode(x0))[0] for x0 in guesses)
    if "difference" not in request.memory:
        request.memory["difference"] = probe.difference(*(model.unet for model in models))
    caption = request.say("step", step=step, total=_steps(context, request))
    labelled = (request.say("average"), average), (request.say("raw"), raw)
    return [
        panels.comparison("pair", *labelled, caption, request.lang),
        panels.note(request.say("apart", share=f"{100 * request.memory['difference']:.2g}")),
    ]


def _window(context: LearnContext, request: StationRequest) -> list[Panel]:
    """What each past step counts in the average: for the window chosen, and for that of the model's own settings."""
    steps = (context.run.status.get("step") if context.run else 0) or STEPS
    at = sorted({round(1 + k * (steps - 1) / (POINTS - 1)) for k in range(POINTS)})

    def line(key: str, colour: str, window: float, style: str) -> plots.Line:
        weights = probe.weights(window, steps)
        percentages = [float(f"{100 * float(weights[k - 1]):.4g}") for k in at]
        return plots.line(request.say(key, window=f"{window:g}"), colour, (at, percentages), style)

    own, window = context.config.ema_window, request["window"]
    lines = [line("line_chosen", "prediction", window, "line")]
    if context.config.use_ema and own != window:
        lines.append(line("line_own", "data", own, "dashed"))
    weights = probe.weights(window, steps)
    sentence = request.say(
        "window_told",
        share=f"{100 * probe.half(window):.2g}",
        count=f"{float(1 / weights.square().sum()):,.0f}",
        steps=f"{steps:,}",
        last=f"{100 * float(weights[-1]):.2g}",
    )
    chart = plots.chart("window", request.say("chart"), request.say("axis"), lines, x_max=steps, wide=True)
    return [panels.charts("window", [chart], request.lang), panels.note(sentence, name="window_told")]
