"""The config tab."""

import gradio as gr

from ddpm_app.ui.studio import Form, Shared, Studio


def build(studio: Studio, shared: Shared) -> None:
    gr.Markdown("...")
