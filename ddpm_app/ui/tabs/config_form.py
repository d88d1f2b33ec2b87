"""The form: a component per setting in a card per group, the choices it offers, and which settings matter with the answers given."""

import dataclasses
import pathlib
from collections.abc import Iterable
from typing import Any

import gradio as gr
from gradio.components import Component

from ddpm_app.config import (
    AUTOENCODER_SECTIONS,
    FIELDS,
    FieldInfo,
    TrainConfig,
    from_dict,
    irrelevant_fields,
)
from ddpm_app.i18n import t
from ddpm_app.model import locate
from ddpm_app.model.describe import ModelInfo
from ddpm_app.model_choices import OTHER, makes_pictures
from ddpm_app.runs import registry
from ddpm_app.ui.state import App, Values, label

QUESTIONS = ("objective", "vae", "conditioning", "init_from")
"""Settings that are asked for in plain words; the others depend on them."""
PLACED = ("trainable",)
"""Settings that stand in a card of their own."""
WIDE = ("dataset_name", "hub_model_id", "output_dir", "caption_template")

FieldValue = str | bool | list[str]
"""What a component holds: a flag stays one, any of several is a list, the rest is text."""


# ---- components ---------------------------------------------------------------------------------------------------------
def draw_group(name: str, first: TrainConfig, visible: bool) -> dict[str, Component]:
    """Draw the card of a group; returns its components by field name."""
    infos = [info for info in FIELDS.values() if info.group == name and info.name not in PLACED]
    basic, advanced = [info for info in infos if not info.advanced], [info for info in infos if info.advanced]
    components: dict[str, Component] = {}
    with gr.Column(elem_classes=["card", "group"], elem_id=f"group-{name}", visible=visible):
        gr.Markdown(label(f"ui.group.{name}"), elem_classes="title")
        if basic:
            with gr.Row(elem_classes="fields"):
                components |= {info.name: draw_field(info, first) for info in basic}
        if advanced:
            with gr.Accordion(label("ui.config.advanced"), open=False), gr.Row(elem_classes="fields"):
                components |= {info.name: draw_field(info, first) for info in advanced}
    return components


def classes(name: str) -> list[str]:
    """The CSS classes of a field."""
    return ["field", *(["wide"] if name in WIDE else []), *(["question"] if name in QUESTIONS else [])]


def label_key(name: str) -> str:
    """The text that is a field's label: a question, or its name in words over that in Python."""
    asks = name in QUESTIONS or FIELDS[name].kind == "choices"
    return f"ui.ask.{name}" if asks else f"ui.name.{name}"


