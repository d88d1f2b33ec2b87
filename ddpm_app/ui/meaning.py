"""What the settings mean: what the network sees, steps, epochs, parameters, memory and time, as the Config tab's panel."""

import contextlib
import functools
import html
import pathlib
from typing import Any

from ddpm_app import jobs, runs
from ddpm_app.config import TrainConfig, problems
from ddpm_app.problems import Problem
from ddpm_app.text import lasting, spell_count, t, tell
from ddpm_app.ui import anatomy, guard, texts
from ddpm_app.ui.anatomy import Anatomy
from ddpm_app.ui.shelf import Entry
from ddpm_app.ui.studio import Studio, problem_of

WARM_SECONDS = 60


def table(studio: Studio, values: dict[str, Any], visitor: str, lang: str, wait: bool) -> str:
    """The panel as HTML. ``wait``: wait until torch is imported, and count the network and the texts too."""
    if wrong := problems(values):
        lines = "".join(f"<li>{html.escape(tell(problem, lang))}</li>" for problem in wrong)
        return f'<div class="note bad"><b>{t("ui.config.wrong", lang, count=len(wrong))}</b><ul>{lines}</ul></div>'
    config = TrainConfig(**values)
    counted = wait and studio.warm.wait(WARM_SECONDS)
    try:
        entry = studio.shelf.found(named := guard.check_data(studio, config, visitor))
        guard.check_models(studio, config)
    except Problem:  # the form says it under its field
        return _rows([("pictures", t("ui.meaning.later", lang)), *_length(config, {}, None, lang)], lang)
    images = studio.shelf.trained_on(named)
    labels = len(entry.source.label_names or ()) if entry else 0
    made = anatomy.study(config, labels, studio.runs_dir) if counted else None
    known = _estimate(config, images, labels, studio.runs_dir) if images and made and not made.problem else {}
    rows = [("pictures", f"{images:,}" if images else t("ui.meaning.later", lang)), *_seen(config, made, lang)]
    rows += [*_length(config, known, images, lang), ("time", _time(studio, config, known, lang)), *_size(config, made, known, lang)]
    if not counted:
        rows.append(("parameters", t("ui.meaning.warming", lang)))
        return _rows(rows, lang)
    try:
        if cut := texts.counted(config, entry.source, studio.runs_dir) if entry and made else None:
            rows.append(("texts", t("ui.meaning.cut" if cut.cut else "ui.meaning.uncut", lang, cut=cut.cut, count=cut.count, longest=cut.longest)))
        found = (made and made.problem) or _unfit(config, entry)
    except Problem as problem:
        found = problem
    return _rows(rows, lang) + _notes(studio, config, made, found, lang)


