"""Station 8, epoch, step, batch: a run's own numbers, an epoch drawn batch by batch, and where the run is."""

import dataclasses
import html
from collections.abc import Iterator
from typing import Any

from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.station import Panel, Slider, Station, StationRequest
from ddpm_app.runs.run import ACTIVE

DRAWN, ENDS = 160, 8
"""Batches that are drawn at most; of more, the first ones and the last few steps."""
THUMBNAILS, SIDE = 24, 32
OWN = {"pictures": 0, "batch": 0, "accumulation": 0, "epochs": 0}


def show(bench: LearnContext, asked: StationRequest) -> Iterator[list[Panel] | None]:
    """The numbers, the epoch, the pictures of one step."""
    from ddpm_app.learn.probes import epoch

    plan = (bench.run and bench.run.plan) or {}
    processes, own = plan.get("processes", 1), not any(asked[name] for name in OWN)
    config, train = _settings(bench, asked), _train(bench, asked)
    known = plan.get("total_steps") if own or config.max_train_minutes and not asked["epochs"] else None
    planned = epoch.course(config, len(train), known, processes)
    done, active = _done(bench) if own else (0, False)
    number, at = epoch.place(planned, done)
    steps = epoch.epoch(config, train, number, processes)
    reached = len(steps) if done >= planned.total_steps else at if done or active else -1
    where = [panels.note(_where(planned, done, active, asked), "good")] if done else []
    unknown = config.max_train_minutes and not known and not asked["epochs"]
    clock = asked.say("by_the_clock", minutes=f"{config.max_train_minutes:g}") if unknown else ""
    yield [
        *where,
        panels.markup("epoch", _epoch(steps, number, reached, active, clock, asked)),
        _sums(planned, processes, asked),
        _seen(planned, asked),
        *_pictures(bench, steps[at], number, at, asked),
    ]


def _settings(bench: LearnContext, asked: StationRequest) -> Any:
    """The run's, with the viewer's own numbers put in."""
    own = {
        "train_batch_size": asked["batch"],
        "gradient_accumulation_steps": asked["accumulation"],
        "num_epochs": asked["epochs"],
    }
    changes = {name: value for name, value in own.items() if value}
    return dataclasses.replace(bench.config, **changes, **({"max_train_steps": None} if asked["epochs"] else {}))


def _train(bench: LearnContext, asked: StationRequest) -> Any:
    """Numbers of the training pictures; of as many as the viewer wants, where that is something else."""
    import numpy as np

    return np.arange(asked["pictures"]) if asked["pictures"] else bench.pictures.train


def _done(bench: LearnContext) -> tuple[int, bool]:
    """Steps that the run has done, and whether it is at work."""
    status = bench.run.status if bench.run else {}
    return int(status.get("step") or 0), status.get("state") in ACTIVE


def _where(planned: Any, done: int, active: bool, asked: StationRequest) -> str:
    from ddpm_app.learn.probes import epoch

    (times, more), (number, at) = epoch.times_seen(planned, done), epoch.place(planned, done)
    values = {"done": f"{done:,}", "total": f"{planned.total_steps:,}", "times": times, "more": f"{more:,}"}
    if done >= planned.total_steps:
        return asked.say("finished", **values)
    return asked.say(
        "running" if active else "stopped",
        epoch=number + 1,
        epochs=f"{planned.epochs:.4g}",
        step=at + 1,
        steps=planned.steps,
        **values,
    )


