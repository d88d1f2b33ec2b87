"""The first tab: a model that draws by itself, a prompt, and the ways into the app."""

import gradio as gr

from ddpm_app.i18n import t
from ddpm_app.model_choices import EXAMPLE_PROMPTS
from ddpm_app.runs.records import RunSnapshot
from ddpm_app.ui.components.home import Home
from ddpm_app.ui.state import QUICK, App, Page, Updates

WORDS = """title lead prompt draw examples film film_note live alt seed failed train pictures pictures_note learn learn_note
minute""".split()
"""Texts under ui.home."""
DOORS = {"train": "train", "pictures": "dataset", "learn": "learn"}
"""The tabs that the doors open."""


class HomeTab:
    """``__init__`` draws, ``wire`` connects."""

    def __init__(self, app: App):
        self.app = app
        self.view = Home(app.live_drawings.draw, elem_id="home", padding=False)

    def wire(self, page: Page) -> None:
        """Hang the tab on the page's poll, and open the doors."""
        self.page = page
        page.every_tick(self.draw, [self.view])
        self.view.click(self.leave, None, page.tabs, **QUICK)

    def draw(self, snapshot: RunSnapshot, lang: str) -> Updates:
        """The texts in the visitor's language, with the time that the first run takes here."""
        minutes = max(1, round(self.app.first_run_seconds / 60))
        words = {name: t(f"ui.home.{name}", lang) for name in WORDS}
        words["unknown"] = t("ui.home.unknown", lang, words="{}")
        note = "train_after" if self.app.is_training() else "train_note"
        words["train_note"] = t(f"ui.home.{note}", lang, minutes=minutes)
        return {self.view: {"words": words, "prompts": EXAMPLE_PROMPTS}}

    def leave(self, event: gr.EventData) -> Updates:
        """To the tab behind a door."""
        door = (event._data or {}).get("door")
        return {self.page.tabs: gr.Tabs(selected=DOORS[door])} if door in DOORS else gr.skip()
