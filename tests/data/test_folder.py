"""What a folder holds and what becomes of it: each kind of thing by itself, then all of them together."""

import csv
import io
import json
import os
import random
import tarfile
import zipfile

import numpy as np
import pytest
from kits.pictures import cache_dir, folder_of, metadata, noise, png, settings, specimens  # noqa: F401
from kits.problems import expect_problem
from PIL import Image
from pyarrow import Table, parquet

from ddpm_app.data import account, beside, decode
from ddpm_app.data.image_dataset import load
from ddpm_app.data.open_source import originals
from ddpm_app.data.rows import folder_labels
from ddpm_app.data.upload import import_upload
from ddpm_app.i18n import LANGUAGES, problem_text, text_table


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def opened(path, **values):
    return originals(settings(path, **values))


# ---- captions ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["a.txt", "a.caption", "a.png.txt", "a.TXT"])
def test_a_text_beside_a_picture_is_its_caption(tmp_path, name):
    source = opened(write(folder_of(tmp_path, ["a.png", "b.png"]), {name: "a red moth\r\n"}))
    assert (source.captions, source.account["caption_gaps"], source.account["caption_files"]) == (
        ["a red moth", ""],
        1,
        1,
    )


def test_of_pictures_that_cannot_be_used_nobody_misses_a_caption_or_label(tmp_path):
    write(folder_of(tmp_path, ["x/a.png", "y/b.png"]), {"x/a.txt": "red", "y/b.txt": "blue", "broken.png": "junk"})
    source, account_of_all = opened(tmp_path), load(settings(tmp_path)).account
    gaps = "caption_gaps", "label_gaps"
    assert [source.account[code] for code in gaps] == [1, 1] and [account_of_all[code] for code in gaps] == [0, 0]


def test_lines_are_several_captions(tmp_path):
    source = opened(write(folder_of(tmp_path, ["a.png"]), {"a.txt": "red\n\na red moth\n"}))
    assert (source.caption_choices, source.captions) == ([("red", "a red moth")], ["red"])
    assert source.account["several_captions"] == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.csv", "file_name,text\nsub/a.png,red\nsub/b.png,\n"),
        ("sub/metadata.jsonl", '{"file_name": "a.png", "caption": "red"}\n{"file_name": "b.png"}'),
        ("captions.tsv", "image\tcaption\na.png\tred\nb.png\t\n"),
        ("list.csv", "number;picture;prompt\n1;a.png;red\n2;b.png;\n"),
        ("ids.csv", "id,description\na,red\nb,\n"),
        ("meta.json", '{"sub/a.png": "red", "sub/b.png": ""}'),
        ("windows.csv", "path,text\nsub\\a.png,red\nsub\\b.png,\n"),
        ("flickr.csv", "image|caption\na.png|red\na.png|red\nb.png|\n"),
        ("no header.csv", "a.png,red\nb.png,\n"),
        ("no header.tsv", "sub/a.png\tred\nsub/b.png\t\n"),
    ],
)
def test_a_table_of_captions(tmp_path, name, text):
    source = opened(write(folder_of(tmp_path, ["sub/a.png", "sub/b.png"]), {name: text}))
    assert (source.captions, source.account["tables"]) == (["red", ""], 1)


def test_columns_that_nothing_reads_are_told(tmp_path):
    folder_of(tmp_path, ["a.png"])
    metadata(tmp_path, [{"file_name": "a.png", "caption": "red", "label": "x", "photographer": "somebody"}])
    assert {line.code: line.names for line in opened(tmp_path).account}["lone_columns"] == ("photographer",)
    assert opened(tmp_path, caption_column="photographer").captions == ["somebody"]


def test_a_metadata_table_lists_the_pictures_that_are_meant_and_another_table_does_not(tmp_path):
    folder_of(tmp_path, ["a.png", "b.png"])
    write(tmp_path, {"words.csv": "file_name,text\na.png,red\n"})
    assert len(opened(tmp_path)) == 2
    (tmp_path / "words.csv").rename(tmp_path / "metadata.csv")
    assert opened(tmp_path).account["unlisted"] == 1


