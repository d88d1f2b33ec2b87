"""The visitor's language. The browser decides it (language.js), for Gradio's labels and for what handlers return alike."""

import json
import pathlib

import gradio as gr
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ddpm_app.ui.components.base import ScriptedHTML
from ddpm_app.ui.state import PARALLEL, Page, label

CURRENT = "() => window.studioLanguage || 'en'"
HEAD = b"<head>"
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


class LanguageFirst:
    """Puts ``script`` at the top of each HTML page: what ``launch(head=...)`` adds comes after Gradio has chosen its language."""

    def __init__(self, app: ASGIApp):
        self.app, self.script = app, script()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message | None = None
        body = b""

        async def send_changed(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start" and _is_page(message):
                start = message
            elif start is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body"):
                    page = body.replace(HEAD, HEAD + self.script, 1)
                    headers = [pair for pair in start["headers"] if pair[0].lower() != b"content-length"]
                    await send(start | {"headers": [*headers, (b"content-length", str(len(page)).encode())]})
                    await send({"type": "http.response.body", "body": page})

        await self.app(scope, receive, send_changed)


def _is_page(start: Message) -> bool:
    headers = dict(start["headers"])
    return headers.get(b"content-type", b"").startswith(b"text/html") and b"content-encoding" not in headers


def middleware() -> Middleware:
    """For ``launch(app_kwargs=...)``."""
    return Middleware(LanguageFirst)
