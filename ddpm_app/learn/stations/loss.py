"""Station 6, loss by timestep: on training and held-out pictures, now and earlier in the run, and what the mean hides."""

import dataclasses
import functools
import math
from collections.abc import Generator, Iterator

from torch import Tensor

from ddpm_app import plots
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.panels import Cell, Panel, TablePanel
from ddpm_app.learn.probes import timesteps
from ddpm_app.learn.station import StationRequest
from ddpm_app.runs.records import MetricRow
from ddpm_app.train.denoising import denoising_loss
from ddpm_app.train.evaluate import FixedNoiseEvaluator

CHUNK = 1 << 18
"""Bytes of metrics read in one slice."""
AT_ONCE = 4
"""Pictures fetched or measured in one slice."""
KINDS = (("train", "data"), ("held_out", "held-out"))
WIDE_GAP = 1.5
"""A held-out loss this many times the training loss is called overfitting."""

Losses = dict[str, Tensor]
"""By kind of pictures: loss by timestep, NaN where not measured yet."""


def show(context: LearnContext, request: StationRequest) -> Iterator[list[Panel] | None]:
    """What the run recorded at once, then what is measured now, point by point."""
    recorded = yield from _recorded(context)
    count = int(request["pictures"])
    if count not in request.memory:
        empty: Losses = {}
        request.memory[count] = empty, _measure(context, count, empty)
    losses, measuring = request.memory[count]
    yield _panels(context, request, recorded, losses)
    for _ in measuring:  # goes on where it was when t or the slider has moved
        yield _panels(context, request, recorded, losses)


def _recorded(context: LearnContext) -> Generator[None, None, list[MetricRow]]:
    """The validations of a run after its first step, read in slices."""
    if context.run is None:
        return []
    validations: list[MetricRow] = []
    rows, offset, generation = context.run.read_metrics(limit=CHUNK)
    while rows:
        validations += [row for row in rows if row["kind"] == "validation" and row["step"] and row.get("bands")]
        yield None
        rows, offset, generation = context.run.read_metrics(offset, generation, CHUNK)
    return validations


class _ContextPictures:
    """Pictures and their conditions, as the loop's FixedNoiseEvaluator wants them."""

    def __init__(self, context: LearnContext):
        self.tensors, self.arguments = context.clean, context.conditions


def _measure(context: LearnContext, count: int, losses: Losses) -> Iterator[None]:
    """Fills ``losses``, a few more each turn."""
    pictures, config = _ContextPictures(context), context.config
    if math.prod(context.model.shape) % 16 == 0:
        # then torch draws the same noise in smaller batches, which make shorter slices
        config = dataclasses.replace(config, eval_batch_size=AT_ONCE)
    loss = functools.partial(denoising_loss, config, alphas_cumprod=context.alphas_cumprod)
    evaluator = FixedNoiseEvaluator(config, context.pictures, pictures, pictures, loss, context.device, count)
    for kind, _ in KINDS:
        if len(evaluator.kinds[kind]):
            for measured in timesteps.losses(evaluator, kind, context.model.unet, AT_ONCE):
                losses[kind] = measured
                yield


# ---- what is shown ------------------------------------------------------------------------------------------------------
def _panels(context: LearnContext, request: StationRequest, recorded: list[MetricRow], losses: Losses) -> list[Panel]:
    earlier = _earlier(request, recorded)
    notes = [
        panels.note(_hides(context, request, losses), name="hides"),
        _gap(context, request, losses),
        *([] if recorded else [panels.note(request.say("no_record"), name="record")]),
    ]
    chart = _chart(context, request, losses, earlier)
    return [
        panels.charts("loss", [chart], request.lang),
        *notes,
        _table(request, recorded, earlier, losses),
    ]


def _earlier(request: StationRequest, recorded: list[MetricRow]) -> MetricRow | None:
    """The record nearest to the share of the run that was asked for; the last one is what is measured now."""
    if not recorded:
        return None
    last = recorded[-1]["step"]
    return min(recorded, key=lambda row: abs(row["step"] - request["back"] * last))


