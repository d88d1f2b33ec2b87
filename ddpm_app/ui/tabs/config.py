"""The Config tab: a form made from the fields of TrainConfig, what the settings mean, and the same as a command."""

import html
import pathlib
import shlex
from typing import Any

import gradio as gr

from ddpm_app import presets
from ddpm_app.config import FIELDS, GROUPS, FieldInfo, TrainConfig, config_problems, from_json
from ddpm_app.doctor import report
from ddpm_app.errors import Problem, as_problem
from ddpm_app.i18n import problem_text, t
from ddpm_app.ui.html import notice
from ddpm_app.ui.state import App, Page, label
from ddpm_app.ui.tabs import config_form, config_summary, vae_check
from ddpm_app.ui.tabs import model_parts as panels
from ddpm_app.ui.tabs.config_form import Form, to_form_value

DOWNLOAD = """(file) => {
  if (!file) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([file.text], { type: "application/json" }));
  link.download = file.name;
  link.click();
}"""
"""Saves {name, text} from the browser: a file made on the server would stay there."""
QUIET: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": None, "api_visibility": "private"}


def build(app: App, shared: Page) -> None:
    """Draw the tab and make ``shared.form``."""
    allowed = [name for name in presets.PRESETS if _allowed(app, name)]
    opening = presets.FIRST if presets.FIRST in allowed else allowed[0]
    first = presets.build(opening)
    shared.form = form = Form(app.runs_dir)
    parts: dict[str, Any] = {}
    drawn: dict[str, gr.components.Component] = {}
    with gr.Row(elem_id="config"):
        with gr.Column(scale=7, min_width=320):
            parts["preset"] = gr.Radio(
                [(label(f"ui.preset.{name}"), name) for name in allowed],
                value=opening,
                label=label("ui.config.preset"),
                elem_classes="presets",
            )
            for group in GROUPS:
                config_form.group(group, first, drawn, visible=not (app.public and group in ("hub", "machine")))
                if group == "data":
                    vae_check.build(app, shared)
                if group == "autoencoder":
                    parts["anatomy"] = _parts(first, drawn)
            form.components = {name: drawn[name] for name in FIELDS}
            parts["hidden"] = gr.HTML(config_form.hidden(app, form.texts(first), {}), elem_classes="unseen")
        with gr.Column(scale=4, min_width=300, elem_id="meaning-column"):
            _side(app, shared, parts)
    _wire(app, shared, parts, allowed)


def _parts(first: TrainConfig, drawn: dict[str, gr.components.Component]) -> gr.HTML:
    """The card of the model's parts, with the switches for what learns."""
    with gr.Column(elem_classes=["card", "group"], elem_id="parts"):
        gr.Markdown(label("ui.parts.title"), elem_classes="title")
        drawn["trainable"] = config_form.field(FIELDS["trainable"], first)
        return gr.HTML(elem_id="anatomy")


def _side(app: App, shared: Page, parts: dict[str, Any]) -> None:
    """What the settings mean, the same as a command and as a file, and what this machine is."""
    with gr.Column(elem_classes="card"):
        gr.Markdown(label("ui.config.meaning"), elem_classes="title")
        parts["meaning"] = gr.HTML(elem_id="meaning")
    with gr.Column(elem_classes="card"):
        gr.Markdown(label("ui.config.command"), elem_classes="title")
        parts["command"] = gr.Code(
            language="shell",
            show_label=False,
            label=label("ui.config.command_label"),
            interactive=False,
            wrap_lines=True,
            show_line_numbers=False,
            lines=2,
            buttons=["copy"],
            elem_id="command",
        )
    with gr.Column(elem_classes="card"):
        gr.Markdown(label("ui.config.file"), elem_classes="title")
        with gr.Row():
            parts["save"] = gr.Button(label("ui.config.save"), size="md")
            parts["load"] = gr.UploadButton(label("ui.config.load"), file_types=[".json"], size="md")
    if not app.public:
        _doctor(app, shared)


