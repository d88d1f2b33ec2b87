"""Open any source of pictures through `datasets`: the built-in specimens, a Hub id, or a folder. No torch.

Rows stay on disk (arrow, memory-mapped); ``picture`` decodes one of them. Labels and captions are plain lists.
"""

import contextlib
import glob
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import datasets
from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder
from huggingface_hub import constants
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from PIL import Image

from ddpm_app.config import BUILT_IN, BUILT_IN_256, TrainConfig
from ddpm_app.data import cache, columns, decode, prepare
from ddpm_app.data.prepare import Prepared, Spec
from ddpm_app.errors import Problem, Stopped
from ddpm_app.i18n import ASSETS
from ddpm_app.specimens import collection

Progress = Callable[[str, int, int | None], None]
Cancelled = Callable[[], bool]

BUILT_IN_FILE = ASSETS / "butterflies.parquet"
SPLIT_NAMES = {"train", "training", "test", "testing", "eval", "evaluation", "validation", "valid", "val", "dev"}
POLL_SECONDS = 0.1
SIZES_READ = 2000
"""Pictures whose header is read for the size histogram; opening more than that would take too long for a page."""


class ImageSource:
    """The pictures as they came: ``len``, ``picture(i)``, and per row ``names``, ``labels`` (None or ints, -1 where there is
    none) with ``label_names``, ``captions`` (None or strings).

    ``kind`` is "built-in", "folder" or "hub"; ``rejected``: (name, reason) of pictures that are certain not to be used;
    ``held_out`` the rows that the source itself keeps out of training (None: it says nothing);
    ``fingerprint`` changes when the source does; ``caption_column`` and ``label_column``: where a new caption or label belongs.
    """

    def __init__(
        self,
        config: TrainConfig,
        rows: datasets.Dataset,
        kind: str,
        fingerprint: str,
        root: str | None,
        license: str,
    ):
        self.kind, self.name, self.fingerprint, self.license = kind, config.dataset_name, fingerprint, license
        self.image_column = columns.image_column(rows.features, config.image_column)
        self.labels, self.label_names = columns.labels(rows, config.label_column)
        self.captions = columns.captions(rows, config.caption_column)
        usual = next((name for name in columns.CAPTION_NAMES if name in rows.features), columns.CAPTION_NAMES[0])
        self.caption_column, self.label_column = (
            config.caption_column or usual,
            config.label_column or columns.LABEL_NAME,
        )
        self.held_out = (
            [i for i, part in enumerate(rows["split"][:]) if part != "train"] if kind == "built-in" else None
        )
        self.rejected: list[tuple[str, str]] = []
        self._rows = rows.select_columns([self.image_column]).cast_column(
            self.image_column, datasets.Image(decode=False)
        )
        chunks = self._rows.data[self.image_column].chunks  # one field of them is read: the other holds all the bytes
        paths = [path or "" for chunk in chunks for path in chunk.field("path").to_pylist()]
        names = [_relative(path, root) if root and path else os.path.basename(path) for path in paths]
        self.names = [name or str(i) for i, name in enumerate(names)]

    def __len__(self) -> int:
        return len(self._rows)

    def file(self, i: int) -> str | bytes:
        """The path or the bytes of picture ``i``. Raises decode.UnusableImage."""
        cell = self._rows[i][self.image_column] or {}
        if cell.get("bytes") is not None:
            return cell["bytes"]
        if not cell.get("path"):
            raise decode.UnusableImage("missing")
        return cell["path"]

    def picture(self, i: int, draft: int | None = None) -> Image.Image:
        """Picture ``i`` in RGB, upright, in full size. Raises Problem("picture_unfit") with the name."""
        try:
            return decode.read(self.file(i), draft)
        except decode.UnusableImage as error:
            raise Problem("picture_unfit", name=self.names[i], reason=error.reason) from error

    def thumbnail(self, i: int, side: int) -> Image.Image:
        """Picture ``i`` shrunk to fit a square of ``side`` pixels. Raises as ``picture``."""
        small = self.picture(i, draft=side)
        small.thumbnail((side, side))
        return small

    def sizes(self) -> list[tuple[int, int]]:
        """(width, height) of the first pictures, at most SIZES_READ, from their headers; those that can't be used are passed over."""
        sizes = []
        for i in range(min(len(self), SIZES_READ)):
            try:
                sizes.append(decode.size(self.file(i)))
            except decode.UnusableImage:
                continue
        return sizes


