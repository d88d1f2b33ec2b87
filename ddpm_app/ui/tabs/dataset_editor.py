"""Captions and labels of one's own upload, changed below the picture on show."""

import pathlib
import threading
from typing import TYPE_CHECKING

import gradio as gr

from ddpm_app.config import TrainConfig
from ddpm_app.data import upload
from ddpm_app.data.open_datasets import OpenDataset
from ddpm_app.errors import Problem
from ddpm_app.ui.state import App, Updates, label

if TYPE_CHECKING:
    from ddpm_app.data.image_source import ImageSource

MAX_CAPTION, MAX_LABEL = 1000, 100
"""Characters of a caption and of a label."""


class CaptionEditor:
    """Caption, label and Save of the picture on show; hidden where this visitor may not change them."""

    def __init__(self, app: App):
        self.app = app
        self._lock = threading.Lock()
        self.caption = gr.Textbox(
            label=label("ui.dataset.edit_caption"),
            max_lines=4,
            max_length=MAX_CAPTION,
            visible=False,
            elem_id="edit-caption",
        )
        self.label = gr.Dropdown(
            [],
            label=label("ui.dataset.edit_label"),
            info=label("ui.dataset.edit_label_help"),
            allow_custom_value=True,
            visible=False,
            elem_id="edit-label",
        )
        self.save = gr.Button(label("ui.dataset.save"), size="sm", visible=False, elem_id="edit-save")

    def show(self, key: str, row: int, visitor: str) -> Updates:
        """The fields for picture ``row`` of the data set on show."""
        entry = self.app.datasets.get(key)
        may_edit = entry and entry.source and row < len(entry.source) and self._folder(entry.config, visitor)
        if not may_edit:
            return dict.fromkeys((self.caption, self.label, self.save), gr.update(visible=False))
        source = entry.source
        return {
            self.caption: gr.update(visible=True, value=caption_of(source, row)),
            self.label: gr.update(
                visible=True, value=label_of(source, row) or None, choices=list(source.label_names or ())
            ),
            self.save: gr.update(visible=True),
        }

    def write(
        self, entry: OpenDataset | None, row: int, visitor: str, caption: str | None, label: str | None
    ) -> TrainConfig | None:
        """Write the texts of picture ``row`` into the upload; returns the settings to open it anew with, None where nothing changed.

        Raises Problem: "not_your_upload", "string_too_long", "upload_metadata"."""
        if entry is None or (folder := self._folder(entry.config, visitor)) is None:
            raise Problem("not_your_upload")
        changes = _changes(entry, row, caption, label)
        if not changes:
            return None
        with self._lock:
            _annotate(entry.source, folder, row, changes)
        self.app.datasets.forget(entry.config.dataset_name)
        return entry.config

    def _folder(self, config: TrainConfig, visitor: str) -> pathlib.Path | None:
        """The upload's folder where the data set is one of this visitor's uploads, else None."""
        folder = pathlib.Path(config.dataset_name).resolve()
        own = folder.parent == self.app.access.uploads_folder(visitor).resolve() and folder.name.startswith("upload-")
        return folder if own else None


def label_of(source: "ImageSource", i: int) -> str:
    """The name of a picture's label, "" where it has none."""
    return source.label_names[source.labels[i]] if source.labels and source.labels[i] >= 0 else ""


def caption_of(source: "ImageSource", i: int) -> str:
    """A picture's caption, "" where it has none."""
    return source.captions[i] if source.captions else ""


def _changes(entry: OpenDataset, row: int, caption: str | None, label: str | None) -> dict[str, str]:
    """The new texts by the column they belong to. Raises Problem("string_too_long")."""
    source = entry.source
    fields = (
        ("caption", source.caption_column, caption, caption_of(source, row), MAX_CAPTION),
        ("label", source.label_column, label, label_of(source, row), MAX_LABEL),
    )
    changes = {}
    for field, column, text, old, limit in fields:
        text = " ".join((text or "").split())
        if len(text) > limit:
            raise Problem("string_too_long", field, limit=limit)
        if text != old:
            changes[column] = text
    return changes


def _annotate(source: "ImageSource", folder: pathlib.Path, row: int, changes: dict[str, str]) -> None:
    """Write the changes into the metadata of the upload in ``folder``."""
    depth = len(pathlib.PurePath(source.names[row]).parts)
    # with "train" and "test" at the top, one of these
    root = pathlib.Path(source.file(row)).resolve().parents[depth - 1]
    if not root.is_relative_to(folder):
        raise Problem("not_your_upload")
    choices = source.caption_choices or [()] * len(source)
    pictures = [(name, choices[i], label_of(source, i)) for i, name in enumerate(source.names)]
    upload.annotate(root, pictures, source.names[row], changes)
