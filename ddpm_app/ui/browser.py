"""The Dataset tab's handlers: open a data set, turn its pages, look at one picture, take an upload."""

import os
import threading
from typing import Any

import gradio as gr

from ddpm_app.config import BUILT_IN, from_dict
from ddpm_app.data import cache
from ddpm_app.text import spell_bytes, t
from ddpm_app.ui import drawings, guard, shelf
from ddpm_app.ui.header import said
from ddpm_app.ui.studio import Studio, problem_of

PAGE = 24
OPENING_SECONDS = 4
"""How long a click waits for its data: what is in the cache opens in a moment, and then needs no tick."""


class Browser:
    """The tab's handlers. ``key`` is a data set on the shelf; a viewer keeps the key of the one on show."""

    def __init__(self, studio: Studio):
        self.studio = studio
        self.shelf = studio.shelf
        self.uploads = studio.runs_dir / ".uploads"
        self.one_upload = threading.Lock()

    def source(self, key: str) -> Any:
        """The opened source, or None."""
        entry = self.shelf.get(key)
        return entry.source if entry else None

    def ask(self, again: bool, visitor: str, lang: str, *given: Any) -> list[Any]:
        """Open what the form names. Only the data's settings are read: a wrong value elsewhere doesn't hide the pictures."""
        values = dict(zip(shelf.FIELDS, given, strict=True))
        try:
            config = from_dict({"block_out_channels": [8], "attention_levels": [0], "norm_num_groups": 8, **values})
            config = guard.check_data(self.studio, config, visitor)
            if self.studio.public and sum(size for _, size, _ in cache.caches()) > guard.CACHE_BYTES:
                cache.clear_cache()
            key = self.shelf.ask(config, again)
        except Exception as error:
            return [gr.skip(), gr.skip(), gr.skip(), said(problem_of(error), lang)]
        self.shelf.get(key).opened.wait(OPENING_SECONDS)
        return [key, *self.stages(key, lang)]

    def stages(self, key: str, lang: str) -> list[Any]:
        """The key again once it is open, and once it is decoded (a change of either draws the rest), and what stood in the way."""
        entry = self.shelf.get(key)
        if entry is None:
            return [gr.skip(), gr.skip(), gr.skip()]
        problem = said(guard.told(self.studio, entry.problem), lang) if entry.problem else ""
        return [key if entry.source is not None else gr.skip(), key if entry.ended.is_set() else "", problem]

    def follow(self, snapshot: dict[str, Any], lang: str, key: str) -> list[Any]:
        """The tick: the progress bar, and the stages."""
        entry = self.shelf.get(key)
        working = entry is not None and not entry.ended.is_set() and (entry.source is None or self.studio.warm.is_set())
        return [gr.update(visible=working), drawings.progress(entry, lang) if working else "", *self.stages(key, lang)]

    def stop(self, key: str) -> None:
        """End a download or the decoding."""
        if entry := self.shelf.get(key):
            entry.stop.set()

    def first_show(self, key: str, lang: str) -> list[Any]:
        """Row of four, sizes, the picked row, and the gallery's first page."""
        entry = self.shelf.get(key)
        if entry is None or entry.source is None:
            return [gr.skip()] * 8
        entry.preview = entry.preview or drawings.preview(entry.source)
        return [entry.preview, drawings.sizes(entry.source.sizes(), lang), 0, *self.turn(key, lang, "", 0)]

    def details(self, key: str, lang: str) -> list[Any]:
        """Counts and licence, what was left out, the cache."""
        entry = self.shelf.get(key)
        if entry is None or entry.source is None:
            return [gr.skip()] * 3
        return [drawings.facts(entry, lang), drawings.left_out(entry, lang), self.cache(lang)]

    def turn(self, key: str, lang: str, search: str, page: int) -> list[Any]:
        """A page of the gallery: pictures, where it is, the page's number, and the two buttons."""
        source = self.source(key)
        if source is None:
            return [gr.skip()] * 5
        rows = drawings.found(source, search)
        pages = max(1, -(-len(rows) // PAGE))
        page = min(max(page, 0), pages - 1)
        pictures = [drawings.thumbnail(source, i) for i in rows[page * PAGE : (page + 1) * PAGE]]
        told = t("ui.dataset.page", lang, page=page + 1, pages=f"{pages:,}", found=f"{len(rows):,}")
        return [
            gr.Gallery(pictures, selected_index=None),
            told,
            page,
            gr.update(interactive=page > 0),
            gr.update(interactive=page < pages - 1),
        ]

    def pick(self, key: str, search: str, page: int, event: gr.SelectData) -> int:
        """The row behind a click in the gallery."""
        source = self.source(key)
        rows = drawings.found(source, search) if source is not None else []
        at = page * PAGE + event.index
        return rows[at] if at < len(rows) else 0

    def one(self, key: str, lang: str, row: int, mode: str) -> Any:
        """One picture as it is and as the model sees it, once torchvision is there."""
        entry = self.shelf.get(key)
        if entry is None or entry.source is None or not 0 <= row < len(entry.source):
            return gr.skip()
        self.studio.warm.wait(60)
        try:
            return drawings.one(entry, row, mode, lang)
        except Exception as error:
            return said(problem_of(error), lang)

    def upload(self, visitor: str, lang: str, files: list[str] | None) -> list[Any]:
        """Uploaded files as a folder of pictures, whose name goes into the form."""
        from ddpm_app.data.upload import import_upload, keep_newest

        try:
            with self.one_upload:  # so that all that are being unpacked take no more room than one
                folder = import_upload(files or [], guard.uploads_of(self.studio, visitor), guard.UPLOAD_SHARE if self.studio.public else 1)
                if self.studio.public:
                    keep_newest(self.uploads, guard.UPLOADS_KEPT, guard.UPLOADS_BYTES)
        except Exception as error:
            return [said(problem_of(error), lang), gr.skip()]
        return ["", folder.name if self.studio.public else str(folder)]

    def cache(self, lang: str) -> str:
        """Where decoded pictures lie, and how much they take."""
        if self.studio.public:
            return ""
        return drawings.cache_line(str(cache.cache_folder()), sum(size for _, size, _ in cache.caches()), lang)

    def clear(self, lang: str) -> list[str]:
        """Empty the cache, and throw away uploads but the latest, which may be on show."""
        from ddpm_app.data.upload import keep_newest

        try:
            guard.refuse_in_public(self.studio)
            freed = cache.clear_cache() + keep_newest(self.uploads, 1)
            return [said(t("ui.dataset.cleared", lang, size=spell_bytes(freed))), self.cache(lang)]
        except Exception as error:
            return [said(problem_of(error), lang), self.cache(lang)]


def kind_of(name: str) -> str:
    """Which of the four ways of choosing gave this dataset_name."""
    if name == BUILT_IN:
        return "built_in"
    if os.path.basename(name).startswith("upload-"):
        return "upload"
    return "hub" if name.count("/") == 1 and not os.path.isdir(name) else "folder"


def rows_for(kind: str) -> list[Any]:
    """Which rows of the choice are seen: for a name, for an upload, and the split of a Hub id."""
    return [gr.update(visible=kind in ("hub", "folder")), gr.update(visible=kind == "upload"), gr.update(visible=kind == "hub")]
