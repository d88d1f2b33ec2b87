"""Open any source of pictures: the built-in specimens, a folder, a zip, a table, or a Hub id. No torch."""

import contextlib
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

from ddpm_app.config import BUILT_IN, BUILT_IN_256, TrainConfig
from ddpm_app.data import cache, columns, folder, prepare, upload
from ddpm_app.data.account import NOT_USED, Account
from ddpm_app.data.image_source import ImageSource
from ddpm_app.data.prepare import Prepared, Spec
from ddpm_app.data.rows import FolderRows
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
