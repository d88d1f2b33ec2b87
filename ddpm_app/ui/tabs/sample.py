"""The Sample tab: draw pictures with any run, a shipped model or a diffusers pipeline, and see how they come out of noise."""

import dataclasses
import pathlib

import gradio as gr
from markupsafe import Markup

from ddpm_app import access, i18n
from ddpm_app.errors import Problem
from ddpm_app.i18n import t
from ddpm_app.model.describe import ModelInfo
from ddpm_app.model.vocabulary import PromptWords, prompt_words
from ddpm_app.model_choices import EXAMPLE_PROMPTS, OTHER, WORDS_MODEL
from ddpm_app.runs.records import RunSnapshot
from ddpm_app.snippet import DrawSettings, diffusers_snippet
from ddpm_app.ui import html
from ddpm_app.ui.components.chips import Chips
from ddpm_app.ui.components.film import Film
from ddpm_app.ui.state import QUICK, App, Page, Updates, Values, label
from ddpm_app.ui.tabs.sample_handlers import MAX_PROMPT, SHEETS, SampleHandlers

STEPS = {"dpmpp_2m": 20, "ddim": 50, "ddpm": 1000}
"""Steps that a sampler usually wants."""
SHOW_STAGE = "() => document.getElementById('sample-stage').scrollIntoView({block: innerWidth < 721 ? 'start' : 'nearest', behavior: 'smooth'})"
"""What was requested comes into view where the settings are long."""
PRESS_DRAW = "() => document.getElementById('sample-draw').click()"
LIGHTBOX = "before after close download again learn".split()


