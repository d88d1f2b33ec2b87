"""Station 10, walking back: three samplers from one noise as a film, and what fewer steps cost."""

from collections.abc import Iterator

import torch
from PIL import Image
from torch import Tensor

from ddpm_app import plots
from ddpm_app.data.preprocess import to_images
from ddpm_app.film import LATENT_RANGE, MAX_FRAMES
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.panels import Panel, Picture, PictureRow, PicturesPanel
from ddpm_app.learn.probes import samplers
from ddpm_app.learn.probes.samplers import Measured
from ddpm_app.learn.station import StationRequest
from ddpm_app.sample import Frame

NAMES = {"ddpm": "DDPM", "ddim": "DDIM", "dpmpp_2m": "DPM++ 2M"}
LINES = {"dpmpp_2m": "prediction", "ddim": "data"}
SIDE = 128
"""Pictures of the film are scaled down to this."""
GROWS = (1, 4, 8, 14)
"""Steps after which the film is shown before it is whole."""

FilmFrame = tuple[str, list[list[Image.Image]]]
"""A caption and rows of pictures."""


def show(context: LearnContext, request: StationRequest) -> Iterator[list[Panel] | None]:
    """The film as it grows; after "measure" the chart, point by point."""
    memory, key = request.memory, (request.seed, request["steps"], request["eta"], request.lang)
    results = memory.setdefault(("measured", request.seed), [])
    if memory.get("key") != key:
        whole: list[Panel] = []
        for film in _walk(context, request):
            yield [*film, *_quality(context, request, results)] if film else None
            whole = film or whole
        memory.update(key=key, film=whole)
    yield [*memory["film"], *_quality(context, request, results)]
    if request.pressed == "measure":
        for has_news in _measure(context, request, results):
            yield [*memory["film"], *_quality(context, request, results)] if has_news else None


# ---- the film --------------------------------------------------------------------------------------------------------
def _walk(context: LearnContext, request: StationRequest) -> Iterator[list[Panel] | None]:
    """The panels of the film, now and then while it grows and when it is whole."""
    steps = min(request["steps"], context.timesteps)
    count = min(steps, MAX_FRAMES)
    steps_in_film = {1 + round(k * (steps - 1) / max(1, count - 1)) for k in range(count)}
    frames: list[FilmFrame] = []
    newest: dict[str, Frame] = {}
    noise, network = context.noise(request.seed), samplers.network(context.model, context.condition())
    for name, frame in samplers.walks(context.model, network, noise, steps, request["eta"], request.seed):
        newest[name] = frame
        if name == samplers.SAMPLERS[-1] and frame.step in steps_in_film:
            frames.append((_caption(request, newest), _rows(context, newest)))
            if frame.step in GROWS or frame.step == steps:
                yield _film(context, request, frames, noise, newest)
                continue
        yield None


def _caption(request: StationRequest, newest: dict[str, Frame]) -> str:
    frame = next(iter(newest.values()))
    times = ", ".join(str(frame.timestep) for frame in newest.values())
    return request.say("caption", step=frame.step, total=frame.total, times=times)


def _rows(context: LearnContext, newest: dict[str, Frame]) -> list[list[Image.Image]]:
    """x_t of each sampler above the clean picture that it guesses."""
    model, frames = context.model, newest.values()
    x, x0 = torch.cat([frame.x for frame in frames]), torch.cat([frame.x0 for frame in frames])
    side = min(SIDE, model.image_size)
    return [
        [_resized(image, side) for image in to_images(row)]
        for row in (panels.viewable(model, x), model.codec.decode(x0))
    ]


def _resized(image: Image.Image, side: int) -> Image.Image:
    return image.resize((side, side), Image.Resampling.NEAREST if image.width < side else Image.Resampling.LANCZOS)


def _film(
    context: LearnContext, request: StationRequest, frames: list[FilmFrame], noise: Tensor, newest: dict[str, Frame]
) -> list[Panel]:
    note = request.say("latent_order" if context.model.codec.vae is not None else "order", range=LATENT_RANGE)
    rows = [("x_t", "noise"), (request.say("guessed"), "prediction")]
    flows = [("x_T", noise, "noise"), *((NAMES[name], frame.x, "prediction") for name, frame in newest.items())]
    condition = _condition_text(context)
    condition_note = panels.note(request.say("asked_for", text=condition), name="asked_for")
    return [
        panels.film("walk", frames, request.lang, rows, note, pace=300),
        panels.note(request.say("same_noise")),
        *([condition_note] if condition else []),
        panels.flow(flows, request.lang),
    ]


def _condition_text(context: LearnContext) -> str:
    """The text or label that the picture is drawn for; "" where there is none."""
    conditioning, labels = context.model.conditioning, context.source.labels
    if conditioning.kind == "labels" and context.index is not None and labels:
        label = labels[context.index]
        return conditioning.names[label] if 0 <= label < conditioning.none else ""
    return context.text(context.index) if conditioning.kind == "text" else ""


# ---- quality against time --------------------------------------------------------------------------------------------
def _measure(context: LearnContext, request: StationRequest, results: list[Measured]) -> Iterator[bool]:
    """Fills ``results`` anew; True where there is more to show."""
    results.clear()
    few = tuple(dict.fromkeys(min(steps, context.timesteps) for steps in samplers.FEW))
    many = min(samplers.MANY, context.timesteps)
    network = samplers.network(context.model, context.condition())
    for result in samplers.measure(context.model, network, context.noise(request.seed), few, many):
        if result:
            results.append(result)
        yield result is not None


def _quality(context: LearnContext, request: StationRequest, results: list[Measured]) -> list[Panel]:
    explanation = panels.note(
        request.say("measure_told", many=min(samplers.MANY, context.timesteps)), name="measure_told"
    )
    if not results:
        return [explanation]
    lines, rows = [], []
    ordered = sorted(results, key=lambda result: result.steps)
    for name, colour in LINES.items():
        points = sorted((r.seconds, r.distance) for r in results if r.sampler == name and r.distance)
        xy = [round(seconds, 3) for seconds, _ in points], [float(f"{distance:.4g}") for _, distance in points]
        lines.append(plots.line(request.say("line", name=NAMES[name]), colour, xy, "dots"))
        if images := [_result(request, result) for result in ordered if result.sampler == name]:
            rows.append(PictureRow(NAMES[name], images, colour))
    chart = plots.chart("quality", request.say("chart"), request.say("axis"), lines, log=True, wide=True)
    return [
        explanation,
        panels.charts("quality", [chart], request.lang),
        PicturesPanel("results", rows, size="small", place="beside"),
    ]


def _result(request: StationRequest, result: Measured) -> Picture:
    values = {"steps": result.steps, "seconds": f"{result.seconds:.1f}", "distance": f"{result.distance:.3f}"}
    return panels.picture(result.picture, request.say("result", **values))
