"""The page: first every tab is drawn, then every tab is wired."""

import pathlib
from typing import Any

import gradio as gr

from ddpm_app.ui.components.keyboard import Keyboard
from ddpm_app.ui.components.lightbox import Lightbox
from ddpm_app.ui.header import Header
from ddpm_app.ui.language import LanguageSwitch
from ddpm_app.ui.polling import Poller
from ddpm_app.ui.state import QUICK, App, Page, Updates, label
from ddpm_app.ui.tabs.config import ConfigTab
from ddpm_app.ui.tabs.dataset import DatasetTab
from ddpm_app.ui.tabs.home import HomeTab
from ddpm_app.ui.tabs.learn import LearnTab
from ddpm_app.ui.tabs.runs import RunsTab
from ddpm_app.ui.tabs.sample import SampleTab
from ddpm_app.ui.tabs.train import TrainTab

TABS: dict[str, Any] = {
    "home": HomeTab,
    "dataset": DatasetTab,
    "config": ConfigTab,
    "train": TrainTab,
    "sample": SampleTab,
    "learn": LearnTab,
    "runs": RunsTab,
}


def build(runs_dir: str | pathlib.Path, public: bool = False) -> tuple[gr.Blocks, App]:
    """The page (not launched) and the app behind it."""
    app = App(pathlib.Path(runs_dir).resolve(), public)
    with gr.Blocks(title="DDPM Studio", analytics_enabled=False, delete_cache=(3600, 86400)) as demo:
        page = Page(app)
        poller, language, header = Poller(app), LanguageSwitch(page, demo), Header(app)
        Keyboard(elem_id="keyboard", elem_classes="unseen")
        page.lightbox = Lightbox({"words": {}}, elem_id="lightbox")
        page.feed, page.live_version, page.message = poller.feed, poller.live_version, header.message
        with gr.Tabs(elem_id="tabs") as page.tabs:
            for name, tab in TABS.items():
                with gr.Tab(label(f"ui.{name}.tab"), id=name, elem_id=f"tab-{name}") as page.tab_items[name]:
                    page.parts[name] = tab(app)
        config: ConfigTab = page.parts["config"]
        page.form, page.form_restored = config.form, config.restore_from(page)
        for part in (header, language, *page.parts.values(), poller):
            part.wire(page)
        open_at_work(page)
    return demo, app


LINKS = {"tab", "station", "lesson", "preset"}
"""What a link may say of where the page opens."""


def open_at_work(page: Page) -> None:
    """A page that is opened while a run is at work opens on Train, where its link doesn't say otherwise."""

    def choose_tab(request: gr.Request) -> Updates | gr.Tabs:
        is_linked = bool(LINKS & request.query_params.keys())
        return gr.skip() if is_linked or not page.app.is_training() else gr.Tabs(selected="train")

    page.language_ready.then(choose_tab, None, page.tabs, **QUICK)
