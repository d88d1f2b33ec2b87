"""Pictures or zips from a browser -> a folder of pictures, within limits. No torch, no datasets.

A stranger sends these files: every limit is checked on what is really read, and on failure nothing stays behind.
"""

import collections
import contextlib
import hashlib
import json
import math
import os
import pathlib
import posixpath
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from typing import IO

from ddpm_app.data import cache, decode
from ddpm_app.data.folder import PARQUET_SUFFIXES, SHARD_SUFFIX
from ddpm_app.data.text_files import CAPTION_SUFFIXES, TABLE_SUFFIXES, Row, decode_text, read_table, texts_in
from ddpm_app.errors import Problem
from ddpm_app.files import write_atomic

MAX_ENTRIES = 20_000
"""Entries of all zips together, folders and other files included: enough for a class project, listed in a second."""

MAX_BYTES = 2 * 1024**3
"""Bytes of all files together, counted while they are unpacked (what a zip says of itself may be a lie)."""

MAX_PIXELS = 20_000_000_000
"""Pixels of all pictures together, from their headers: about ten minutes of decoding on one core. A single picture is
held to decode.MAX_PIXELS."""

SUFFIXES = (*decode.SUFFIXES, *CAPTION_SUFFIXES, *TABLE_SUFFIXES, *PARQUET_SUFFIXES, SHARD_SUFFIX)
"""Endings of files that can be sent by themselves; a zip may hold any file, and the account tells what became of it."""
NAMED = (
    ".zip",
    ".png",
    ".jpg",
    ".webp",
    ".gif",
    ".avif",
    ".heic",
    ".tif",
    ".txt",
    ".csv",
    ".jsonl",
    ".parquet",
    ".tar",
)
"""Those that a message gives as examples."""
METADATA = ("metadata.jsonl", "metadata.csv")
MOST_NAME_BYTES = 200
"""Bytes of a file's name: systems take 255, and a caption's ending may follow."""
PREFIX = "upload-"
FILE = "file_name"
"""The column of metadata that names the picture."""
CHUNK = 1 << 20
UTF8_FLAG = 0x800
"""The bit of an entry's flags that says its name is UTF-8 (APPNOTE 4.4.4)."""
BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The only ways of packing that are unpacked in bounded memory."""


def import_upload(paths: Iterable[str | os.PathLike], into: str | os.PathLike, share: float = 1) -> pathlib.Path:
    """Copy pictures and unpack zips into a new folder inside ``into``; returns it: a ``dataset_name``.

    Folders inside a zip are kept (they become labels), and so is every file: what can't be used is told of when the folder is opened.
    The folder is named after its contents and its zip, so that the same upload is kept once.
    ``share``: how much of the limits the upload may use, 0 to 1.
    Raises Problem "upload_*" or "zip_*" with the file's name.
    """
    into = pathlib.Path(into)
    with cache.write_errors(into):
        into.mkdir(parents=True, exist_ok=True)
        part = pathlib.Path(tempfile.mkdtemp(prefix=".part-", dir=into))
        try:
            files = [pathlib.Path(path) for path in paths]
            folder = into / f"{PREFIX}{_copy_all(files, _Copy(part, share))}{_slug(files)}"
            if not folder.exists():
                os.replace(part, folder)
            os.utime(folder)  # sent again, it is among the newest
            return folder
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _slug(files: list[pathlib.Path]) -> str:
    """The name of a single zip as the end of a folder's name: "-my-cats"."""
    name = re.sub(r"[^\w]+", "-", files[0].stem).strip("-") if len(files) == 1 else ""
    return f"-{_shortened(name)}" if name else ""


def display_name(folder: str) -> str:
    """What a folder is called: an upload by the name of its zip, where it had one."""
    name = pathlib.PurePath(folder).name
    return name.removeprefix(PREFIX).partition("-")[2] or name if name.startswith(PREFIX) else name


def keep_newest(uploads: pathlib.Path, count: int, most_bytes: float = math.inf) -> int:
    """Remove what lies in ``uploads`` (one folder for each visitor) beyond the newest ``count`` of a visitor and the newest
    ``most_bytes`` in all; returns the bytes freed."""
    counts: collections.Counter[pathlib.Path] = collections.Counter()
    total = freed = 0
    for folder in sorted(uploads.glob(f"*/{PREFIX}*"), key=lambda path: path.stat().st_mtime, reverse=True):
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        if counts[folder.parent] < count and total + size <= most_bytes:
            counts[folder.parent] += 1
            total += size
        else:
            shutil.rmtree(folder, ignore_errors=True)
            freed += size
    return freed