def _doctor(app: App, shared: Page) -> None:
    """What ``python -m ddpm_app doctor`` tells, on demand: it starts processes and takes seconds."""

    def examine(lang: str) -> str:
        rows = ""
        for finding in report(app.runs_dir, lang):
            told = html.escape(finding.value) + (
                f"<br><code>{html.escape(finding.remedy)}</code>" if finding.remedy else ""
            )
            rows += f'<tr class="{"ok" if finding.ok else "wrong"}"><th>{html.escape(finding.name)}</th><td>{told}</td></tr>'
        return f'<table class="meaning">{rows}</table>'

    with gr.Column(elem_classes="card"):
        gr.Markdown(label("ui.config.doctor"), elem_classes="title")
        button = gr.Button(label("ui.config.examine"), size="md")
        findings = gr.HTML(elem_id="doctor")
    button.click(examine, shared.lang, findings, show_progress="minimal", api_visibility="private")


def _allowed(app: App, preset: str) -> bool:
    try:
        app.access.check_config(presets.build(preset), "")
    except Problem:
        return False
    return True


# ---- pure functions over the form's values ------------------------------------------------------------------------------
def command_line(preset: str, config: TrainConfig) -> str:
    """The terminal command that trains with these settings: the preset and what differs from it."""
    base, changes = presets.build(preset), {}
    for name, info in FIELDS.items():
        if (value := getattr(config, name)) != getattr(base, name):
            changes[name] = to_form_value(info, value)
    for name in ("max_train_steps", "max_train_minutes"):  # the preset's other way of saying how long goes by itself
        fewer = {key: value for key, value in changes.items() if key != name}
        if changes.get(name) == "" and presets.build(preset, **fewer) == config:
            changes = fewer
    words_ = ["python", "-m", "ddpm_app", "train", "--preset", preset]
    for name, value in changes.items():
        told = str(value).lower() if isinstance(value, bool) else ",".join(value) if isinstance(value, list) else value
        words_ += [f"--{name}", told or "none"]
    return shlex.join(words_)


def messages(values: dict[str, Any], lang: str) -> dict[str, str]:
    """What is wrong, by field."""
    return {problem.field: problem_text(problem, lang) for problem in reversed(config_problems(values))}


def refused(app: App, values: dict[str, Any], visitor: str, lang: str) -> dict[str, str]:
    """What a public page refuses of settings that would otherwise do, by field."""
    try:
        app.access.check_config(TrainConfig(**values), visitor)
    except Problem as problem:
        return {problem.field: problem_text(problem, lang)}
    return {}


def _infos(wrong: dict[str, str], before: dict[str, str]) -> list[Any]:
    """Updates that put a message, or the help again, under each field whose message changed."""
    updates = []
    for name in FIELDS:
        classes = config_form.classes(name)
        if wrong.get(name) == before.get(name):
            updates.append(gr.skip())
        elif name in wrong:
            updates.append(gr.update(info=wrong[name], elem_classes=[*classes, "wrong"]))
        else:
            updates.append(gr.update(info=label(f"field.{name}"), elem_classes=classes))
    return updates


def restored(kept: Any) -> dict[str, Any]:
    """What a browser kept of an edited form, without fields that this version doesn't know and values that no form can hold."""
    values = kept.get("values", {}) if isinstance(kept, dict) else {}
    return {name: value for name, value in values.items() if name in FIELDS and _holds(FIELDS[name], value)}


def _holds(info: FieldInfo, value: Any) -> bool:
    if info.kind == "choices":
        return isinstance(value, list) and all(one in info.choices for one in value)
    if info.kind == "choice":
        return value in map(str, info.choices)
    return isinstance(value, bool if isinstance(info.default, bool) else str)