def originals(config: TrainConfig, progress: Progress | None = None, cancelled: Cancelled | None = None) -> ImageSource:
    """Open ``config.dataset_name``. ``progress("download", bytes, None)`` is called while a download runs,
    ``progress("draw", done, count)`` while specimens are drawn.

    Raises Problem in plain words for whatever stands in the way, and Stopped when ``cancelled()`` turned true.
    """
    name = config.dataset_name
    folder = os.path.abspath(os.path.expanduser(name))
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
    if os.path.isdir(folder):
        return _open_folder(config, folder, progress, cancelled)
    if os.path.isfile(folder):
        raise Problem("dataset_is_file", "dataset_name", value=name)
    if name.startswith((".", "~", "/")) or name.endswith("/") or "\\" in name or name.count("/") > 1:
        raise Problem("folder_missing", "dataset_name", value=name)
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise Problem("dataset_not_found", "dataset_name", value=name) from error
    return _open(
        config, "hub", Spec(path=name, split=config.split, subset=config.subset), None, None, progress, cancelled
    )


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


def _open_folder(
    config: TrainConfig, folder: str, progress: Progress | None, cancelled: Cancelled | None
) -> ImageSource:
    extensions = tuple(ImageFolder.EXTENSIONS)
    split = re.split(r"[^\w.-]", config.split, maxsplit=1)[0]  # of "train[:10%]"
    files = _walk(folder)
    top = {name.partition("/")[0] for name, *_ in files if "/" in name}
    loose = any("/" not in name and name.lower().endswith(extensions) for name, *_ in files)
    # As in `datasets`, sub-folders named like splits are splits - but only if all are, so that no label gets lost.
    if top and top <= SPLIT_NAMES and not loose:
        if split not in top:
            raise Problem("split_missing", "split", value=split, there=", ".join(sorted(top)))
        folder = os.path.join(folder, split)
        files = _walk(folder)
    pictures = {name for name, *_ in files if name.lower().endswith(extensions)}
    tables = [name for name, *_ in files if name.endswith((".parquet", ".arrow"))]
    if not (pictures or tables):
        raise Problem("no_pictures", "dataset_name", value=config.dataset_name)
    spec = Spec(path=folder, split=config.split)
    if pictures:
        suffixes = {os.path.splitext(name)[1] for name, *_ in files}
        others = sorted(suffix for suffix in suffixes if suffix.lower() != ".zip")
        # All there is, as `datasets` takes it; but a zip among the pictures it would open without any limit.
        patterns = ["**"] if len(others) == len(suffixes) else [f"**/*{suffix}" for suffix in others]
        data_files = {split: [os.path.join(glob.escape(folder), pattern) for pattern in patterns]}
        spec = Spec(path="imagefolder", split=config.split, data_files=data_files)
    source = _open(config, "folder", spec, cache.key_of(folder, files), folder, progress, cancelled)
    if pictures:
        source.rejected = [(name, "unlisted") for name in sorted(pictures.difference(source.names))]
    return source


def _relative(path: str, folder: str) -> str:
    """The path below ``folder``, with "/" on every system, as in metadata files."""
    return os.path.relpath(path, folder).replace(os.sep, "/")


def _walk(folder: str) -> list[tuple[str, int, int]]:
    """(name, bytes, time of change) of each file; hidden ones and linked folders aside, as in `datasets`."""
    files = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        for name in names:
            path = os.path.join(root, name)
            with contextlib.suppress(OSError):  # a link to nowhere, or a file removed at this moment
                stat = os.stat(path)
                if not name.startswith((".", "__")):
                    files.append((_relative(path, folder), stat.st_size, stat.st_mtime_ns))
    return sorted(files)


def _open(
    config: TrainConfig,
    kind: str,
    spec: Spec,
    fingerprint: str | None,
    root: str | None,
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
    return ImageSource(config, datasets.concatenate_datasets(parts), kind, fingerprint, root, prepared["license"])


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
