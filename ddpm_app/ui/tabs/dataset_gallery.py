"""The gallery of the Dataset tab: pages of small pictures, and a search."""

from typing import TYPE_CHECKING

import gradio as gr
from PIL import Image

from ddpm_app.data.open_datasets import OpenDataset
from ddpm_app.errors import as_problem
from ddpm_app.i18n import problem_on_page, t
from ddpm_app.ui.state import PARALLEL, App, Page, Updates, label
from ddpm_app.ui.tabs.dataset_editor import caption_of, label_of

if TYPE_CHECKING:
    from ddpm_app.data.image_source import ImageSource

PAGE_SIZE = 24
"""Pictures on a page."""
SIDE = 128
"""Side at which they are sent, in pixels."""


class DatasetGallery:
    """The pictures of the data set with the ``key`` on show. ``page_number`` counts from 0; ``outputs``: what a page consists of."""

    def __init__(self, app: App, key: gr.State):
        self.app, self.key = app, key
        self.page_number = gr.State(0)
        with gr.Row(elem_id="gallery-bar"):
            gr.Markdown(label("ui.dataset.gallery"), elem_classes="title")
            self.search = gr.Textbox(
                placeholder=label("ui.dataset.search"),
                label=label("ui.dataset.search"),
                show_label=False,
                container=False,
                max_lines=1,
                elem_id="search",
            )
        self.pictures = gr.Gallery(
            label=label("ui.dataset.gallery"),
            show_label=False,
            format="png",
            columns=6,
            height="auto",
            object_fit="contain",
            allow_preview=False,
            buttons=[],
            interactive=False,
            elem_id="gallery",
            elem_classes="pixelated",
        )
        with gr.Row(elem_id="pager"):
            self.back = gr.Button(label("ui.dataset.back"), size="sm", min_width=0)
            self.position = gr.HTML(elem_id="where")
            self.next = gr.Button(label("ui.dataset.next"), size="sm", min_width=0)
        self.outputs = [self.pictures, self.position, self.page_number, self.back, self.next]

    def wire(self, page: Page) -> None:
        """Connect search and pager."""
        for button, turn in ((self.back, self.turn_back), (self.next, self.turn_on)):
            button.click(turn, [self.key, page.lang, self.search, self.page_number], self.outputs, **PARALLEL)
        self.search.change(
            self.find, [self.key, page.lang, self.search], self.outputs, trigger_mode="always_last", **PARALLEL
        )

    def turn(self, key: str, lang: str, search: str, page_number: int) -> Updates:
        """A page of what ``search`` leaves of the gallery; a number beyond the last or the first page is that page's."""
        entry = open_entry(self.app, key)
        if entry is None:
            return gr.skip()
        rows = matching_rows(entry.source, search)
        pages = max(1, -(-len(rows) // PAGE_SIZE))
        page_number = min(max(page_number, 0), pages - 1)
        start = page_number * PAGE_SIZE
        pictures = [captioned_thumbnail(entry.source, i) for i in rows[start : start + PAGE_SIZE]]
        position = t("ui.dataset.page", lang, page=page_number + 1, pages=f"{pages:,}", found=f"{len(rows):,}")
        return {
            self.pictures: gr.Gallery(pictures, selected_index=None),
            self.position: position,
            self.page_number: page_number,
            self.back: gr.update(interactive=page_number > 0),
            self.next: gr.update(interactive=page_number < pages - 1),
        }

    def turn_back(self, key: str, lang: str, search: str, page_number: int) -> Updates:
        return self.turn(key, lang, search, page_number - 1)

    def turn_on(self, key: str, lang: str, search: str, page_number: int) -> Updates:
        return self.turn(key, lang, search, page_number + 1)

    def find(self, key: str, lang: str, search: str) -> Updates:
        return self.turn(key, lang, search, 0)

    def pick(self, key: str, search: str, page_number: int, event: gr.SelectData) -> int:
        """The row behind a click in the gallery."""
        entry = open_entry(self.app, key)
        rows = matching_rows(entry.source, search) if entry else []
        at = page_number * PAGE_SIZE + event.index
        return rows[at] if at < len(rows) else 0


def open_entry(app: App, key: str) -> OpenDataset | None:
    """The data set where it is open, decoded or not."""
    entry = app.datasets.get(key)
    return entry if entry and entry.source is not None else None


def matching_rows(source: "ImageSource", search: str) -> list[int]:
    """Rows whose label, caption or name holds all words of ``search``."""
    words = (search or "").lower().split()  # a tab that was never opened has none
    if not words:
        return list(range(len(source)))

    def matches(i: int) -> bool:
        text = f"{label_of(source, i)} {caption_of(source, i)} {source.names[i]}".lower()
        return all(word in text for word in words)

    return [i for i in range(len(source)) if matches(i)]


def captioned_thumbnail(source: "ImageSource", i: int) -> tuple[Image.Image, str]:
    """A picture for the gallery with its label and caption, or its name; an unusable one is an empty square."""
    try:
        caption = " · ".join(filter(None, (label_of(source, i), caption_of(source, i))))
        return source.thumbnail(i, SIDE), caption or source.names[i]
    except Exception as error:
        return Image.new("RGB", (SIDE, SIDE), "#b3261e"), problem_on_page(as_problem(error))
