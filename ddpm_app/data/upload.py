"""Pictures or zips from a browser -> a folder of pictures, within limits. No torch, no datasets.

A stranger sends these files: every limit is checked on what is really read, and on failure nothing stays behind.
"""

import collections
import contextlib
import csv
import hashlib
import io
import json
import math
import os
import pathlib
import posixpath
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any

from ddpm_app.data import cache, decode
from ddpm_app.errors import Problem
from ddpm_app.files import write_atomic

MAX_ENTRIES = 20_000
"""Entries of all zips together, folders and other files included: enough for a class project, listed in a second."""

MAX_BYTES = 2 * 1024**3
"""Bytes of all files together, counted while they are unpacked (what a zip says of itself may be a lie)."""

MAX_PIXELS = 20_000_000_000
"""Pixels of all pictures together, from their headers: about ten minutes of decoding on one core. A single picture is
held to decode.MAX_PIXELS."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
METADATA = ("metadata.jsonl", "metadata.csv")
FILE = "file_name"
"""The column of metadata that names the picture."""
CHUNK = 1 << 20
BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The only ways of packing that are unpacked in bounded memory."""


def import_upload(paths: Iterable[str | os.PathLike], into: str | os.PathLike, share: float = 1) -> pathlib.Path:
    """Copy pictures and unpack zips into a new folder inside ``into``; returns it: a ``dataset_name``.

    Folders inside a zip are kept (they become labels), and so is metadata.jsonl. Other files are passed over. The folder is
    named after its contents, so that the same upload is kept once. A damaged picture is kept too: loading names it.
    ``share``: how much of the limits the upload may use, 0 to 1.
    Raises Problem "upload_*" or "zip_*" with the file's name.
    """
    into = pathlib.Path(into)
    with cache.write_errors(into):
        into.mkdir(parents=True, exist_ok=True)
        part = pathlib.Path(tempfile.mkdtemp(prefix=".part-", dir=into))
        try:
            folder = into / f"upload-{_copy_all([pathlib.Path(path) for path in paths], _Copy(part, share))}"
            if not folder.exists():
                os.replace(part, folder)
            os.utime(folder)  # sent again, it is among the newest
            return folder
        finally:
            shutil.rmtree(part, ignore_errors=True)


def keep_newest(uploads: pathlib.Path, count: int, most_bytes: float = math.inf) -> int:
    """Remove what lies in ``uploads`` (one folder for each visitor) beyond the newest ``count`` of a visitor and the newest
    ``most_bytes`` in all; returns the bytes freed."""
    counts: collections.Counter[pathlib.Path] = collections.Counter()
    total = freed = 0
    for folder in sorted(uploads.glob("*/upload-*"), key=lambda path: path.stat().st_mtime, reverse=True):
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        if counts[folder.parent] < count and total + size <= most_bytes:
            counts[folder.parent] += 1
            total += size
        else:
            shutil.rmtree(folder, ignore_errors=True)
            freed += size
    return freed


