"""Station 7, one step under the glass: real optimiser steps on a copy of the model, four pictures at a time."""

import dataclasses
import math
import time
from collections.abc import Generator, Iterator
from typing import Any

from ddpm_app import plots
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.station import Action, Panel, Slider, Station, StationRequest

COUNT = 4
STEPS = {"one": 1, "ten": 10, "hundred": 100}
SIDE = 64
"""Larger pictures are shown as means over some pixels."""
SHOWN_EVERY = 5
"""Of a hundred steps every fifth is shown, and of ten the pictures of every fifth."""
BYTES = 28
"""Of each parameter: the copy, its gradient, two moments, the average, the network that holds it, and the weights before a step."""
KEPT = 6
"""Copies that exist at once, all viewers together; the oldest are forgotten."""


@dataclasses.dataclass
class _Glass:
    """One viewer's copy, its four pictures, ``clean`` as they are shown, and what was seen: losses and averaged are (step, loss)."""

    seed: int
    trial: Any
    batch: Any
    clean: list[dict[str, Any]]
    look: Any = None
    pictures: Panel | None = None
    losses: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    averaged: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0


_kept: list[dict[str, Any]] = []


def show(bench: LearnContext, asked: StationRequest) -> Iterator[list[Panel] | None]:
    """Where the copy stands; after a click, every step until it stands elsewhere."""
    if instead := panels.too_large(bench, asked.lang, BYTES):
        yield instead
        return
    glass = asked.memory.get("glass")
    if glass is None or glass.seed != asked.seed or asked.pressed == "reset":
        glass = yield from _begin(bench, asked)
    yield from _look(glass)
    glass.pictures = _pictures(bench, asked, glass)
    yield _panels(bench, asked, glass)
    wanted = STEPS.get(asked.pressed, 0) if math.isfinite(glass.look.loss) else 0
    for k in range(wanted):
        start = time.perf_counter()
        glass.trial.update(10 ** asked["rate"])
        updated = time.perf_counter() - start
        glass.seconds = updated + (yield from _look(glass))
        lost = not math.isfinite(glass.look.loss)
        shown = lost or (k + 1) % SHOWN_EVERY == 0 or k == wanted - 1
        if shown:
            yield from _average(glass)
            yield None
            glass.pictures = _pictures(bench, asked, glass)
        yield _panels(bench, asked, glass) if shown or wanted <= 10 else None
        if lost:
            return


def _begin(bench: LearnContext, asked: StationRequest) -> Generator[None, None, _Glass]:
    """A new copy of the model, and four pictures with their timesteps and noise."""
    import torch

    from ddpm_app import diffusion
    from ddpm_app.learn.probes.step import Batch, Trial

    known = bench.pictures.train
    order = torch.randperm(len(known), generator=diffusion.generator(asked.seed, "step"))
    indices = known[order[:COUNT].numpy()]
    x0 = bench.clean(indices)
    yield
    timesteps = diffusion.stratified_timesteps(len(x0), bench.timesteps).to(bench.device)
    batch = Batch(x0, bench.noise(asked.seed, len(x0)), timesteps, bench.conditions(indices))
    clean = [panels.image(x, colour="data") for x in panels.small(bench.pictures.tensors(indices), SIDE)]
    yield
    glass = asked.memory["glass"] = _Glass(
        asked.seed, Trial(bench.config, bench.model.unet, bench.abar.float()), batch, clean
    )
    _kept[:] = [memory for memory in _kept if memory is not asked.memory] + [asked.memory]
    if len(_kept) > KEPT:
        _kept.pop(0).pop("glass", None)
    return glass


def _look(glass: _Glass) -> Generator[None, None, float]:
    """See to it that what is known is of the weights as they are now. The seconds of its slices: between them others are at work."""
    if glass.look is not None and glass.look.step == glass.trial.step:
        return 0.0
    seconds, start = 0.0, time.perf_counter()
    for found in glass.trial.look(glass.batch):
        seconds += time.perf_counter() - start
        if found is None:
            yield None
        start = time.perf_counter()
    glass.look = found
    glass.losses.append((found.step, found.loss))
    return seconds


