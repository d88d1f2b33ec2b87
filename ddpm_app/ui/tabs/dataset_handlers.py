"""The Dataset tab's handlers: open a data set, turn its pages, look at one picture, take an upload, change its captions and labels."""

import os
import pathlib
import threading
from typing import Any

import gradio as gr

from ddpm_app import access
from ddpm_app.config import BUILT_IN, BUILT_IN_256, TrainConfig, from_dict
from ddpm_app.data import cache, open_datasets
from ddpm_app.errors import Problem, as_problem
from ddpm_app.i18n import format_bytes, t
from ddpm_app.ui.html import notice
from ddpm_app.ui.state import App
from ddpm_app.ui.tabs import dataset_view

PAGE = 24
BUILT_INS = {"built_in": BUILT_IN, "built_in_256": BUILT_IN_256}
OPENING_SECONDS = 4
"""How long a click waits for its data: what is in the cache opens in a moment, and then needs no tick."""
LONGEST_CAPTION, LONGEST_LABEL = 1000, 100


class DatasetHandlers:
    """The tab's handlers. ``key`` is a data set on the shelf; a viewer keeps the key of the one on show."""

    def __init__(self, app: App):
        self.app = app
        self.datasets = app.datasets
        self.uploads = app.runs_dir / ".uploads"
        self.one_upload = threading.Lock()
        self.one_edit = threading.Lock()

    def source(self, key: str) -> Any:
        """The opened source, or None."""
        entry = self.datasets.get(key)
        return entry.source if entry else None

    def ask(self, again: bool, visitor: str, lang: str, *given: Any) -> list[Any]:
        """Open what the form names. Only the data's settings are read: a wrong value elsewhere doesn't hide the pictures."""
        values = dict(zip(open_datasets.FIELDS, given, strict=True))
        try:
            config = from_dict({"block_out_channels": [8], "attention_levels": [0], "norm_num_groups": 8, **values})
            config = self.app.access.check_data(config, visitor)
            if self.app.public and sum(size for _, size, _ in cache.caches()) > access.CACHE_BYTES:
                cache.clear_cache()
            key = self.datasets.ask(config, again)
        except Exception as error:
            return [gr.skip(), gr.skip(), gr.skip(), notice(as_problem(error), lang)]
        self.datasets.get(key).opened.wait(OPENING_SECONDS)
        return [key, *self.stages(key, lang)]

    def stages(self, key: str, lang: str) -> list[Any]:
        """The key again once it is open, and once it is decoded (a change of either draws the rest), and what stood in the way."""
        entry = self.datasets.get(key)
        if entry is None:
            return [gr.skip(), gr.skip(), gr.skip()]
        problem = notice(self.app.access.redact(entry.problem), lang) if entry.problem else ""
        return [key if entry.source is not None else gr.skip(), key if entry.ended.is_set() else "", problem]

    def follow(self, snapshot: dict[str, Any], lang: str, key: str) -> list[Any]:
        """The tick: the progress bar, and the stages."""
        entry = self.datasets.get(key)
        working = entry is not None and not entry.ended.is_set() and (entry.source is None or self.app.warm.is_set())
        return [
            gr.update(visible=working),
            dataset_view.progress(entry, lang) if working else "",
            *self.stages(key, lang),
        ]

    def stop(self, key: str) -> None:
        """End a download or the decoding."""
        if entry := self.datasets.get(key):
            entry.stop.set()

    def first_show(self, key: str, lang: str, shown: str, search: str, page: int, row: int) -> list[Any]:
        """Row of four, sizes, label counts, what is shown, the picked row, and a page of the gallery: the first, or, where the same
        pictures were ``shown`` before, the one that was on show."""
        entry = self.datasets.get(key)
        if entry is None or entry.source is None:
            return [gr.skip()] * 10
        entry.preview = entry.preview or dataset_view.preview(entry.source)
        now = repr([getattr(entry.config, name) for name in open_datasets.SOURCE])
        told = [
            entry.preview,
            dataset_view.sizes(entry.source.sizes(), lang),
            dataset_view.counts(entry.source, lang),
            now,
        ]
        if now != shown:
            search, page, row = "", 0, 0
        return [*told, row, *self.turn(key, lang, search, page)]

    def details(self, key: str, lang: str) -> list[Any]:
        """Counts and licence, what was left out, the cache."""
        entry = self.datasets.get(key)
        if entry is None or entry.source is None:
            return [gr.skip()] * 3
        return [dataset_view.facts(entry, lang), dataset_view.left_out(entry, lang), self.cache(lang)]

    def turn(self, key: str, lang: str, search: str, page: int) -> list[Any]:
        """A page of the gallery: pictures, where it is, the page's number, and the two buttons."""
        source = self.source(key)
        if source is None:
            return [gr.skip()] * 5
        rows = dataset_view.found(source, search)
        pages = max(1, -(-len(rows) // PAGE))
        page = min(max(page, 0), pages - 1)
        pictures = [dataset_view.thumbnail(source, i) for i in rows[page * PAGE : (page + 1) * PAGE]]
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
        rows = dataset_view.found(source, search) if source is not None else []
        at = page * PAGE + event.index
        return rows[at] if at < len(rows) else 0

    def one(self, key: str, lang: str, row: int, mode: str) -> Any:
        """One picture as it is and as the model sees it, once torchvision is there."""
        entry = self.datasets.get(key)
        if entry is None or entry.source is None or not 0 <= row < len(entry.source):
            return gr.skip()
        self.app.warm.wait(60)
        try:
            return dataset_view.one(entry, row, mode, lang)
        except Exception as error:
            return notice(as_problem(error), lang)

    # ---- captions and labels of an upload --------------------------------------------------------------------------------
    def own_folder(self, config: TrainConfig, visitor: str) -> pathlib.Path | None:
        """The upload's folder where the data set is one of this visitor's uploads, else None."""
        folder = pathlib.Path(config.dataset_name).resolve()
        mine = folder.parent == self.app.access.uploads_folder(visitor).resolve() and folder.name.startswith("upload-")
        return folder if mine else None

    def fields(self, key: str, row: int, visitor: str) -> list[Any]:
        """Caption, label and Save of the picture on show, seen where this visitor may change them."""
        entry = self.datasets.get(key)
        if (
            entry is None
            or entry.source is None
            or self.own_folder(entry.config, visitor) is None
            or not row < len(entry.source)
        ):
            return [gr.update(visible=False)] * 3
        caption, label = dataset_view.caption_of(entry.source, row), dataset_view.label_of(entry.source, row)
        choices = list(entry.source.label_names or ())
        return [
            gr.update(visible=True, value=caption),
            gr.update(visible=True, value=label or None, choices=choices),
            gr.update(visible=True),
        ]

    def save(self, key: str, lang: str, row: int, visitor: str, caption: str | None, label: str | None) -> list[Any]:
        """Write the caption and the label of the picture on show into the upload, and open it again: a message, the new key, and the
        stages as ``ask`` gives them."""
        try:
            entry = self.datasets.get(key)
            if entry is None or entry.source is None or (folder := self.own_folder(entry.config, visitor)) is None:
                raise Problem("not_your_upload")
            name, texts = entry.source.names[row], self._changes(entry, row, caption, label)
            if not texts:
                return [notice(t("ui.dataset.unchanged", lang, name=name)), *[gr.skip()] * 4]
            with self.one_edit:
                self._annotate(entry.source, folder, row, texts)
            self.datasets.forget(entry.config.dataset_name)
            key = self.datasets.ask(entry.config)
        except Exception as error:
            return [notice(self.app.access.redact(as_problem(error)), lang), *[gr.skip()] * 4]
        self.datasets.get(key).opened.wait(OPENING_SECONDS)
        return [notice(t("ui.dataset.saved", lang, name=name)), key, *self.stages(key, lang)]

    def _changes(
        self, entry: open_datasets.OpenDataset, row: int, caption: str | None, label: str | None
    ) -> dict[str, str]:
        """The new texts by the column they belong to. Raises Problem("string_too_long")."""
        source = entry.source
        changes = {}
        for field, column, text, old, limit in (
            ("caption", source.caption_column, caption, dataset_view.caption_of(source, row), LONGEST_CAPTION),
            (
                "label",
                source.label_column,
                label,
                dataset_view.label_of(source, row),
                LONGEST_LABEL,
            ),
        ):
            text = " ".join((text or "").split())
            if len(text) > limit:
                raise Problem("string_too_long", field, limit=limit)
            if text != old:
                changes[column] = text
        return changes

    def _annotate(self, source: Any, folder: pathlib.Path, row: int, texts: dict[str, str]) -> None:
        from ddpm_app.data.upload import annotate

        depth = len(pathlib.PurePath(source.names[row]).parts)
        root = (
            pathlib.Path(source.file(row)).resolve().parents[depth - 1]
        )  # with "train" and "test" at the top, one of these
        if not root.is_relative_to(folder):
            raise Problem("not_your_upload")
        every = [
            (name, dataset_view.caption_of(source, i), dataset_view.label_of(source, i))
            for i, name in enumerate(source.names)
        ]
        annotate(root, every, source.names[row], texts)

    # ---- uploads and the cache -------------------------------------------------------------------------------------------
    def upload(self, visitor: str, lang: str, files: list[str] | None) -> list[Any]:
        """Uploaded files as a folder of pictures, whose name goes into the form."""
        from ddpm_app.data.upload import import_upload, keep_newest

        try:
            with self.one_upload:  # so that all that are being unpacked take no more room than one
                folder = import_upload(
                    files or [], self.app.access.uploads_folder(visitor), access.UPLOAD_SHARE if self.app.public else 1
                )
                if self.app.public:
                    keep_newest(self.uploads, access.UPLOADS_PER_VISITOR, access.UPLOADS_BYTES)
        except Exception as error:
            return [notice(as_problem(error), lang), gr.skip()]
        return ["", folder.name if self.app.public else str(folder)]

    def cache(self, lang: str) -> str:
        """Where decoded pictures lie, and how much they take."""
        if self.app.public:
            return ""
        return dataset_view.cache_line(str(cache.cache_folder()), sum(size for _, size, _ in cache.caches()), lang)

    def clear(self, lang: str) -> list[str]:
        """Empty the cache, and throw away uploads but the latest, which may be on show."""
        from ddpm_app.data.upload import keep_newest

        try:
            self.app.access.refuse_in_public()
            freed = cache.clear_cache() + keep_newest(self.uploads, 1)
            return [notice(t("ui.dataset.cleared", lang, size=format_bytes(freed))), self.cache(lang)]
        except Exception as error:
            return [notice(as_problem(error), lang), self.cache(lang)]


def kind_of(name: str) -> str:
    """Which of the ways of choosing gave this dataset_name."""
    for kind, built_in in BUILT_INS.items():
        if name == built_in:
            return kind
    if os.path.basename(name).startswith("upload-"):
        return "upload"
    return "hub" if name.count("/") == 1 and not os.path.isdir(name) else "folder"


def rows_for(kind: str) -> list[Any]:
    """Which rows of the choice are seen: for a name, for an upload, and the split of a Hub id."""
    return [
        gr.update(visible=kind in ("hub", "folder")),
        gr.update(visible=kind == "upload"),
        gr.update(visible=kind == "hub"),
    ]
