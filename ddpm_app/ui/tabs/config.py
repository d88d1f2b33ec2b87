"""The Config tab: a form made from the fields of TrainConfig, what the settings mean, and the same as a command."""

import pathlib
import shlex
from collections.abc import Mapping
from typing import Any

import gradio as gr
from gradio.components import Component
from markupsafe import Markup

from ddpm_app import presets
from ddpm_app.access import CAPS, LATENT_SIZE, UPLOAD_MB, UPLOADS_PER_VISITOR
from ddpm_app.config import FIELDS, GROUPS, FieldInfo, TrainConfig, from_json, irrelevant_fields, parse
from ddpm_app.doctor import report
from ddpm_app.errors import Problem, as_problem
from ddpm_app.i18n import problem_on_page, t
from ddpm_app.runs.records import RunSnapshot
from ddpm_app.ui.components.setting_finder import Differences, SettingFinder
from ddpm_app.ui.html import join, notice, quiet
from ddpm_app.ui.state import PARALLEL, QUICK, App, Page, Updates, Values, label
from ddpm_app.ui.tabs import config_form
from ddpm_app.ui.tabs.config_form import FieldValue, Form, to_form_value
from ddpm_app.ui.tabs.config_summary import ConfigSummary
from ddpm_app.ui.tabs.model_parts import parts_of_config
from ddpm_app.ui.tabs.vae_check import VaeCheck

DOWNLOAD = """(file) => {
  if (!file) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([file.text], { type: "application/json" }));
  link.download = file.name;
  link.click();
}"""
"""Saves {name, text} from the browser: a file made on the server would stay there."""


