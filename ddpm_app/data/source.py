"""Open any source of pictures through `datasets`: the built-in specimens, a Hub id, or a folder. No torch.

Rows stay on disk (arrow, memory-mapped); a picture is decoded when it is asked for. Labels and captions are plain lists.
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

from PIL import Image

from ddpm_app.config import BUILT_IN, TrainConfig
from ddpm_app.data import cache, decode, fetch
from ddpm_app.problems import Problem, Stopped
from ddpm_app.text import ASSETS

Progress = Callable[[str, int, int | None], None]
Cancelled = Callable[[], bool]

BUILT_IN_FILE = ASSETS / "butterflies.parquet"
CAPTION_NAMES = ("caption", "text", "prompt", "description")
SPLIT_NAMES = {"train", "training", "test", "testing", "eval", "evaluation", "validation", "valid", "val", "dev"}
POLL_SECONDS = 0.1
SIZES_READ = 2000
"""Pictures whose header is read for the size histogram; opening more than that would take too long for a page."""


class Source:
    """The pictures as they came: ``len``, ``picture(i)``, and per row ``names``, ``labels`` (None or ints, -1 where there is
    none) with ``label_names``, ``captions`` (None or strings).

    ``kind`` is "built-in", "folder" or "hub"; ``columns`` all column names; ``left_out`` (name, reason) of what is known to be
    unfit; ``held_out`` the rows that the source itself keeps out of training (None: it says nothing);
    ``fingerprint`` changes when the source does.
    """

    def __init__(self, config: TrainConfig, rows, kind: str, fingerprint: str, roots: tuple[str, ...], license: str):
        self.kind, self.name, self.fingerprint, self.license = kind, config.dataset_name, fingerprint, license
        self.columns = rows.column_names
        self.image_column = _image_column(rows.features, config.image_column)
        self.labels, self.label_names = _labels(rows, config.label_column)
        self.captions = _captions(rows, config.caption_column)
        self.held_out = [i for i, part in enumerate(rows["split"][:]) if part != "train"] if kind == "built-in" else None
        self.left_out: list[tuple[str, str]] = []
        self._roots = roots
        import datasets

        self._rows = rows.select_columns([self.image_column]).cast_column(self.image_column, datasets.Image(decode=False))
        self.names = self._names()

    def __len__(self) -> int:
        return len(self._rows)

    def _names(self) -> list[str]:
        paths = self._rows.data[self.image_column].combine_chunks().field("path").to_pylist()
        root = self._roots[0] + os.sep if self._roots else None
        inside = [path.removeprefix(root) if path and root else os.path.basename(path or "") for path in paths]
        return [name or str(i) for i, name in enumerate(inside)]

    def file(self, i: int) -> str | bytes:
        """The path or the bytes of picture ``i``. Raises decode.Unfit."""
        cell = self._rows[i][self.image_column] or {}
        if cell.get("bytes") is not None:
            return cell["bytes"]
        if not cell.get("path"):
            raise decode.Unfit("missing")
        path = os.path.normpath(cell["path"])
        # A metadata.jsonl can name any file of this machine; only those in the folder are meant.
        if self._roots and not any(path.startswith(root + os.sep) for root in self._roots):
            raise decode.Unfit("outside")
        return path

    def picture(self, i: int, draft: int | None = None) -> Image.Image:
        """Picture ``i`` in RGB, upright, in full size. Raises Problem("picture_unfit") with the name."""
        try:
            return decode.read(self.file(i), draft)
        except decode.Unfit as unfit:
            raise Problem("picture_unfit", name=self.names[i], reason=unfit.reason) from unfit

    def thumbnail(self, i: int, side: int) -> Image.Image:
        """Picture ``i`` shrunk to fit a square of ``side`` pixels. Raises as ``picture``."""
        small = self.picture(i, draft=side)
        small.thumbnail((side, side))
        return small

    def sizes(self) -> list[tuple[int, int]]:
        """(width, height) of the first pictures, at most SIZES_READ, from their headers; unfit ones are passed over."""
        found = []
        for i in range(min(len(self), SIZES_READ)):
            try:
                found.append(decode.size(self.file(i)))
            except decode.Unfit:
                continue
        return found


def originals(config: TrainConfig, progress: Progress | None = None, cancelled: Cancelled | None = None) -> Source:
    """Open ``config.dataset_name``. ``progress("download", bytes, None)`` is called while a download runs.

    Raises Problem in plain words for whatever stands in the way, and Stopped when ``cancelled()`` turned true.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    name = config.dataset_name
    folder = os.path.abspath(os.path.expanduser(name))
    if name == BUILT_IN:
        stat = BUILT_IN_FILE.stat()
        spec = dict(path="parquet", split="train", data_files={"train": glob.escape(str(BUILT_IN_FILE))})
        return _open(config, "built-in", spec, cache.key_of(stat.st_size, stat.st_mtime_ns), (), progress, cancelled)
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
    return _open(config, "hub", dict(path=name, split=config.split), None, (), progress, cancelled)