def test_captions_of_file_names_where_they_are_wanted(tmp_path):
    folder_of(tmp_path, ["red_moth-01.png", "blue  butterfly (2).png", "12.png"])
    assert opened(tmp_path).captions is None
    source = opened(tmp_path, caption_column="file_name")
    assert source.captions == ["", "blue butterfly", "red moth"]
    with expect_problem("column_missing", "caption_column") as caught:
        opened(tmp_path, caption_column="colour")
    assert "file_name" in problem_text(caught.value)


# ---- labels ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["cat/1.png", "dog/1.png", "loose.png"], ["cat", "dog", None]),
        (["set/cat/a/1.png", "set/dog/b/1.png"], ["cat", "dog"]),
        (["cat/1.png", "cat/2.png"], [None, None]),
        (["x/cat/1.png", "x/dog/1.png", "x/2.png"], ["cat", "dog", None]),
        (["1.png"], [None]),
    ],
)
def test_labels_of_folders(names, labels):
    assert folder_labels(sorted(names)) == [dict(zip(names, labels, strict=True))[name] for name in sorted(names)]


def test_metadata_adds_to_the_labels_of_folders(tmp_path):
    folder_of(tmp_path, ["cat/1.png", "cat/2.png", "dog/1.png"])
    rows = [{"file_name": name, "text": "a pet"} for name in ("cat/1.png", "cat/2.png", "dog/1.png")]
    metadata(tmp_path, rows)
    assert opened(tmp_path).labels == [0, 0, 1]
    rows[1]["label"] = "tom"
    metadata(tmp_path, rows)
    assert opened(tmp_path).label_names == ("cat", "dog", "tom")
    assert opened(tmp_path, label_column="folder").label_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("cells", "names", "labels"),
    [
        (["0", "", "10", "9"], ("0", "9", "10"), [0, -1, 2, 1]),
        ([1.0, None, 0.0, 1.0], ("0", "1"), [1, -1, 0, 1]),
        ([True, False, True, None], ("False", "True"), [1, 0, 1, -1]),
    ],
)
def test_labels_with_gaps(tmp_path, cells, names, labels):
    folder_of(tmp_path, [f"{k}.png" for k in range(4)])
    metadata(tmp_path, [{"file_name": f"{k}.png", "label": cell} for k, cell in enumerate(cells)])
    source = opened(tmp_path)
    assert (source.label_names, source.labels, source.account["label_gaps"]) == (names, labels, 1)


# ---- names and places --------------------------------------------------------------------------------------------------
def test_strange_names_are_pictures_like_others(tmp_path):
    names = ["__a_by_b__.png", "a::b.png", "c#1?.png", "übergröße 蝶.png", "x[1]*.png", "-dash.png", "no ending"]
    assert sorted(opened(folder_of(tmp_path, names)).names) == sorted(names)


@pytest.mark.parametrize("written", ['"{}"', "'{}'", " {} ", "file://{}", "{}/"])
def test_a_path_as_it_is_copied(tmp_path, written):
    path = folder_of(tmp_path / "my pictures", ["a.png"])
    text = written.format(str(path).replace(" ", "%20") if "file" in written else path)
    assert opened(text).names == ["a.png"]


def test_links(tmp_path):
    folder_of(tmp_path / "far", ["1.png", "2.png"])
    folder_of(tmp_path / "set", ["dog/1.png"])
    os.symlink(tmp_path / "far", tmp_path / "set/cat")
    os.symlink(tmp_path / "nowhere.png", tmp_path / "set/gone.png")
    os.symlink(tmp_path / "set", tmp_path / "set/dog/again")
    source = opened(tmp_path / "set")
    assert source.names == ["cat/1.png", "cat/2.png", "dog/1.png"] and source.label_names == ("cat", "dog")
    assert (source.account["dead_links"], source.account["linked_in_circles"]) == (1, 1)


def test_a_zip_is_opened_as_it_is(tmp_path):
    with zipfile.ZipFile(tmp_path / "my set.zip", "w") as archive:
        for name in ("cat/1.png", "dog/2.png"):
            archive.writestr(name, png())
    assert opened(tmp_path / "my set.zip").label_names == ("cat", "dog")


