"""The Dataset tab's card that says what to expect of pictures that somebody brought, and offers recipes for them."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import gradio as gr
from markupsafe import Markup

from ddpm_app.config import FIELDS, TrainConfig
from ddpm_app.data.upload import display_name
from ddpm_app.i18n import t
from ddpm_app.presets import FIRST, OWN, build, is_preset_name
from ddpm_app.runs import registry
from ddpm_app.runs.records import RunSnapshot
from ddpm_app.ui.html import join, note, notice
from ddpm_app.ui.state import BROWSER_KEY, PARALLEL, App, Page, Updates, Values, label
from ddpm_app.ui.tabs.config_form import FieldValue, to_form_value
from ddpm_app.ui.tabs.dataset_gallery import open_entry
from ddpm_app.ui.tabs.vae_check import pairs_html

if TYPE_CHECKING:
    from ddpm_app.expectations import Expectation
    from ddpm_app.train.recipes import Recipe


STAYING = {*OWN, "output_dir", "resize_mode", "random_flip"}
"""Settings that no recipe touches: whose pictures, how they are cut, the name and the seed."""


class ExpectCard:
    """The judgement of the set with the ``key`` on show, and the choice of a recipe. ``judged`` becomes the key once its recipes are there;
    ``fresh``: somebody has just brought these pictures, so that the best recipe is taken at once - unless somebody has set the rest by hand:
    ``untouched`` holds the settings that the page itself put into the form."""

    def __init__(self, app: App, key: gr.Textbox):
        self.app, self.key = app, key
        self.judged, self.fresh = gr.State(""), gr.State(False)
        self.untouched = gr.BrowserState(
            self._form_values(build(FIRST)), storage_key="ddpm-studio-untouched", **BROWSER_KEY
        )
        with gr.Column(elem_classes="card", elem_id="expect", visible=False) as self.card:
            gr.Markdown(label("ui.expect.title"), elem_classes="title")
            self.judgement = gr.HTML(elem_id="judgement")
            self.recipe = gr.Radio([], label=label("ui.expect.recipes"), elem_id="recipe", visible=False)

    def wire(self, page: Page) -> None:
        """Connect the card."""
        self.page = page
        page.every_tick(self.follow, [self.card, self.judgement, self.recipe, self.judged], [self.key])
        fields = page.form.inputs
        self.judged.change(
            self.take_best,
            {self.fresh, self.key, self.untouched, *fields},
            [self.fresh, self.recipe, self.untouched, *fields],
            **PARALLEL,
        )
        self.recipe.input(self.take, {self.recipe, self.key}, [self.untouched, *fields], **PARALLEL)

    # ---- handlers ----------------------------------------------------------------------------------------------------
    def follow(self, snapshot: RunSnapshot, lang: str, key: str) -> Updates:
        """The tick: nothing for built-in pictures, else the judgement as soon as there is one."""
        entry = open_entry(self.app, key)
        if entry is None or entry.source.kind == "built-in":
            return {self.card: gr.update(visible=False), self.judged: ""}
        expectation = self.app.expectations.of(entry)
        ended = expectation.ended.is_set()
        if expectation.judgement is None and not ended:
            waiting = Markup('<div role="status">{}</div>').format(t("ui.expect.working", lang))
            return {self.card: gr.update(visible=True), self.judgement: waiting, self.judged: ""}
        choices = [(recipe_line(recipe, lang), recipe.name) for recipe in expectation.recipes]
        return {
            self.card: gr.update(visible=True),
            self.judgement: self._problem(expectation, lang) or judgement_html(expectation, lang),
            self.recipe: gr.update(choices=choices, visible=bool(choices)),
            self.judged: key if ended else "",
        }

    def _problem(self, expectation: "Expectation", lang: str) -> Markup:
        """Why there is no judgement, or none to the end."""
        problem = expectation.problem
        return notice(self.app.access.redact(problem), lang) if problem else Markup()

    def take_best(self, data: Values) -> Updates:
        """The best recipe, where the pictures have just been brought and nobody has set anything else; else the one that the form holds."""
        recipes = self._recipes(data[self.key])
        if not recipes:
            return gr.skip()
        values = self.page.form.values(data)
        if data[self.fresh] and not self._differs(values, data[self.untouched]):
            name = self._name(values["output_dir"], data[self.key])
            return {self.fresh: False, self.recipe: recipes[0].name, **name, **self._settings(recipes[0])}
        same = next((r.name for r in recipes if not self._differs(values, self._form_values(r.config))), None)
        return {self.fresh: False, self.recipe: same}

    def _differs(self, values: Mapping[str, object], others: Mapping[str, object]) -> bool:
        return any(values[name] != value for name, value in others.items() if name in values)

    def _name(self, name: object, key: str) -> Updates:
        """The run's name: after the pictures, where it is a preset's."""
        entry = open_entry(self.app, key)
        slug = re.sub(r"[^\w-]+", "-", display_name(entry.source.name)).strip("-") if entry and entry.source else ""
        if not is_preset_name(str(name)) or not slug:
            return {}
        return {self.page.form.components["output_dir"]: registry.free_name(self.app.runs_dir, slug[:60])}

    def take(self, data: Values) -> Updates:
        """The settings of the recipe that was chosen."""
        recipe = next((r for r in self._recipes(data[self.key]) if r.name == data[self.recipe]), None)
        return gr.skip() if recipe is None else self._settings(recipe)

    def _recipes(self, key: str) -> "list[Recipe]":
        entry = open_entry(self.app, key)
        return self.app.expectations.of(entry).recipes if entry else []

    def _settings(self, recipe: "Recipe") -> Updates:
        """A recipe's settings, for the form."""
        values, components = self._form_values(recipe.config), self.page.form.components
        return {self.untouched: values, **{components[name]: value for name, value in values.items()}}

    def _form_values(self, config: TrainConfig) -> dict[str, FieldValue]:
        """A config as the form holds it, without what stays."""
        values = config.to_dict()
        return {name: to_form_value(info, values[name]) for name, info in FIELDS.items() if name not in STAYING}


# ---- HTML --------------------------------------------------------------------------------------------------------------
def recipe_line(recipe: "Recipe", lang: str) -> str:
    """What a recipe gives and how long it takes here."""
    config = recipe.config
    return t(f"ui.recipe.{recipe.name}", lang, size=config.image_size, minutes=f"{recipe.minutes:g}")


def judgement_html(expectation: "Expectation", lang: str) -> Markup:
    """What the pictures are like, what each recipe makes of them at best, and what may go wrong."""
    if expectation.judgement is None:
        return Markup()
    words = " ".join(t(f"notice.{code}", lang, **values) for code, values in expectation.judgement.notices())
    rows = {t("ui.fit.original", lang): expectation.judgement.examples}
    rows |= {t("ui.expect.at_best", lang, recipe=recipe_line(r, lang)): r.at_best for r in expectation.recipes}
    doubts = (note(text, "warn") for text in doubt_lines(expectation.recipes, lang))
    return Markup('<p class="told">{}</p>').format(words) + pairs_html(rows) + join(doubts)


def doubt_lines(recipes: "list[Recipe]", lang: str) -> list[str]:
    """What may go wrong: first what goes for every recipe, then what goes for some, each under the recipe's line."""
    texts = {r.name: [t(f"notice.{code}", lang, **values) for code, values in r.doubts] for r in recipes}
    common = [text for text in dict.fromkeys(sum(texts.values(), [])) if all(text in own for own in texts.values())]
    own = (f"{recipe_line(r, lang)}: {text}" for r in recipes for text in texts[r.name] if text not in common)
    return [*common, *own]
