"""Station 7, one step under the glass: real optimiser steps on a copy of the model, four pictures at a time."""

import dataclasses
import math
import time
from collections.abc import Generator, Iterable, Iterator

import torch

from ddpm_app import diffusion, plots
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.panels import Cell, Panel, Picture, PictureRow, PicturesPanel, TablePanel
from ddpm_app.learn.probes import blocks
from ddpm_app.learn.probes.step import Look, Trial
from ddpm_app.learn.station import Memory, StationRequest
from ddpm_app.train.objective import Batch

COUNT = 4
STEPS = {"one": 1, "ten": 10, "hundred": 100}
SIDE = 128
"""Larger pictures are shown as means over some pixels."""
PICTURES_EVERY = 5
"""Of a hundred steps every fifth is shown, and of ten the pictures of every fifth."""
BYTES = 28
"""Of each parameter: the copy, its gradient, two moments, the average, the network that holds it, and the weights before a step."""
MAX_COPIES = 6
"""Copies that exist at once, all viewers together; the oldest are dropped."""


@dataclasses.dataclass
class _Experiment:
    """One viewer's copy, its four pictures, ``clean`` as they are shown, and what came of it: ``losses`` and ``ema_losses`` are (step, loss)."""

    seed: int
    trial: Trial
    batch: Batch
    clean: list[Picture]
    look: Look | None = None
    pictures: Panel | None = None
    losses: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    ema_losses: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0


_memories: list[Memory] = []
"""Of the viewers that have an experiment, the newest last."""


def show(context: LearnContext, request: StationRequest) -> Iterator[list[Panel] | None]:
    """Where the copy stands; after a click, every step until it stands elsewhere."""
    if warning := panels.size_warning(context, request.lang, BYTES):
        yield warning
        return
    experiment = request.memory.get("experiment")
    if experiment is None or experiment.seed != request.seed or request.pressed == "reset":
        experiment = yield from _begin(context, request)
    yield from _look(experiment)
    experiment.pictures = _pictures(context, request, experiment)
    yield _panels(context, request, experiment)
    steps = STEPS.get(request.pressed, 0) if math.isfinite(experiment.look.loss) else 0
    for k in range(steps):
        start = time.perf_counter()
        experiment.trial.update(10 ** request["rate"])
        update_seconds = time.perf_counter() - start
        experiment.seconds = update_seconds + (yield from _look(experiment))
        lost = not math.isfinite(experiment.look.loss)
        with_pictures = lost or (k + 1) % PICTURES_EVERY == 0 or k == steps - 1
        if with_pictures:
            yield from _measure_ema(experiment)
            yield None
            experiment.pictures = _pictures(context, request, experiment)
        yield _panels(context, request, experiment) if with_pictures or steps <= 10 else None
        if lost:
            return


def _begin(context: LearnContext, request: StationRequest) -> Generator[None, None, _Experiment]:
    """A new copy of the model, and four pictures with their timesteps and noise."""
    train = context.pictures.train
    order = torch.randperm(len(train), generator=diffusion.generator(request.seed, "step"))
    indices = train[order[:COUNT].numpy()]
    x0 = context.clean(indices)
    yield
    timesteps = diffusion.stratified_timesteps(len(x0), context.timesteps).to(context.device)
    batch = Batch(x0, context.noise(request.seed, len(x0)), timesteps, context.conditions(indices))
    clean = [panels.picture(x, colour="data") for x in panels.shrink(context.pictures.tensors(indices), SIDE)]
    yield
    trial = Trial(context.config, context.model.unet, context.alphas_cumprod.float())
    experiment = request.memory["experiment"] = _Experiment(request.seed, trial, batch, clean)
    _memories[:] = [memory for memory in _memories if memory is not request.memory] + [request.memory]
    if len(_memories) > MAX_COPIES:
        _memories.pop(0).pop("experiment", None)
    return experiment


def _look(experiment: _Experiment) -> Generator[None, None, float]:
    """Bring ``look`` up to the weights as they are now. The seconds of its slices: between them others are at work."""
    if experiment.look is not None and experiment.look.step == experiment.trial.step:
        return 0.0
    seconds, start = 0.0, time.perf_counter()
    for look in experiment.trial.look(experiment.batch):
        seconds += time.perf_counter() - start
        if look is None:
            yield None
        start = time.perf_counter()
    experiment.look = look
    experiment.losses.append((look.step, look.loss))
    return seconds


def _measure_ema(experiment: _Experiment) -> Iterator[None]:
    if experiment.trial.ema:
        for loss in experiment.trial.averaged_loss(experiment.batch):
            if loss is None:
                yield None
        experiment.ema_losses.append((experiment.trial.step, loss))


# ---- what is shown --------------------------------------------------------------------------------------------------
def _panels(context: LearnContext, request: StationRequest, experiment: _Experiment) -> list[Panel]:
    lost = not math.isfinite(experiment.look.loss)
    muon = len(experiment.trial.optimizers) > 1
    return [
        *([panels.note(request.say("lost"), "bad")] if lost else []),
        experiment.pictures,
        _chart(request, experiment),
        _numbers(context, request, experiment),
        *([panels.note(request.say("muon"), name="muon")] if muon else []),
        _blocks(request, experiment),
        _flow(request, experiment),
    ]


