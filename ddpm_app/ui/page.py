"""The page: header and tabs around one studio."""

import pathlib

import gradio as gr

from ddpm_app.jobs import Jobs
from ddpm_app.ui import config, dataset, header, runs, sample, ticks, train
from ddpm_app.ui.board import Board
from ddpm_app.ui.film import scripted
from ddpm_app.ui.learn import tab as learn
from ddpm_app.ui.studio import Shared, Studio, words

TABS = {"dataset": dataset, "config": config, "train": train, "sample": sample, "learn": learn, "runs": runs}
MINE = {"secret": "ddpm-studio"}
"""A fixed key, so that what a browser keeps outlives a restart of the server. Nothing kept there is a secret. These stand
outside the tabs: a tab that was never opened is not drawn, and what is not drawn is not read back."""


def build(runs_dir: str | pathlib.Path, public: bool = False) -> tuple[gr.Blocks, Studio]:
    """The page (not launched) and the studio behind it."""
    runs_dir = pathlib.Path(runs_dir).resolve()
    studio = Studio(runs_dir, Jobs(runs_dir), Board(runs_dir), public)
    with gr.Blocks(title="DDPM Studio", analytics_enabled=False, delete_cache=(3600, 86400)) as demo:
        shared = Shared(
            selected=gr.BrowserState("", storage_key="ddpm-studio-run", **MINE),
            visitor=gr.BrowserState("", storage_key="ddpm-studio-visitor", **MINE),
            kept=gr.BrowserState({}, storage_key="ddpm-studio-form", **MINE),
            seen=gr.Textbox(visible=False),
            lang=gr.Textbox("en", visible=False),
            feed=scripted("live.js", elem_id="feed", elem_classes="unseen"),
        )
        buttons = header.build(studio, shared)
        with gr.Tabs(elem_id="tabs") as shared.tabs:
            for name, part in TABS.items():
                with gr.Tab(words(f"ui.{name}.tab"), id=name, elem_id=f"tab-{name}") as shared.opened[name]:
                    part.build(studio, shared)
        header.wire(studio, shared, buttons)
        for connect in shared.later:
            connect()
        ticks.connect(studio, shared)
        learn.open_linked(shared)
    return demo, studio
