"""The runs tab."""

import gradio as gr

from ddpm_app.ui.studio import Shared, Studio


def build(studio: Studio, shared: Shared) -> None:
    gr.Markdown("...")