def annotate(root: pathlib.Path, pictures: list[tuple[str, str, str]], name: str, texts: dict[str, str]) -> None:
    """Write ``texts`` (by column) of the picture ``name`` into ``root``/metadata.jsonl, where `datasets` looks for them.

    ``pictures``: (name, caption, label) of all that are loaded, with names below ``root``: the rows where there is no metadata yet, since
    beside a metadata file the sub-folders count as labels no longer. What metadata there is, be it CSV or in sub-folders, is kept in the
    one file; a column without any text is left out. Raises Problem: "upload_row", "upload_metadata", "cache_unwritable".
    """
    files = sorted(file for file in root.rglob("metadata.*") if file.name in METADATA)
    rows = [row for file in files for row in _metadata(file, root)]
    if not files:
        rows = [{FILE: picture, "caption": caption, "label": label} for picture, caption, label in pictures]
    changed = next((row for row in rows if row[FILE] == name), None)
    if changed is None:
        raise Problem("upload_row", name=name)
    for column in texts if files else {"caption", "label", *texts}:
        # texts everywhere: else `datasets` would guess the types anew
        for row in rows:
            row[column] = "" if row.get(column) is None else str(row[column])
        changed[column] = texts.get(column, changed[column])
        if not any(row[column] for row in rows):
            for row in rows:
                del row[column]
    with cache.write_errors(root):
        for file in files:
            if file != root / METADATA[0]:  # out of sight first: two kinds of metadata can't be loaded
                os.replace(file, file.with_name(f".{file.name}"))
        write_atomic(root / METADATA[0], "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _metadata(file: pathlib.Path, root: pathlib.Path) -> list[dict[str, Any]]:
    """The rows of a metadata file, with the pictures' names below ``root``. Raises Problem("upload_metadata")."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix == ".csv":
            rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(text, newline="")))
        else:
            rows = [json.loads(line) for line in text.split("\n") if line.strip()]
        inside = file.parent.relative_to(root)
        return [row | {FILE: posixpath.normpath((inside / row[FILE]).as_posix())} for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise Problem("upload_metadata", name=file.relative_to(root).as_posix()) from error


def _copy_all(paths: list[pathlib.Path], copy: "_Copy") -> str:
    """Copy everything; returns a hash of names and contents."""
    for path in paths:
        if path.suffix.lower() == ".zip":
            inside = "" if len(paths) == 1 else f"{path.stem}/"  # cats.zip and dogs.zip become two labels
            try:
                with zipfile.ZipFile(path) as archive:
                    copy.count(len(archive.infolist()))
                    _check(archive, path.name)
                    for name, entry in _usable_entries(archive):
                        with archive.open(entry) as file:
                            copy.add(inside + name, file)
            except (zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error) as error:
                raise Problem("zip_broken", name=path.name) from error
        elif _is_usable(path.name):
            copy.count(1)
            with open(path, "rb") as file:
                copy.add(path.name, file)
        else:
            raise Problem("upload_kind", name=path.name, suffixes=" ".join(SUFFIXES))
    if not copy.pictures:
        raise Problem("upload_empty", suffixes=" ".join(SUFFIXES))
    return copy.digest.hexdigest()


class _Copy:
    """Files written below ``part`` so far, held to the limits."""

    def __init__(self, part: pathlib.Path, share: float):
        self.part = part
        self.most_entries, self.most_bytes, self.most_pixels = (
            int(most * share) for most in (MAX_ENTRIES, MAX_BYTES, MAX_PIXELS)
        )
        self.numbers: collections.Counter[pathlib.Path] = collections.Counter()
        self.entries, self.bytes, self.pixels, self.pictures = 0, 0, 0, 0
        self.digest = hashlib.blake2b(digest_size=8)

    def count(self, entries: int) -> None:
        self.entries += entries
        if self.entries > self.most_entries:
            raise Problem("upload_entries", limit=self.most_entries)

    def add(self, name: str, file: IO[bytes]) -> None:
        target = self._free(self.part / name)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.digest.update(f"{name}\0".encode())
        with open(target, "wb") as out:
            while chunk := file.read(CHUNK):
                self.bytes += len(chunk)
                if self.bytes > self.most_bytes:
                    raise Problem("upload_bytes", name=name, limit=self.most_bytes >> 20)
                self.digest.update(chunk)
                out.write(chunk)
        if target.name in METADATA:
            return
        self.pictures += 1
        with contextlib.suppress(decode.UnusableImage):
            width, height = decode.size(str(target))
            self.pixels += width * height
        if self.pixels > self.most_pixels:
            raise Problem("upload_pixels", name=name, limit=self.most_pixels // 1_000_000)

    def _free(self, target: pathlib.Path) -> pathlib.Path:
        """``target``, or with a number where two files of one upload have the same name."""
        free = target
        while free.exists():
            self.numbers[target] += 1
            free = target.with_stem(f"{target.stem}-{self.numbers[target] + 1}")
        return free


def _check(archive: zipfile.ZipFile, name: str) -> None:
    """Refuse a zip that no honest program makes, before anything of it is written. Raises Problem "zip_*" with its ``name``."""
    for entry in archive.infolist():
        parts = _parts(entry)
        if ".." in parts or parts[0] == "" or ":" in parts[0]:
            raise Problem("zip_escape", name=name, entry=entry.filename)
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise Problem("zip_link", name=name, entry=entry.filename)
        if entry.flag_bits & 1:
            raise Problem("zip_encrypted", name=name)
        if entry.compress_type not in BOUNDED:
            raise Problem("zip_broken", name=name)


def _parts(entry: zipfile.ZipInfo) -> list[str]:
    return entry.filename.replace("\\", "/").split("/")  # some Windows programs write backslashes


def _usable_entries(archive: zipfile.ZipFile) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    for entry in archive.infolist():
        parts = _parts(entry)
        if _is_usable(parts[-1]) and not any(part.startswith((".", "__")) for part in parts):  # __MACOSX and the like
            yield "/".join(parts), entry


def _is_usable(name: str) -> bool:
    return name in METADATA or name.lower().endswith(SUFFIXES)
