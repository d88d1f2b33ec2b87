"""Any picture of the page, large and alone: arrows, download, and what can be done with it."""

from ddpm_app.ui.components.base import ScriptedHTML


class Lightbox(ScriptedHTML):
    """Takes {"words"}: texts by name. Its script triggers "click" with {"seed", "caption"} to draw a picture of the Sample tab again, and "select"
    to go to the Learn tab, where its link says what opens (see lightbox.js)."""
