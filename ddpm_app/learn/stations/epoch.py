"""Station 8, epoch, step, batch: a run's own numbers, an epoch drawn batch by batch, and where the run is."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from markupsafe import Markup
from PIL import Image

from ddpm_app.config import TrainConfig
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.panels import Cell, MarkupPanel, Panel, PictureRow, PicturesPanel, TablePanel
from ddpm_app.learn.probes import epoch as probe
from ddpm_app.learn.probes.epoch import Course
from ddpm_app.learn.station import StationRequest
from ddpm_app.runs.run import ACTIVE

MAX_BATCHES, ENDS = 160, 8
"""Batches that are drawn at most; of more, the first ones and the last few steps."""
THUMBNAILS, SIDE = 24, 32
NUMBERS = ("pictures", "batch", "accumulation", "epochs")
"""Controls with a number of the viewer's own; 0 is the run's."""


def show(context: LearnContext, request: StationRequest) -> Iterator[list[Panel] | None]:
    """The numbers, the epoch, the pictures of one step."""
    plan = context.run.plan if context.run else None
    processes, as_run = plan.get("processes", 1) if plan else 1, not any(request[name] for name in NUMBERS)
    config, train = _settings(context, request), _train(context, request)
    by_clock = config.max_train_minutes and not request["epochs"]
    total_steps = plan.get("total_steps") if plan and (as_run or by_clock) else None
    course = probe.course(config, len(train), total_steps, processes)
    done, active = _done(context) if as_run else (0, False)
    number, at = probe.place(course, done)
    steps = probe.epoch(config, train, number, processes)
    reached = len(steps) if done >= course.total_steps else at if done or active else -1
    minutes = f"{config.max_train_minutes:g}" if by_clock and not total_steps else ""
    remark = request.say("by_the_clock", minutes=minutes) if minutes else ""
    yield [
        *([panels.note(_where(course, done, active, request), "good")] if done else []),
        MarkupPanel("epoch", _epoch(steps, number, reached, active, remark, request)),
        _sums(course, processes, request),
        _passes(course, request),
        *_pictures(context, steps[at], number, at, request),
    ]


def _settings(context: LearnContext, request: StationRequest) -> TrainConfig:
    """The run's, with the viewer's own numbers put in."""
    own = {
        "train_batch_size": request["batch"],
        "gradient_accumulation_steps": request["accumulation"],
        "num_epochs": request["epochs"],
    }
    changes = {name: value for name, value in own.items() if value}
    return dataclasses.replace(context.config, **changes, **({"max_train_steps": None} if request["epochs"] else {}))


def _train(context: LearnContext, request: StationRequest) -> np.ndarray:
    """Numbers of the training pictures; of as many as the viewer wants, where that is something else."""
    return np.arange(request["pictures"]) if request["pictures"] else context.pictures.train


def _done(context: LearnContext) -> tuple[int, bool]:
    """Steps that the run has done, and whether it is at work."""
    status = context.run.status if context.run else {}
    return int(status.get("step") or 0), status.get("state") in ACTIVE


def _where(course: Course, done: int, active: bool, request: StationRequest) -> str:
    (times, more), (number, at) = probe.times_seen(course, done), probe.place(course, done)
    values = {"done": f"{done:,}", "total": f"{course.total_steps:,}", "times": times, "more": f"{more:,}"}
    if done >= course.total_steps:
        return request.say("finished", **values)
    return request.say(
        "running" if active else "stopped",
        epoch=number + 1,
        epochs=f"{course.epochs:.4g}",
        step=at + 1,
        steps=course.steps,
        **values,
    )


def _sums(course: Course, processes: int, request: StationRequest) -> Panel:
    """Each number with how it comes from those above it."""
    times, more = probe.times_seen(course, course.total_steps)
    size = course.batch_size
    devices = request.say("devices", size=size // processes, processes=processes) if processes > 1 else ""
    last_batch = ", " + request.say("last_batch", size=course.last_batch) if course.last_batch < size else ""
    per_step = request.say("per_step", pictures=f"{course.accumulation * size:,}")
    rest = f" + {more:,}" if more else ""
    rows = [
        ("pictures", f"{course.pictures:,}", ""),
        ("batch", f"{size:,}", devices),
        ("batches", f"{course.batches:,}", f"⌈{course.pictures:,} / {size}⌉{last_batch}"),
        ("accumulation", f"{course.accumulation:,}", per_step),
        ("steps", f"{course.steps:,}", f"⌈{course.batches:,} / {course.accumulation}⌉"),
        ("epochs", f"{course.epochs:.4g}", ""),
        ("total", f"{course.total_steps:,}", f"{course.epochs:.4g} × {course.steps:,}"),
        ("examples", f"{times * course.pictures + more:,}", f"{times:,} × {course.pictures:,}{rest}"),
    ]
    head = [request.say(f"head_{key}") for key in ("what", "number", "how")]
    cells = [[request.say(f"row_{key}"), number, how] for key, number, how in rows]
    return TablePanel("sums", head, cells, request.say("sums"))


def _epoch(
    steps: list[list[np.ndarray]], number: int, reached: int, active: bool, remark: str, request: StationRequest
) -> Markup:
    """One box per batch, filled as far as it has pictures, under a bracket for each step; those before step ``reached`` are done, and it is
    under way in an ``active`` run."""
    full = len(steps[0][0])
    room = max(ENDS, MAX_BATCHES // max(1, len(steps[0])))
    visible: Sequence[int | None] = range(len(steps))
    if len(steps) > room:
        visible = [*range(room - ENDS), None, *range(len(steps) - ENDS, len(steps))]
    items = []
    for k in visible:
        if k is None:
            left_out = request.say("left_out", count=f"{len(steps) - room:,}")
            items.append(Markup('<li class="epoch-more">{}</li>').format(left_out))
            continue
        boxes = Markup("").join(
            Markup('<i style="--full:{:.0f}%">{}</i>').format(100 * len(batch) / full, len(batch)) for batch in steps[k]
        )
        state = "done" if k < reached else "now" if active and k == reached else ""
        tip = request.say("step_told", step=k + 1, pictures=sum(map(len, steps[k])))
        items.append(Markup('<li class="{}" title="{}"><span>{}</span><b>{}</b></li>').format(state, tip, boxes, k + 1))
    head = request.say("drawing", epoch=number + 1, steps=f"{len(steps):,}")
    legend = " ".join(filter(None, (request.say("legend"), remark)))
    return Markup('<h4>{}</h4><ol class="epoch">{}</ol><p class="remark">{}</p>').format(
        head, Markup("").join(items), legend
    )


def _pictures(
    context: LearnContext, step: list[np.ndarray], number: int, at: int, request: StationRequest
) -> list[Panel]:
    """The pictures of one step as the run meets them, a row for each batch, and what its first batch is as a tensor."""
    if request["pictures"]:
        return []
    rows, room = [], THUMBNAILS
    for k, batch in enumerate(step):
        first = batch[:room]
        if not len(first):
            break
        room -= len(first)
        thumbnails = [
            Image.fromarray(context.pictures.images[i].squeeze()).resize((SIDE, SIDE), Image.Resampling.BOX)
            for i in first
        ]
        label = request.say("batch_of", batch=k + 1, pictures=len(batch))
        rows.append(PictureRow(label, [panels.picture(image, colour="data") for image in thumbnails], "data"))
    title = request.say("pictures_of", epoch=number + 1, step=at + 1)
    flows = [("x", context.pictures.tensors(step[0]), "data")]
    return [
        PicturesPanel("pictures", rows, title, request.say("shuffled"), "small", "beside"),
        panels.flow(flows, request.lang),
    ]


def _passes(course: Course, request: StationRequest) -> Panel:
    """How often each picture was seen, in the end and on the way."""
    rows: list[list[str | Cell]] = []
    for share in (0.25, 0.5, 0.75, 1):
        steps = round(share * course.total_steps)
        times, more = probe.times_seen(course, steps)
        rest = request.say("once_more", more=f"{more:,}") if more else request.say("all_alike")
        often = Cell(request.say("times", times=f"{times:,}"), "data", bar=steps / course.total_steps)
        rows.append([f"{steps:,}", f"{steps / course.steps:.4g}", often, rest])
    head = [request.say(f"head_{key}") for key in ("after", "epoch", "seen", "more")]
    return TablePanel("seen", head, rows, request.say("seen"))
