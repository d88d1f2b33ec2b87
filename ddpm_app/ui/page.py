"""The page: header and tabs around one studio."""

import hashlib
import json
import pathlib
from typing import Any

import gradio as gr

from ddpm_app import text
from ddpm_app.jobs import Jobs
from ddpm_app.ui import config, dataset, header, runs, sample, train
from ddpm_app.ui.board import Board
from ddpm_app.ui.studio import Shared, Studio, words

TABS = {"dataset": dataset, "config": config, "train": train, "sample": sample, "runs": runs}
TICK_SECONDS, IDLE_SECONDS = 1, 3
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
            seen=gr.JSON(visible=False),
            lang=gr.State("en"),
        )
        buttons = header.build(studio, shared)
        with gr.Tabs(elem_id="tabs") as shared.tabs:
            for name, part in TABS.items():
                with gr.Tab(words(f"ui.{name}.tab"), id=name, elem_id=f"tab-{name}") as shared.opened[name]:
                    part.build(studio, shared)
        header.wire(studio, shared, buttons)
        for connect in shared.later:
            connect()
        _tick(demo, studio, shared)
    return demo, studio


def language(request: gr.Request) -> str:
    """The visitor's language: ``?lang=`` of the address, else the browser's, else English."""
    asked = [request.query_params.get("lang", ""), *request.headers.get("accept-language", "").split(",")]
    return next((lang for a in asked for lang in text.LANGUAGES if a.strip().lower().startswith(lang)), "en")


def _tick(demo: gr.Blocks, studio: Studio, shared: Shared) -> None:
    """One request per second and viewer for all parts of the page. The browser holds the prints of what it shows
    (``seen``), so that a lost answer is sent again and nothing else is."""
    timer = gr.Timer(TICK_SECONDS)
    ticks = shared.ticks
    outputs = [component for tick in ticks for component in tick.outputs]

    def draw(selected: str, lang: str, prints: list[str] | None, pace: float, *given: Any) -> list[Any]:
        snapshot = studio.board.snapshot(selected)
        values: list[Any] = []
        at = 0
        for tick in ticks:
            values += tick.draw(snapshot, lang, *given[at : at + len(tick.inputs)])
            at += len(tick.inputs)
        wanted = TICK_SECONDS if header.running(studio, snapshot).get("active") else IDLE_SECONDS
        new = [_print(value) for value in values]
        old = prints if prints and len(prints) == len(new) else [None] * len(new)
        news = [value if a != b else gr.skip() for value, a, b in zip(values, new, old, strict=True)]
        return [gr.skip() if wanted == pace else gr.Timer(wanted), gr.skip() if new == old else new, *news]

    def load(selected: str, visitor: str, request: gr.Request, *given: Any) -> list[Any]:
        lang = language(request)
        return [lang, visitor or header.new_visitor(), *draw(selected, lang, None, 0, *given)]

    extra = [component for tick in ticks for component in tick.inputs]
    everything = [timer, shared.seen, *outputs]
    options: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": None, "api_visibility": "private"}
    demo.load(load, [shared.selected, shared.visitor, *extra], [shared.lang, shared.visitor, *everything], **options)
    timer.tick(draw, [shared.selected, shared.lang, shared.seen, timer, *extra], everything, **options)


def _print(value: Any) -> str:
    told = json.dumps(value, sort_keys=True, default=repr)
    return hashlib.blake2b(told.encode(), digest_size=6).hexdigest()
