"""The header on every tab: what the run does, and the buttons that start and stop it."""

import secrets

import gradio as gr

from ddpm_app.ui.studio import Shared, Studio


def new_visitor() -> str:
    return secrets.token_hex(16)


def build(studio: Studio, shared: Shared):
    status = gr.HTML("DDPM Studio")
    shared.message = gr.HTML("")
    shared.each_tick(lambda snapshot, lang: [str(snapshot.get("name"))], [status])
    return {}


def wire(studio: Studio, shared: Shared, buttons) -> None:
    pass
