"""Station 6, loss by timestep: on training and held-out pictures, now and earlier in the run, and what the mean hides."""

import dataclasses
import functools
import math
from collections.abc import Generator, Iterator
from typing import Any

from ddpm_app import plots
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.station import Choice, Panel, Slider, Station, StationRequest

CHUNK = 1 << 18
"""Bytes of metrics read in one slice."""
AT_ONCE = 4
"""Pictures fetched or measured in one slice."""
KINDS = (("train", "data"), ("held_out", "held-out"))
WIDE_GAP = 1.5
"""A held-out loss this many times the training loss is called overfitting."""


def show(bench: LearnContext, asked: StationRequest) -> Iterator[list[Panel] | None]:
    """What the run recorded at once, then what is measured now, point by point."""
    recorded = yield from _recorded(bench)
    count = int(asked["pictures"])
    if count not in asked.memory:
        found: dict[str, Any] = {}
        asked.memory[count] = found, _measured(bench, count, found)
    found, measuring = asked.memory[count]
    yield _panels(bench, asked, recorded, found)
    for _ in measuring:  # goes on where it was when t or the slider has moved
        yield _panels(bench, asked, recorded, found)


def _recorded(bench: LearnContext) -> Generator[None, None, list[dict[str, Any]]]:
    """The validations of a run after its first step, read in slices."""
    found: list[dict[str, Any]] = []
    rows, offset, generation = bench.run.read_metrics(limit=CHUNK) if bench.run else ([], 0, -1)
    while rows:
        found += [row for row in rows if row["kind"] == "validation" and row["step"] and row.get("bands")]
        yield None
        rows, offset, generation = bench.run.read_metrics(offset, generation, CHUNK)
    return found


class _OnTheBench:
    """Pictures and what they are asked for by, as the loop's FixedNoiseEvaluator wants them."""

    def __init__(self, bench: LearnContext):
        self.tensors, self.arguments = bench.clean, bench.conditions


def _measured(bench: LearnContext, count: int, found: dict[str, Any]) -> Iterator[None]:
    """Fills ``found`` with the losses by kind of pictures, a few more each turn."""
    from ddpm_app.learn.probes import timesteps
    from ddpm_app.train.denoising import denoising_loss
    from ddpm_app.train.evaluate import FixedNoiseEvaluator

    known, config = _OnTheBench(bench), bench.config
    if (
        math.prod(bench.model.shape) % 16 == 0
    ):  # then torch draws the same noise in smaller batches, which make shorter slices
        config = dataclasses.replace(config, eval_batch_size=AT_ONCE)
    loss = functools.partial(denoising_loss, config, alphas_cumprod=bench.abar)
    ruler = FixedNoiseEvaluator(config, bench.pictures, known, known, loss, bench.device, count)
    for kind, _ in KINDS:
        if len(ruler.kinds[kind]):
            for losses in timesteps.losses(ruler, kind, bench.model.unet, AT_ONCE):
                found[kind] = losses
                yield


# ---- what is shown ------------------------------------------------------------------------------------------------------
def _panels(
    bench: LearnContext, asked: StationRequest, recorded: list[dict[str, Any]], found: dict[str, Any]
) -> list[Panel]:
    earlier = _earlier(asked, recorded)
    notes = {
        "hides": (_hides(bench, asked, found), ""),
        "gap": _gap(bench, asked, found),
        "record": ("" if recorded else asked.say("no_record"), ""),
    }
    told = [panels.note(text, tone) | {"name": name} for name, (text, tone) in notes.items() if text]
    return [
        panels.charts("loss", [_chart(bench, asked, found, earlier)], asked.lang),
        *told,
        _table(asked, recorded, earlier, found),
    ]


