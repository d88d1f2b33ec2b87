"""Station 10, walking back: three samplers from one noise as a film, and what fewer steps cost."""

from collections.abc import Iterator
from typing import Any

from PIL import Image

from ddpm_app import plots
from ddpm_app.film import LATENT_RANGE, MAX_FRAMES
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.station import Action, Panel, Slider, Station, StationRequest

NAMES = {"ddpm": "DDPM", "ddim": "DDIM", "dpmpp_2m": "DPM++ 2M"}
LINES = {"dpmpp_2m": "prediction", "ddim": "data"}
SIDE = 96
"""Pictures of the film are scaled down to this."""
GROWS = (1, 4, 8, 14)
"""Steps after which the film is shown before it is whole."""


def show(bench: LearnContext, asked: StationRequest) -> Iterator[list[Panel] | None]:
    """The film as it grows; after "measure" the chart, point by point."""
    key = asked.seed, asked["steps"], asked["eta"], asked.lang
    measured = asked.memory.setdefault(("measured", asked.seed), [])
    if asked.memory.get("of") != key:
        for film in _walk(bench, asked):
            yield film and [*film, *_measured(bench, asked, measured)]
            if film:
                whole = film
        asked.memory.update(of=key, film=whole)
    yield [*asked.memory["film"], *_measured(bench, asked, measured)]
    if asked.pressed == "measure":
        for found in _measure(bench, asked, measured):
            yield [*asked.memory["film"], *_measured(bench, asked, measured)] if found else None


# ---- the film --------------------------------------------------------------------------------------------------------
def _walk(bench: LearnContext, asked: StationRequest) -> Iterator[list[Panel] | None]:
    """The panels of the film, now and then while it grows and when it is whole."""
    from ddpm_app.learn.probes import samplers

    steps = min(asked["steps"], bench.timesteps)
    wanted = min(steps, MAX_FRAMES)
    keep = {1 + round(k * (steps - 1) / max(1, wanted - 1)) for k in range(wanted)}
    frames: list[Any] = []
    now: dict[str, Any] = {}
    noise, network = bench.noise(asked.seed), samplers.network(bench.model, bench.condition())
    for name, frame in samplers.walks(bench.model, network, noise, steps, asked["eta"], asked.seed):
        now[name] = frame
        shown = None
        if name == samplers.SAMPLERS[-1] and frame.step in keep:
            frames.append((_caption(asked, now), _rows(bench, now)))
            if frame.step in GROWS or frame.step == steps:
                shown = _film(bench, asked, frames, noise, now)
        yield shown


def _caption(asked: StationRequest, now: dict[str, Any]) -> str:
    frame = next(iter(now.values()))
    times = ", ".join(str(frame.timestep) for frame in now.values())
    return asked.say("caption", step=frame.step, total=frame.total, times=times)


def _rows(bench: LearnContext, now: dict[str, Any]) -> list[list[Image.Image]]:
    """x_t of each sampler above the clean picture that it guesses."""
    import torch

    from ddpm_app.data.preprocess import to_images

    codec, frames = bench.model.codec, now.values()
    x, x0 = torch.cat([frame.x for frame in frames]), torch.cat([frame.x0 for frame in frames])
    side = min(SIDE, bench.model.image_size)
    return [
        [_sized(image, side) for image in to_images(part)] for part in (panels.seen(bench.model, x), codec.decode(x0))
    ]


def _sized(image: Image.Image, side: int) -> Image.Image:
    return image.resize((side, side), Image.Resampling.NEAREST if image.width < side else Image.Resampling.LANCZOS)


