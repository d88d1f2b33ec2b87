"""The components of the form: the questions it begins with, a card per group, and which of them matter with the answers given."""

from typing import Any

import gradio as gr

from ddpm_app.config import FIELDS, FieldInfo, TrainConfig, idle
from ddpm_app.text import t
from ddpm_app.ui import guard, sources
from ddpm_app.ui.sources import Kind
from ddpm_app.ui.studio import AUTOENCODER_SECTIONS, Studio, in_form, words

QUESTIONS = ("objective", "vae", "conditioning", "init_from")
"""Settings that are asked for in plain words; the others depend on them."""
PLACED = ("trainable",)
"""Settings that stand in a card of their own."""
WIDE = ("dataset_name", "hub_model_id", "output_dir", "caption_template")


def group(name: str, first: TrainConfig, drawn: dict[str, gr.components.Component], visible: bool) -> None:
    """The card of a group; its components go into ``drawn`` by field name."""
    infos = [info for info in FIELDS.values() if info.group == name and info.name not in PLACED]
    with gr.Column(elem_classes=["card", "group"], elem_id=f"group-{name}", visible=visible):
        gr.Markdown(words(f"ui.group.{name}"), elem_classes="title")
        if basic := [info for info in infos if not info.advanced]:
            with gr.Row(elem_classes="fields"):
                drawn |= {info.name: field(info, first) for info in basic}
        if advanced := [info for info in infos if info.advanced]:
            with gr.Accordion(words("ui.config.advanced"), open=False), gr.Row(elem_classes="fields"):
                drawn |= {info.name: field(info, first) for info in advanced}


def classes(name: str) -> list[str]:
    """The CSS classes of a field."""
    return ["field", *(["wide"] if name in WIDE else []), *(["question"] if name in QUESTIONS else [])]


def field(info: FieldInfo, first: TrainConfig) -> gr.components.Component:
    """The component of a field. Numbers are text boxes: gr.Number turns an empty value into 0 and hides what was typed wrong."""
    asked = info.name in QUESTIONS
    shared: dict[str, Any] = {
        "label": words(f"ui.ask.{info.name}") if asked or info.kind == "choices" else info.name,
        "info": words(f"field.{info.name}"),
        "value": in_form(info, getattr(first, info.name)),
        "elem_id": f"field-{info.name}",
        "elem_classes": classes(info.name),
        "min_width": 200,
        "interactive": True,
    }
    if info.kind == "bool" and not info.optional:
        return gr.Checkbox(**shared)
    if info.kind == "bool":
        return gr.Radio([(words("ui.config.unset"), ""), (words("ui.config.yes"), "true"), (words("ui.config.no"), "false")], **shared)
    if info.kind == "choices":
        return gr.CheckboxGroup([(words(f"ui.section.{choice}"), choice) for choice in info.choices], **shared)
    if info.kind == "choice":
        named = [(words(f"ui.ask.{info.name}.{choice}"), choice) for choice in info.choices] if asked else map(str, info.choices)
        return gr.Radio(list(named), **shared)
    if asked:  # one value, chosen or typed: what the terminal and the file call it
        return gr.Dropdown([shared["value"]], allow_custom_value=True, **shared)
    return gr.Textbox(
        placeholder=words("ui.config.empty") if info.optional else None,
        max_lines=1,
        html_attributes=gr.InputHTMLAttributes(spellcheck=False, autocomplete="off"),
        **shared,
    )


# ---- what there is to choose from ---------------------------------------------------------------------------------------
def offers(studio: Studio, lang: str, objective: str) -> dict[str, list[tuple[str, str]]]:
    """The choices of ``vae`` and ``init_from``: (label, value) of nothing, what ships, and the runs that have saved one."""
    vaes = sorted(path.parent.name for path in guard.SHIPPED.glob("*/config.json"))  # the others are pipelines and text encoders
    saved = [] if studio.public else [brief for brief in studio.board.briefs() if brief["saved"]]
    coders = [brief["name"] for brief in saved if not sources.draws(brief)]
    models = [brief["name"] for brief in saved if sources.draws(brief)]
    started = (vaes, coders) if objective == "autoencoder" else (sources.shipped_models(), models)
    return {
        "vae": [(t("ui.ask.vae.pixels", lang), ""), *_named("latents", vaes, coders, lang)],
        "init_from": [(t("ui.ask.init_from.nothing", lang), ""), *_named("model", *started, lang)],
    }


def _named(what: str, shipped: list[str], made: list[str], lang: str) -> list[tuple[str, str]]:
    of_app = [(t(f"ui.ask.shipped_{what}", lang, name=name), name) for name in shipped]
    return of_app + [(t(f"ui.ask.run_{what}", lang, name=name), name) for name in made]


# ---- what matters -------------------------------------------------------------------------------------------------------
def hidden(studio: Studio, values: dict[str, Any], wrong: dict[str, str]) -> str:
    """A style sheet that hides what changes nothing with these answers. What is hidden keeps its value; what is wrong is shown."""
    coder, kind = values.get("objective") == "autoencoder", _brought(studio, values)
    away = (idle(values) | (idle({"conditioning": kind.asked}) if kind else set())) - wrong.keys()
    kept = [info for info in FIELDS.values() if info.name not in away]
    gone = [f"#field-{name}" for name in sorted(away)]
    for name in dict.fromkeys(info.group for info in FIELDS.values()):
        mine = [info for info in kept if info.group == name and info.name not in PLACED]
        gone += [f"#group-{name}"] if not mine else [f"#group-{name} .accordion"] if not any(info.advanced for info in mine) else []
    sections = [s for s in FIELDS["trainable"].choices if s != "all" and (s in AUTOENCODER_SECTIONS) != coder]
    gone += [f"#field-trainable label:has(input[name='{section}'])" for section in sections]
    coded = kind.latent or kind.asked == "unknown" if kind else values.get("vae") and not coder
    return f"<style>{','.join(gone if coded else [*gone, '#fit'])}{{display:none!important}}</style>"


def _brought(studio: Studio, values: dict[str, Any]) -> Kind | None:
    """What the model to go on from is asked by, and whether it draws in latents; None where the run starts from nothing."""
    name = values.get("init_from")
    if not name or values.get("objective") == "autoencoder":
        return None
    return sources.kind_at(studio, *((f"shipped:{name}", None) if name in sources.shipped_models() else (sources.OTHER, name)))
