"""What Gradio's tabs, radios and thumbnails lack for those who use no mouse or no screen."""

from ddpm_app.ui.components.base import ScriptedHTML


class Keyboard(ScriptedHTML):
    """Shows nothing: arrow keys move in tabs and radios, which are one stop of the tab key each, a tab that is opened begins at its top, and a
    thumbnail goes by its caption."""