class ConfigTab:
    """The form with its presets, and beside it what the settings mean. ``messages``: what is wrong, by field, as the page shows it."""

    def __init__(self, app: App):
        self.app = app
        self.presets = [name for name in presets.PRESETS if self._is_allowed(name)]
        opening = presets.FIRST if presets.FIRST in self.presets else self.presets[0]
        self.messages = gr.State({})
        with gr.Row(elem_id="config"):
            with gr.Column(scale=7, min_width=320):
                self._draw_form(opening)
            with gr.Column(scale=4, min_width=300, elem_id="meaning-column"):
                self._draw_side()

    def _is_allowed(self, preset: str) -> bool:
        try:
            self.app.access.check_config(presets.build(preset), "")
        except Problem:
            return False
        return True

    def _draw_form(self, opening: str) -> None:
        """The choice of presets and the cards of the settings, which hold those of the preset ``opening``."""
        first = presets.build(opening)
        self.preset = gr.Radio(
            [(label(f"ui.preset.{name}"), name) for name in self.presets],
            value=opening,
            label=label("ui.config.preset"),
            elem_classes="presets",
        )
        self.limits = gr.HTML(visible=self.app.public, padding=False, elem_id="limits")
        with gr.Row(elem_classes="card", elem_id="finder-row"):
            self.finder = SettingFinder(self.differences(opening, [], "en"), elem_id="finder")
            self.reset = gr.Button(label("ui.config.reset"), size="md", visible=False, elem_id="reset", min_width=120)
        components: dict[str, Component] = {}
        for group in GROUPS:
            visible = not (self.app.public and group in ("hub", "machine"))
            components |= config_form.draw_group(group, first, visible)
            if group == "data":
                self.vae_check = VaeCheck(self.app)
            if group == "autoencoder":
                with gr.Column(elem_classes=["card", "group"], elem_id="parts"):
                    gr.Markdown(label("ui.parts.title"), elem_classes="title")
                    components["trainable"] = config_form.draw_field(FIELDS["trainable"], first)
                    self.parts = gr.HTML(elem_id="anatomy")
        self.form = Form(self.app.runs_dir, {name: components[name] for name in FIELDS}, self.preset)
        self.style_sheet = gr.HTML(config_form.style_sheet(self.app, self.form.texts(first), {}), elem_classes="unseen")

    def _draw_side(self) -> None:
        """What the settings mean, the same as a command and as a file, and what this machine is."""
        self.summary = ConfigSummary(self.app)
        with gr.Column(elem_classes="card"):
            gr.Markdown(label("ui.config.command"), elem_classes="title")
            self.command = gr.Code(
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
                self.save = gr.Button(label("ui.config.save"), size="md")
                self.load = gr.UploadButton(label("ui.config.load"), file_types=[".json"], size="md")
            self.file = gr.JSON(visible=False)
        if not self.app.public:
            with gr.Column(elem_classes="card"):
                gr.Markdown(label("ui.config.doctor"), elem_classes="title")
                self.examine = gr.Button(label("ui.config.examine"), size="md")
                self.findings = gr.HTML(elem_id="doctor")

    # ---- wiring ------------------------------------------------------------------------------------------------------
    def restore_from(self, page: Page) -> gr.events.Dependency:
        """Fill the form with what the browser keeps; returns the event that it is filled, for other tabs to follow."""
        outputs = [self.preset, *self.form.inputs]
        return page.language_ready.then(self.restore, page.form_memory, outputs, **PARALLEL)

    def wire(self, page: Page) -> None:
        """Connect the tab; ``page.form_restored`` is there already."""
        self.page, form = page, self.form
        if self.app.public:
            page.every_tick(self.draw_limits, [self.limits])
        self.vae_check.wire(page)
        edit: dict[str, Any] = {
            "fn": self.check,
            "inputs": {page.visitor, page.lang, self.preset, self.messages, *form.inputs},
            "outputs": [
                self.messages,
                page.form_memory,
                self.command,
                self.summary.panel,
                self.style_sheet,
                self.finder,
                self.reset,
                *form.inputs,
            ],
            **PARALLEL,
        }
        # counting takes a moment: what was typed meanwhile must not be lost
        count: dict[str, Any] = {
            "fn": self.count,
            "inputs": {page.visitor, page.lang, *form.inputs},
            "outputs": [self.summary.panel, self.parts],
            "trigger_mode": "always_last",
            **PARALLEL,
        }
        offer: dict[str, Any] = {
            "fn": self.offer_models,
            "inputs": [page.lang, form.components["objective"]],
            "outputs": [form.components["vae"], form.components["init_from"]],
            **PARALLEL,
        }
        for choice in (self.preset.input, self.reset.click):
            choice(self.pick_preset, {self.preset, *form.inputs}, form.inputs, **PARALLEL).then(**edit).then(**count)
        page.form_restored.then(**edit).then(**offer).then(**count)
        page.language_changed.then(**edit).then(**offer).then(**count)
        gr.on([part.change for part in form.inputs], trigger_mode="always_last", **edit).then(**count)
        form.components["objective"].change(**offer)
        # by now the data may be open, and a run have saved something
        page.tab_items["config"].select(**offer).then(**count)
        self.load.upload(self.read_file, [page.lang, self.load], [page.message, *form.inputs], **PARALLEL)
        self.save.click(self.write_file, {page.lang, *form.inputs}, [page.message, self.file], **PARALLEL).success(
            None, self.file, None, js=DOWNLOAD, api_visibility="private"
        )
        if not self.app.public:  # it starts processes and takes seconds
            progress = {"show_progress": "minimal", "show_progress_on": self.findings}
            self.examine.click(self.examine_machine, page.lang, self.findings, **QUICK | progress)

    # ---- handlers ----------------------------------------------------------------------------------------------------
    def check(self, data: Values) -> Updates:
        """After each edit: messages under the fields, the command, what the browser keeps, and which fields are hidden."""
        app, lang, visitor, preset = self.app, data[self.page.lang], data[self.page.visitor], data[self.preset]
        values = self.form.values(data)
        config = parse(values)
        problems = config if isinstance(config, list) else self._forbidden(config, visitor)
        messages = {problem.field: problem_on_page(problem, lang) for problem in reversed(problems)}
        different = self.different(preset, values)
        updates: Updates = {
            self.finder: self.differences(preset, different, lang),
            self.reset: gr.update(visible=bool(different)),
            self.messages: messages,
            self.style_sheet: config_form.style_sheet(app, values, messages, different),
            **self.message_updates(messages, data[self.messages]),
        }
        if not (self.app.public and problems):  # what strangers are refused doesn't come back at the next visit
            updates |= {self.page.form_memory: {"preset": preset, "values": values}}
        if not problems:
            updates |= {self.command: command_line(preset, config)}
        if problems or not app.warm.is_set():  # once torch is there the whole panel comes in a moment
            updates |= {self.summary.panel: self.summary.html(config, visitor, lang, count=False)}
        return updates

    def draw_limits(self, snapshot: RunSnapshot, lang: str) -> Updates:
        """What a public page permits, in one line before anybody meets it."""
        values = {"minutes": CAPS["max_train_minutes"], "side": CAPS["image_size"], "latent_side": LATENT_SIZE}
        text = t("ui.config.limits", lang, **values, megabytes=UPLOAD_MB[True], uploads=UPLOADS_PER_VISITOR)
        return {self.limits: quiet(text)}

    def different(self, preset: str, values: dict[str, FieldValue]) -> list[str]:
        """The settings that matter and differ from what choosing the preset again would give."""
        again, skipped = presets.over(preset, values), irrelevant_fields(values) | {"output_dir"}
        names = (name for name in FIELDS if name not in skipped)
        return [name for name in names if to_form_value(FIELDS[name], again[name]) != values[name]]

    def differences(self, preset: str, different: list[str], lang: str) -> Differences:
        """What the finder shows."""
        links = [(name, t(config_form.label_key(name), lang).split("\n")[0]) for name in different]
        before, after = t("ui.config.differs", lang, preset=preset, links="\0").split("\0")
        if not different:
            before, after = t("ui.config.same", lang, preset=preset), ""
        return {"before": before, "links": links, "after": after, "find": t("ui.config.find", lang)}

    def _forbidden(self, config: TrainConfig, visitor: str) -> list[Problem]:
        """What a public page refuses of settings that would otherwise do."""
        try:
            self.app.access.check_config(config, visitor)
        except Problem as problem:
            return [problem]
        return []

    def message_updates(self, messages: dict[str, str], before: dict[str, str]) -> Updates:
        """Put a message, or the help again, under each field whose message changed."""
        updates = {}
        for name, component in self.form.components.items():
            classes = config_form.classes(name)
            if messages.get(name) == before.get(name):
                continue
            if name in messages:
                updates[component] = gr.update(info=messages[name], elem_classes=[*classes, "wrong"])
            else:
                updates[component] = gr.update(info=label(f"field.{name}"), elem_classes=classes)
        return updates

    def count(self, data: Values) -> Updates:
        """What the settings mean, with the network counted, and its parts."""
        lang, visitor = data[self.page.lang], data[self.page.visitor]
        config = parse(self.form.values(data))
        return {
            self.summary.panel: self.summary.html(config, visitor, lang, count=True),
            self.parts: "" if isinstance(config, list) else parts_of_config(self.app, config, visitor, lang),
        }

    def pick_preset(self, data: Values) -> Updates:
        """The preset's settings, over the pictures that someone brought."""
        preset, current = data[self.preset], self.form.values(data)
        values = presets.over(preset, current)
        config = parse(values)
        if isinstance(config, list):  # what stayed can't be: it shows under its field
            texts = self.form.texts(presets.build(preset))
            texts |= {name: current[name] for name in presets.OWN}
            return {self.form.components[name]: text for name, text in texts.items()}
        return self.form.updates(config)

    def restore(self, memory: Any) -> Updates:
        """The form as the browser keeps it, under a run name that is free."""
        values = restored_values(memory)
        name = memory["preset"] if values and memory.get("preset") in self.presets else self.preset.value
        texts = self.form.texts(presets.build(name)) | values
        config = parse(config_form.fit_sections(texts))
        if isinstance(config, TrainConfig):
            texts = self.form.texts(config)
        return {self.preset: name, **{self.form.components[field]: text for field, text in texts.items()}}

    def offer_models(self, lang: str, objective: str) -> Updates:
        """The choices of vae and init_from."""
        options = config_form.model_options(self.app, lang, objective)
        return {self.form.components[name]: gr.update(choices=choices) for name, choices in options.items()}

    def write_file(self, data: Values) -> Updates:
        """The settings as a JSON file, see ``DOWNLOAD``."""
        try:
            config = self.form.read(data)
        except Problem as problem:
            return {self.page.message: notice(problem, data[self.page.lang])}
        return {self.page.message: "", self.file: {"name": f"{config.output_dir}.json", "text": config.to_json()}}

    def read_file(self, lang: str, path: str) -> Updates:
        """The settings from a JSON file."""
        try:
            config = from_json(pathlib.Path(path).read_bytes())
        except (Problem, OSError) as error:
            return {self.page.message: notice(as_problem(error), lang)}
        return {self.page.message: notice(t("ui.config.loaded", lang)), **self.form.updates(config)}

    def examine_machine(self, lang: str) -> Markup:
        """What ``python -m ddpm_app doctor`` tells."""
        rows = []
        for finding in report(self.app.runs_dir, lang):
            remedy = Markup("<br><code>{}</code>").format(finding.remedy) if finding.remedy else ""
            rows.append(
                Markup('<tr class="{}"><th>{}</th><td>{}{}</td></tr>').format(
                    "ok" if finding.ok else "wrong", finding.name, finding.value, remedy
                )
            )
        return Markup('<table class="meaning">{}</table>').format(join(rows))


# ---- pure functions over the form's values ------------------------------------------------------------------------------
def command_line(preset: str, config: TrainConfig) -> str:
    """The terminal command that trains with these settings: the preset and what differs from it."""
    base = presets.build(preset)
    changes = {
        name: to_form_value(info, value)
        for name, info in FIELDS.items()
        if (value := getattr(config, name)) != getattr(base, name)
    }
    for name in ("max_train_steps", "max_train_minutes"):  # the preset's other way of saying how long goes by itself
        fewer = {key: value for key, value in changes.items() if key != name}
        if changes.get(name) == "" and presets.build(preset, **fewer) == config:
            changes = fewer
    arguments = ["python", "-m", "ddpm_app", "train", "--preset", preset]
    for name, value in changes.items():
        text = str(value).lower() if isinstance(value, bool) else ",".join(value) if isinstance(value, list) else value
        arguments += [f"--{name}", text or "none"]
    return shlex.join(arguments)


def restored_values(memory: Any) -> dict[str, FieldValue]:
    """What a browser keeps of an edited form, without fields that this version doesn't have and values that no form can hold."""
    values = memory.get("values", {}) if isinstance(memory, Mapping) else {}
    return {name: value for name, value in values.items() if name in FIELDS and _can_hold(FIELDS[name], value)}


def _can_hold(info: FieldInfo, value: Any) -> bool:
    if info.kind == "choices":
        return isinstance(value, list) and all(choice in info.choices for choice in value)
    if info.kind == "choice":
        return value in map(str, info.choices)
    return isinstance(value, bool if isinstance(info.default, bool) else str)
