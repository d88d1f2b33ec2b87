"""Open any source of pictures through `datasets`: the built-in specimens, a Hub id, or a folder. No torch.

Rows stay on disk (arrow, memory-mapped); ``picture`` decodes one of them. Labels and captions are plain lists.
"""

import collections
import contextlib
import functools
import glob
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from typing import Any

import datasets
from huggingface_hub import constants
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from PIL import Image

from ddpm_app.config import BUILT_IN, BUILT_IN_256, TrainConfig
from ddpm_app.data import cache, columns, decode, folder, prepare, upload
from ddpm_app.data.account import EXAMPLES, NOT_USED, Account
from ddpm_app.data.prepare import Prepared, Spec
from ddpm_app.data.rows import FolderRows, Piece, read_piece
from ddpm_app.errors import Problem, Stopped
from ddpm_app.files import read_json, write_atomic
from ddpm_app.i18n import ASSETS
from ddpm_app.specimens import collection

Progress = Callable[[str, int, int | None], None]
Cancelled = Callable[[], bool]

BUILT_IN_FILE = ASSETS / "butterflies.parquet"
POLL_SECONDS = 0.1
FOLDER_VERSION = 1
"""Part of the key of a folder's rows: raise it when the walk reads them otherwise."""
RANGES_READ = 200
"""Pictures with more than 8 bits that are decoded for the range of their values."""
SIZES_READ = 2000
"""Pictures whose header is read for the size histogram; opening more than that would take too long for a page."""


Place = str | bytes | Piece
"""Where a picture lies: a path, a member of a shard, or the bytes themselves."""