def _open_folder(config: TrainConfig, folder: str, progress: Progress | None, cancelled: Cancelled | None) -> Source:
    from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder

    split = re.match(r"[\w.-]*", config.split)[0]
    inside = [e for e in os.scandir(folder) if not e.name.startswith((".", "__"))]
    folders = {e.name for e in inside if e.is_dir()}
    # As in `datasets`, sub-folders named like splits are splits - but only if all are, so that no label gets lost.
    if folders and folders <= SPLIT_NAMES and not any(e.name.lower().endswith(tuple(ImageFolder.EXTENSIONS)) for e in inside):
        if split not in folders:
            raise Problem("split_missing", "split", value=split, there=", ".join(sorted(folders)))
        folder = os.path.join(folder, split)
    files = _walk(folder)
    pictures = {name for name, *_ in files if name.lower().endswith(tuple(ImageFolder.EXTENSIONS))}
    tables = [name for name, *_ in files if name.endswith((".parquet", ".arrow"))]
    if not files or not (pictures or tables or any(name.endswith((".zip", ".jsonl")) for name, *_ in files)):
        raise Problem("no_pictures", "dataset_name", value=config.dataset_name)
    spec = dict(path=folder, split=config.split)
    if pictures or not tables:
        spec = dict(path="imagefolder", split=config.split, data_files={split: [os.path.join(glob.escape(folder), "**")]})
    source = _open(config, "folder", spec, cache.key_of(folder, files), (folder,), progress, cancelled)
    if pictures:
        source.left_out = [(name, "unlisted") for name in sorted(pictures.difference(source.names))]
    return source


def _walk(folder: str) -> list[tuple[str, int, int]]:
    """(name, bytes, time of change) of each file, hidden ones aside as in `datasets`."""
    found = []
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__")))
        for name in names:
            path = os.path.join(root, name)
            if not name.startswith((".", "__")) and os.path.exists(path):
                stat = os.stat(path)
                found.append((os.path.relpath(path, folder), stat.st_size, stat.st_mtime_ns))
    return sorted(found)


def _open(config, kind: str, spec: dict, fingerprint: str | None, roots: tuple[str, ...], progress, cancelled) -> Source:
    """Let `datasets` prepare ``spec`` (once per fingerprint where there is one) and map the rows."""
    import datasets

    if fingerprint is None:
        answer = _run(config, spec, progress, cancelled)
        fingerprint = cache.key_of(answer["files"])
    else:
        fingerprint = cache.key_of(spec, fingerprint)
        home = cache.cache_folder() / "sources" / fingerprint
        roots = (*roots, str(home)) if roots else ()  # a zip inside a folder is unpacked there
        spec["cache_dir"] = str(home)
        answer = cache.make(home, lambda: _run(config, spec, progress, cancelled) | {"what": config.dataset_name}, cancelled)
    parts = [datasets.Dataset.from_file(file).select(range(first, first + count)) for file, first, count in answer["files"] if count]
    if not parts:
        raise Problem("no_pictures", "dataset_name", value=config.dataset_name)
    return Source(config, datasets.concatenate_datasets(parts), kind, fingerprint, roots, answer["license"])