def _pictures(context: LearnContext, request: StationRequest, experiment: _Experiment) -> Panel:
    """The four pictures, what the network gets, and what it makes of that."""
    model, batch, look = context.model, experiment.batch, experiment.look
    alpha_bar = context.alphas_cumprod[batch.timesteps].float()
    x_t = diffusion.add_noise(batch.x0, batch.noise, alpha_bar)
    x0 = diffusion.x0_from(model.scheduler.config.prediction_type, look.output, x_t, alpha_bar)
    noisy = panels.shrink(panels.viewable(model, x_t), SIDE)
    guesses = panels.shrink(model.codec.decode(x0.nan_to_num()), SIDE)
    times = [f"t = {int(t)}" for t in batch.timesteps]
    losses = [request.say("loss_of", loss=f"{float(loss):.4f}") for loss in look.losses]
    noisy_images = [panels.picture(x, caption, "noise") for x, caption in zip(noisy, times, strict=True)]
    guess_images = [panels.picture(x, caption, "prediction") for x, caption in zip(guesses, losses, strict=True)]
    rows = [
        PictureRow(request.say("clean"), experiment.clean, "data"),
        PictureRow(request.say("noisy"), noisy_images, "noise"),
        PictureRow(request.say("guess"), guess_images, "prediction"),
    ]
    return PicturesPanel("pictures", rows, request.say("pictures"), size="small")


def _chart(request: StationRequest, experiment: _Experiment) -> Panel:
    def points(losses: list[tuple[int, float]]) -> tuple[list[float], list[float]]:
        finite = [(step, float(f"{loss:.4g}")) for step, loss in losses if math.isfinite(loss)]
        return [step for step, _ in finite], [loss for _, loss in finite]

    style = "dots" if len(experiment.losses) <= 30 else "line"
    lines = [
        plots.line(request.say("line_loss"), "prediction", points(experiment.losses), style),
        plots.line(request.say("line_averaged"), "data", points(experiment.ema_losses), "dashed"),
    ]
    last = max(10, experiment.look.step)
    chart = plots.chart("loss", request.say("chart"), request.say("axis"), lines, log=True, x_max=last)
    return panels.charts("loss", [chart], request.lang)


def _numbers(context: LearnContext, request: StationRequest, experiment: _Experiment) -> Panel:
    """One line for each thing that a step does."""
    trial, look, config = experiment.trial, experiment.look, context.config
    factor = min(1.0, config.max_grad_norm / (look.norm + 1e-6))
    clip = "clipped" if factor < 1 else "unclipped"
    length = math.hypot(*trial.lengths().values())
    change = math.hypot(*trial.changes.values()) / length
    rows = [
        ("step", str(look.step)),
        ("loss", f"{look.loss:.5f}"),
        ("norm", f"{look.norm:.4g}"),
        ("clip", request.say(clip, limit=f"{config.max_grad_norm:g}", factor=f"{factor:.3g}")),
        ("rates", _rates(trial, 10 ** request["rate"])),
        ("change", f"{100 * change:.3g} %" if trial.step else "-"),
        ("since", f"{100 * math.hypot(*trial.moved().values()) / length:.3g} %"),
    ]
    if trial.ema is None:
        rows.append(("ema", request.say("no_ema")))
    else:
        begun = trial.step and experiment.ema_losses
        rows += [
            ("ema", f"{trial.ema.cur_decay_value:.3f}" if begun else "-"),
            ("ema_apart", f"{100 * trial.distance():.3g} %"),
            ("ema_loss", f"{experiment.ema_losses[-1][1]:.5f}" if begun else "-"),
        ]
    rows.append(("seconds", f"{experiment.seconds:.2f} s" if experiment.seconds else "-"))
    cells = [[request.say(f"row_{key}"), value] for key, value in rows]
    return TablePanel("numbers", ["", ""], cells, request.say("numbers"))


def _rates(trial: Trial, factor: float) -> str:
    """Each optimiser with its learning rate."""
    names = [type(optimizer).__name__.removeprefix("Conv") for optimizer in trial.optimizers]
    return ", ".join(f"{name} {peak * factor:.2g}" for name, peak in zip(names, trial.peaks, strict=True))


def _blocks(request: StationRequest, experiment: _Experiment) -> Panel:
    """Gradient and change of each block's weights."""
    trial, norms = experiment.trial, experiment.look.norms
    lengths, moved = trial.lengths(), trial.moved()
    changes = {name: change / lengths[name] if lengths[name] else 0.0 for name, change in trial.changes.items()}
    max_norm, max_change = _greatest(norms.values()), _greatest(changes.values())
    rows: list[list[str | Cell]] = []
    for name in blocks.parts(trial.network):
        norm, change = norms[name], changes.get(name)
        rows.append(
            [
                name,
                request.say("frozen") if norm is None else Cell(f"{norm:.3g}", bar=norm / max_norm),
                "-" if change is None else Cell(f"{100 * change:.3g} %", bar=change / max_change),
                f"{100 * moved[name] / lengths[name]:.3g} %" if lengths[name] else "-",
            ]
        )
    head = [request.say(f"head_{key}") for key in ("block", "gradient", "change", "since")]
    return TablePanel("blocks", head, rows, request.say("blocks"))


def _greatest(values: Iterable[float | None]) -> float:
    return max((value for value in values if value is not None), default=0) or 1


def _flow(request: StationRequest, experiment: _Experiment) -> Panel:
    batch, look = experiment.batch, experiment.look
    return panels.flow(
        [
            ("x0", batch.x0, "data"),
            ("eps", batch.noise, "noise"),
            ("t", batch.timesteps, ""),
            ("output", look.output, "prediction"),
            ("loss", look.losses, ""),
        ],
        request.lang,
    )