def _chart(context: LearnContext, request: StationRequest, losses: Losses, earlier: MetricRow | None) -> plots.Chart:
    total, lines = context.timesteps, []
    for kind, colour in KINDS:
        if kind not in losses or losses[kind].isnan().all():
            continue
        points = _points(timesteps.bands(losses[kind]), total)
        lines.append(plots.line(request.say(f"line_{kind}"), colour, points, "dots"))
        if losses[kind].isfinite().all():
            mean = float(losses[kind].mean())
            lines.append(plots.line(request.say(f"mean_{kind}"), colour, ([0, total], [mean, mean]), "dashed"))
    if earlier:
        label = request.say("line_earlier", step=f"{earlier['step']:,}")
        lines.append(plots.line(label, "noise", _points(earlier["bands"], total), "dashed"))
    title, unit = request.say("chart"), request.say("axis")
    return plots.chart("loss", title, unit, lines, log=True, x_max=total, wide=True, at=request.t)


def _points(values: list[float], total: int) -> tuple[list[float], list[float]]:
    points = [((k + 0.5) * total / len(values), float(f"{v:.4g}")) for k, v in enumerate(values) if math.isfinite(v)]
    return [x for x, _ in points], [y for _, y in points]


def _table(request: StationRequest, recorded: list[MetricRow], earlier: MetricRow | None, losses: Losses) -> Panel:
    """The one number beside what it is the mean of."""
    rows = []
    for kind, colour in KINDS:
        if kind in losses:
            mean, values = float(losses[kind].nanmean()), timesteps.bands(losses[kind])
            rows.append(_row(request.say(kind), colour, mean, values))
        elif not losses:
            rows.append(_row(request.say(kind), colour, None, []))
    for key, row in (("recorded", recorded[-1] if recorded else None), ("earlier", earlier)):
        if row:
            label = request.say(key, step=f"{row['step']:,}")
            rows.append(_row(label, "noise", row["train_loss"], row["bands"]))
    head = ["", *(request.say(f"head_{key}") for key in ("mean", "least", "most", "times"))]
    return TablePanel("numbers", head, rows, request.say("table"))


def _row(label: str, colour: str, mean: float | None, values: list[float]) -> list[str | Cell]:
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return [Cell(label, colour), *[""] * 4]
    times = f"{max(finite) / max(min(finite), 1e-12):,.0f} x"
    return [Cell(label, colour), f"{mean:.4f}", f"{min(finite):.4f}", f"{max(finite):.4f}", times]


def _hides(context: LearnContext, request: StationRequest, losses: Losses) -> str:
    """How much of the mean the band with the highest loss makes up, and the one with the lowest."""
    if "train" not in losses or not losses["train"].isfinite().all():
        return request.say("measuring")
    values = timesteps.bands(losses["train"])
    total, edges = sum(values) or 1.0, [round(k * context.timesteps / len(values)) for k in range(len(values) + 1)]
    most, least = values.index(max(values)), values.index(min(values))
    return request.say(
        "hides",
        share=f"{100 * values[most] / total:.0f}",
        first=edges[most],
        last=edges[most + 1] - 1,
        low=f"{100 * values[least] / total:.1g}",
        low_first=edges[least],
        low_last=edges[least + 1] - 1,
    )


def _gap(context: LearnContext, request: StationRequest, losses: Losses) -> Panel:
    """What the held-out loss says beside the training loss."""
    if not len(context.pictures.held_out):
        return panels.note(request.say("no_held_out"), name="gap")
    if len(losses) < len(KINDS) or not all(measured.isfinite().all() for measured in losses.values()):
        return panels.note(request.say("comparing"), name="gap")
    times = float(losses["held_out"].mean() / losses["train"].mean())
    if times > WIDE_GAP:
        return panels.note(request.say("overfits", times=f"{times:.1f}"), "warn", "gap")
    return panels.note(request.say("alike", times=f"{times:.2f}"), "good", "gap")
