"""Files that are written whole or not at all."""

import errno
import json
import os
import pathlib
import threading

import pytest

from ddpm_app import files
from ddpm_app.files import folder_atomic, read_json, write_atomic


def names(folder: pathlib.Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


def test_write_atomic(tmp_path):
    path = tmp_path / "file"
    write_atomic(path, "ä")
    write_atomic(path, b"\x00new")
    assert path.read_bytes() == b"\x00new" and names(tmp_path) == ["file"]


def test_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, "old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError):
        write_atomic(path, "new")
    assert path.read_text() == "old"


def test_file_is_on_the_disk_before_its_name_shows_it(tmp_path, monkeypatch):
    order, replace = [], os.replace
    monkeypatch.setattr(os, "fsync", lambda number: order.append("sync"))
    monkeypatch.setattr(os, "replace", lambda source, target: order.append("name") or replace(source, target))
    write_atomic(tmp_path / "file", "x")
    with folder_atomic(tmp_path / "folder") as part:
        (part / "a").write_text("a")
        (part / "b").mkdir()
        (part / "b" / "c").write_text("c")
    assert order == ["sync", "name", "sync", "sync", "name"]


def test_readers_never_see_half_a_file(tmp_path):
    """One thread writes two contents in turn, another reads all the time."""
    path, over = tmp_path / "file", threading.Event()
    whole = [b"a" * 100_000, b"b" * 200_000]
    write_atomic(path, whole[0])

    def write():
        for k in range(60):
            write_atomic(path, whole[k % 2])
        over.set()

    thread = threading.Thread(target=write)
    thread.start()
    reads = 0
    while not over.is_set() or not reads:
        assert path.read_bytes() in whole
        reads += 1
    thread.join()


def test_folder_takes_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "it"
    with folder_atomic(path) as part:
        (part / "a").write_text("1")
        assert not path.exists() and part.name.startswith(".")
    with folder_atomic(path) as part:
        assert names(part) == [] and (path / "a").exists()
        (part / "b").write_text("2")
    assert names(tmp_path) == ["it", "it/b"]


def test_folder_that_fails_leaves_the_old_one(tmp_path):
    path = tmp_path / "it"
    with folder_atomic(path) as part:
        (part / "a").write_text("1")
    with pytest.raises(KeyboardInterrupt), folder_atomic(path) as part:
        (part / "b").write_text("2")
        raise KeyboardInterrupt
    assert names(tmp_path) == ["it", "it/a"]


def test_what_killed_writers_left_is_replaced(tmp_path):
    path = tmp_path / "it"
    for name in (".it.part", ".it.old"):
        (tmp_path / name / "deep").mkdir(parents=True)
    with folder_atomic(path) as part:
        (part / "a").write_text("1")
    with folder_atomic(path) as part:
        (part / "b").write_text("2")
    assert names(tmp_path) == ["it", "it/b"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3"])
def test_what_is_no_json_object_reads_as_empty(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    assert read_json(tmp_path / "a.json") == read_json(tmp_path / "none.json") == {}


# ---- Windows ----------------------------------------------------------------------------------------------------------
def test_only_a_handle_for_writing_is_flushed(tmp_path, monkeypatch):
    """Windows refuses any other."""
    fcntl = pytest.importorskip("fcntl")
    flushed = []

    def fsync(number):
        if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        flushed.append(number)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomic(tmp_path / "file", "x")
    with folder_atomic(tmp_path / "folder") as part:
        (part / "weights").write_bytes(b"12")
    assert len(flushed) == 2 and (tmp_path / "folder" / "weights").read_bytes() == b"12"


@pytest.fixture
def held_open(monkeypatch):
    """As on Windows, a file that another process has open: the first ``refusals`` tries to replace or read it are refused."""
    monkeypatch.setattr(files, "WINDOWS", True)
    monkeypatch.setattr(files.time, "sleep", lambda seconds: None)
    refusals = []

    def guarded(function):
        def call(*args, **options):
            if refusals:
                refusals.pop()
                raise PermissionError(errno.EACCES, "it is open")
            return function(*args, **options)

        return call

    monkeypatch.setattr(os, "replace", guarded(os.replace))
    monkeypatch.setattr(pathlib.Path, "read_text", guarded(pathlib.Path.read_text))
    return refusals


def test_a_reader_is_waited_for(tmp_path, held_open):
    path = tmp_path / "status.json"
    held_open += [1, 2, 3]
    write_atomic(path, json.dumps({"step": 1}))
    held_open += [1, 2, 3]
    assert read_json(path) == {"step": 1} and names(tmp_path) == ["status.json"]


def test_nobody_is_waited_for_long(tmp_path, held_open, monkeypatch):
    monkeypatch.setattr(files, "PATIENCE_SECONDS", 0)
    held_open += [1]
    with pytest.raises(PermissionError):
        write_atomic(tmp_path / "file", "x")


def test_elsewhere_a_refusal_is_final(tmp_path, held_open, monkeypatch):
    monkeypatch.setattr(files, "WINDOWS", False)
    held_open += [1]
    with pytest.raises(PermissionError):
        write_atomic(tmp_path / "file", "x")
