"""The Sample tab: draw pictures with any run, a shipped model or a diffusers pipeline, and see how they come out of noise."""

import html
import threading
import types
from typing import Any

import gradio as gr

from ddpm_app import access, i18n
from ddpm_app.i18n import t
from ddpm_app.model.describe import ModelInfo
from ddpm_app.model_choices import OTHER, makes_pictures
from ddpm_app.snippet import diffusers_snippet
from ddpm_app.ui.components.film import Film
from ddpm_app.ui.state import App, Page, label
from ddpm_app.ui.tabs.sample_handlers import LONGEST_PROMPT, OUTPUTS, SETTINGS, SHEETS, canceller, drawer

STEPS = {"dpmpp_2m": 20, "ddim": 50, "ddpm": 1000}
"""Steps that a sampler usually wants."""
QUICK: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def build(app: App, shared: Page) -> None:
    """Draw the tab. Sources are offered by name from a list made here; only at home may one type a Hub id or a folder."""
    with gr.Row(elem_classes="sample-row"):
        with gr.Column(scale=2, min_width=300):
            form = _settings(app)
        with gr.Column(scale=3, min_width=300):
            shown = _results()
    followed = gr.State(form.source.value)
    settings = [getattr(form, name) for name in SETTINGS]

    def tick(shot: dict[str, Any], lang: str, chosen: str, followed: str) -> list[Any]:
        """The source follows the run on show until the visitor chooses another."""
        offered = app.models.options(lang)
        if chosen != followed and chosen in dict(offered).values():
            return [gr.update(choices=offered), gr.skip()]
        wanted = app.models.default(shot["name"] if shot["saved"] and makes_pictures(shot) else "")
        return [gr.update(choices=offered, **({} if wanted == chosen else {"value": wanted})), wanted]

    def adapt(*given: Any) -> list[Any]:
        asked = dict(zip(SETTINGS, given, strict=True))
        visible = asked["source"] == OTHER, asked["sampler"] == "ddim", app.models.has_raw_weights(asked["source"])
        return [*(gr.update(visible=one) for one in visible), diffusers_snippet(app, asked)]

    def greet(lang: str, status: str) -> Any:
        return empty_state(lang) if status in map(empty_state, i18n.LANGUAGES) else gr.skip()

    for told in (shared.language_ready, shared.language_changed):
        told.then(greet, [shared.lang, shown.status], shown.status, **QUICK)
    shared.every_tick(tick, [form.source, followed], [form.source, followed])
    most = access.MAX_STEPS if app.public else max(STEPS.values())
    form.sampler.input(lambda name: min(STEPS[name], most), form.sampler, form.num_inference_steps, **QUICK)
    changed = {
        "fn": adapt,
        "inputs": settings,
        "outputs": [form.other, form.eta, form.weights, form.code],
        "trigger_mode": "always_last",
    }
    gr.on([part.change for part in settings], **changed, **QUICK)
    asking = [getattr(form, name) for name in ASKING]
    for part in (form.source, form.other):
        part.change(lambda *chosen: fitted(app.models.info(*chosen), []), [form.source, form.other], asking, **QUICK)
    _wire_drawing(app, shared, form, [getattr(shown, name, None) or getattr(form, name) for name in OUTPUTS], asking)


def _wire_drawing(app: App, shared: Page, form: types.SimpleNamespace, outputs: list[Any], asking: list[Any]) -> None:
    """The buttons that draw, and the one that ends it."""
    cancels: dict[str, threading.Event] = {}
    given = [shared.visitor, shared.lang, form.locked, *(getattr(form, name) for name in SETTINGS)]

    def known(source: str, other: str, labels: list[int]) -> list[Any]:
        """What was fetched or saved only while drawing is known now."""
        return fitted(app.models.info(source, other), labels)

    for sheet, button in {"": form.go, **{sheet: getattr(form, f"by_{sheet}") for sheet in SHEETS}}.items():
        drawn = button.click(
            drawer(app, cancels, sheet), given, outputs, concurrency_limit=4, concurrency_id="draw", **QUICK
        )
        drawn.then(known, [form.source, form.other, form.labels], asking, **QUICK)
        button.click(None, None, None, js=SHOW_STATUS)
    form.cancel.click(canceller(cancels), None, None, **QUICK)


ASKING = ("prompt", "negative_prompt", "labels", "guidance_scale", *(f"by_{sheet}" for sheet in SHEETS))
"""Parts of the form that are seen only where the model takes them."""


def shown_for(kind: ModelInfo) -> dict[str, bool]:
    """Which parts of ASKING are seen for a kind of model. What is not known yet may take words."""
    texts = kind.conditioning in ("text", "unknown")
    fields = {
        "prompt": texts,
        "negative_prompt": texts,
        "labels": kind.conditioning == "labels",
        "guidance_scale": kind.conditioning != "none",
    }
    return fields | {f"by_{sheet}": kind.conditioning in kinds for sheet, kinds in SHEETS.items()}


def fitted(kind: ModelInfo, chosen: list[int]) -> list[Any]:
    """Updates of the parts in ASKING for a kind of model, with those of the labels ``chosen`` that it has."""
    updates = {name: {"visible": visible} for name, visible in shown_for(kind).items()}
    choices = [(name, k) for k, name in enumerate(kind.labels)]
    updates["labels"] |= {"choices": choices, "value": [k for k in chosen or [] if k < len(choices)]}
    return [gr.update(**updates[name]) for name in ASKING]


