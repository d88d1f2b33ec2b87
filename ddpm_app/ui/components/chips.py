"""Texts to choose by a click, as chips."""

from ddpm_app.ui.components.base import ScriptedHTML


class Chips(ScriptedHTML):
    """Takes {"texts", "label"}; its script triggers "click" with {"text"}."""
