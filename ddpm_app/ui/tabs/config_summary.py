"""What the settings mean: what the network sees, steps, epochs, parameters, memory and time, as the Config tab's panel."""

import contextlib
import functools
import pathlib
from typing import TYPE_CHECKING, Any

import gradio as gr
from markupsafe import Markup

from ddpm_app import jobs
from ddpm_app.config import TrainConfig
from ddpm_app.data.open_datasets import OpenDataset
from ddpm_app.device_lock import DEVICE
from ddpm_app.errors import Problem, as_problem
from ddpm_app.i18n import format_count, format_duration, problem_on_page, t
from ddpm_app.runs import registry
from ddpm_app.ui.html import join, note
from ddpm_app.ui.state import App, label

if TYPE_CHECKING:
    from ddpm_app.train.summary import ModelSummary

WARM_SECONDS = 60
Rows = list[tuple[str, str]]
"""(name, value): the name is the end of a key in the text table, ui.meaning.<name>."""


def train_modules():
    """The modules train.check, train.estimate and train.summary, which import torch."""
    jobs.engine()
    from ddpm_app.train import check, estimate, summary

    return check, estimate, summary


class ConfigSummary:
    """The card that says what the settings in the form mean."""

    def __init__(self, app: App):
        self.app = app
        with gr.Column(elem_classes="card"):
            gr.Markdown(label("ui.config.meaning"), elem_classes="title")
            self.panel = gr.HTML(elem_id="meaning")

    def html(self, config: TrainConfig | list[Problem], visitor: str, lang: str, count: bool) -> Markup:
        """The panel for the form's settings, or for what is wrong with them. ``count``: wait until torch is imported, and count the
        network and the texts too."""
        if isinstance(config, list):
            lines = join(
                Markup('<li><a href="#field-{}">{}</a></li>').format(problem.field, problem_on_page(problem, lang))
                for problem in config
            )
            head = Markup("<b>{}</b><ul>{}</ul>").format(t("ui.config.wrong", lang, count=len(config)), lines)
            return note(head, "bad")
        app = self.app
        count = count and app.warm.wait(WARM_SECONDS)
        try:
            allowed = app.access.check_data(config, visitor)
            app.access.check_models(config)
        except Problem:  # the form says it under its field
            return table([("pictures", t("ui.meaning.later", lang)), *_length(config, {}, None, lang)], lang)
        entry, images = app.datasets.find(allowed), app.datasets.training_count(allowed)
        labels = len(entry.source.label_names or ()) if entry else 0
        model = _summarize(config, labels, app.runs_dir) if count else None
        costs = _estimate(config, images, labels, app.runs_dir) if images and model and not model.problem else {}
        rows = [
            ("pictures", f"{images:,}" if images else t("ui.meaning.later", lang)),
            *_latents(config, model, lang),
            *_length(config, costs, images, lang),
            ("time", self._time(config, costs, lang)),
            *_size(model, costs, lang),
        ]
        if not count:
            return table([*rows, ("parameters", t("ui.meaning.warming", lang))], lang)
        try:
            rows += self._texts(config, entry, lang) if entry and model else []
            problem = (model and model.problem) or _lacking_labels(config, entry)
        except Problem as error:
            problem = error
        return table(rows, lang) + self._notes(config, model, problem, lang)

    def _time(self, config: TrainConfig, costs: dict[str, Any], lang: str) -> str:
        if config.max_train_minutes:
            return format_duration(config.max_train_minutes * 60, lang)
        if not costs:
            return t("ui.meaning.rehearsal", lang)
        steps = config.max_train_steps or config.num_epochs * costs["steps_per_epoch"]
        return t("ui.meaning.about", lang, time=format_duration(steps * costs["flops"] / self.speed(), lang))

    def speed(self) -> float:
        """Operations per second that this machine reached in its newest rehearsed run, or in a short measurement."""
        for run in registry.list_runs(self.app.runs_dir):
            with contextlib.suppress(Problem, KeyError):  # another version's settings or plan
                if run.plan and (costs := _estimate(run.config, run.plan["images"], 0, self.app.runs_dir)):
                    return costs["flops"] / run.plan["step_seconds"]
        _, estimate, _ = train_modules()
        with DEVICE:
            return estimate.machine_speed()

    def _texts(self, config: TrainConfig, entry: OpenDataset, lang: str) -> Rows:
        """How many of the texts are too long. Raises Problem: "no_captions", "no_labels"."""
        _, _, summary = train_modules()
        texts = summary.truncated_captions(config, entry.source, self.app.runs_dir)
        if texts is None:
            return []
        key = "ui.meaning.cut" if texts.cut else "ui.meaning.uncut"
        return [("texts", t(key, lang, cut=texts.cut, count=texts.count, longest=texts.longest))]

    def _notes(self, config: TrainConfig, model: "ModelSummary | None", problem: Problem | None, lang: str) -> Markup:
        """What training will do differently from what the settings say, and what it refuses, as far as that is clear before."""
        check, _, summary = train_modules()
        try:
            if problem is None and model is None:
                problem = summary.unusable_model(config, self.app.runs_dir)
            if problem is not None:
                raise problem
            lines = [t(f"notice.{notice.code}", lang, **notice.values) for notice in check.check(config)]
        except Exception as error:
            return note(problem_on_page(as_problem(error), lang), "bad")
        if model is None:
            lines.append(t("ui.meaning.download", lang))
        return join(note(line, "warn") for line in lines)