# ---- what is drawn --------------------------------------------------------------------------------------------------
def _settings(app: App) -> types.SimpleNamespace:
    """The left column: what to draw with, what, how many, how."""
    form, caption = types.SimpleNamespace(), lambda name: label(f"ui.sample.{name}")
    source = app.models.default("")
    kind = app.models.info(source, "")
    seen = shown_for(kind)
    form.source = gr.Dropdown(app.models.options("en"), value=source, label=caption("source"), elem_id="sample-source")
    form.other = gr.Textbox(label=caption("other"), info=caption("other_help"), visible=False, elem_id="sample-other")
    form.prompt = gr.Textbox(
        label=caption("prompt"), info=caption("prompt_help"), placeholder=caption("prompt_example"), lines=2, max_lines=12,
        max_length=LONGEST_PROMPT, visible=seen["prompt"], elem_id="sample-prompt",
    )  # fmt: skip
    form.negative_prompt = gr.Textbox(
        label=caption("negative_prompt"),
        max_lines=4,
        max_length=LONGEST_PROMPT,
        visible=seen["negative_prompt"],
        elem_id="sample-negative",
    )
    form.labels = gr.Dropdown(
        [(name, k) for k, name in enumerate(kind.labels)], value=[], multiselect=True, label=caption("labels"), info=caption("labels_help"),
        visible=seen["labels"], elem_id="sample-labels",
    )  # fmt: skip
    form.guidance_scale = gr.Slider(
        1,
        10,
        3,
        step=0.5,
        label=caption("guidance"),
        info=caption("guidance_help"),
        visible=seen["guidance_scale"],
        elem_id="sample-guidance",
    )
    with gr.Row():
        form.num_images = gr.Number(4, label=caption("number"), precision=0, min_width=90, elem_id="sample-number")
        form.num_inference_steps = gr.Number(
            STEPS["dpmpp_2m"], label=caption("steps"), precision=0, min_width=90, elem_id="sample-steps"
        )
    samplers = [("DPM++ 2M", "dpmpp_2m"), ("DDIM", "ddim"), ("DDPM", "ddpm")]
    form.sampler = gr.Radio(samplers, value="dpmpp_2m", label=caption("sampler"), elem_id="sample-sampler")
    form.eta = gr.Slider(0, 1, 0, step=0.05, label=caption("eta"), visible=False, elem_id="sample-eta")
    with gr.Row(equal_height=True):
        form.seed = gr.Number(0, label=caption("seed"), precision=0, min_width=120, elem_id="sample-seed")
        form.locked = gr.Checkbox(
            False, label=caption("locked"), container=True, min_width=120, elem_id="sample-locked"
        )
    weights = [(caption("ema"), "ema"), (caption("raw"), "raw")]
    form.weights = gr.Radio(weights, value="ema", label=caption("weights"), visible=False, elem_id="sample-weights")
    form.go = gr.Button(caption("draw"), variant="primary", elem_id="sample-draw")
    form.cancel = gr.Button(caption("cancel"), visible=False, elem_id="sample-cancel")
    with gr.Row(elem_classes="sheets"):
        for sheet in SHEETS:
            button = gr.Button(
                caption(f"by_{sheet}"),
                size="md",
                min_width=120,
                visible=seen[f"by_{sheet}"],
                elem_id=f"sample-by-{sheet}",
            )
            setattr(form, f"by_{sheet}", button)
    with gr.Accordion(caption("code"), open=False):
        form.code = gr.Code(language="python", interactive=False, show_label=False, elem_id="sample-code")
    return form


def _results() -> types.SimpleNamespace:
    """The right column."""
    shown = types.SimpleNamespace()
    shown.status = gr.HTML(empty_state("en"), elem_id="sample-status", padding=False)
    shown.sheet = gr.Image(
        label=label("ui.sample.pictures"), show_label=False, format="png", type="filepath", visible=False, interactive=False,
        buttons=["fullscreen"], elem_id="sample-sheet",
    )  # fmt: skip
    shown.pictures = gr.Gallery(
        label=label("ui.sample.pictures"), show_label=False, format="png", columns=4, object_fit="contain", height="auto", visible=False,
        buttons=["download", "fullscreen"], elem_id="sample-pictures", elem_classes="pixelated",
    )  # fmt: skip
    with gr.Row():  # shown one by one: what a hidden row's parts are given while it appears is lost
        shown.as_png = gr.DownloadButton(
            label("ui.sample.grid"), visible=False, size="md", min_width=120, elem_id="sample-grid"
        )
        shown.as_zip = gr.DownloadButton(
            label("ui.sample.zip"), visible=False, size="md", min_width=120, elem_id="sample-zip"
        )
    shown.film = Film(elem_id="sample-film")
    return shown


SHOW_STATUS = "() => document.getElementById('sample-status').scrollIntoView({block: 'nearest', behavior: 'smooth'})"
"""On a phone the pictures are below the settings."""


def empty_state(lang: str) -> str:
    """What stands where the pictures will be."""
    return f'<div class="empty"><h3>{html.escape(t("ui.sample.empty", lang))}</h3><p>{html.escape(t("ui.sample.empty_note", lang))}</p></div>'
