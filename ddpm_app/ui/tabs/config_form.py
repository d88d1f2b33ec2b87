"""The components of the form: the questions it begins with, a card per group, and which of them matter with the answers given."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from ddpm_app.config import AUTOENCODER_SECTIONS, FIELDS, FieldInfo, TrainConfig, from_dict, irrelevant_fields
from ddpm_app.i18n import t
from ddpm_app.model import locate
from ddpm_app.model.describe import ModelInfo
from ddpm_app.model_choices import OTHER, makes_pictures
from ddpm_app.runs import registry
from ddpm_app.ui.state import App, label

QUESTIONS = ("objective", "vae", "conditioning", "init_from")
"""Settings that are asked for in plain words; the others depend on them."""
PLACED = ("trainable",)
"""Settings that stand in a card of their own."""
WIDE = ("dataset_name", "hub_model_id", "output_dir", "caption_template")


def group(name: str, first: TrainConfig, drawn: dict[str, gr.components.Component], visible: bool) -> None:
    """The card of a group; its components go into ``drawn`` by field name."""
    infos = [info for info in FIELDS.values() if info.group == name and info.name not in PLACED]
    with gr.Column(elem_classes=["card", "group"], elem_id=f"group-{name}", visible=visible):
        gr.Markdown(label(f"ui.group.{name}"), elem_classes="title")
        if basic := [info for info in infos if not info.advanced]:
            with gr.Row(elem_classes="fields"):
                drawn |= {info.name: field(info, first) for info in basic}
        if advanced := [info for info in infos if info.advanced]:
            with gr.Accordion(label("ui.config.advanced"), open=False), gr.Row(elem_classes="fields"):
                drawn |= {info.name: field(info, first) for info in advanced}


def classes(name: str) -> list[str]:
    """The CSS classes of a field."""
    return ["field", *(["wide"] if name in WIDE else []), *(["question"] if name in QUESTIONS else [])]


def field(info: FieldInfo, first: TrainConfig) -> gr.components.Component:
    """The component of a field. Numbers are text boxes: gr.Number turns an empty value into 0 and hides what was typed wrong."""
    asked = info.name in QUESTIONS
    shared: dict[str, Any] = {
        "label": label(f"ui.ask.{info.name}") if asked or info.kind == "choices" else info.name,
        "info": label(f"field.{info.name}"),
        "value": to_form_value(info, getattr(first, info.name)),
        "elem_id": f"field-{info.name}",
        "elem_classes": classes(info.name),
        "min_width": 200,
        "interactive": True,
    }
    if info.kind == "bool" and not info.optional:
        return gr.Checkbox(**shared)
    if info.kind == "bool":
        return gr.Radio(
            [(label("ui.config.unset"), ""), (label("ui.config.yes"), "true"), (label("ui.config.no"), "false")],
            **shared,
        )
    if info.kind == "choices":
        return gr.CheckboxGroup([(label(f"ui.section.{choice}"), choice) for choice in info.choices], **shared)
    if info.kind == "choice":
        named = (
            [(label(f"ui.ask.{info.name}.{choice}"), choice) for choice in info.choices]
            if asked
            else map(str, info.choices)
        )
        return gr.Radio(list(named), **shared)
    if asked:  # one value, chosen or typed: what the terminal and the file call it
        return gr.Dropdown([shared["value"]], allow_custom_value=True, **shared)
    return gr.Textbox(
        placeholder=label("ui.config.empty") if info.optional else None,
        max_lines=1,
        html_attributes=gr.InputHTMLAttributes(spellcheck=False, autocomplete="off"),
        **shared,
    )


# ---- what there is to choose from ---------------------------------------------------------------------------------------
def offers(app: App, lang: str, objective: str) -> dict[str, list[tuple[str, str]]]:
    """The choices of ``vae`` and ``init_from``: (label, value) of nothing, what ships, and the runs that have saved one."""
    vaes = sorted(
        path.parent.name for path in locate.SHIPPED.glob("*/config.json")
    )  # the others are pipelines and text encoders
    saved = [] if app.public else [brief for brief in app.monitor.summaries() if brief["saved"]]
    coders = [brief["name"] for brief in saved if not makes_pictures(brief)]
    models = [brief["name"] for brief in saved if makes_pictures(brief)]
    started = (vaes, coders) if objective == "autoencoder" else (locate.shipped_pipelines(), models)
    return {
        "vae": [(t("ui.ask.vae.pixels", lang), ""), *_named("latents", vaes, coders, lang)],
        "init_from": [(t("ui.ask.init_from.nothing", lang), ""), *_named("model", *started, lang)],
    }


def _named(what: str, shipped: list[str], made: list[str], lang: str) -> list[tuple[str, str]]:
    of_app = [(t(f"ui.ask.shipped_{what}", lang, name=name), name) for name in shipped]
    return of_app + [(t(f"ui.ask.run_{what}", lang, name=name), name) for name in made]


# ---- what matters -------------------------------------------------------------------------------------------------------
def hidden(app: App, values: dict[str, Any], wrong: dict[str, str]) -> str:
    """A style sheet that hides what changes nothing with these answers. What is hidden keeps its value; what is wrong is shown."""
    coder, kind = values.get("objective") == "autoencoder", _brought(app, values)
    away = (
        irrelevant_fields(values) | (irrelevant_fields({"conditioning": kind.conditioning}) if kind else set())
    ) - wrong.keys()
    kept = [info for info in FIELDS.values() if info.name not in away]
    gone = [f"#field-{name}" for name in sorted(away)]
    for name in dict.fromkeys(info.group for info in FIELDS.values()):
        mine = [info for info in kept if info.group == name and info.name not in PLACED]
        gone += (
            [f"#group-{name}"]
            if not mine
            else [f"#group-{name} .accordion"]
            if not any(info.advanced for info in mine)
            else []
        )
    sections = [s for s in FIELDS["trainable"].choices if s != "all" and (s in AUTOENCODER_SECTIONS) != coder]
    gone += [f"#field-trainable label:has(input[name='{section}'])" for section in sections]
    coded = kind.latent or kind.conditioning == "unknown" if kind else values.get("vae") and not coder
    return f"<style>{','.join(gone if coded else [*gone, '#fit'])}{{display:none!important}}</style>"


def _brought(app: App, values: dict[str, Any]) -> ModelInfo | None:
    """What the model to go on from is asked by, and whether it draws in latents; None where the run starts from nothing."""
    name = values.get("init_from")
    if not name or values.get("objective") == "autoencoder":
        return None
    return app.models.info(*((f"shipped:{name}", None) if name in locate.shipped_pipelines() else (OTHER, name)))


def to_form_value(info: FieldInfo, value: Any) -> str | bool | list[str]:
    """A setting's value as the form holds it: a flag stays one, any of several is a list, the rest is text, nothing is an empty text."""
    if info.kind == "choices":
        return list(value)
    if info.kind == "bool":
        return "" if value is None else str(value).lower() if info.optional else value
    if isinstance(value, tuple | list):
        return ",".join(map(str, value)) or "0"  # an empty text means "not given"; as levels, 0 means none
    return "" if value is None else str(value)