# ---- handlers ----------------------------------------------------------------------------------------------------------
def _wire(app: App, shared: Page, parts: dict[str, Any], allowed: list[str]) -> None:
    form, preset = shared.form, parts["preset"]
    form.preset = preset
    before = gr.State({})

    def edited(visitor: str, lang: str, preset: str, before: dict[str, str], *given: Any) -> list[Any]:
        values = form.values(given)
        wrong = messages(values, lang) or refused(app, values, visitor, lang)
        told = gr.skip() if wrong else command_line(preset, TrainConfig(**values))
        kept = {"preset": preset, "values": values}
        # once torch is there the whole panel comes in a moment
        panel = (
            gr.skip()
            if app.warm.is_set() and not wrong
            else config_summary.table(app, values, visitor, lang, wait=False)
        )
        return [wrong, kept, told, panel, config_form.hidden(app, values, wrong), *_infos(wrong, before)]

    def means(visitor: str, lang: str, *given: Any) -> list[str]:
        values = form.values(given)
        return [config_summary.table(app, values, visitor, lang, wait=True), panels.of_form(app, values, visitor, lang)]

    def pick(name: str) -> list[Any]:
        return form.fill(presets.build(name))

    def restore(kept: Any) -> list[Any]:
        values = restored(kept)
        name = kept["preset"] if values and kept.get("preset") in allowed else preset.value
        shown = form.texts(presets.build(name)) | values
        if not config_problems(form.values(list(shown.values()))):
            shown = form.texts(form.read(list(shown.values())))
        return [name, *shown.values()]

    def offer(lang: str, objective: str) -> list[Any]:
        return [gr.update(choices=choices) for choices in config_form.offers(app, lang, objective).values()]

    page = [shared.visitor, shared.lang]
    edit = {
        "fn": edited,
        "inputs": [*page, preset, before, *form.inputs],
        "outputs": [before, shared.form_memory, parts["command"], parts["meaning"], parts["hidden"], *form.inputs],
        **QUIET,
    }
    # counting takes a moment: what was typed meanwhile must not be lost
    mean = {
        "fn": means,
        "inputs": [*page, *form.inputs],
        "outputs": [parts["meaning"], parts["anatomy"]],
        "trigger_mode": "always_last",
        **QUIET,
    }
    named = [form.components["vae"], form.components["init_from"]]
    offers = {"fn": offer, "inputs": [shared.lang, form.components["objective"]], "outputs": named, **QUIET}
    preset.input(pick, preset, form.inputs, **QUIET).then(**edit).then(**mean)
    shared.form_restored = shared.language_ready.then(restore, shared.form_memory, [preset, *form.inputs], **QUIET)
    shared.form_restored.then(**edit).then(**offers).then(**mean)
    shared.language_changed.then(**edit).then(**offers).then(**mean)
    gr.on([component.change for component in form.inputs], trigger_mode="always_last", **edit).then(**mean)
    form.components["objective"].change(**offers)
    # by now the data may be open, and a run have saved something
    shared.later.append(lambda: shared.tab_items["config"].select(**offers).then(**mean))
    _wire_files(shared, parts)


def _wire_files(shared: Page, parts: dict[str, Any]) -> None:
    """The settings as a JSON file, out and in."""
    form = shared.form

    def write(lang: str, *given: Any) -> list[Any]:
        try:
            config = form.read(given)
        except Problem as problem:
            return [notice(problem, lang), gr.skip()]
        return ["", {"name": f"{config.output_dir}.json", "text": config.to_json()}]

    def read(lang: str, path: str) -> list[Any]:
        try:
            return [
                notice(t("ui.config.loaded", lang)),
                *form.fill(from_json(pathlib.Path(path).read_text(encoding="utf-8"))),
            ]
        except (Problem, UnicodeDecodeError, OSError) as error:
            return [notice(as_problem(error), lang), *(gr.skip() for _ in form.inputs)]

    parts["load"].upload(read, [shared.lang, parts["load"]], [shared.message, *form.inputs], **QUIET)
    file = gr.JSON(visible=False)
    parts["save"].click(write, [shared.lang, *form.inputs], [shared.message, file], **QUIET).success(
        None, file, None, js=DOWNLOAD, api_visibility="private"
    )