def _film(
    bench: LearnContext, asked: StationRequest, frames: list[Any], noise: Any, now: dict[str, Any]
) -> list[Panel]:
    note = asked.say("latent_order" if bench.model.codec.vae is not None else "order", range=LATENT_RANGE)
    rows = [("x_t", "noise"), (asked.say("guessed"), "prediction")]
    flows = [("x_T", noise, "noise"), *((NAMES[name], frame.x, "prediction") for name, frame in now.items())]
    wanted = _asked_for(bench)
    return [
        panels.film("walk", frames, asked.lang, rows, note=note, pace=300),
        panels.note(asked.say("same_noise")),
        *([panels.note(asked.say("asked_for", text=wanted)) | {"name": "asked_for"}] if wanted else []),
        panels.flow(flows, asked.lang),
    ]


def _asked_for(bench: LearnContext) -> str:
    """The text or label that the picture is asked for by; "" where nothing is."""
    asking, labels = bench.model.conditioning, bench.source.labels
    if asking.kind == "labels" and bench.index is not None and labels:
        return asking.names[labels[bench.index]] if 0 <= labels[bench.index] < asking.none else ""
    return bench.text(bench.index) if asking.kind == "text" else ""


# ---- quality against time --------------------------------------------------------------------------------------------
def _measure(bench: LearnContext, asked: StationRequest, measured: list[Any]) -> Iterator[bool]:
    """Fills ``measured`` anew; True where there is more to show."""
    from ddpm_app.learn.probes import samplers

    measured.clear()
    few = tuple(dict.fromkeys(min(steps, bench.timesteps) for steps in samplers.FEW))
    network = samplers.network(bench.model, bench.condition())
    for one in samplers.measure(
        bench.model, network, bench.noise(asked.seed), few, min(samplers.MANY, bench.timesteps)
    ):
        if one:
            measured.append(one)
        yield one is not None


def _measured(bench: LearnContext, asked: StationRequest, measured: list[Any]) -> list[Panel]:
    from ddpm_app.learn.probes.samplers import MANY

    told = panels.note(asked.say("measure_told", many=min(MANY, bench.timesteps))) | {"name": "measure_told"}
    if not measured:
        return [told]
    lines = []
    for name, colour in LINES.items():
        points = sorted((one.seconds, one.distance) for one in measured if one.sampler == name and one.distance)
        seconds, distances = [round(s, 3) for s, _ in points], [float(f"{d:.4g}") for _, d in points]
        lines.append(plots.line(asked.say("line", name=NAMES[name]), colour, (seconds, distances), "dots"))
    chart = plots.chart("quality", asked.say("chart"), asked.say("axis"), lines, log=True, wide=True)
    ordered = sorted(measured, key=lambda one: one.steps)
    rows = [
        panels.row(NAMES[name], [_result(asked, one) for one in ordered if one.sampler == name], LINES[name])
        for name in LINES
    ]
    return [
        told,
        panels.charts("quality", [chart], asked.lang),
        panels.pictures("results", [row for row in rows if row["images"]], size="small"),
    ]


def _result(asked: StationRequest, one: Any) -> dict[str, Any]:
    return panels.image(
        one.picture, asked.say("result", steps=one.steps, seconds=f"{one.seconds:.1f}", distance=f"{one.distance:.3f}")
    )


STATION = Station(
    "walk",
    show,
    controls=(Slider("steps", 5, 50, 1, 10), Slider("eta", 0.0, 1.0, 0.1, 0.0), Action("measure")),
    maths=(
        r"x_{t'}=\sqrt{\bar\alpha_{t'}}\,\hat{x}_0+\sqrt{1-\bar\alpha_{t'}-\sigma^2}\,\hat\epsilon+\sigma z",
        r"\sigma=\eta\sqrt{\frac{1-\bar\alpha_{t'}}{1-\bar\alpha_t}}\sqrt{1-\frac{\bar\alpha_t}{\bar\alpha_{t'}}}",
        r"\eta=0:\ \mathrm{DDIM},\quad\eta=1:\ \mathrm{DDPM}",
    ),
    code=("ddpm_app.sample:denoise", "ddpm_app.sample:make_sampler", "ddpm_app.learn.probes.samplers:measure"),
    uses=("asked", "seed"),
)
