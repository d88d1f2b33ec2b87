"""The visitor's language. The browser decides it (language.js), for Gradio's labels and for what handlers return alike."""

import json
import pathlib

import gradio as gr

from ddpm_app.ui.components.base import ScriptedHTML
from ddpm_app.ui.state import PARALLEL, Page, label

CURRENT = "() => window.studioLanguage || 'en'"
CODES = {"en": "en", "zh": "zh-CN"}
"""Gradio's names of ``i18n.LANGUAGES``, and the page's."""
SWITCH = """function follow() {
  if (props.label === window.studioLanguage || !window.speakLanguage) return;
  window.speakLanguage(props.label);
  trigger("click");
}
watch("label", follow);
follow();
"""
"""The label of this element is the language that Gradio's labels are in now: where it changes, the settings were used."""


class LanguageSwitch:
    """The events after which ``page.lang`` holds the language: ``page.language_ready`` when the page opens, ``page.language_changed``
    when another one is chosen in Gradio's settings. Both happen in the browser alone."""

    def __init__(self, page: Page, demo: gr.Blocks):
        switch = ScriptedHTML(script=SWITCH, label=label("ui.language"), elem_id="language", elem_classes="unseen")
        page.language_ready, page.language_changed = (
            event(None, None, page.lang, js=CURRENT, api_visibility="private") for event in (demo.load, switch.click)
        )

    def wire(self, page: Page) -> None:
        """Gradio's own switch leaves the names of tabs that were never opened."""
        page.language_changed.then(
            lambda: {tab: gr.Tab(label=label(f"ui.{name}.tab")) for name, tab in page.tab_items.items()},
            None,
            set(page.tab_items.values()),
            **PARALLEL,
        )


def script() -> bytes:
    """What the page runs before Gradio starts."""
    code = pathlib.Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    return f"<script>{code.replace('LANGUAGES', json.dumps(CODES), 1)}</script>".encode()
