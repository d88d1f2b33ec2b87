"""The page's own menu in the header: language, theme, presenting."""

from ddpm_app.ui.components.base import ScriptedHTML


class Menu(ScriptedHTML):
    """Takes {"words"}: texts by name. What is chosen stays in the browser (see language.js)."""