def _earlier(asked: StationRequest, recorded: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The record nearest to the share of the run that was asked for; the last one is what is measured now."""
    if not recorded:
        return None
    last = recorded[-1]["step"]
    return min(recorded, key=lambda row: abs(row["step"] - asked["back"] * last))


def _chart(
    bench: LearnContext, asked: StationRequest, found: dict[str, Any], earlier: dict[str, Any] | None
) -> dict[str, Any]:
    from ddpm_app.learn.probes import timesteps

    total, lines = bench.timesteps, []
    for kind, colour in KINDS:
        if kind not in found or found[kind].isnan().all():
            continue
        values = timesteps.bands(found[kind])
        lines.append(plots.line(asked.say(f"line_{kind}"), colour, _points(values, total), "dots"))
        if found[kind].isfinite().all():
            mean = float(found[kind].mean())
            lines.append(plots.line(asked.say(f"mean_{kind}"), colour, ([0, total], [mean, mean]), "dashed"))
    if earlier:
        lines.append(
            plots.line(
                asked.say("line_earlier", step=f"{earlier['step']:,}"),
                "noise",
                _points(earlier["bands"], total),
                "dashed",
            )
        )
    return plots.chart(
        "loss", asked.say("chart"), asked.say("axis"), lines, log=True, x_max=total, wide=True, at=asked.t
    )


def _points(values: list[float], total: int) -> tuple[list[float], list[float]]:
    points = [((k + 0.5) * total / len(values), float(f"{v:.4g}")) for k, v in enumerate(values) if math.isfinite(v)]
    return [x for x, _ in points], [y for _, y in points]


def _table(
    asked: StationRequest, recorded: list[dict[str, Any]], earlier: dict[str, Any] | None, found: dict[str, Any]
) -> Panel:
    """The one number beside what it is the mean of."""
    from ddpm_app.learn.probes import timesteps

    rows = [
        _row(
            asked.say(kind),
            colour,
            float(found[kind].nanmean()) if kind in found else None,
            timesteps.bands(found[kind]) if kind in found else [],
        )
        for kind, colour in KINDS
        if kind in found or not found
    ]
    records = [("recorded", recorded[-1]), ("earlier", earlier)] if recorded else []
    for key, row in records:
        rows.append(_row(asked.say(key, step=f"{row['step']:,}"), "noise", row["train_loss"], row["bands"]))
    return panels.table(
        "numbers",
        ["", *(asked.say(f"head_{key}") for key in ("mean", "least", "most", "times"))],
        rows,
        asked.say("table"),
    )


def _row(label: str, colour: str, mean: float | None, values: list[float]) -> list[Any]:
    known = [v for v in values if math.isfinite(v)]
    told = (
        [f"{mean:.4f}", f"{min(known):.4f}", f"{max(known):.4f}", f"{max(known) / max(min(known), 1e-12):,.0f} x"]
        if known
        else [""] * 4
    )
    return [{"text": label, "colour": colour}, *told]


def _hides(bench: LearnContext, asked: StationRequest, found: dict[str, Any]) -> str:
    """How much of the mean the band with the highest loss makes up, and the one with the lowest."""
    from ddpm_app.learn.probes import timesteps

    if "train" not in found or not found["train"].isfinite().all():
        return asked.say("measuring")
    values = timesteps.bands(found["train"])
    total, edges = sum(values) or 1.0, [round(k * bench.timesteps / len(values)) for k in range(len(values) + 1)]
    most, least = values.index(max(values)), values.index(min(values))
    return asked.say(
        "hides",
        share=f"{100 * values[most] / total:.0f}",
        first=edges[most],
        last=edges[most + 1] - 1,
        low=f"{100 * values[least] / total:.1g}",
        low_first=edges[least],
        low_last=edges[least + 1] - 1,
    )


def _gap(bench: LearnContext, asked: StationRequest, found: dict[str, Any]) -> tuple[str, str]:
    """What the held-out loss says beside the training loss."""
    if not len(bench.pictures.held_out):
        return asked.say("no_held_out"), ""
    if len(found) < len(KINDS) or not all(losses.isfinite().all() for losses in found.values()):
        return asked.say("comparing"), ""
    times = float(found["held_out"].mean() / found["train"].mean())
    return (
        (asked.say("overfits", times=f"{times:.1f}"), "warn")
        if times > WIDE_GAP
        else (asked.say("alike", times=f"{times:.2f}"), "good")
    )


STATION = Station(
    "loss",
    show,
    controls=(Slider("back", 0.0, 1.0, 0.01, 0.0), Choice("pictures", ("16", "64"))),
    maths=(
        r"L_t=\mathbb{E}_{x_0,\epsilon}\,\frac{1}{n}\Vert f_\theta(\sqrt{\bar\alpha_t}\,x_0+\sqrt{1-\bar\alpha_t}\,\epsilon,\,t)-y_t\Vert^2",
        r"L=\frac{1}{T}\sum_{t}w_t\,L_t",
    ),
    code=("ddpm_app.train.denoising:denoising_loss", "ddpm_app.learn.probes.timesteps:losses"),
    uses=("t",),
    whole=True,
)