class ImageSource:
    """The pictures as they came: ``len``, ``picture(i)``, and per row ``names``, ``labels`` (None or ints, -1 where there is
    none) with ``label_names``, ``captions`` (None or strings, the first of several) and ``caption_choices`` (all of each picture).

    ``kind`` is "built-in", "folder" or "hub"; ``account``: what everything in the source was taken for; ``held_out`` the rows that the
    source itself keeps out of training (None: it says nothing); ``fingerprint`` changes when the source does; ``image_column``, ``caption_column`` and ``label_column``: where they come from, and
    where a new caption or label belongs.
    """

    def __init__(
        self,
        config: TrainConfig,
        kind: str,
        fingerprint: str,
        license: str,
        names: list[str],
        place: Callable[[int], Place | None],
        labels: columns.Labels,
        captions: columns.Captions,
        image_column: str = columns.IMAGE_NAME,
        account: Account | None = None,
        held_out: list[int] | None = None,
    ):
        self.kind, self.name, self.fingerprint, self.license = kind, config.dataset_name, fingerprint, license
        self.names, self.labels, self.label_names = names, labels.numbers, labels.names
        self.caption_choices = captions.choices
        choices = captions.choices
        self.captions = None if choices is None else ["".join(texts[:1]) for texts in choices]
        self.image_column, self.label_column, self.caption_column = image_column, labels.column, captions.column
        self.account = account or Account()
        self._account_for_columns(labels.origin)
        self.held_out = held_out
        self.ground = config.background
        self._place = place

    def _account_for_columns(self, origin: str) -> None:
        """Add what the pictures' labels and captions are."""
        account = self.account
        if not account["pictures"] and not account["pictures_in_shards"]:
            account.add("rows", len(self))
        if self.labels is not None and self.label_names is not None:
            counts = collections.Counter(self.label_names[label] for label in self.labels if label >= 0)
            account.add("labels", len(self.label_names), column=origin, most=_most_common(counts))
            account.add("label_gaps", [name for name, label in zip(self.names, self.labels, strict=True) if label < 0])
        if self.caption_choices is not None:
            gaps = [name for name, texts in zip(self.names, self.caption_choices, strict=True) if not texts]
            account.add("captions", len(self) - len(gaps), column=self.caption_column)
            account.add("caption_gaps", gaps)
            several = [len(texts) for texts in self.caption_choices if len(texts) > 1]
            account.add("several_captions", len(several), most=max(several, default=0))

    def __len__(self) -> int:
        return len(self.names)

    def file(self, i: int) -> str | bytes:
        """The path or the bytes of picture ``i``. Raises decode.UnusableImage."""
        place = self._place(i)
        if place is None:
            raise decode.UnusableImage("missing")
        return read_piece(place) if isinstance(place, Piece) else place

    @functools.cached_property
    def grey(self) -> decode.Range | None:
        """The range of pictures with more than 8 bits, by some of them spread over the set; None where there are none."""
        if self.kind == "built-in":  # the first page needn't wait for what is known
            return None
        deep = [i for i in self._spread(SIZES_READ) if self._is_deep(i)]
        step = max(1, len(deep) // RANGES_READ)
        return decode.range_of(self.file(i) for i in deep[::step])

    def _is_deep(self, i: int) -> bool:
        try:
            return decode.is_deep(self.file(i))
        except decode.UnusableImage:
            return False

    def _spread(self, count: int) -> list[int]:
        """At most ``count`` rows spread evenly."""
        step = max(1, -(-len(self) // count))
        return list(range(0, len(self), step))

    def picture(self, i: int, draft: int | None = None) -> Image.Image:
        """Picture ``i`` in RGB, upright, in full size. Raises Problem("picture_unfit") with the name."""
        try:
            return self.marked_picture(i, draft)[0]
        except decode.UnusableImage as error:
            raise Problem("picture_unfit", name=self.names[i], reason=error.reason) from error

    def marked_picture(self, i: int, draft: int | None = None) -> tuple[Image.Image, frozenset[str]]:
        """Picture ``i``, and the decode.MARKS that apply. Raises decode.UnusableImage."""
        return decode.read_marked(self.file(i), draft, self.ground, self.grey)

    def thumbnail(self, i: int, side: int) -> Image.Image:
        """Picture ``i`` shrunk to fit a square of ``side`` pixels. Raises as ``picture``."""
        small = self.picture(i, draft=side)
        small.thumbnail((side, side))
        return small

    def sizes(self) -> list[tuple[int, int]]:
        """(width, height) of at most SIZES_READ pictures spread over the set, from their headers; those that can't be used are passed over."""
        sizes = []
        for i in self._spread(SIZES_READ):
            try:
                sizes.append(decode.size(self.file(i)))
            except decode.UnusableImage:
                continue
        return sizes


def _most_common(counts: collections.Counter[str]) -> str:
    """The labels of most pictures with their counts."""
    listed = ", ".join(f"{name} {count}" for name, count in counts.most_common(EXAMPLES))
    return listed + (", …" if len(counts) > EXAMPLES else "")


def originals(config: TrainConfig, progress: Progress | None = None, cancelled: Cancelled | None = None) -> ImageSource:
    """Open ``config.dataset_name``. ``progress("download", bytes, None)`` is called while a download runs,
    ``progress("draw", done, count)`` while specimens are drawn.

    Raises Problem in plain words for whatever stands in the way, and Stopped when ``cancelled()`` turned true.
    """
    name = config.dataset_name
    path = os.path.abspath(os.path.expanduser(name))
    if name == BUILT_IN:
        stat = BUILT_IN_FILE.stat()
        return _open(
            config,
            "built-in",
            _parquet(BUILT_IN_FILE),
            cache.key_of(stat.st_size, stat.st_mtime_ns),
            None,
            progress,
            cancelled,
        )
    if name == BUILT_IN_256:
        return _open(config, "built-in", *_draw_specimens(256, progress, cancelled), None, progress, cancelled)
    if os.path.isdir(path):
        return _open_folder(config, path, progress, cancelled)
    if os.path.isfile(path):
        return _open_folder(config, _unpacked(config, path), progress, cancelled)
    if name.startswith((".", "~", "/")) or name.endswith("/") or "\\" in name or name.count("/") > 1:
        raise Problem("folder_missing", "dataset_name", value=name)
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise Problem("dataset_not_found", "dataset_name", value=name) from error
    return _open(
        config, "hub", Spec(path=name, split=config.split, subset=config.subset), None, None, progress, cancelled
    )


def _unpacked(config: TrainConfig, path: str) -> str:
    """The folder of what a zip holds, unpacked once. Raises Problem: "dataset_is_file" for another file, "zip_*", "upload_*"."""
    if not zipfile.is_zipfile(path):
        raise Problem("dataset_is_file", "dataset_name", value=config.dataset_name)
    stat = os.stat(path)
    home = cache.cache_folder() / "unpacked" / cache.key_of(path, stat.st_size, stat.st_mtime_ns)

    def build() -> dict[str, Any]:
        return {"folder": upload.import_upload([path], home).name, "what": config.dataset_name}

    return str(home / cache.make(home, build)["folder"])


def _parquet(file: pathlib.Path) -> Spec:
    return Spec(path="parquet", split="train", data_files={"train": glob.escape(str(file))})


def _draw_specimens(size: int, progress: Progress | None, cancelled: Cancelled | None) -> tuple[Spec, str]:
    """The built-in specimens at ``size`` px, drawn once: what `datasets` should open, and its fingerprint. Raises Stopped."""
    home = cache.cache_folder() / "drawn" / cache.key_of(size, collection.COUNT)

    def report(done: int, count: int) -> None:
        if cancelled and cancelled():
            raise Stopped
        if progress:
            progress("draw", done, count)

    def build() -> dict:
        collection.write_parquet(home / "drawn.parquet", size, report)
        return {"what": f"{collection.COUNT} specimens at {size} px"}

    cache.make(home, build, cancelled)
    file = home / "drawn.parquet"
    return _parquet(file), cache.key_of(size, file.stat().st_mtime_ns)


def _open_folder(config: TrainConfig, path: str, progress: Progress | None, cancelled: Cancelled | None) -> ImageSource:
    """A folder by our own walk; one of tables alone by `datasets`. Raises Problem and Stopped."""
    files, account = folder.walk(path, cancelled)
    split = _split_name(config.split)
    fingerprint = cache.key_of(path, files, split, FOLDER_VERSION)
    home = cache.cache_folder() / "sources" / fingerprint

    def build() -> dict[str, Any]:
        write_atomic(home / "rows.json", json.dumps(folder.read(path, files, account, split, cancelled).to_json()))
        return {"what": config.dataset_name}

    cache.make(home, build, cancelled)
    rows = FolderRows.from_json(read_json(home / "rows.json"))
    if not rows.names:
        tables = folder.parquet_files(files)
        if not tables:
            raise _no_pictures(config, rows.account)
        data_files = {
            _split_name(config.split): [os.path.join(glob.escape(path), glob.escape(name)) for name in tables]
        }
        spec = Spec(path=tables[0].rpartition(".")[2].lower(), split=config.split, data_files=data_files)
        rows.account.add("tables", tables)
        return _open(config, "folder", spec, fingerprint, rows.account, progress, cancelled)
    if "[" in config.split or "+" in config.split:
        rows = rows.take(_sliced(config.split, len(rows.names)))
    labels = columns.folder_labels(rows, config.label_column)
    captions = columns.folder_captions(rows, config.caption_column)
    rows.account.add("lone_columns", [name for name in rows.columns if name not in (labels.origin, captions.column)])
    return ImageSource(
        config, "folder", fingerprint, "", rows.names, rows.places.__getitem__, labels, captions, account=rows.account
    )


def _split_name(split: str) -> str:
    """The name in "train[:10%]"."""
    return re.split(r"[^\w.-]", split, maxsplit=1)[0]


def _sliced(split: str, count: int) -> list[int]:
    """The rows of a slice such as "train[:10%]", as `datasets` counts them. Raises Problem("split_slice")."""
    try:
        parts = datasets.ReadInstruction.from_spec(split).to_absolute({_split_name(split): count})
    except (ValueError, AssertionError, KeyError) as error:
        raise Problem("split_slice", "split", value=split) from error
    return [i for part in parts for i in range(part.from_ or 0, count if part.to is None else part.to)]


def _no_pictures(config: TrainConfig, account: Account) -> Problem:
    """What lies in a folder instead of pictures, and what to do with it."""
    lines = [line for line in account if line.code in NOT_USED]
    if not lines:
        return Problem("no_pictures", "dataset_name", value=config.dataset_name)
    notices = [line.notice for line in lines]
    return Problem("no_pictures_but", "dataset_name", value=config.dataset_name, lines=notices)


def _open(
    config: TrainConfig,
    kind: str,
    spec: Spec,
    fingerprint: str | None,
    account: Account | None,
    progress: Progress | None,
    cancelled: Cancelled | None,
) -> ImageSource:
    """Let `datasets` prepare ``spec`` (once per fingerprint where there is one) and map the rows."""
    prepared: Prepared | dict[str, Any]
    if fingerprint is None:
        prepared = _run(config, spec, progress, cancelled)
        fingerprint = cache.key_of(prepared["files"])
    else:
        fingerprint = cache.key_of(spec, fingerprint)
        home = cache.cache_folder() / "sources" / fingerprint
        spec["cache_dir"] = str(home)

        def build() -> dict[str, Any]:  # the built-in file is prepared faster than a process starts
            result = prepare.prepare(**spec) if kind == "built-in" else _run(config, spec, progress, cancelled)
            return {**result, "what": config.dataset_name}

        prepared = cache.make(home, build, cancelled)
    parts = [
        datasets.Dataset.from_file(file).select(range(first, first + count))
        for file, first, count in prepared["files"]
        if count
    ]
    if not parts:
        raise Problem("no_pictures", "dataset_name", value=config.dataset_name)
    return _of_table(
        config, datasets.concatenate_datasets(parts), kind, fingerprint, prepared["license"], account or Account()
    )


def _of_table(
    config: TrainConfig, rows: datasets.Dataset, kind: str, fingerprint: str, license: str, account: Account
) -> ImageSource:
    """The source of the pictures in ``rows``."""
    column = columns.image_column(rows.features, config.image_column)
    pictures = rows.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    chunks = pictures.data[column].chunks  # one field of them is read: the other holds all the bytes
    paths = [path or "" for chunk in chunks for path in chunk.field("path").to_pylist()]
    names = [os.path.basename(path) or str(i) for i, path in enumerate(paths)]

    def place(i: int) -> str | bytes | None:
        cell = pictures[i][column] or {}
        if cell.get("bytes") is not None:
            return cell["bytes"]
        return cell.get("path") if kind != "folder" else _inside(config.dataset_name, cell.get("path"))

    labels = columns.table_labels(rows, config.label_column)
    captions = columns.table_captions(rows, config.caption_column, names)
    unread = [name for name in rows.features if name not in (column, labels.column, captions.column, "split")]
    account.add("lone_columns", unread)
    held_out = [i for i, part in enumerate(rows["split"][:]) if part != "train"] if kind == "built-in" else None
    return ImageSource(config, kind, fingerprint, license, names, place, labels, captions, column, account, held_out)


def _inside(root: str, path: str | None) -> str | None:
    """The file that a table in the folder ``root`` names, None where it lies elsewhere: a stranger's table may name any file here."""
    if not path:
        return None
    real_root = os.path.realpath(os.path.expanduser(root))
    real = os.path.realpath(os.path.join(real_root, path))
    return real if os.path.commonpath([real, real_root]) == real_root else None


def _run(config: TrainConfig, spec: Spec, progress: Progress | None, cancelled: Cancelled | None) -> Prepared:
    """``prepare.prepare(**spec)`` in a process of its own, ended as soon as ``cancelled()``. Raises Stopped and Problem."""
    package_root = str(pathlib.Path(__file__).parents[2])
    search = os.pathsep.join(filter(None, (package_root, os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", prepare.__name__, json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": search},
        )
        try:
            while child.poll() is None:
                if cancelled and cancelled():
                    raise Stopped
                if progress:
                    progress("download", _downloaded_bytes(spec), None)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(POLL_SECONDS)
        finally:
            child.kill()  # the caches of `datasets` and the Hub survive it: they rename whole files into place
            child.communicate()  # closes its stdin too
        out.seek(0)
        lines = out.read().decode().splitlines()
    if not lines:
        raise Problem("prepare_died", "dataset_name", value=config.dataset_name, status=child.returncode)
    answer = json.loads(lines[-1])
    if "problem" in answer:
        code, field, values = answer["problem"]
        raise Problem(code, field, **{"value": config.dataset_name, **values})
    return answer


def _downloaded_bytes(spec: Spec) -> int:
    """Bytes that lie so far where the Hub's client puts this data set."""
    blobs = pathlib.Path(constants.HF_HUB_CACHE) / f"datasets--{spec['path'].replace('/', '--')}" / "blobs"
    total = 0
    for file in blobs.glob("*"):
        with contextlib.suppress(OSError):  # an unfinished file is renamed at any moment
            total += file.stat().st_size
    return total
