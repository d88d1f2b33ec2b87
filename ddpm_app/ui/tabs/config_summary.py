"""What the settings mean: what the network sees, steps, epochs, parameters, memory and time, as the Config tab's panel."""

import contextlib
import functools
import html
import pathlib
from typing import TYPE_CHECKING, Any

from ddpm_app import jobs
from ddpm_app.config import TrainConfig, config_problems
from ddpm_app.data.open_datasets import OpenDataset
from ddpm_app.device_lock import DEVICE
from ddpm_app.errors import Problem, as_problem
from ddpm_app.i18n import format_count, format_duration, problem_text, t
from ddpm_app.runs import registry
from ddpm_app.ui.state import App

if TYPE_CHECKING:
    from ddpm_app.train.summary import ModelSummary

WARM_SECONDS = 60


def table(app: App, values: dict[str, Any], visitor: str, lang: str, wait: bool) -> str:
    """The panel as HTML. ``wait``: wait until torch is imported, and count the network and the texts too."""
    if wrong := config_problems(values):
        lines = "".join(f"<li>{html.escape(problem_text(problem, lang))}</li>" for problem in wrong)
        return f'<div class="note bad"><b>{t("ui.config.wrong", lang, count=len(wrong))}</b><ul>{lines}</ul></div>'
    config = TrainConfig(**values)
    counted = wait and app.warm.wait(WARM_SECONDS)
    try:
        entry = app.datasets.find(named := app.access.check_data(config, visitor))
        app.access.check_models(config)
    except Problem:  # the form says it under its field
        return _rows([("pictures", t("ui.meaning.later", lang)), *_length(config, {}, None, lang)], lang)
    images = app.datasets.training_count(named)
    labels = len(entry.source.label_names or ()) if entry else 0
    made = _summarize(config, labels, app.runs_dir) if counted else None
    known = _estimate(config, images, labels, app.runs_dir) if images and made and not made.problem else {}
    rows = [("pictures", f"{images:,}" if images else t("ui.meaning.later", lang)), *_seen(config, made, lang)]
    rows += [
        *_length(config, known, images, lang),
        ("time", _time(app, config, known, lang)),
        *_size(config, made, known, lang),
    ]
    if not counted:
        rows.append(("parameters", t("ui.meaning.warming", lang)))
        return _rows(rows, lang)
    try:
        if cut := _truncated_captions(config, entry.source, app.runs_dir) if entry and made else None:
            rows.append(
                (
                    "texts",
                    t(
                        "ui.meaning.cut" if cut.cut else "ui.meaning.uncut",
                        lang,
                        cut=cut.cut,
                        count=cut.count,
                        longest=cut.longest,
                    ),
                )
            )
        found = (made and made.problem) or _unfit(config, entry)
    except Problem as problem:
        found = problem
    return _rows(rows, lang) + _notes(app, config, made, found, lang)


def _rows(rows: list[tuple[str, str]], lang: str) -> str:
    body = "".join(
        f"<tr><th>{t(f'ui.meaning.{name}', lang)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows
    )
    return f'<table class="meaning">{body}</table>'


def _seen(config: TrainConfig, made: "ModelSummary | None", lang: str) -> list[tuple[str, str]]:
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


def _time(app: App, config: TrainConfig, known: dict[str, Any], lang: str) -> str:
    if config.max_train_minutes:
        return format_duration(config.max_train_minutes * 60, lang)
    if not known:
        return t("ui.meaning.rehearsal", lang)
    steps = config.max_train_steps or config.num_epochs * known["steps_per_epoch"]
    return t("ui.meaning.about", lang, time=format_duration(steps * known["flops"] / _speed(app), lang))


def _size(config: TrainConfig, made: "ModelSummary | None", known: dict[str, Any], lang: str) -> list[tuple[str, str]]:
    """Rows for parameters and memory."""
    if made is None:
        return []
    trained, *others = made.parts
    count = format_count(trained.parameters)
    rows = [("parameters", count)]
    if trained.learning < trained.parameters:
        rows = [("parameters", t("ui.meaning.learning", lang, learning=format_count(trained.learning), count=count))]
    if known:
        memory = known["memory_bytes"] + sum(part.weights for part in others if part.name != "copies")
        rows.append(("memory", f"{memory / 2**30:.2f} GiB"))
    return rows


def _speed(app: App) -> float:
    """Operations per second that this machine reached in its newest rehearsed run, or in a short measurement."""
    for run in registry.list_runs(app.runs_dir):
        with contextlib.suppress(Problem, KeyError):  # another version's settings or plan
            if run.plan and (known := _estimate(run.config, run.plan["images"], 0, app.runs_dir)):
                return known["flops"] / run.plan["step_seconds"]
    jobs.engine()
    from ddpm_app.train.estimate import machine_speed

    with DEVICE:
        return machine_speed()


def _estimate(config: TrainConfig, images: int, labels: int, runs_dir: pathlib.Path) -> dict[str, Any]:
    """What train.plan.estimate tells, {} where a part isn't on this machine."""
    jobs.engine()
    from ddpm_app.train import summary

    return _counted(summary.shape_settings(config), images, labels, runs_dir, summary.saved_at(config, runs_dir)) or {}


@functools.lru_cache(maxsize=32)
def _counted(
    config: TrainConfig, images: int, labels: int, runs_dir: pathlib.Path, stamp: tuple[int, ...]
) -> dict[str, Any] | None:
    from ddpm_app.train.estimate import estimate

    return estimate(config, images, labels, runs_dir)


def _unfit(config: TrainConfig, entry: OpenDataset | None) -> Problem | None:
    """What training would say of data without labels, before it says it."""
    if entry and config.conditioning == "labels" and not config.init_from and not entry.source.label_names:
        return Problem("no_labels", "conditioning", other="label_column", value="labels")
    return None


def _notes(app: App, config: TrainConfig, made: "ModelSummary | None", found: Problem | None, lang: str) -> str:
    """What training will do differently from what is asked, and what it refuses, as far as that is known before."""
    jobs.engine()
    from ddpm_app.train import summary
    from ddpm_app.train.check import check

    try:
        if found or made is None and (found := summary.unusable_model(config, app.runs_dir)):
            raise found
        told = [("warn", t(f"notice.{notice.code}", lang, **notice.values)) for notice in check(config)]
        if made is None:
            told.append(("warn", t("ui.meaning.download", lang)))
    except Exception as error:
        told = [("bad", problem_text(as_problem(error), lang))]
    return "".join(f'<div class="note {kind}">{html.escape(line)}</div>' for kind, line in told)


def _summarize(config: TrainConfig, labels: int, runs_dir: pathlib.Path) -> Any:
    jobs.engine()
    from ddpm_app.train import summary

    return summary.summarize(config, labels, runs_dir)


def _truncated_captions(config: TrainConfig, source: Any, runs_dir: pathlib.Path) -> Any:
    from ddpm_app.train import summary

    return summary.truncated_captions(config, source, runs_dir)
