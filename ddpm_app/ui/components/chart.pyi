"""Plots as SVG, redrawn in place from small JSON (see ddpm_app.plots)."""

from ddpm_app.ui.components.base import ScriptedHTML

from gradio.events import Dependency

class Chart(ScriptedHTML):
    """Takes a frame of plots.frame. gr.LinePlot has no log axis, and a series that first appears after the first drawing stays invisible."""
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component