"""The one place for what the page has to say of the last click: over the page, and gone with the state that it speaks of."""

from ddpm_app.ui.components.base import ScriptedHTML


class Message(ScriptedHTML):
    """Takes a piece of html.notice, or "" for none (see message.js for when it goes by itself)."""
