"""Plots as SVG, redrawn in place from small JSON (see ddpm_app.plots)."""

from ddpm_app.ui.components.base import ScriptedHTML


class Chart(ScriptedHTML):
    """Takes a frame of plots.frame. gr.LinePlot has no log axis, and a series that first appears after the first drawing stays invisible."""
