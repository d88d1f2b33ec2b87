"""The Config tab: a form made from the fields of TrainConfig, what the settings mean, and the same as a command."""

import html
import pathlib
import shlex
from typing import Any

import gradio as gr

from ddpm_app import presets
from ddpm_app.config import FIELDS, GROUPS, FieldInfo, TrainConfig, from_json, problems
from ddpm_app.doctor import report
from ddpm_app.problems import Problem
from ddpm_app.text import t, tell
from ddpm_app.ui import guard, meaning
from ddpm_app.ui.header import said
from ddpm_app.ui.studio import Form, Shared, Studio, in_form, problem_of, words

WIDE = ("dataset_name", "hub_model_id", "output_dir")
DOWNLOAD = """(file) => {
  if (!file) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([file.text], { type: "application/json" }));
  link.download = file.name;
  link.click();
}"""
"""Saves {name, text} from the browser: a file made on the server would stay there."""
QUIET: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": None, "api_visibility": "private"}


def build(studio: Studio, shared: Shared) -> None:
    """Draw the tab and make ``shared.form``."""
    first = presets.build(presets.FIRST)
    shared.form = form = Form(studio.runs_dir)
    with gr.Row(elem_id="config"):
        with gr.Column(scale=7, min_width=320):
            preset = gr.Radio(
                [(words(f"ui.preset.{name}"), name) for name in presets.PRESETS if _allowed(studio, name)],
                value=presets.FIRST,
                label=words("ui.config.preset"),
                elem_classes="presets",
            )
            drawn: dict[str, gr.components.Component] = {}
            for group in GROUPS:
                _group(group, first, drawn, visible=not (studio.public and group in ("hub", "machine")))
            form.components = {name: drawn[name] for name in FIELDS}
        with gr.Column(scale=4, min_width=300, elem_id="meaning-column"):
            with gr.Column(elem_classes="card"):
                gr.Markdown(words("ui.config.meaning"), elem_classes="title")
                panel = gr.HTML(elem_id="meaning")
            with gr.Column(elem_classes="card"):
                gr.Markdown(words("ui.config.command"), elem_classes="title")
                command = gr.Code(
                    language="shell",
                    show_label=False,
                    label=words("ui.config.command_label"),
                    interactive=False,
                    wrap_lines=True,
                    show_line_numbers=False,
                    lines=2,
                    buttons=["copy"],
                    elem_id="command",
                )
            with gr.Column(elem_classes="card"):
                gr.Markdown(words("ui.config.file"), elem_classes="title")
                with gr.Row():
                    save = gr.Button(words("ui.config.save"), size="md")
                    load = gr.UploadButton(words("ui.config.load"), file_types=[".json"], size="md")
            if not studio.public:
                _doctor(studio, shared)
    _wire(studio, shared, preset, panel, command, save, load)


def _doctor(studio: Studio, shared: Shared) -> None:
    """What ``python -m ddpm_app doctor`` tells, on demand: it starts processes and takes seconds."""

    def examine(lang: str) -> str:
        rows = ""
        for finding in report(studio.runs_dir, lang):
            told = html.escape(finding.value) + (f"<br><code>{html.escape(finding.remedy)}</code>" if finding.remedy else "")
            rows += f'<tr class="{"ok" if finding.ok else "wrong"}"><th>{html.escape(finding.name)}</th><td>{told}</td></tr>'
        return f'<table class="meaning">{rows}</table>'

    with gr.Column(elem_classes="card"):
        gr.Markdown(words("ui.config.doctor"), elem_classes="title")
        button = gr.Button(words("ui.config.examine"), size="md")
        findings = gr.HTML(elem_id="doctor")
    button.click(examine, shared.lang, findings, show_progress="minimal", api_visibility="private")


def _allowed(studio: Studio, preset: str) -> bool:
    try:
        guard.check_config(studio, presets.build(preset), "")
    except Problem:
        return False
    return True


def _group(group: str, first: TrainConfig, drawn: dict[str, gr.components.Component], visible: bool) -> None:
    infos = [info for info in FIELDS.values() if info.group == group]
    with gr.Column(elem_classes=["card", "group"], visible=visible):
        gr.Markdown(words(f"ui.group.{group}"), elem_classes="title")
        if basic := [info for info in infos if not info.advanced]:
            with gr.Row(elem_classes="fields"):
                drawn |= {info.name: _field(info, first) for info in basic}
        if advanced := [info for info in infos if info.advanced]:
            with gr.Accordion(words("ui.config.advanced"), open=False), gr.Row(elem_classes="fields"):
                drawn |= {info.name: _field(info, first) for info in advanced}


def _field(info: FieldInfo, first: TrainConfig) -> gr.components.Component:
    """The component of a field. Numbers are text boxes: gr.Number turns an empty value into 0 and hides what was typed wrong."""
    shared: dict[str, Any] = {
        "label": info.name,
        "info": words(f"field.{info.name}"),
        "value": in_form(info, getattr(first, info.name)),
        "elem_id": f"field-{info.name}",
        "elem_classes": ["field", "wide"] if info.name in WIDE else ["field"],
        "min_width": 200,
        "interactive": True,
    }
    if info.kind == "bool" and not info.optional:
        return gr.Checkbox(**shared)
    if info.kind == "bool":
        return gr.Radio([(words("ui.config.unset"), ""), (words("ui.config.yes"), "true"), (words("ui.config.no"), "false")], **shared)
    if info.kind == "choice":
        return gr.Radio([str(choice) for choice in info.choices], **shared)
    return gr.Textbox(
        placeholder=words("ui.config.empty") if info.optional else None,
        max_lines=1,
        html_attributes=gr.InputHTMLAttributes(spellcheck=False, autocomplete="off"),
        **shared,
    )