# ---- rows ---------------------------------------------------------------------------------------------------------------
def table(rows: Rows, lang: str) -> Markup:
    """The rows as HTML."""
    body = join(
        Markup("<tr><th>{}</th><td>{}</td></tr>").format(t(f"ui.meaning.{name}", lang), value) for name, value in rows
    )
    return Markup('<table class="meaning">{}</table>').format(body)


def _latents(config: TrainConfig, model: "ModelSummary | None", lang: str) -> Rows:
    """What the autoencoder makes of a picture, read from the model."""
    if model is None or model.latents is None:
        return []
    channels, height, width = model.latents
    side = config.image_size
    return [
        ("latents", f"{side} x {side} x 3 \u2192 {height} x {width} x {channels}"),
        ("fewer", t("ui.meaning.times_fewer", lang, times=side * side * 3 / (channels * height * width))),
        ("factor", f"{model.factor}"),
        ("scale", t("ui.meaning.later_scale", lang) if model.scale is None else f"{model.scale:.4g}"),
    ]


def _length(config: TrainConfig, costs: dict[str, Any], images: int | None, lang: str) -> Rows:
    """Rows for steps, epochs and how often each picture is seen, as far as they follow from the settings."""
    if config.max_train_minutes:
        return [("steps", t("ui.meaning.measured", lang, minutes=config.max_train_minutes))]
    per_epoch = costs.get("steps_per_epoch")
    steps = config.max_train_steps or (config.num_epochs * per_epoch if per_epoch else None)
    rows = [("steps", f"{steps:,}" if steps else t("ui.meaning.warming" if images else "ui.meaning.later", lang))]
    if steps and per_epoch:
        rows += [("per_epoch", f"{per_epoch:,}"), ("epochs", f"{steps / per_epoch:,.1f}")]
    elif not config.max_train_steps:
        rows.append(("epochs", f"{config.num_epochs:,}"))
    return rows


def _size(model: "ModelSummary | None", costs: dict[str, Any], lang: str) -> Rows:
    """Rows for parameters and memory."""
    if model is None:
        return []
    trained, *others = model.parts
    count = format_count(trained.parameters)
    rows = [("parameters", count)]
    if trained.learning < trained.parameters:
        rows = [("parameters", t("ui.meaning.learning", lang, learning=format_count(trained.learning), count=count))]
    if costs:
        memory = costs["memory_bytes"] + sum(part.weights for part in others if part.name != "copies")
        rows.append(("memory", f"{memory / 2**30:.2f} GiB"))
    return rows


# ---- counting -----------------------------------------------------------------------------------------------------------
def _lacking_labels(config: TrainConfig, entry: OpenDataset | None) -> Problem | None:
    """What training would say of data without labels, before it says it."""
    if entry and config.conditioning == "labels" and not config.init_from and not entry.source.label_names:
        return Problem("no_labels", "conditioning", other="label_column", value="labels")
    return None


def _summarize(config: TrainConfig, labels: int, runs_dir: pathlib.Path) -> "ModelSummary | None":
    _, _, summary = train_modules()
    return summary.summarize(config, labels, runs_dir)


def _estimate(config: TrainConfig, images: int, labels: int, runs_dir: pathlib.Path) -> dict[str, Any]:
    """What train.estimate.estimate counts, {} where a part isn't on this machine."""
    _, _, summary = train_modules()
    saved_at = summary.saved_at(config, runs_dir)
    return _estimate_cached(summary.shape_settings(config), images, labels, runs_dir, saved_at) or {}


@functools.lru_cache(maxsize=32)
def _estimate_cached(
    config: TrainConfig, images: int, labels: int, runs_dir: pathlib.Path, saved_at: tuple[int, ...]
) -> dict[str, Any] | None:
    _, estimate, _ = train_modules()
    return estimate.estimate(config, images, labels, runs_dir)