def _average(glass: _Glass) -> Iterator[None]:
    if glass.trial.ema:
        for found in glass.trial.averaged_loss(glass.batch):
            if found is None:
                yield None
        glass.averaged.append((glass.trial.step, found))


# ---- what is shown --------------------------------------------------------------------------------------------------
def _panels(bench: LearnContext, asked: StationRequest, glass: _Glass) -> list[Panel]:
    lost = [] if math.isfinite(glass.look.loss) else [panels.note(asked.say("lost"), "bad")]
    muon = [panels.note(asked.say("muon")) | {"name": "muon"}] if len(glass.trial.optimizers) > 1 else []
    return [
        *lost,
        glass.pictures,
        _chart(asked, glass),
        _numbers(bench, asked, glass),
        *muon,
        _blocks(asked, glass),
        _flow(asked, glass),
    ]


def _pictures(bench: LearnContext, asked: StationRequest, glass: _Glass) -> Panel:
    """The four pictures, what the network gets, and what it makes of that."""
    from ddpm_app import diffusion

    batch, look = glass.batch, glass.look
    level = bench.abar[batch.timesteps].float()
    x_t = diffusion.add_noise(batch.x0, batch.noise, level)
    guess = diffusion.x0_from(bench.model.scheduler.config.prediction_type, look.output, x_t, level)
    seen = panels.small(panels.seen(bench.model, x_t), SIDE)
    noisy = [panels.image(x, f"t = {int(t)}", colour="noise") for x, t in zip(seen, batch.timesteps, strict=True)]
    found = panels.small(bench.model.codec.decode(guess.nan_to_num()), SIDE)
    told = [asked.say("loss_of", loss=f"{float(loss):.4f}") for loss in look.losses]
    guesses = [panels.image(x, words, colour="prediction") for x, words in zip(found, told, strict=True)]
    rows = [
        panels.row(asked.say("clean"), glass.clean, "data"),
        panels.row(asked.say("noisy"), noisy, "noise"),
        panels.row(asked.say("guess"), guesses, "prediction"),
    ]
    return panels.pictures("pictures", rows, asked.say("pictures"), size="small")


def _chart(asked: StationRequest, glass: _Glass) -> Panel:
    def points(found: list[tuple[int, float]]) -> tuple[list[float], list[float]]:
        kept = [(step, float(f"{loss:.4g}")) for step, loss in found if math.isfinite(loss)]
        return [step for step, _ in kept], [loss for _, loss in kept]

    lines = [
        plots.line(
            asked.say("line_loss"), "prediction", points(glass.losses), "dots" if len(glass.losses) <= 30 else "line"
        ),
        plots.line(asked.say("line_averaged"), "data", points(glass.averaged), "dashed"),
    ]
    most = max(10, glass.look.step)
    return panels.charts(
        "loss", [plots.chart("loss", asked.say("chart"), asked.say("axis"), lines, log=True, x_max=most)], asked.lang
    )