# ---- pure functions over the form's values ------------------------------------------------------------------------------
def command_line(preset: str, config: TrainConfig) -> str:
    """The terminal command that trains with these settings: the preset and what differs from it."""
    base, changes = presets.build(preset), {}
    for name, info in FIELDS.items():
        if (value := getattr(config, name)) != getattr(base, name):
            changes[name] = in_form(info, value)
    for name in ("max_train_steps", "max_train_minutes"):  # the preset's other way of saying how long goes by itself
        fewer = {key: value for key, value in changes.items() if key != name}
        if changes.get(name) == "" and presets.build(preset, **fewer) == config:
            changes = fewer
    words_ = ["python", "-m", "ddpm_app", "train", "--preset", preset]
    for name, value in changes.items():
        words_ += [f"--{name}", (str(value).lower() if isinstance(value, bool) else value) or "none"]
    return shlex.join(words_)


def messages(values: dict[str, Any], lang: str) -> dict[str, str]:
    """What is wrong, by field."""
    return {problem.field: tell(problem, lang) for problem in reversed(problems(values))}


def refused(studio: Studio, values: dict[str, Any], visitor: str, lang: str) -> dict[str, str]:
    """What a public page refuses of settings that would otherwise do, by field."""
    try:
        guard.check_config(studio, TrainConfig(**values), visitor)
    except Problem as problem:
        return {problem.field: tell(problem, lang)}
    return {}


def _infos(wrong: dict[str, str], before: dict[str, str], lang: str) -> list[Any]:
    """Updates that put a message, or the help again, under each field whose message changed."""
    updates = []
    for name in FIELDS:
        classes = ["field", "wide"] if name in WIDE else ["field"]
        if wrong.get(name) == before.get(name):
            updates.append(gr.skip())
        elif name in wrong:
            updates.append(gr.update(info=wrong[name], elem_classes=[*classes, "wrong"]))
        else:
            updates.append(gr.update(info=t(f"field.{name}", lang), elem_classes=classes))
    return updates


def restored(kept: Any) -> dict[str, Any]:
    """What a browser kept of an edited form, without fields that this version doesn't know."""
    values = kept.get("values", {}) if isinstance(kept, dict) else {}
    return {
        name: value
        for name, value in values.items()
        if name in FIELDS and isinstance(value, bool if isinstance(FIELDS[name].default, bool) else str)
    }


# ---- handlers ----------------------------------------------------------------------------------------------------------
def _wire(studio: Studio, shared: Shared, preset, panel, command, save, load) -> None:
    form = shared.form
    before = gr.State({})

    def edited(visitor: str, lang: str, preset: str, before: dict[str, str], *given: Any) -> list[Any]:
        values = form.values(given)
        wrong = messages(values, lang) or refused(studio, values, visitor, lang)
        told = gr.skip() if wrong else command_line(preset, TrainConfig(**values))
        kept = {"preset": preset, "values": values}
        return [wrong, kept, told, meaning.table(studio, values, visitor, lang, wait=False), *_infos(wrong, before, lang)]

    def means(visitor: str, lang: str, *given: Any) -> str:
        return meaning.table(studio, form.values(given), visitor, lang, wait=True)

    def pick(name: str) -> list[Any]:
        return form.fill(presets.build(name))

    def restore(kept: Any) -> list[Any]:
        values = restored(kept)
        name = kept["preset"] if values and kept.get("preset") in presets.PRESETS else presets.FIRST
        shown = form.texts(presets.build(name)) | values
        if not problems(shown):
            shown = form.texts(form.read(list(shown.values())))
        return [name, *shown.values()]

    def write(lang: str, *given: Any) -> list[Any]:
        try:
            config = form.read(given)
        except Problem as problem:
            return [said(problem, lang), gr.skip()]
        return ["", {"name": f"{config.output_dir}.json", "text": config.to_json()}]

    def read(lang: str, path: str) -> list[Any]:
        try:
            return [said(t("ui.config.loaded", lang)), *form.fill(from_json(pathlib.Path(path).read_text(encoding="utf-8")))]
        except (Problem, UnicodeDecodeError, OSError) as error:
            return [said(problem_of(error), lang), *(gr.skip() for _ in form.inputs)]

    demo = gr.context.Context.root_block
    edit = {
        "fn": edited,
        "inputs": [shared.visitor, shared.lang, preset, before, *form.inputs],
        "outputs": [before, shared.kept, command, panel, *form.inputs],
        **QUIET,
    }
    mean = {"fn": means, "inputs": [shared.visitor, shared.lang, *form.inputs], "outputs": panel, **QUIET}
    preset.input(pick, preset, form.inputs, **QUIET).then(**edit).then(**mean)
    shared.restored = demo.load(restore, shared.kept, [preset, *form.inputs], **QUIET)
    shared.restored.then(**edit).then(**mean)
    gr.on([component.change for component in form.inputs], trigger_mode="always_last", **edit).then(**mean)
    shared.later.append(lambda: shared.opened["config"].select(**mean))  # by now the data may be open
    load.upload(read, [shared.lang, load], [shared.message, *form.inputs], **QUIET)
    file = gr.JSON(visible=False)
    save.click(write, [shared.lang, *form.inputs], [shared.message, file], **QUIET).success(
        None, file, None, js=DOWNLOAD, api_visibility="private"
    )