def annotate(
    root: pathlib.Path, pictures: list[tuple[str, tuple[str, ...], str]], name: str, texts: dict[str, str]
) -> None:
    """Write ``texts`` (by column) of the picture ``name`` into ``root``/metadata.jsonl.

    ``pictures``: (name, captions, label) of all that are loaded, with names below ``root``: the rows where there is no metadata yet, since
    a metadata file lists the pictures that are meant. What metadata there is, be it CSV or in sub-folders, is kept in the
    one file; a column of captions without any text is left out. Raises Problem: "upload_row", "upload_metadata", "cache_unwritable".
    """
    files = sorted(file for file in root.rglob("metadata.*") if file.name in METADATA)
    rows = [row for file in files for row in _metadata(file, root)]
    if not files:
        rows = [{FILE: picture, "caption": _cell(captions), "label": label} for picture, captions, label in pictures]
    changed = next((row for row in rows if row[FILE] == name), None)
    if changed is None:
        raise Problem("upload_row", name=name)
    for column in texts if files else {"caption", "label", *texts}:
        for row in rows:
            row[column] = _cell(texts_in(row.get(column)))
        changed[column] = texts.get(column, changed[column])
        if column != "label" and not any(
            row[column] for row in rows
        ):  # an empty label says that the folder's doesn't hold
            for row in rows:
                del row[column]
    with cache.write_errors(root):
        for file in files:
            if file != root / METADATA[0]:  # out of sight first: no row may stand in two tables
                os.replace(file, file.with_name(f".{file.name}"))
        write_atomic(root / METADATA[0], "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _cell(texts: tuple[str, ...]) -> str | list[str]:
    """Texts as a cell of metadata: none is "", several are a list."""
    return list(texts) if len(texts) > 1 else "".join(texts)


def _metadata(file: pathlib.Path, root: pathlib.Path) -> list[Row]:
    """The rows of a metadata file, with the pictures' names below ``root``. Raises Problem: "upload_metadata", "table_unreadable"."""
    name = file.relative_to(root).as_posix()
    inside = file.parent.relative_to(root)
    try:
        rows = read_table(file.read_bytes(), name)
        return [row | {FILE: posixpath.normpath((inside / row[FILE]).as_posix())} for row in rows]
    except (KeyError, TypeError) as error:
        raise Problem("upload_metadata", name=name) from error


def _copy_all(paths: list[pathlib.Path], copy: "_Copy") -> str:
    """Copy everything; returns a hash of names and contents."""
    for path in paths:
        if path.suffix.lower() == ".zip":
            inside = "" if len(paths) == 1 else f"{path.stem}/"  # cats.zip and dogs.zip become two labels
            try:
                with zipfile.ZipFile(path) as archive:
                    copy.count(len(archive.infolist()))
                    _check(archive, path.name)
                    for name, entry in zip(_names(archive), archive.infolist(), strict=True):
                        if not entry.is_dir():
                            with archive.open(entry) as file:
                                copy.add(inside + name, file)
            except (zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error) as error:
                raise Problem("zip_broken", name=path.name) from error
        elif path.suffix.lower() in SUFFIXES:
            copy.count(1)
            with open(path, "rb") as file:
                copy.add(path.name, file)
        else:
            raise Problem("upload_kind", name=path.name, suffixes=" ".join(NAMED))
    if not copy.pictures:
        raise Problem("upload_empty", suffixes=" ".join(NAMED))
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
        target = self._free(self.part.joinpath(*map(_shortened, name.split("/"))))
        target.parent.mkdir(parents=True, exist_ok=True)
        self.digest.update(f"{name}\0".encode())
        with open(target, "wb") as out:
            while chunk := file.read(CHUNK):
                self.bytes += len(chunk)
                if self.bytes > self.most_bytes:
                    raise Problem("upload_bytes", name=name, limit=self.most_bytes >> 20)
                self.digest.update(chunk)
                out.write(chunk)
        suffix = target.suffix.lower()
        self.pictures += suffix in (*decode.SUFFIXES, *PARQUET_SUFFIXES, SHARD_SUFFIX)
        if suffix not in decode.SUFFIXES:
            return
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
        parts = _parts(entry.filename)
        if ".." in parts or parts[0] == "" or ":" in parts[0]:
            raise Problem("zip_escape", name=name, entry=entry.filename)
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise Problem("zip_link", name=name, entry=entry.filename)
        if entry.flag_bits & 1:
            raise Problem("zip_encrypted", name=name)
        if entry.compress_type not in BOUNDED:
            raise Problem("zip_broken", name=name)


def _parts(name: str) -> list[str]:
    return name.replace("\\", "/").split("/")  # some Windows programs write backslashes


def _names(archive: zipfile.ZipFile) -> list[str]:
    """The names of all entries with "/" between folders. Without the flag for UTF-8 they may be in any encoding, which all of them together
    show better than one."""
    names = [entry.filename for entry in archive.infolist()]
    unmarked = [k for k, entry in enumerate(archive.infolist()) if not entry.flag_bits & UTF8_FLAG]
    raw = b"\n".join(names[k].replace("\n", "_").encode("cp437", "replace") for k in unmarked)
    for k, name in zip(unmarked, decode_text(raw, "cp437").split("\n"), strict=True) if unmarked else ():
        names[k] = name
    return ["/".join(_parts(name)) for name in names]


def _shortened(part: str) -> str:
    """A file's or folder's name that every system takes: too long a one is cut, and told apart from others by a hash."""
    if len(part.encode()) <= MOST_NAME_BYTES:
        return part
    stem, suffix = posixpath.splitext(part)
    own = hashlib.blake2b(part.encode(), digest_size=6).hexdigest()
    return f"{stem.encode()[: MOST_NAME_BYTES - len(suffix.encode()) - 14].decode(errors='ignore')}-{own}{suffix}"
