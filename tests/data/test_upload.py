import json
import os
import pathlib
import struct
import subprocess
import sys
import zipfile
import zlib

import pytest
from kits import ROOT
from kits.pictures import cache_dir, noise, png, settings  # noqa: F401
from kits.problems import expect_problem

from ddpm_app.data import upload
from ddpm_app.data.image_dataset import load
from ddpm_app.data.open_source import originals
from ddpm_app.data.upload import annotate, import_upload
from ddpm_app.errors import Problem
from ddpm_app.i18n import problem_text


def zipped(path, files, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def problem_of(code, paths, into) -> str:
    """The upload must fail with this problem and leave nothing behind; returns its words."""
    with expect_problem(code) as caught:
        import_upload(paths, into)
    assert list(into.iterdir()) == []
    return problem_text(caught.value)


def huge_png(side) -> bytes:
    """A header that promises side x side pixels."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)) + chunk(b"IDAT", b"")
    )


@pytest.fixture
def into(tmp_path):
    return tmp_path / "uploads"


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_pictures_become_a_folder(tmp_path, into):
    paths = []
    for i, name in enumerate(["a.png", "b.JPG", "x/a.png"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png(noise(seed=i)))
        paths.append(str(tmp_path / name))
    folder = import_upload(paths, into)
    assert folder.parent == into and names(folder) == ["a-2.png", "a.png", "b.JPG"]
    assert len(load(settings(folder))) == 3


def test_a_zip_keeps_its_folders_as_labels(tmp_path, into):
    files = {f"pics/{label}/{i}.png": png(noise(seed=i)) for label in ("cats", "dogs") for i in range(2)}
    files |= {"pics/": b"", "pics/.DS_Store": b"x"}
    files |= {"__MACOSX/pics/cats/._0.png": b"x", "pics/notes.txt": b"x", "pics/inner.zip": b"x", "pics/run.py": b"x"}
    folder = import_upload([zipped(tmp_path / "a.zip", files)], into)
    source = originals(settings(folder))
    assert source.names == ["pics/cats/0.png", "pics/cats/1.png", "pics/dogs/0.png", "pics/dogs/1.png"]
    assert source.label_names == ("cats", "dogs")
    unused = {code: source.account[code] for code in ("hidden", "lone_captions", "archives", "others")}
    assert unused == {"hidden": 2, "lone_captions": 1, "archives": 1, "others": 1}


def test_a_zip_keeps_its_captions(tmp_path, into):
    rows = json.dumps({"file_name": "a.png", "text": "red"})
    folder = import_upload([zipped(tmp_path / "a.ZIP", {"a.png": png(), "metadata.jsonl": rows})], into)
    assert originals(settings(folder)).captions == ["red"]


def test_two_zips_are_two_labels(tmp_path, into):
    paths = [
        zipped(tmp_path / f"{label}.zip", {"1.png": png(noise(seed=i))}) for i, label in enumerate(("cats", "dogs"))
    ]
    assert originals(settings(import_upload(paths, into))).label_names == ("cats", "dogs")


def test_backslashes_of_windows_zips_are_folders(tmp_path, into):
    path = zipped(tmp_path / "a.zip", {"cats###1.png": png(), "dogs###1.png": png()})
    path.write_bytes(path.read_bytes().replace(b"###", b"\\\\\\"))
    assert names(import_upload([path], into)) == ["cats/1.png", "dogs/1.png"]


def test_the_same_upload_is_kept_once(tmp_path, into):
    path = zipped(tmp_path / "a.zip", {"a.png": png()})
    first = import_upload([path], into)
    assert import_upload([path], into) == first and len(list(into.iterdir())) == 1
    other = zipped(tmp_path / "b.zip", {"a.png": png(noise(seed=5))})
    assert import_upload([other], into) != first


def test_a_damaged_picture_is_kept_for_the_loader_to_name(tmp_path, into):
    folder = import_upload([zipped(tmp_path / "a.zip", {"a.png": png(), "b.png": png()[:50]})], into)
    assert load(settings(folder)).rejected == [("b.png", "broken")]


@pytest.mark.parametrize("name", ["../a.png", "x/../../a.png", "/etc/a.png", "C:/a.png", "..\\a.png", "\\a.png"])
def test_a_zip_cannot_escape(tmp_path, into, name):
    path = zipped(tmp_path / "a.zip", {"good.png": png(), name.replace("\\", "#"): png()})
    if "\\" in name:
        path.write_bytes(path.read_bytes().replace(b"#", b"\\"))
    problem_of("zip_escape", [path], into)
    assert not (tmp_path / "a.png").exists()


def test_a_link_is_problem_of(tmp_path, into):
    info = zipfile.ZipInfo("link.png")
    info.external_attr = 0o120777 << 16
    problem_of("zip_link", [zipped(tmp_path / "a.zip", {"good.png": png(), info: "/etc/passwd"})], into)


def test_a_locked_zip_is_problem_of(tmp_path, into):
    path = zipped(tmp_path / "a.zip", {"a.png": png()})
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    path.write_bytes(data)
    problem_of("zip_encrypted", [path], into)


def test_a_bomb_is_stopped_by_the_bytes_that_come_out(tmp_path, into, monkeypatch):
    monkeypatch.setattr(upload, "MAX_BYTES", 1 << 20)
    path = zipped(tmp_path / "a.zip", {"good.png": png(), "bomb.png": bytes(8 << 20)})
    assert path.stat().st_size < 100_000
    assert "1 MiB" in problem_of("upload_bytes", [path], into)


def test_a_bomb_that_lies_about_its_size_is_stopped_too(tmp_path, into, monkeypatch):
    monkeypatch.setattr(upload, "MAX_BYTES", 1 << 20)
    path = zipped(tmp_path / "a.zip", {"bomb.png": bytes(8 << 20)})
    size = struct.pack("<I", 8 << 20)
    path.write_bytes(path.read_bytes().replace(size, struct.pack("<I", 1000)))
    with pytest.raises(Problem) as caught:
        import_upload([path], into)
    assert caught.value.code in ("upload_bytes", "zip_broken") and list(into.iterdir()) == []


def test_a_bomb_costs_no_memory(tmp_path):
    pytest.importorskip("resource", reason="needs Unix's count of memory")
    path = zipped(tmp_path / "a.zip", {"bomb.png": bytes(120 << 20)})
    code = (
        "import sys, resource; from ddpm_app.data import upload; upload.MAX_BYTES = 100 << 20\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    upload.import_upload([sys.argv[1]], sys.argv[2])\nexcept Exception as error:\n    print(error.code)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000)"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, path, tmp_path / "into"], capture_output=True, text=True, env=env
    )
    assert done.stdout.split() == ["upload_bytes", "True"], done.stderr


def test_too_many_entries(tmp_path, into, monkeypatch):
    monkeypatch.setattr(upload, "MAX_ENTRIES", 5)
    many = zipped(tmp_path / "a.zip", {f"{i}.txt": "" for i in range(6)})
    problem_of("upload_entries", [many], into)
    three = [zipped(tmp_path / f"{n}.zip", {f"{i}.png": png() for i in range(3)}) for n in "bc"]
    problem_of("upload_entries", three, into)
    (tmp_path / "p.png").write_bytes(png())
    problem_of("upload_entries", [tmp_path / "p.png"] * 6, into)


def test_a_share_of_the_limits(tmp_path, into, monkeypatch):
    monkeypatch.setattr(upload, "MAX_ENTRIES", 10)
    path = zipped(tmp_path / "a.zip", {f"{i}.png": png(noise(seed=i)) for i in range(6)})
    with expect_problem("upload_entries"):
        import_upload([path], into, share=0.5)
    import_upload([path], into)


def test_equal_names_are_numbered_without_counting_from_the_start(tmp_path, into, monkeypatch):
    (tmp_path / "p.png").write_bytes(png())
    looked, exists = [], pathlib.Path.exists
    monkeypatch.setattr(pathlib.Path, "exists", lambda path: looked.append(path) or exists(path))
    folder = import_upload([tmp_path / "p.png"] * 40, into)
    assert len(names(folder)) == 40 and len(looked) < 3 * 40


def test_the_newest_uploads_are_kept(tmp_path):
    def sent(visitor, *numbers):
        for k in numbers:
            (tmp_path / f"{k}.png").write_bytes(png(noise(seed=k)))
            folder = import_upload([tmp_path / f"{k}.png"], tmp_path / "uploads" / visitor)
            os.utime(folder, (k, k))
        return folder

    def left():
        return {folder.stat().st_mtime for folder in (tmp_path / "uploads").glob("*/upload-*")}

    sent("me", 1, 2, 5)
    last = sent("you", 3, 4)
    assert upload.keep_newest(tmp_path / "uploads", 2) > 0 and left() == {2, 3, 4, 5}
    assert import_upload([tmp_path / "4.png"], last.parent) == last and last.stat().st_mtime > 5  # sent again
    size = sum(file.stat().st_size for file in last.iterdir())
    upload.keep_newest(tmp_path / "uploads", 2, most_bytes=size)
    assert [folder for folder in (tmp_path / "uploads").glob("*/upload-*")] == [last]


def test_too_many_pixels(tmp_path, into, monkeypatch):
    monkeypatch.setattr(upload, "MAX_PIXELS", 3_000_000)
    path = zipped(tmp_path / "a.zip", {f"{i}.png": huge_png(1500) for i in range(2)})
    assert "3 million" in problem_of("upload_pixels", [path], into)


def test_one_picture_of_too_many_pixels_is_left_out_when_loaded(tmp_path, into):
    folder = import_upload([zipped(tmp_path / "a.zip", {"good.png": png(), "huge.png": huge_png(40_000)})], into)
    assert load(settings(folder)).rejected == [("huge.png", "too_large")]


def test_a_broken_zip(tmp_path, into):
    path = zipped(
        tmp_path / "a.zip", {"a.png": png(noise(200, 200)), "b.png": png(noise(200, 200))}, zipfile.ZIP_STORED
    )
    data = path.read_bytes()
    for broken in (data[:-40], b"no zip", data[:5000] + b"\0\1\2\3" + data[5004:], b""):
        path.write_bytes(broken)
        problem_of("zip_broken", [path], into)


def test_a_broken_stream_inside_a_zip(tmp_path, into):
    path = zipped(tmp_path / "a.zip", {"a.png": bytes(100_000) + noise(200, 200).tobytes()})
    data = bytearray(path.read_bytes())
    data[100:140] = b"\xff" * 40
    path.write_bytes(data)
    problem_of("zip_broken", [path], into)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packings_without_bounded_memory_are_problem_of(tmp_path, into, method):
    problem_of("zip_broken", [zipped(tmp_path / "a.zip", {"a.png": png()}, method)], into)


def test_nothing_to_learn_from(tmp_path, into):
    problem_of("upload_empty", [zipped(tmp_path / "a.zip", {"a.txt": "x", "metadata.jsonl": "{}"})], into)
    problem_of("upload_empty", [], into)


def test_another_kind_of_file(tmp_path, into):
    (tmp_path / "a.exe").write_bytes(b"x")
    assert "a.exe" in problem_of("upload_kind", [tmp_path / "a.exe"], into)


def test_metadata_of_an_upload_cannot_name_files_of_the_machine(tmp_path, into):
    (tmp_path / "secret.png").write_bytes(png())
    rows = json.dumps({"file_name": "../../secret.png", "text": ""})
    folder = import_upload([zipped(tmp_path / "a.zip", {"a.png": png(), "metadata.jsonl": rows})], into)
    source = originals(settings(folder))
    assert (source.names, source.account["lone_tables"]) == (["a.png"], 1)


def test_other_uploads_stay_when_one_fails(tmp_path, into):
    first = import_upload([zipped(tmp_path / "a.zip", {"a.png": png()})], into)
    with expect_problem("zip_escape"):
        import_upload([zipped(tmp_path / "b.zip", {"../a.png": png()})], into)
    assert list(into.iterdir()) == [first]


@pytest.mark.parametrize("letter", ["x", "蝴"])
def test_names_too_long_for_the_disk_are_cut_and_stay_apart(tmp_path, into, letter):
    files = {f"{letter * 300}/{letter * 300}{k}.png": png(noise(seed=k)) for k in range(2)}
    source = originals(settings(import_upload([zipped(tmp_path / "a.zip", files)], into)))
    assert len(set(source.names)) == 2 and all(name.endswith(".png") for name in source.names)


# ---- captions and labels -----------------------------------------------------------------------------------------------
def annotations(folder, **changes):
    """name -> (caption, label) of all pictures of the set; each must load."""
    source = originals(settings(folder, **changes))
    assert len(load(settings(folder, **changes))) == len(source)
    names = [*(source.label_names or ()), ""]
    return dict(
        zip(
            source.names,
            zip(
                source.captions or [""] * len(source),
                [names[k] for k in source.labels or [-1] * len(source)],
                strict=True,
            ),
            strict=True,
        )
    )


def edit(folder, name, **texts):
    rows = [
        (picture, (caption,) if caption else (), label) for picture, (caption, label) in annotations(folder).items()
    ]
    annotate(folder, rows, name, texts)


def unpacked(tmp_path, into, **metadata):
    files = {
        f"{label}/{i}.png": png(noise(seed=k * 2 + i)) for k, label in enumerate(("cats", "dogs")) for i in range(2)
    }
    files |= {name.replace("__", "/").replace("_", "."): text for name, text in metadata.items()}
    return import_upload([zipped(tmp_path / "a.zip", files)], into)


def test_labels_from_sub_folders_survive_a_first_caption(tmp_path, into):
    folder = unpacked(tmp_path, into)
    before = originals(settings(folder))
    edit(folder, "cats/1.png", caption='a \u2028 grey "cat"')
    assert annotations(folder) == {
        "cats/0.png": ("", "cats"),
        "cats/1.png": ('a \u2028 grey "cat"', "cats"),
        "dogs/0.png": ("", "dogs"),
        "dogs/1.png": ("", "dogs"),
    }
    after = originals(settings(folder))
    assert (after.names, after.labels, after.label_names) == (before.names, before.labels, before.label_names)
    assert after.fingerprint != before.fingerprint
    assert names(folder) == ["cats/0.png", "cats/1.png", "dogs/0.png", "dogs/1.png", "metadata.jsonl"]


def test_a_label_changes_and_goes(tmp_path, into):
    folder = unpacked(tmp_path, into)
    edit(folder, "dogs/1.png", label="wolves")
    assert annotations(folder)["dogs/1.png"] == ("", "wolves") and originals(settings(folder)).label_names == (
        "cats",
        "dogs",
        "wolves",
    )
    edit(folder, "dogs/1.png", label="")
    assert originals(settings(folder)).labels == [0, 0, 1, -1]
    for name in ("cats/0.png", "cats/1.png", "dogs/0.png"):
        edit(folder, name, label="")
    assert originals(settings(folder)).label_names is None


def test_what_else_the_metadata_holds_stays(tmp_path, into):
    rows = [
        {"file_name": f"./{name}", "text": "old", "label": k, "weight": 1.5}
        for k, name in enumerate(("cats/0.png", "dogs/1.png"))
    ]
    folder = unpacked(tmp_path, into, metadata_jsonl="\n".join(map(json.dumps, rows)))
    assert annotations(folder) == {"cats/0.png": ("old", "0"), "dogs/1.png": ("old", "1")}
    edit(folder, "dogs/1.png", text="new", label="one")
    assert annotations(folder) == {"cats/0.png": ("old", "0"), "dogs/1.png": ("new", "one")}
    kept = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    assert kept[1] == {"file_name": "dogs/1.png", "text": "new", "label": "one", "weight": 1.5}


def test_metadata_of_other_kinds_becomes_one_file(tmp_path, into):
    folder = unpacked(tmp_path, into, metadata_csv="file_name,caption,label\ncats/0.png,one,3\ndogs/0.png,,\n")
    annotate(folder, [], "dogs/0.png", {"caption": "two"})
    assert annotations(folder) == {"cats/0.png": ("one", "3"), "dogs/0.png": ("two", "")}
    other = unpacked(
        tmp_path,
        into / "other",
        cats__metadata_jsonl='{"file_name": "0.png", "caption": "one"}',
        dogs__metadata_jsonl='{"file_name": "1.png", "caption": "two"}',
    )
    edit(other, "dogs/1.png", caption="three")
    assert annotations(other) == {"cats/0.png": ("one", "cats"), "dogs/1.png": ("three", "dogs")}
    assert names(other)[0] == "cats/.metadata.jsonl"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[1]", "table_unreadable"),
        ("not json", "table_unreadable"),
        ('{"image_file_name": "cats/0.png"}', "upload_metadata"),
        ('{"file_name": 3}', "upload_metadata"),
    ],
)
def test_metadata_that_is_no_plain_list_is_left_alone(tmp_path, into, text, code):
    folder = unpacked(tmp_path, into, metadata_jsonl=text)
    with expect_problem(code) as caught:
        annotate(folder, [("cats/0.png", (), "")], "cats/0.png", {"caption": "x"})
    assert problem_text(caught.value)
    assert (folder / "metadata.jsonl").read_text() == text


def test_a_picture_that_is_gone_is_not_written(tmp_path, into):
    folder = unpacked(tmp_path, into)
    with expect_problem("upload_row"):
        annotate(folder, [("cats/0.png", (), "")], "cats/9.png", {"caption": "x"})
    assert "metadata.jsonl" not in names(folder)


def test_a_full_disk_leaves_the_metadata_whole(tmp_path, into, monkeypatch):
    folder = unpacked(tmp_path, into)
    edit(folder, "cats/0.png", caption="first")

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with expect_problem("cache_unwritable"):
            annotate(folder, [], "cats/0.png", {"caption": "second"})
    assert annotations(folder)["cats/0.png"] == ("first", "cats")