def draw_field(info: FieldInfo, first: TrainConfig) -> Component:
    """The component of a field. Numbers are text boxes: gr.Number turns an empty value into 0 and hides what was typed wrong."""
    question = info.name in QUESTIONS
    shared: dict[str, Any] = {
        "label": label(label_key(info.name)),
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
    if info.kind == "choice" and question:
        return gr.Radio([(label(f"ui.ask.{info.name}.{choice}"), choice) for choice in info.choices], **shared)
    if info.kind == "choice":
        return gr.Radio([str(choice) for choice in info.choices], **shared)
    if question or info.choices:  # one value, chosen or typed: what the terminal and the file call it
        return gr.Dropdown(list(info.choices) or [shared["value"]], allow_custom_value=True, **shared)
    return gr.Textbox(
        placeholder=label("ui.config.empty") if info.optional else None,
        max_lines=1,
        html_attributes=gr.InputHTMLAttributes(spellcheck=False, autocomplete="off"),
        **shared,
    )


# ---- what there is to choose from ---------------------------------------------------------------------------------------
def model_options(app: App, lang: str, objective: str) -> dict[str, list[tuple[str, str]]]:
    """The choices of ``vae`` and ``init_from``: (label, value) of nothing, what ships, and the runs that have saved one."""
    # the others are pipelines and text encoders
    vaes = sorted(path.parent.name for path in locate.SHIPPED.glob("*/config.json"))
    saved = [] if app.public else [run for run in app.monitor.summaries() if run["saved"]]
    coders = [run["name"] for run in saved if not makes_pictures(run)]
    models = [run["name"] for run in saved if makes_pictures(run)]
    origins = (vaes, coders) if objective == "autoencoder" else (locate.shipped_pipelines(), models)
    return {
        "vae": [(t("ui.ask.vae.pixels", lang), ""), *_options("latents", vaes, coders, lang)],
        "init_from": [(t("ui.ask.init_from.nothing", lang), ""), *_options("model", *origins, lang)],
    }


def _options(kind: str, shipped: list[str], runs: list[str], lang: str) -> list[tuple[str, str]]:
    """``kind``: "latents" or "model"."""
    of_app = [(t(f"ui.ask.shipped_{kind}", lang, name=name), name) for name in shipped]
    return of_app + [(t(f"ui.ask.run_{kind}", lang, name=name), name) for name in runs]


# ---- what matters -------------------------------------------------------------------------------------------------------
def style_sheet(
    app: App, values: dict[str, FieldValue], messages: dict[str, str], differences: Iterable[str] = ()
) -> str:
    """A style sheet that marks what differs from the preset and hides what changes nothing with these answers. What is hidden keeps its value; a field with a message is
    never hidden."""
    is_autoencoder, origin = values.get("objective") == "autoencoder", _origin(app, values)
    irrelevant = irrelevant_fields(values)
    if origin:
        irrelevant |= irrelevant_fields({"conditioning": origin.conditioning})
    irrelevant -= messages.keys()
    sections = [
        section
        for section in FIELDS["trainable"].choices
        if section != "all" and (section in AUTOENCODER_SECTIONS) != is_autoencoder
    ]
    hidden = [f"#field-{name}" for name in sorted(irrelevant)]
    hidden += _empty_cards(irrelevant)
    hidden += [f"#field-trainable label:has(input[name='{section}'])" for section in sections]
    if origin:
        has_vae = origin.latent or origin.conditioning == "unknown"
    else:
        has_vae = bool(values.get("vae")) and not is_autoencoder
    if not has_vae:
        hidden.append("#fit")
    return f"<style>{','.join(hidden)}{{display:none!important}}{_marks(differences)}</style>"


def _marks(names: Iterable[str]) -> str:
    marked = ",".join(f"#field-{name}::before" for name in names)
    bar = "content:'';position:absolute;inset:2px auto 2px -9px;width:3px;background:var(--accent)"
    return f"{marked}{{{bar}}}" if marked else ""


def _empty_cards(irrelevant: set[str]) -> list[str]:
    """Selectors of the cards, and of the accordions in them, that show no field."""
    selectors = []
    for group in dict.fromkeys(info.group for info in FIELDS.values()):
        infos = [info for info in FIELDS.values() if info.group == group and info.name not in PLACED]
        visible = [info for info in infos if info.name not in irrelevant]
        if not visible:
            selectors.append(f"#group-{group}")
        elif not any(info.advanced for info in visible):
            selectors.append(f"#group-{group} .accordion")
    return selectors


def _origin(app: App, values: dict[str, FieldValue]) -> ModelInfo | None:
    """The model to go on from; None where the run starts from nothing."""
    name = values.get("init_from")
    if not name or values.get("objective") == "autoencoder":
        return None
    if name in locate.shipped_pipelines():
        return app.models.info(f"shipped:{name}", None)
    return app.models.info(OTHER, str(name))


# ---- values -------------------------------------------------------------------------------------------------------------
def to_form_value(info: FieldInfo, value: Any) -> FieldValue:
    """A setting's value as the form holds it: nothing is an empty text."""
    if info.kind == "choices":
        return list(value)
    if info.kind == "bool":
        return "" if value is None else str(value).lower() if info.optional else value
    if isinstance(value, tuple | list):
        return ",".join(map(str, value)) or "0"  # an empty text means "not given"; as levels, 0 means none
    return "" if value is None else str(value)


@dataclasses.dataclass(frozen=True)
class Form:
    """The components of the Config tab by field name, and the choice of the ``preset`` they started from."""

    runs_dir: pathlib.Path
    components: dict[str, Component]
    preset: gr.Radio

    @property
    def inputs(self) -> list[Component]:
        return list(self.components.values())

    def values(self, data: Values) -> dict[str, FieldValue]:
        """What the components hold, by field name, without the ticks at sections that the chosen objective has not. ``data``: a
        handler's values by component, others among them."""
        fields = {name: data[component] for name, component in self.components.items()}
        return fit_sections({name: "" if value is None else value for name, value in fields.items()})

    def read(self, data: Values, free: bool = False) -> TrainConfig:
        """The settings in the form. ``free``: under a run name that no run has. Raises the first Problem."""
        # before the name is looked up: what is no plain name is no business of the disk's
        config = from_dict(self.values(data))
        if not free:
            return config
        return from_dict(config.to_dict() | {"output_dir": registry.free_name(self.runs_dir, config.output_dir)})

    def texts(self, config: TrainConfig) -> dict[str, FieldValue]:
        """A config as the form's values, under a run name that is free."""
        values = config.to_dict() | {"output_dir": registry.free_name(self.runs_dir, config.output_dir)}
        return {name: to_form_value(FIELDS[name], values[name]) for name in self.components}

    def updates(self, config: TrainConfig) -> dict[Component, FieldValue]:
        """Values for all components, for a handler that returns them by component."""
        return {self.components[name]: text for name, text in self.texts(config).items()}


def fit_sections(values: dict[str, FieldValue]) -> dict[str, FieldValue]:
    """The values without the ticks at sections that the chosen objective has not."""
    ticks, is_autoencoder = values["trainable"], values["objective"] == "autoencoder"
    fitting = [tick for tick in ticks if tick == "all" or (tick in AUTOENCODER_SECTIONS) == is_autoencoder]
    return values | {"trainable": fitting or ["all"] * bool(ticks)}