def _sums(planned: Any, processes: int, asked: StationRequest) -> Panel:
    """Each number with how it comes from those above it."""
    from ddpm_app.learn.probes import epoch

    times, more = epoch.times_seen(planned, planned.total_steps)
    size, batches = planned.batch_size, planned.batches
    devices = asked.say("devices", size=size // processes, processes=processes) if processes > 1 else ""
    smaller = planned.last_batch < size
    rows = [
        ("pictures", planned.pictures, ""),
        ("batch", size, devices),
        (
            "batches",
            batches,
            f"⌈{planned.pictures:,} / {size}⌉"
            + (", " + asked.say("last_batch", size=planned.last_batch) if smaller else ""),
        ),
        ("accumulation", planned.accumulation, asked.say("per_step", pictures=f"{planned.accumulation * size:,}")),
        ("steps", planned.steps, f"⌈{batches:,} / {planned.accumulation}⌉"),
        ("epochs", f"{planned.epochs:.4g}", ""),
        ("total", planned.total_steps, f"{planned.epochs:.4g} × {planned.steps:,}"),
        (
            "training_tensors",
            times * planned.pictures + more,
            f"{times:,} × {planned.pictures:,}" + (f" + {more:,}" if more else ""),
        ),
    ]
    cells = [
        [asked.say(f"row_{key}"), f"{value:,}" if isinstance(value, int) else value, told] for key, value, told in rows
    ]
    return panels.table(
        "sums", [asked.say(f"head_{key}") for key in ("what", "number", "how")], cells, asked.say("sums")
    )


def _epoch(steps: list[list[Any]], number: int, at: int, active: bool, clock: str, asked: StationRequest) -> str:
    """One box per batch, filled as far as it has pictures, under a bracket for each step; those before ``at`` are done, and it is under way in an
    ``active`` run."""
    full = len(steps[0][0])
    fits = max(ENDS, DRAWN // max(1, len(steps[0])))
    cut = len(steps) > fits
    drawn = [*range(fits - ENDS), None, *range(len(steps) - ENDS, len(steps))] if cut else range(len(steps))
    parts = []
    for k in drawn:
        if k is None:
            parts.append(
                f'<li class="epoch-more">{html.escape(asked.say("left_out", count=f"{len(steps) - fits:,}"))}</li>'
            )
            continue
        boxes = "".join(f'<i style="--full:{100 * len(batch) / full:.0f}%">{len(batch)}</i>' for batch in steps[k])
        state = "done" if k < at else "now" if active and k == at else ""
        told = html.escape(asked.say("step_told", step=k + 1, pictures=sum(map(len, steps[k]))))
        parts.append(f'<li class="{state}" title="{told}"><span>{boxes}</span><b>{k + 1}</b></li>')
    head = html.escape(asked.say("drawing", epoch=number + 1, steps=f"{len(steps):,}"))
    legend = html.escape(" ".join(filter(None, (asked.say("legend"), clock))))
    return f'<h4>{head}</h4><ol class="epoch">{"".join(parts)}</ol><p class="remark">{legend}</p>'


def _pictures(bench: LearnContext, step: list[Any], number: int, at: int, asked: StationRequest) -> list[Panel]:
    """The pictures of one step as the run meets them, a row for each batch, and what its first batch is as a tensor."""
    from PIL import Image

    if asked["pictures"]:
        return []
    rows, left = [], THUMBNAILS
    for k, batch in enumerate(step):
        some = batch[:left]
        if not len(some):
            break
        left -= len(some)
        shown = [
            Image.fromarray(bench.pictures.images[i].squeeze()).resize((SIDE, SIDE), Image.Resampling.BOX) for i in some
        ]
        label = asked.say("batch_of", batch=k + 1, pictures=len(batch))
        rows.append(panels.row(label, [panels.image(picture, colour="data") for picture in shown], "data"))
    told = asked.say("pictures_of", epoch=number + 1, step=at + 1)
    flows = [("x", bench.pictures.tensors(step[0]), "data")]
    return [panels.pictures("pictures", rows, told, asked.say("shuffled"), "small"), panels.flow(flows, asked.lang)]


def _seen(planned: Any, asked: StationRequest) -> Panel:
    """How often each picture was seen, in the end and on the way."""
    from ddpm_app.learn.probes import epoch

    rows = []
    for share in (0.25, 0.5, 0.75, 1):
        steps = round(share * planned.total_steps)
        times, more = epoch.times_seen(planned, steps)
        told = asked.say("once_more", more=f"{more:,}") if more else asked.say("all_alike")
        often = {"text": asked.say("times", times=f"{times:,}"), "bar": steps / planned.total_steps, "colour": "data"}
        rows.append([f"{steps:,}", f"{steps / planned.steps:.4g}", often, told])
    return panels.table(
        "seen", [asked.say(f"head_{key}") for key in ("after", "epoch", "seen", "more")], rows, asked.say("seen")
    )


STATION = Station(
    "epoch",
    show,
    controls=(
        Slider("pictures", 0, 4000, 1, 0),
        Slider("batch", 0, 128, 1, 0),
        Slider("accumulation", 0, 16, 1, 0),
        Slider("epochs", 0, 200, 1, 0),
    ),
    maths=(
        r"\mathrm{batches\ per\ epoch}=\lceil N/B\rceil,\quad\mathrm{steps\ per\ epoch}=\lceil\lceil N/B\rceil/A\rceil",
        r"\mathrm{steps}=\mathrm{epochs}\cdot\mathrm{steps\ per\ epoch}",
        r"g=\frac{1}{n}\sum_{a=1}^{A}\sum_{i\in\mathrm{batch}_a}\nabla_\theta L_i,\quad n=\sum_{a=1}^{A}|\mathrm{batch}_a|",
    ),
    code=(
        "ddpm_app.train.batches:steps_per_epoch",
        "ddpm_app.train.batches:Batches.indices",
        "ddpm_app.learn.probes.epoch:times_seen",
    ),
    uses=(),
    network=False,
    whole=True,
)