def _rows(rows: list[tuple[str, str]], lang: str) -> str:
    body = "".join(f"<tr><th>{t(f'ui.meaning.{name}', lang)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)
    return f'<table class="meaning">{body}</table>'


def _seen(config: TrainConfig, made: Anatomy | None, lang: str) -> list[tuple[str, str]]:
    """What the autoencoder makes of a picture, read from the model."""
    if made is None or made.latents is None:
        return []
    channels, height, width = made.latents
    side = config.image_size
    scale = t("ui.meaning.later_scale", lang) if made.scale is None else f"{made.scale:.4g}"
    return [
        ("latents", f"{side} x {side} x 3 \u2192 {height} x {width} x {channels}"),
        ("fewer", t("ui.meaning.times_fewer", lang, times=side * side * 3 / (channels * height * width))),
        ("factor", f"{made.factor}"),
        ("scale", scale),
    ]


def _length(config: TrainConfig, known: dict[str, Any], images: int | None, lang: str) -> list[tuple[str, str]]:
    """Rows for steps, epochs and how often each picture is seen, as far as they follow from the settings."""
    if config.max_train_minutes:
        return [("steps", t("ui.meaning.measured", lang, minutes=config.max_train_minutes))]
    per_epoch = known.get("steps_per_epoch")
    steps = config.max_train_steps or (config.num_epochs * per_epoch if per_epoch else None)
    rows = [("steps", f"{steps:,}" if steps else t("ui.meaning.warming" if images else "ui.meaning.later", lang))]
    if steps and per_epoch:
        rows += [("per_epoch", f"{per_epoch:,}"), ("epochs", f"{steps / per_epoch:,.1f}")]
    elif not config.max_train_steps:
        rows.append(("epochs", f"{config.num_epochs:,}"))
    return rows


def _time(studio: Studio, config: TrainConfig, known: dict[str, Any], lang: str) -> str:
    if config.max_train_minutes:
        return lasting(config.max_train_minutes * 60, lang)
    if not known:
        return t("ui.meaning.rehearsal", lang)
    steps = config.max_train_steps or config.num_epochs * known["steps_per_epoch"]
    return t("ui.meaning.about", lang, time=lasting(steps * known["flops"] / _speed(studio), lang))


def _size(config: TrainConfig, made: Anatomy | None, known: dict[str, Any], lang: str) -> list[tuple[str, str]]:
    """Rows for parameters and memory."""
    if made is None:
        return []
    trained, *others = made.parts
    count = spell_count(trained.parameters)
    rows = [("parameters", count)]
    if trained.learning < trained.parameters:
        rows = [("parameters", t("ui.meaning.learning", lang, learning=spell_count(trained.learning), count=count))]
    if known:
        memory = known["memory_bytes"] + sum(part.weights for part in others if part.name != "copies")
        rows.append(("memory", f"{memory / 2**30:.2f} GiB"))
    return rows


def _speed(studio: Studio) -> float:
    """Operations per second that this machine reached in its newest rehearsed run, or in a short measurement."""
    for run in runs.list_runs(studio.runs_dir):
        with contextlib.suppress(Problem, KeyError):  # another version's settings or plan
            if run.plan and (known := _estimate(run.config, run.plan["images"], 0, studio.runs_dir)):
                return known["flops"] / run.plan["step_seconds"]
    jobs.engine()
    from ddpm_app.train.plan import machine_speed

    with jobs.DEVICE:
        return machine_speed()


def _estimate(config: TrainConfig, images: int, labels: int, runs_dir: pathlib.Path) -> dict[str, Any]:
    """What train.plan.estimate tells, {} where a part isn't on this machine."""
    jobs.engine()
    return _counted(anatomy.settled(config), images, labels, runs_dir, anatomy.stamp(config, runs_dir)) or {}


@functools.lru_cache(maxsize=32)
def _counted(config: TrainConfig, images: int, labels: int, runs_dir: pathlib.Path, stamp: tuple[int, ...]) -> dict[str, Any] | None:
    from ddpm_app.train.plan import estimate

    return estimate(config, images, labels, runs_dir)


def _unfit(config: TrainConfig, entry: Entry | None) -> Problem | None:
    """What training would say of data without labels, before it says it."""
    if entry and config.conditioning == "labels" and not config.init_from and not entry.source.label_names:
        return Problem("no_labels", "conditioning", other="label_column", value="labels")
    return None


def _notes(studio: Studio, config: TrainConfig, made: Anatomy | None, found: Problem | None, lang: str) -> str:
    """What training will do differently from what is asked, and what it refuses, as far as that is known before."""
    jobs.engine()
    from ddpm_app.train.check import check

    try:
        if found or made is None and (found := anatomy.missing(config, studio.runs_dir)):
            raise found
        told = [("warn", t(f"notice.{notice.code}", lang, **notice.values)) for notice in check(config)]
        if made is None:
            told.append(("warn", t("ui.meaning.download", lang)))
    except Exception as error:
        told = [("bad", tell(problem_of(error), lang))]
    return "".join(f'<div class="note {kind}">{html.escape(line)}</div>' for kind, line in told)