@pytest.mark.parametrize("encoding", ["gb18030", "shift_jis", "utf-8"])
def test_names_in_a_zip_without_the_flag_for_utf_8(tmp_path, encoding):
    names = [f"{label}/{k}.png" for k, label in enumerate(("蝶", "花", "庭"))]
    raw = {f"{k}{'@' * (len(name.encode(encoding)) - 1)}": name for k, name in enumerate(names)}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for mark in raw:
            archive.writestr(mark, png())
    data = out.getvalue()
    for mark, name in raw.items():
        data = data.replace(mark.encode(), name.encode(encoding))
    (tmp_path / "a.zip").write_bytes(data)
    assert sorted(opened(import_upload([tmp_path / "a.zip"], tmp_path / "up")).names) == sorted(names)


# ---- shards and tables -------------------------------------------------------------------------------------------------
def shard(path, members):
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            data = data.encode() if isinstance(data, str) else data
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_webdataset_shards(tmp_path):
    for k in range(2):
        shard(
            tmp_path / f"{k:04}.tar",
            {
                "a.png": png(noise(seed=k)),
                "a.txt": f"picture {k}",
                "a.cls": str(k),
                "a.npy": b"x",
                "b.seg.png": png(noise(seed=9)),
                "b.json": json.dumps({"caption": "more", "label": 1}),
            },
        )
    source = opened(tmp_path)
    assert source.captions == ["picture 0", "more", "picture 1", "more"] and source.labels == [0, 1, 1, 1]
    assert source.picture(2).tobytes() == Image.fromarray(noise(seed=1)).tobytes()
    assert (source.account["shards"], source.account["lone_members"]) == (2, 2)
    (tmp_path / "0001.tar").write_bytes((tmp_path / "0001.tar").read_bytes()[:700])
    with expect_problem("shard_broken", "dataset_name"):
        opened(tmp_path)


@pytest.mark.parametrize(
    "cell", [lambda data: data, lambda data: {"bytes": data, "path": None}], ids=["bytes", "bytes and path"]
)
def test_pictures_in_a_table_without_their_mark(tmp_path, cell):
    rows = {"n": [1, 2], "photo": [cell(png(noise(seed=k))) for k in range(2)], "texts": [["a", "b"], ["c"]]}
    parquet.write_table(Table.from_pydict(rows), tmp_path / "a.parquet")
    source = opened(tmp_path)
    assert (len(source), source.image_column, source.caption_choices) == (2, "photo", [("a", "b"), ("c",)])
    assert source.picture(1).size == (12, 9) and source.account["lone_columns"] == 1


def test_a_table_names_no_file_outside_its_folder(tmp_path):
    write(tmp_path, {"secret.png": png(), "set/inside.xlsx": png()})
    paths = [str(tmp_path / "secret.png"), "../secret.png", "inside.xlsx"]
    rows = {"image": [{"bytes": None, "path": path} for path in paths]}
    parquet.write_table(Table.from_pydict(rows), tmp_path / "set/a.parquet")
    source = opened(tmp_path / "set")
    assert source.file(2) == str(tmp_path / "set/inside.xlsx")
    for i in range(2):
        with pytest.raises(decode.UnusableImage, match="missing"):
            source.file(i)


@pytest.mark.parametrize(("split", "names"), [("train[:1]", ["a"]), ("train[50%:]", ["b"]), ("train[-1:]", ["b"])])
def test_slices_of_a_folder(tmp_path, split, names):
    assert opened(folder_of(tmp_path, ["a.png", "b.png"]), split=split).names == [f"{name}.png" for name in names]
    folder_of(tmp_path / "split", ["train/a.png", "train/b.png", "test/c.png"])
    assert opened(tmp_path / "split", split=split).names == [f"train/{name}.png" for name in names]
    with expect_problem("split_slice", "split"):
        opened(tmp_path, split="train[:x]")