@dataclasses.dataclass
class Form:
    """The components of the Config tab by field name, and the choice of the ``preset`` they started from. The order of ``components``
    is the order of all lists of values."""

    runs_dir: pathlib.Path
    components: dict[str, gr.components.Component] = dataclasses.field(default_factory=dict)
    preset: gr.Radio | None = None

    @property
    def inputs(self) -> list[gr.components.Component]:
        return list(self.components.values())

    def values(self, data: Mapping[Any, Any] | Sequence[Any]) -> dict[str, Any]:
        """What the components hold, by field name, without the ticks at sections that the chosen objective has not. ``data``: a handler's
        values by component (among others), or, in the order of ``components``, of these alone."""
        if isinstance(data, Mapping):
            data = [data[component] for component in self.components.values()]
        values = {name: "" if value is None else value for name, value in zip(self.components, data, strict=True)}
        ticks, is_autoencoder = values["trainable"], values["objective"] == "autoencoder"
        fitting = [tick for tick in ticks if tick == "all" or (tick in AUTOENCODER_SECTIONS) == is_autoencoder]
        return values | {"trainable": fitting or ["all"] * bool(ticks)}

    def read(self, data: Mapping[Any, Any] | Sequence[Any], free: bool = False) -> TrainConfig:
        """The settings in the form. ``free``: under a run name that no run has. Raises the first Problem."""
        # before the name is looked up: what is no plain name is no business of the disk's
        config = from_dict(self.values(data))
        if not free:
            return config
        return from_dict(config.to_dict() | {"output_dir": registry.free_name(self.runs_dir, config.output_dir)})

    def texts(self, config: TrainConfig) -> dict[str, str | bool | list[str]]:
        """A config as the form's values, under a run name that is free."""
        values = config.to_dict() | {"output_dir": registry.free_name(self.runs_dir, config.output_dir)}
        return {name: to_form_value(FIELDS[name], values[name]) for name in self.components}

    def fill(self, config: TrainConfig) -> list[str | bool | list[str]]:
        """Values for all of ``inputs``, for a handler whose outputs they are."""
        return list(self.texts(config).values())

    def updates(self, config: TrainConfig) -> dict[gr.components.Component, str | bool | list[str]]:
        """Values for all components, for a handler that returns them by component."""
        texts = self.texts(config)
        return {component: texts[name] for name, component in self.components.items()}
