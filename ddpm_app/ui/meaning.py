"""What the settings mean: steps, epochs, parameters, memory and time, as the Config tab's panel."""

import contextlib
import functools
import html
from typing import Any

from ddpm_app import jobs, runs
from ddpm_app.config import TrainConfig, problems
from ddpm_app.problems import Problem
from ddpm_app.text import lasting, t, tell
from ddpm_app.ui import guard
from ddpm_app.ui.studio import Studio, problem_of

WARM_SECONDS = 60
ESTIMATED = (
    "image_size",
    "channels",
    "unet",
    "block_out_channels",
    "layers_per_block",
    "attention_levels",
    "attention_head_dim",
    "norm_num_groups",
    "dropout",
    "train_batch_size",
    "gradient_accumulation_steps",
    "use_ema",
)
"""The settings that the estimate depends on."""


def table(studio: Studio, values: dict[str, Any], visitor: str, lang: str, wait: bool) -> str:
    """The panel as HTML. ``wait``: wait until torch is imported, and count the network too."""
    if wrong := problems(values):
        lines = "".join(f"<li>{html.escape(tell(problem, lang))}</li>" for problem in wrong)
        return f'<div class="note bad"><b>{t("ui.config.wrong", lang, count=len(wrong))}</b><ul>{lines}</ul></div>'
    config = TrainConfig(**values)
    counted = studio.warm.wait(WARM_SECONDS) if wait else studio.warm.is_set()
    images = _images(studio, config, visitor)
    known = _estimate(config, images) if counted and images else {}
    rows = [("pictures", f"{images:,}" if images else t("ui.meaning.later", lang)), *_length(config, known, images, lang)]
    rows.append(("time", _time(studio, config, known, lang)))
    if known:
        rows += [("parameters", f"{known['parameters'] / 1e6:.2f} M"), ("memory", f"{known['memory_bytes'] / 2**30:.2f} GiB")]
    elif not counted:
        rows.append(("parameters", t("ui.meaning.warming", lang)))
    body = "".join(f"<tr><th>{t(f'ui.meaning.{name}', lang)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)
    return f'<table class="meaning">{body}</table>' + (_notices(config, lang) if counted else "")


def _images(studio: Studio, config: TrainConfig, visitor: str) -> int | None:
    try:
        return studio.shelf.trained_on(guard.check_data(studio, config, visitor))
    except Problem:  # the form says it under dataset_name
        return None


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


def _speed(studio: Studio) -> float:
    """Operations per second that this machine reached in its newest rehearsed run, or in a short measurement."""
    for run in runs.list_runs(studio.runs_dir):
        with contextlib.suppress(Problem, KeyError):  # another version's settings or plan
            if run.plan:
                return _estimate(run.config, run.plan["images"])["flops"] / run.plan["step_seconds"]
    jobs.engine()
    from ddpm_app.train.plan import machine_speed

    with jobs.DEVICE:
        return machine_speed()


def _estimate(config: TrainConfig, images: int) -> dict[str, Any]:
    return _counted(TrainConfig(**{name: getattr(config, name) for name in ESTIMATED}), images)


@functools.lru_cache(maxsize=32)
def _counted(config: TrainConfig, images: int) -> dict[str, Any]:
    jobs.engine()
    from ddpm_app.train.plan import estimate

    return estimate(config, images)


def _notices(config: TrainConfig, lang: str) -> str:
    """What training will do differently from what is asked, and what it refuses once it knows the machine."""
    jobs.engine()
    from ddpm_app.train.check import check

    try:
        told = [("warn", t(f"notice.{notice.code}", lang, **notice.values)) for notice in check(config)]
    except Exception as error:
        problem: Problem = problem_of(error)
        told = [("bad", tell(problem, lang))]
    return "".join(f'<div class="note {kind}">{html.escape(line)}</div>' for kind, line in told)
