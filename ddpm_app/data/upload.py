"""Pictures or zips from a browser -> a folder of pictures, within limits. No torch, no datasets.

A stranger sends these files: every limit is checked on what is really read, and on failure nothing stays behind.
"""

import contextlib
import hashlib
import os
import pathlib
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import IO

from ddpm_app.data import cache, decode
from ddpm_app.problems import Problem

MAX_ENTRIES = 20_000
"""Entries of all zips together, folders and other files included: enough for a class project, listed in a second."""

MAX_BYTES = 2 * 1024**3
"""Bytes of all files together, counted while they are unpacked (what a zip says of itself may be a lie)."""

MAX_PIXELS = 20_000_000_000
"""Pixels of all pictures together, from their headers: about ten minutes of decoding on one core. A single picture is
held to decode.MAX_PIXELS."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
METADATA = ("metadata.jsonl", "metadata.csv")
CHUNK = 1 << 20


def import_upload(paths: Iterable[str | os.PathLike], into: str | os.PathLike) -> pathlib.Path:
    """Copy pictures and unpack zips into a new folder inside ``into``; returns it: a ``dataset_name``.

    Folders inside a zip are kept (they become labels), and so is metadata.jsonl. Other files are passed over. The folder is
    named after its contents, so that the same upload is kept once. A damaged picture is kept too: loading names it.
    Raises Problem "upload_*" or "zip_*" with the file's name.
    """
    into = pathlib.Path(into)
    with cache.writing(into):
        into.mkdir(parents=True, exist_ok=True)
        part = pathlib.Path(tempfile.mkdtemp(prefix=".part-", dir=into))
        try:
            folder = into / f"upload-{_copy_all([pathlib.Path(path) for path in paths], part)}"
            if not folder.exists():
                os.replace(part, folder)
            return folder
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _copy_all(paths: list[pathlib.Path], part: pathlib.Path) -> str:
    """Copy everything into ``part``; returns a hash of names and contents."""
    copy = _Copy(part)
    for path in paths:
        if path.suffix.lower() == ".zip":
            inside = "" if len(paths) == 1 else f"{path.stem}/"  # cats.zip and dogs.zip become two labels
            try:
                with zipfile.ZipFile(path) as archive:
                    copy.count(len(archive.infolist()))
                    _check(archive)
                    for name, entry in _wanted_entries(archive):
                        with archive.open(entry) as file:
                            copy.add(inside + name, file)
            except (zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error) as error:
                raise Problem("zip_broken", name=path.name) from error
        elif _wanted(path.name):
            copy.count(1)
            with open(path, "rb") as file:
                copy.add(path.name, file)
        else:
            raise Problem("upload_kind", name=path.name, suffixes=" ".join(SUFFIXES))
    if not copy.pictures:
        raise Problem("upload_empty", suffixes=" ".join(SUFFIXES))
    return copy.hashed.hexdigest()


class _Copy:
    """Files written below ``part`` so far, held to the limits."""

    def __init__(self, part: pathlib.Path):
        self.part = part
        self.entries, self.bytes, self.pixels, self.pictures = 0, 0, 0, 0
        self.hashed = hashlib.blake2b(digest_size=8)

    def count(self, entries: int) -> None:
        self.entries += entries
        if self.entries > MAX_ENTRIES:
            raise Problem("upload_entries", limit=MAX_ENTRIES)

    def add(self, name: str, file: IO[bytes]) -> None:
        target = _free(self.part / name)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.hashed.update(f"{name}\0".encode())
        with open(target, "wb") as out:
            while chunk := file.read(CHUNK):
                self.bytes += len(chunk)
                if self.bytes > MAX_BYTES:
                    raise Problem("upload_bytes", name=name, limit=MAX_BYTES >> 20)
                self.hashed.update(chunk)
                out.write(chunk)
        if target.name in METADATA:
            return
        self.pictures += 1
        with contextlib.suppress(decode.Unfit):
            width, height = decode.size(str(target))
            self.pixels += width * height
        if self.pixels > MAX_PIXELS:
            raise Problem("upload_pixels", name=name, limit=MAX_PIXELS // 1_000_000)


def _check(archive: zipfile.ZipFile) -> None:
    """Refuse a zip that no honest program makes, before anything of it is written."""
    name = pathlib.Path(archive.filename).name
    for entry in archive.infolist():
        parts = _parts(entry)
        if ".." in parts or parts[0] == "" or ":" in parts[0]:
            raise Problem("zip_escape", name=name, entry=entry.filename)
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise Problem("zip_link", name=name, entry=entry.filename)
        if entry.flag_bits & 1:
            raise Problem("zip_encrypted", name=name)
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the only ones unpacked in bounded memory
            raise Problem("zip_broken", name=name)


def _parts(entry: zipfile.ZipInfo) -> list[str]:
    return entry.filename.replace("\\", "/").split("/")  # some Windows programs write backslashes


def _wanted_entries(archive: zipfile.ZipFile) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    for entry in archive.infolist():
        parts = _parts(entry)
        if _wanted(parts[-1]) and not any(part.startswith((".", "__")) for part in parts):  # __MACOSX and the like
            yield "/".join(parts), entry


def _wanted(name: str) -> bool:
    return name in METADATA or name.lower().endswith(SUFFIXES)


def _free(target: pathlib.Path) -> pathlib.Path:
    """``target``, or with a number where two files of one upload have the same name."""
    number = 2
    free = target
    while free.exists():
        free = target.with_stem(f"{target.stem}-{number}")
        number += 1
    return free