def _run(config: TrainConfig, spec: dict, progress: Progress | None, cancelled: Cancelled | None) -> dict:
    """``fetch.prepare(**spec)`` in a process of its own, ended as soon as ``cancelled()``. Raises Stopped and Problem."""
    package_root = str(pathlib.Path(__file__).parents[2])
    search = os.pathsep.join(filter(None, (package_root, os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", fetch.__name__, json.dumps(spec)], stdin=subprocess.PIPE, stdout=out, stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": search},
        )
        try:
            while child.poll() is None:
                if cancelled and cancelled():
                    raise Stopped
                if progress:
                    progress("download", _downloaded(spec), None)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(POLL_SECONDS)
        finally:
            child.kill()  # the caches of `datasets` and the Hub survive it: they rename whole files into place
            child.wait()
            child.stdin.close()
        out.seek(0)
        lines = out.read().decode().splitlines()
    if not lines:
        raise Problem("dataset_unreadable", "dataset_name", value=config.dataset_name, reason=f"exit code {child.returncode}")
    answer = json.loads(lines[-1])
    if "problem" in answer:
        code, field, values = answer["problem"]
        raise Problem(code, field, **{"value": config.dataset_name, **values})
    return answer


def _downloaded(spec: dict) -> int:
    """Bytes that lie so far where the Hub's client puts this data set."""
    from huggingface_hub.constants import HF_HUB_CACHE

    blobs = pathlib.Path(HF_HUB_CACHE) / f"datasets--{spec['path'].replace('/', '--')}" / "blobs"
    total = 0
    for file in blobs.glob("*"):
        with contextlib.suppress(OSError):  # an unfinished file is renamed at any moment
            total += file.stat().st_size
    return total


def _fitting(features, asked: str | None, field: str, fits: Callable) -> str | None:
    """The column the setting ``field`` asks for, or None when it asks for none. Raises Problem."""
    if asked is None:
        return None
    if asked not in features:
        raise Problem("column_missing", field, value=asked, columns=", ".join(features))
    if not fits(features[asked]):
        raise Problem("column_type", field, value=asked, type=str(features[asked]))
    return asked


def _image_column(features, asked: str | None) -> str:
    import datasets

    def is_image(feature) -> bool:
        return isinstance(feature, datasets.Image)

    found = [name for name in features if is_image(features[name])]
    if asked is None and not found:
        raise Problem("no_image_column", "image_column", columns=", ".join(features))
    return _fitting(features, asked, "image_column", is_image) or ("image" if "image" in found else found[0])


def _labels(rows, asked: str | None) -> tuple[list[int] | None, tuple[str, ...] | None]:
    """Labels by a ClassLabel column; a column asked for may also hold whole numbers, strings or booleans."""
    import datasets

    features = rows.features

    def is_label(feature) -> bool:
        plain = isinstance(feature, datasets.Value) and feature.dtype.startswith(("int", "uint", "bool", "string", "large_string"))
        return plain or isinstance(feature, datasets.ClassLabel)

    named = next((name for name in features if isinstance(features[name], datasets.ClassLabel)), None)
    column = _fitting(features, asked, "label_column", is_label) or named
    if column is None:
        return None, None
    values = rows[column][:]
    if isinstance(features[column], datasets.ClassLabel):
        return [-1 if value is None else value for value in values], tuple(features[column].names)
    names = sorted(set(values) - {None})
    number = {value: i for i, value in enumerate(names)}
    return [number.get(value, -1) for value in values], tuple(str(name) for name in names)


def _captions(rows, asked: str | None) -> list[str] | None:
    import datasets

    def is_text(feature) -> bool:
        return isinstance(feature, datasets.Value) and feature.dtype in ("string", "large_string")

    usual = next((name for name in CAPTION_NAMES if name in rows.features and is_text(rows.features[name])), None)
    column = _fitting(rows.features, asked, "caption_column", is_text) or usual
    return None if column is None else [value or "" for value in rows[column][:]]
