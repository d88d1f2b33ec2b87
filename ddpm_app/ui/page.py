"""The page: first every tab is drawn, then every tab is wired."""

import pathlib
from types import ModuleType
from typing import Any

import gradio as gr

from ddpm_app.ui import header, language, polling
from ddpm_app.ui.state import App, Page, label
from ddpm_app.ui.tabs import learn, runs, train
from ddpm_app.ui.tabs.config import ConfigTab
from ddpm_app.ui.tabs.dataset import DatasetTab
from ddpm_app.ui.tabs.sample import SampleTab

TABS: dict[str, Any] = {
    "dataset": DatasetTab,
    "config": ConfigTab,
    "train": train,
    "sample": SampleTab,
    "learn": learn,
    "runs": runs,
}


def build(runs_dir: str | pathlib.Path, public: bool = False) -> tuple[gr.Blocks, App]:
    """The page (not launched) and the app behind it."""
    app = App(pathlib.Path(runs_dir).resolve(), public)
    with gr.Blocks(title="DDPM Studio", analytics_enabled=False, delete_cache=(3600, 86400)) as demo:
        page = Page(app)
        page.feed = polling.Feed(elem_id="feed", elem_classes="unseen")
        language.build(page)
        buttons = header.build(app, page)
        with gr.Tabs(elem_id="tabs") as page.tabs:
            for name, tab in TABS.items():
                with gr.Tab(label(f"ui.{name}.tab"), id=name, elem_id=f"tab-{name}") as page.tab_items[name]:
                    if isinstance(tab, ModuleType):
                        tab.build(app, page)
                    else:
                        page.parts[name] = tab(app)
                        page.form = getattr(page.parts[name], "form", page.form)
        page.form_restored = page.parts["config"].restore_from(page)
        header.wire(app, page, buttons)
        for connect in page.later:
            connect()
        for part in page.parts.values():
            part.wire(page)
        polling.connect(app, page)
        learn.open_linked(page)
    return demo, app