def _numbers(bench: LearnContext, asked: StationRequest, glass: _Glass) -> Panel:
    """One line for each thing that a step does."""
    trial, look, config = glass.trial, glass.look, bench.config
    clip = min(1.0, config.max_grad_norm / (look.norm + 1e-6))
    names = [type(optimizer).__name__.removeprefix("Conv") for optimizer in trial.optimizers]
    rates = ", ".join(f"{name} {peak * 10 ** asked['rate']:.2g}" for name, peak in zip(names, trial.peaks, strict=True))
    length = math.hypot(*trial.lengths().values())
    change = math.hypot(*trial.changes.values()) / length
    rows = [
        ("step", str(look.step)),
        ("loss", f"{look.loss:.5f}"),
        ("norm", f"{look.norm:.4g}"),
        (
            "clip",
            asked.say("clipped" if clip < 1 else "unclipped", limit=f"{config.max_grad_norm:g}", factor=f"{clip:.3g}"),
        ),
        ("rates", rates),
        ("change", f"{100 * change:.3g} %" if trial.step else "-"),
        ("since", f"{100 * math.hypot(*trial.moved().values()) / length:.3g} %"),
    ]
    if trial.ema is None:
        rows.append(("ema", asked.say("no_ema")))
    else:
        begun = trial.step and glass.averaged
        rows += [
            ("ema", f"{trial.ema.cur_decay_value:.3f}" if begun else "-"),
            ("ema_apart", f"{100 * trial.distance():.3g} %"),
            ("ema_loss", f"{glass.averaged[-1][1]:.5f}" if begun else "-"),
        ]
    rows.append(("seconds", f"{glass.seconds:.2f} s" if glass.seconds else "-"))
    return panels.table(
        "numbers", ["", ""], [[asked.say(f"row_{key}"), value] for key, value in rows], asked.say("numbers")
    )


def _blocks(asked: StationRequest, glass: _Glass) -> Panel:
    """Gradient and change of each block's weights."""
    from ddpm_app.learn.probes.blocks import parts

    trial, look = glass.trial, glass.look
    lengths, moved = trial.lengths(), trial.moved()
    last = {name: change / lengths[name] if lengths[name] else 0.0 for name, change in trial.changes.items()}
    most = [
        max((value for value in found if value is not None), default=0) or 1
        for found in (look.norms.values(), last.values())
    ]
    rows = []
    for name in parts(trial.network):
        norm = look.norms[name]
        gradient = asked.say("frozen") if norm is None else {"text": f"{norm:.3g}", "bar": norm / most[0]}
        change = {"text": f"{100 * last[name]:.3g} %", "bar": last[name] / most[1]} if name in last else "-"
        rows.append([name, gradient, change, f"{100 * moved[name] / lengths[name]:.3g} %" if lengths[name] else "-"])
    return panels.table(
        "blocks",
        [asked.say(f"head_{key}") for key in ("block", "gradient", "change", "since")],
        rows,
        asked.say("blocks"),
    )


def _flow(asked: StationRequest, glass: _Glass) -> Panel:
    batch, look = glass.batch, glass.look
    told = [
        ("x0", batch.x0, "data"),
        ("eps", batch.noise, "noise"),
        ("t", batch.timesteps, ""),
        ("output", look.output, "prediction"),
    ]
    return panels.flow([*told, ("loss", look.losses, "")], asked.lang)


STATION = Station(
    "step",
    show,
    controls=(Slider("rate", -3.0, 2.0, 0.25, -0.5), *(Action(name) for name in (*STEPS, "reset"))),
    maths=(
        r"L=\frac{1}{n}\sum_{i=1}^{n}w(t_i)\,\frac{1}{D}\Vert f_\theta(x_{t_i},t_i)-y_i\Vert^2",
        r"g=\nabla_\theta L,\quad g\leftarrow g\cdot\min(1,\,c/\Vert g\Vert)",
        r"m\leftarrow\beta_1 m+(1-\beta_1)g,\quad v\leftarrow\beta_2 v+(1-\beta_2)g^2",
        r"\theta\leftarrow\theta-\eta\,(\hat m/(\sqrt{\hat v}+\varepsilon)+\lambda\theta)",
        r"\theta_{\mathrm{EMA}}\leftarrow d\,\theta_{\mathrm{EMA}}+(1-d)\,\theta",
    ),
    code=(
        "ddpm_app.train.denoising:denoising_loss",
        "ddpm_app.learn.probes.step:Trial.update",
        "ddpm_app.train.loop:_Work.step",
    ),
    uses=("seed",),
    whole=True,
    model="butterflies-words",
)
