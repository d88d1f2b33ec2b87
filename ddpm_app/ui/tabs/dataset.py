"""The Dataset tab: choose the pictures, look at them as they are and as the model will see them."""

import os
import shutil
import threading
from collections.abc import Callable
from typing import Any

import gradio as gr

from ddpm_app import access
from ddpm_app.config import BUILT_IN, BUILT_IN_256, FIELDS, from_dict
from ddpm_app.data import cache, open_datasets, upload
from ddpm_app.errors import as_problem
from ddpm_app.i18n import format_bytes, t
from ddpm_app.runs import registry
from ddpm_app.runs.records import RunSnapshot
from ddpm_app.ui.html import notice
from ddpm_app.ui.state import PARALLEL, App, Page, Updates, Values, label
from ddpm_app.ui.tabs.dataset_expect import ExpectCard
from ddpm_app.ui.tabs.dataset_gallery import open_entry
from ddpm_app.ui.tabs.dataset_view import DatasetView, progress

BUILT_INS = {"built_in": BUILT_IN, "built_in_256": BUILT_IN_256}
HUB_EXAMPLE = FIELDS["dataset_name"].default
OPENING_SECONDS = 4
"""How long a click waits for its data: what is in the cache opens in a moment, and then needs no tick."""


class DatasetTab:
    """The choice of a data set, and the view of the one that is open.

    ``opened`` and ``ended`` become its key once it is open and once it is decoded: a change of either draws the rest. ``last_names``: what was
    opened last by each way of choosing, so that going back to it opens it again."""

    def __init__(self, app: App):
        self.app = app
        self.uploads = app.runs_dir / ".uploads"
        self.upload_lock = threading.Lock()
        self.opened, self.ended = gr.State(""), gr.State("")
        self.last_names = gr.State({})
        with gr.Column(elem_classes="card", elem_id="choose"):
            self._draw_choice()
        key = gr.Textbox("", visible=False)
        self.expect = ExpectCard(app, key)
        self.view = DatasetView(app, key)

    def _draw_choice(self) -> None:
        kinds = ["built_in", "upload"] if self.app.public else [*BUILT_INS, "hub", "folder", "upload"]
        self.kind = gr.Radio(
            [(label(f"ui.dataset.{kind}"), kind) for kind in kinds],
            value="built_in",
            label=label("ui.dataset.choose"),
            elem_id="kind",
        )
        with gr.Row(visible=False, elem_classes="ask") as self.by_name:
            self.name = gr.Textbox(
                label=label("ui.dataset.name"), info=label("ui.dataset.name_folder"), max_lines=1, scale=5
            )
            self.subset = gr.Textbox(label="subset", info=label("field.subset"), max_lines=1, scale=2, min_width=120)
            self.split = gr.Textbox(
                "train", label="split", info=label("field.split"), max_lines=1, scale=2, min_width=120
            )
            self.open_button = gr.Button(label("ui.dataset.open"), variant="primary", scale=1, min_width=100)
        with gr.Row(visible=False) as self.by_upload:
            self.files = gr.File(
                file_count="multiple",
                file_types=["image", ".zip", *upload.SUFFIXES],
                label=label("ui.dataset.files"),
                height=140,
            )
        with gr.Row(elem_classes="ask", visible=False) as self.working:
            self.progress = gr.HTML(elem_id="data-progress")
            self.stop_button = gr.Button(label("ui.dataset.stop"), size="sm", scale=0, min_width=90)
        self.problem = gr.HTML(elem_id="data-problem")

    # ---- wiring ------------------------------------------------------------------------------------------------------
    def wire(self, page: Page) -> None:
        """Connect the tab."""
        self.page, self.form = page, page.form.components
        view = self.view
        view.wire(page)
        self.expect.wire(page)
        staged = [self.opened, self.ended, self.problem, view.stage, self.expect.card]
        page.every_tick(self.follow, [self.working, self.progress, *staged], [view.key])
        figures: dict[str, Any] = {
            "fn": view.show_figures,
            "inputs": [view.key, page.lang],
            "outputs": [view.facts, view.account, view.cache],
            **PARALLEL,
        }
        self.opened.change(**view.showing).then(**view.looking).then(**view.editing)
        gr.on([self.opened.change, self.ended.change], **figures)
        self.ended.change(**view.looking)
        self._then_open(page.language_changed.then).then(**view.showing).then(**view.looking)
        page.language_changed.then(**figures)
        editor = view.editor
        gr.on(
            [editor.save.click, editor.caption.submit],
            self.save_texts,
            {view.key, page.lang, view.row, page.visitor, editor.caption, editor.label},
            [page.message, view.key, *staged],
            **PARALLEL | {"show_progress": "minimal", "show_progress_on": editor.save},
        )
        self.stop_button.click(self.stop, view.key, None, **PARALLEL)
        view.clear.click(self.clear, page.lang, [page.message, view.cache], **PARALLEL)
        self._wire_choice(page)

    def _then_open(self, event: Callable[..., gr.events.Dependency], retry: bool = False) -> gr.events.Dependency:
        """After ``event`` open what the form names; ``retry`` also where that failed or was stopped before."""
        return event(
            self.reopen if retry else self.open,
            {self.page.visitor, self.page.lang, self.last_names, *(self.form[name] for name in open_datasets.FIELDS)},
            [self.view.key, self.view.stage, self.expect.card, self.opened, self.ended, self.problem, self.last_names],
            **PARALLEL,
        )

    def _wire_choice(self, page: Page) -> None:
        """Each way of choosing puts a name into the form's dataset_name, then opens it."""
        name, subset, split = (self.form[field] for field in ("dataset_name", "subset", "split"))
        rows = [self.by_name, self.by_upload, self.subset, self.split]
        outputs, stated = [self.kind, *rows, self.name], [name, subset, split]
        restored = self._then_open(page.form_restored.then)
        restored.then(self.restore_choice, [self.kind, *stated], outputs, **PARALLEL)
        selected = self._then_open(page.tab_items["dataset"].select)
        selected.then(self.show_choice, [self.kind, *stated], outputs, **PARALLEL)
        chosen = self.kind.input(self.choose_kind, [self.kind, self.last_names], [*rows, self.name, name], **PARALLEL)
        self._then_open(chosen.then, retry=True)
        typed = gr.on(
            [self.open_button.click, self.name.submit, self.subset.submit, self.split.submit],
            self.choose_name,
            [self.name, self.subset, self.split],
            [name, subset, split, self.expect.fresh],
            **PARALLEL,
        )
        self._then_open(typed.then, retry=True)
        uploaded = self.files.upload(
            self.take_upload,
            [page.visitor, page.lang, self.files],
            [page.message, name, self.expect.fresh],
            **PARALLEL | {"show_progress": "minimal", "show_progress_on": self.files},
        )
        self._then_open(uploaded.then, retry=True)

    # ---- opening -----------------------------------------------------------------------------------------------------
    def open(self, data: Values) -> Updates:
        """Open what the form names, unless it is open already, failed or was stopped."""
        return self._open(data, retry=False)

    def reopen(self, data: Values) -> Updates:
        """As ``open``, and tries again what failed or was stopped."""
        return self._open(data, retry=True)

    def _open(self, data: Values, retry: bool) -> Updates:
        """Only the data's settings are read: a wrong value elsewhere doesn't hide the pictures."""
        lang = data[self.page.lang]
        values = {name: data[self.form[name]] for name in open_datasets.FIELDS}
        name = values["dataset_name"]
        if not name:  # a way of choosing by which nothing was chosen yet, and nothing that Start could train
            return {self.view.key: "", self.opened: "", self.problem: "", **self._empty_stage()}
        try:
            config = from_dict({"block_out_channels": [8], "attention_levels": [0], "norm_num_groups": 8, **values})
            config = self.app.access.check_data(config, data[self.page.visitor])
            if self.app.public and sum(size for _, size, _ in cache.caches()) > access.CACHE_BYTES:
                cache.clear_cache()
            key = self.app.datasets.ask(config, retry)
        except Exception as error:
            return {self.problem: notice(as_problem(error), lang), **self._empty_stage()}
        names = data[self.last_names] | {kind_of(name): name}
        stage = {self.view.stage: gr.update(visible=True), self.last_names: names}
        return stage | self._await_opened(key, lang)

    def _await_opened(self, key: str, lang: str) -> Updates:
        self.app.datasets.get(key).opened.wait(OPENING_SECONDS)
        return {self.view.key: key, **self.stages(key, lang)}

    def stages(self, key: str, lang: str) -> Updates:
        """How far the data set is, and what stood in the way."""
        entry = self.app.datasets.get(key)
        if entry is None:
            return {}
        updates: Updates = {
            self.ended: key if entry.ended.is_set() else "",
            self.problem: notice(self.app.access.redact(entry.problem), lang) if entry.problem else "",
        }
        if entry.source is not None:
            return updates | {self.opened: key}
        return updates | (self._empty_stage() if entry.problem else {})

    def _empty_stage(self) -> Updates:
        """No pictures where none were opened: those of an earlier choice would seem to be these."""
        hidden = gr.update(visible=False)
        return {self.view.stage: hidden, self.expect.card: hidden}

    def follow(self, snapshot: RunSnapshot, lang: str, key: str) -> Updates:
        """The tick: the progress bar, and the stages."""
        entry = self.app.datasets.get(key)
        working = entry is not None and not entry.ended.is_set() and (entry.source is None or self.app.warm.is_set())
        return {
            self.working: gr.update(visible=working),
            self.progress: progress(entry, lang) if working else "",
            **self.stages(key, lang),
        }

    def stop(self, key: str) -> None:
        """End a download or the decoding."""
        if entry := self.app.datasets.get(key):
            entry.stop.set()

    # ---- choosing ----------------------------------------------------------------------------------------------------
    def restore_choice(self, kind: str, name: str, subset: str, split: str) -> Updates:
        """As ``show_choice``, unless the viewer was quicker and has chosen another way while the form was filled."""
        return self.show_choice(kind, name, subset, split) if kind == "built_in" else gr.skip()

    def show_choice(self, current: str, name: str, subset: str, split: str) -> Updates:
        """How the form's data set was chosen. Where the ``current`` kind is that already, it isn't set again: the viewer may have chosen
        another while this was on its way."""
        kind = kind_of(name)
        texts: Updates = {self.subset: gr.update(value=subset), self.split: gr.update(value=split)}
        if kind in ("hub", "folder"):
            texts[self.name] = gr.update(value=name, info=label(f"ui.dataset.name_{kind}"))
        if kind == current:
            return texts
        rows = self._visible_rows(kind)
        return rows | {self.kind: kind} | {part: rows.get(part, {}) | text for part, text in texts.items()}

    def choose_kind(self, kind: str, last_names: dict[str, str]) -> Updates:
        """Another way of choosing: what was opened by it before, or nothing yet."""
        name = BUILT_INS.get(kind) or last_names.get(kind, "")
        updates = self._visible_rows(kind) | {self.form["dataset_name"]: name}
        if kind in ("hub", "folder"):
            text = name or (HUB_EXAMPLE if kind == "hub" else "")
            updates |= {self.name: gr.update(value=text, info=label(f"ui.dataset.name_{kind}"))}
        return updates

    def choose_name(self, name: str, subset: str, split: str) -> Updates:
        """A folder or a Hub id, as typed."""
        return {
            self.form["dataset_name"]: name.strip(),
            self.form["subset"]: subset.strip(),
            self.form["split"]: split.strip() or "train",
            self.expect.fresh: True,
        }

    def _visible_rows(self, kind: str) -> Updates:
        return {
            self.by_name: gr.update(visible=kind in ("hub", "folder")),
            self.by_upload: gr.update(visible=kind == "upload"),
            self.subset: gr.update(visible=kind == "hub"),
            self.split: gr.update(visible=kind == "hub"),
        }

    # ---- uploads and the cache ---------------------------------------------------------------------------------------
    def take_upload(self, visitor: str, lang: str, files: list[str] | None) -> Updates:
        """Uploaded files as a folder of pictures, whose name goes into the form."""
        public = self.app.public
        try:
            with self.upload_lock:  # so that all that are being unpacked take no more room than one
                folder = upload.import_upload(
                    files or [], self.app.access.uploads_folder(visitor), access.UPLOAD_SHARE if public else 1
                )
                if public:
                    upload.keep_newest(self.uploads, access.UPLOADS_PER_VISITOR, access.UPLOADS_BYTES)
        except Exception as error:
            return {self.page.message: notice(as_problem(error), lang)}
        name = folder.name if public else str(folder)
        return {self.page.message: "", self.form["dataset_name"]: name, self.expect.fresh: True}

    def save_texts(self, data: Values) -> Updates:
        """Write the caption and the label of the picture on show into the upload, and open it again."""
        view, lang, row = self.view, data[self.page.lang], data[self.view.row]
        caption, label = data[view.editor.caption], data[view.editor.label]
        try:
            entry = open_entry(self.app, data[view.key])
            config = view.editor.write(entry, row, data[self.page.visitor], caption, label)
            name = entry.source.names[row]
            if config is None:
                return {self.page.message: notice(t("ui.dataset.unchanged", lang, name=name))}
            key = self.app.datasets.ask(config)
        except Exception as error:
            return {self.page.message: notice(self.app.access.redact(as_problem(error)), lang)}
        saved = notice(t("ui.dataset.saved", lang, name=name))
        return {self.page.message: saved, **self._await_opened(key, lang)}

    def clear(self, lang: str) -> Updates:
        """Empty the cache, and throw away uploads but the latest, which may be on show, and those that runs refer to."""
        try:
            self.app.access.refuse_in_public()
            freed, runs = self._remove_uploads()
            size = format_bytes(freed + cache.clear_cache())
            key = "ui.dataset.cleared_but" if runs else "ui.dataset.cleared"
            message = notice(t(key, lang, size=size, runs=", ".join(runs)))
        except Exception as error:
            message = notice(as_problem(error), lang)
        return {self.page.message: message, self.view.cache: self.view.cache_size(lang)}

    def _remove_uploads(self) -> tuple[int, list[str]]:
        """Remove old uploads; (bytes freed, names of the runs whose pictures stay)."""
        freed, runs, places = 0, list[str](), registry.data_places(self.app.runs_dir)
        uploads = sorted(self.uploads.glob("*/upload-*"), key=lambda path: path.stat().st_mtime)
        for folder in uploads[:-1]:
            if names := places.get(folder.resolve()):
                runs += names
                continue
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            shutil.rmtree(folder)
            freed += size
        return freed, runs


def kind_of(name: str) -> str:
    """Which of the ways of choosing gave this dataset_name."""
    for kind, built_in in BUILT_INS.items():
        if name == built_in:
            return kind
    if os.path.basename(name).startswith("upload-"):
        return "upload"
    is_path = name.startswith((".", "~", "/")) or os.path.exists(name)
    return "hub" if name.count("/") == 1 and not is_path else "folder"