# ---- the account -------------------------------------------------------------------------------------------------------
def contents(kind: str) -> bytes:
    """A file of each ending: what it says it is, as far as it matters here."""
    if kind in ("png", "jpg", "jfif", "webp", "gif", "bmp", "tif", "avif", "heic", "jxl", "jp2", "ico"):
        formats = {"jpg": "JPEG", "jfif": "JPEG", "tif": "TIFF", "heic": "HEIF", "jp2": "JPEG2000"}
        out = io.BytesIO()
        Image.fromarray(noise(32, 32)).save(out, formats.get(kind, kind.upper()))
        return out.getvalue()
    if kind == "json":
        return b'{"tags": ["x"]}'
    if kind == "csv":
        return b"a,b\n1,2\n"
    return b"" if kind == "empty" else b"words"


KINDS = (
    "png jpg jfif webp gif bmp tif avif heic jxl jp2 ico txt caption csv tsv jsonl json parquet zip rar mp4 mov svg psd pdf cr2 md"
    " py html empty DS_Store docx npy"
).split()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("way", ["folder", "zip", "upload"])
def test_every_file_is_accounted_for(tmp_path, seed, way):
    draw = random.Random(seed)
    files = {"first.png": contents("png"), ".hidden": b"x", "__MACOSX/._a.png": b"x"}
    for k in range(40):
        kind = draw.choice(KINDS)
        place = draw.choice(["", "cat/", "dog/", "cat/deep/"])
        files[f"{place}{draw.choice(['a', 'b', k])}.{kind}"] = contents(kind) if draw.random() < 0.8 else b"junk"
    files = {name: data for name, data in files.items() if not name.endswith((".jsonl", "metadata.json"))}
    if way == "folder":
        path = write(tmp_path / "set", files)
    else:
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        path = tmp_path / "set.zip"
        path = import_upload([path], tmp_path / "up") if way == "upload" else path
    pictures = load(settings(path))
    assert pictures.account.files(decode.REASONS) == len(files)
    assert len(pictures) == pictures.account["pictures"]
    for line in pictures.account:
        for lang in LANGUAGES:
            assert str(line.count) in line.text(lang) or line.count == 1 or line.code == "mirrored", line


def test_every_line_has_words_with_and_without_plural():
    codes = {*account.USED, *account.NOT_USED, *account.INFORMATION, *decode.REASONS}
    for lang in LANGUAGES:
        assert not [code for code in codes if f"notice.data_{code}" not in text_table(lang)]


def test_what_happens_to_pixels_is_counted(tmp_path):
    out = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(out, "GIF", save_all=True, append_images=[Image.new("RGB", (8, 8), "blue")])
    deep, clear = np.full((16, 16), 4000, np.uint16), np.zeros((40, 16, 4), np.uint8)
    write(tmp_path, {"a.gif": out.getvalue(), "b.png": png(deep), "c.png": png(clear), "d.png": png(noise(16, 16))})
    write(tmp_path, {"e.png": png(noise(16, 16)), "f.heic": b"\0\0\0\x18ftypheic"})
    found = load(settings(tmp_path, background="black"))
    counts = {line.code: line.count for line in found.account}
    expected = dict(
        pictures=5, broken=1, frames=1, deep=1, transparent=1, small=1, squashed_squash=1, equal=1, mirrored=5
    )
    assert counts == expected
    assert found.images[1].min() > 240 and found.images[2].max() == 0
    assert "mirrored" not in {line.code for line in load(settings(tmp_path, random_flip=False)).account}


def test_a_table_of_a_thousand_pictures_is_read_in_one_pass(tmp_path, monkeypatch):
    """What a table means is looked up, not searched for: a hundred thousand pictures stay quick."""
    names = [f"{k}.png" for k in range(1000)]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with open(tmp_path / "metadata.csv", "w", newline="") as file:
        csv.writer(file).writerows([("file_name", "text"), *((name, "x") for name in names)])
    calls = []
    meant = beside.PictureIndex.meant
    monkeypatch.setattr(beside.PictureIndex, "meant", lambda *arguments: calls.append(1) or meant(*arguments))
    assert len(opened(tmp_path)) == 1000 and len(calls) <= 1000 + beside.ROWS_TRIED