class SampleTab:
    """The settings on the left, the pictures on the right. ``sheets``: the buttons that draw a sheet, by its name in SHEETS.

    Sources are offered by name from a list made here; only at home may one type a Hub id or a folder."""

    def __init__(self, app: App):
        self.app = app
        with gr.Row(elem_classes="sample-row"):
            with gr.Column(scale=2, min_width=300):
                self._draw_settings()
            with gr.Column(scale=3, min_width=300, elem_id="sample-stage"):
                self._draw_results()
        self.followed = gr.Textbox(self.source.value, visible=False)
        self.handlers = SampleHandlers(app, self)

    def _draw_settings(self) -> None:
        """What to draw, with what, how many, how."""
        models = self.app.models
        source = models.default("")
        info = models.info(source, "")
        visible = visible_settings(info)
        self.prompt = gr.Textbox(
            label=label("ui.sample.prompt"),
            info=label("ui.sample.prompt_help"),
            placeholder=label("ui.sample.prompt_example"),
            lines=2,
            max_lines=12,
            max_length=MAX_PROMPT,
            visible=visible["prompt"],
            elem_id="sample-prompt",
        )
        self.words = gr.HTML(visible=visible["prompt"], padding=False, elem_id="sample-words")
        self.examples = Chips(
            {"texts": EXAMPLE_PROMPTS, "label": ""},
            visible=takes_examples(source),
            padding=False,
            elem_id="sample-examples",
        )
        self.draw = gr.Button(label("ui.sample.draw"), variant="primary", elem_id="sample-draw")
        self.cancel = gr.Button(label("ui.sample.cancel"), visible=False, elem_id="sample-cancel")
        self.source = gr.Dropdown(
            models.options("en"), value=source, label=label("ui.sample.source"), elem_id="sample-source"
        )
        self.other = gr.Textbox(
            label=label("ui.sample.other"), info=label("ui.sample.other_help"), visible=False, elem_id="sample-other"
        )
        self.negative_prompt = gr.Textbox(
            label=label("ui.sample.negative_prompt"),
            max_lines=4,
            max_length=MAX_PROMPT,
            visible=visible["negative_prompt"],
            elem_id="sample-negative",
        )
        self.labels = gr.Dropdown(
            [(name, k) for k, name in enumerate(info.labels)],
            value=[],
            multiselect=True,
            label=label("ui.sample.labels"),
            info=label("ui.sample.labels_help"),
            visible=visible["labels"],
            elem_id="sample-labels",
        )
        self.guidance_scale = gr.Slider(
            1,
            10,
            3,
            step=0.5,
            label=label("ui.sample.guidance_scale"),
            info=label("ui.sample.guidance_help"),
            visible=visible["guidance_scale"],
            elem_id="sample-guidance",
        )
        self._draw_sampling()
        with gr.Row(elem_classes="sheets"):
            self.sheets = {
                sheet: gr.Button(
                    label(f"ui.sample.by_{sheet}"),
                    size="md",
                    min_width=120,
                    visible=visible[f"by_{sheet}"],
                    elem_id=f"sample-by-{sheet}",
                )
                for sheet in SHEETS
            }
        with gr.Accordion(label("ui.sample.code"), open=False):
            self.code = gr.Code(language="python", interactive=False, show_label=False, elem_id="sample-code")

    def _draw_sampling(self) -> None:
        with gr.Row():
            self.num_images = gr.Number(
                4, label=label("ui.sample.num_images"), precision=0, min_width=90, elem_id="sample-number"
            )
            self.num_inference_steps = gr.Number(
                STEPS["dpmpp_2m"],
                label=label("ui.sample.num_inference_steps"),
                precision=0,
                min_width=90,
                elem_id="sample-steps",
            )
        samplers = [("DPM++ 2M", "dpmpp_2m"), ("DDIM", "ddim"), ("DDPM", "ddpm")]
        self.sampler = gr.Radio(samplers, value="dpmpp_2m", label=label("ui.sample.sampler"), elem_id="sample-sampler")
        self.eta = gr.Slider(0, 1, 0, step=0.05, label=label("ui.sample.eta"), visible=False, elem_id="sample-eta")
        with gr.Row(equal_height=True):
            self.seed = gr.Number(0, label=label("ui.sample.seed"), precision=0, min_width=120, elem_id="sample-seed")
            self.locked = gr.Checkbox(
                False, label=label("ui.sample.locked"), container=True, min_width=120, elem_id="sample-locked"
            )
        weights = [(label("ui.sample.ema"), "ema"), (label("ui.sample.raw"), "raw")]
        self.weights = gr.Radio(
            weights, value="ema", label=label("ui.sample.weights"), visible=False, elem_id="sample-weights"
        )

    def _draw_results(self) -> None:
        self.status = gr.HTML(empty_state("en"), elem_id="sample-status", padding=False)
        self.sheet = gr.Image(
            label=label("ui.sample.pictures"),
            show_label=False,
            format="png",
            type="filepath",
            visible=False,
            interactive=False,
            buttons=[],
            elem_id="sample-sheet",
        )
        self.pictures = gr.Gallery(
            label=label("ui.sample.pictures"),
            show_label=False,
            format="png",
            columns=4,
            object_fit="contain",
            height="auto",
            visible=False,
            buttons=[],
            allow_preview=False,
            elem_id="sample-pictures",
            elem_classes="pixelated",
        )
        with gr.Row():  # shown one by one: what a hidden row's parts are given while it appears is lost
            self.as_png = gr.DownloadButton(
                label("ui.sample.grid"), visible=False, size="md", min_width=120, elem_id="sample-grid"
            )
            self.as_zip = gr.DownloadButton(
                label("ui.sample.zip"), visible=False, size="md", min_width=120, elem_id="sample-zip"
            )
        self.film = Film(elem_id="sample-film")

    # ---- wiring ------------------------------------------------------------------------------------------------------
    def wire(self, page: Page) -> None:
        """Connect the tab."""
        self.page = page
        for event in (page.language_ready, page.language_changed):
            event.then(self.translate_empty, [page.lang, self.status], self.status, **QUICK)
        page.every_tick(self.follow, [self.source, self.followed], [self.source, self.followed, page.visitor])
        page.every_tick(self.draw_lightbox, [page.lightbox])
        changed = [self.source, self.seed, self.locked, self.num_images, self.prompt, self.labels]
        again = page.lightbox.click(self.take_picture, [self.source, self.other], [page.tabs, *changed], **QUICK)
        again.then(None, None, None, js=PRESS_DRAW)
        page.lightbox.select(lambda: gr.Tabs(selected="learn"), None, page.tabs, **QUICK)
        self.examples.click(self.take_example, None, self.prompt, **QUICK)
        for event in (self.prompt.change, self.source.change, self.other.change, page.language_changed.then):
            inputs = [self.source, self.other, self.prompt, page.lang]
            event(self.show_words, inputs, self.words, trigger_mode="always_last", **QUICK)
        self.sampler.input(self.usual_steps, self.sampler, self.num_inference_steps, **QUICK)
        settings = self.setting_components()
        gr.on(
            [part.change for part in settings],
            self.adapt,
            set(settings),
            [self.other, self.eta, self.weights, self.code],
            trigger_mode="always_last",
            **QUICK,
        )
        conditions = [self.prompt, self.words, self.examples, self.negative_prompt, self.labels, self.guidance_scale]
        conditions += self.sheets.values()
        for part in (self.source, self.other):
            part.change(self.fit_to_model, [self.source, self.other], conditions, **QUICK)
        inputs = {page.visitor, page.lang, self.locked, *settings}
        outputs = [self.status, self.sheet, self.pictures, self.as_png, self.as_zip, self.film]
        outputs += [self.seed, self.draw, self.cancel]
        for sheet, button in {"": self.draw, **self.sheets}.items():
            handler = self.handlers.draw_handler(sheet)
            done = button.click(handler, inputs, outputs, **QUICK | {"concurrency_limit": 4, "concurrency_id": "draw"})
            # what was fetched or saved only while drawing can be described now
            done.then(self.fit_to_model, [self.source, self.other, self.labels], conditions, **QUICK)
            button.click(None, None, None, js=SHOW_STAGE)
        self.cancel.click(self.handlers.cancel, None, None, **QUICK)

    def setting_components(self) -> list[gr.components.Component]:
        """The components of ``settings``: attributes with the names of its fields."""
        return [getattr(self, field.name) for field in dataclasses.fields(DrawSettings)]

    def settings(self, data: Values) -> DrawSettings:
        """What the tab holds; an emptied number counts as 0."""
        return DrawSettings(
            source=data[self.source],
            other=data[self.other] or "",
            prompt=data[self.prompt] or "",
            negative_prompt=data[self.negative_prompt] or "",
            labels=tuple(data[self.labels] or ()),
            guidance_scale=data[self.guidance_scale],
            num_images=int(data[self.num_images] or 0),
            sampler=data[self.sampler],
            num_inference_steps=int(data[self.num_inference_steps] or 0),
            eta=data[self.eta],
            seed=int(data[self.seed] or 0),
            weights=data[self.weights],
        )

    # ---- handlers ----------------------------------------------------------------------------------------------------
    def follow(
        self, snapshot: RunSnapshot, lang: str, source: str | None, followed: str | None, visitor: str
    ) -> Updates:
        """The tick: what to draw with is the default (see ModelChoices) until the visitor chooses another, which then stays."""
        models = self.app.models
        options = models.options(lang)
        if source != followed and source in dict(options).values():
            return {self.source: gr.update(choices=options)}
        default = models.default(visitor)
        value = {} if default == source else {"value": default}
        return {self.source: gr.update(choices=options, **value), self.followed: default}

    def draw_lightbox(self, snapshot: RunSnapshot, lang: str) -> Updates:
        """The words of the lightbox."""
        return {self.page.lightbox: {"words": {name: t(f"ui.lightbox.{name}", lang) for name in LIGHTBOX}}}

    def take_picture(self, source: str | None, other: str | None, event: gr.EventData) -> Updates:
        """What draws one picture again: its model, its seed, and the text or label of its caption."""
        values = event._data or {}
        drawn_with = values.get("source")
        if drawn_with in dict(self.app.models.options("en")).values():
            source = drawn_with
        condition, labels = (
            str(values.get("caption", "")).rpartition(" · ")[0],
            self.app.models.info(source, other).labels,
        )
        return {
            self.page.tabs: gr.Tabs(selected="sample"),
            self.source: source,
            self.seed: int(values.get("seed", 0)),
            self.locked: True,
            self.num_images: 1,
            self.prompt: gr.skip() if labels else condition,
            self.labels: [labels.index(condition)] if condition in labels else gr.skip(),
        }

    def take_example(self, event: gr.EventData) -> str:
        """The prompt of a chip."""
        return str((event._data or {}).get("text", ""))

    def show_words(self, source: str | None, other: str | None, prompt: str | None, lang: str) -> Markup:
        """Which words of the prompt the model knows, and which it doesn't."""
        try:
            place = self.app.models.location(source, other)
        except Problem:
            return Markup()
        words = prompt_words(place, prompt or "") if isinstance(place, pathlib.Path) else None
        return words_note(words, lang) if words else Markup()

    def translate_empty(self, lang: str, status: str) -> Markup | Updates:
        """In the visitor's language what stands where the pictures will be."""
        return empty_state(lang) if status in map(empty_state, i18n.LANGUAGES) else gr.skip()

    def usual_steps(self, sampler: str) -> int:
        """The steps that the sampler usually wants, as far as this page allows them."""
        return min(STEPS[sampler], access.MAX_STEPS) if self.app.public else STEPS[sampler]

    def adapt(self, data: Values) -> Updates:
        """What is seen with these settings, and the code that draws the same."""
        settings, models = self.settings(data), self.app.models
        return {
            self.other: gr.update(visible=settings.source == OTHER),
            self.eta: gr.update(visible=settings.sampler == "ddim"),
            self.weights: gr.update(visible=models.has_raw_weights(settings.source)),
            self.code: diffusers_snippet(settings, models, self.app.access),
        }

    def fit_to_model(self, source: str | None, other: str | None, labels: list[int] | None = None) -> Updates:
        """What the model takes, with those of the chosen ``labels`` that it has."""
        updates = self.condition_updates(self.app.models.info(source, other), labels or [])
        return updates | {self.examples: gr.update(visible=takes_examples(source))}

    def condition_updates(self, info: ModelInfo, labels: list[int]) -> Updates:
        """As ``fit_to_model``, for a model described by ``info``."""
        visible = visible_settings(info)
        names = [(name, k) for k, name in enumerate(info.labels)]
        return {
            self.prompt: gr.update(visible=visible["prompt"]),
            self.words: gr.update(visible=visible["prompt"]),
            self.negative_prompt: gr.update(visible=visible["negative_prompt"]),
            self.labels: gr.update(
                visible=visible["labels"], choices=names, value=[k for k in labels if k < len(names)]
            ),
            self.guidance_scale: gr.update(visible=visible["guidance_scale"]),
            **{button: gr.update(visible=visible[f"by_{sheet}"]) for sheet, button in self.sheets.items()},
        }


def visible_settings(info: ModelInfo) -> dict[str, bool]:
    """Which settings, and which sheets (as "by_<sheet>"), are seen for a model. One that isn't on this machine yet may take words."""
    takes_text = info.conditioning in ("text", "unknown")
    return {
        "prompt": takes_text,
        "negative_prompt": takes_text,
        "labels": info.conditioning == "labels",
        "guidance_scale": info.conditioning != "none",
        **{f"by_{sheet}": info.conditioning in conditionings for sheet, conditionings in SHEETS.items()},
    }


def takes_examples(source: str | None) -> bool:
    """Whether the example prompts are for this model."""
    return source == f"shipped:{WORDS_MODEL}"


def words_note(words: PromptWords, lang: str) -> Markup:
    """The words of a prompt that the model knows, and those that it doesn't."""
    rows = [("knows", words.known_words), ("knows_not", words.unknown_words)]
    return html.join(
        Markup('<p class="words {}"><b>{}</b> {}</p>').format(name, t(f"ui.sample.{name}", lang), ", ".join(part))
        for name, part in rows
        if part
    )


def empty_state(lang: str) -> Markup:
    """What stands where the pictures will be."""
    return html.empty_state(t("ui.sample.empty", lang), t("ui.sample.empty_note", lang))
