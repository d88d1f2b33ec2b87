import json
import os
import subprocess
import sys
import zipfile

import datasets
import pytest
from kits.pictures import cache_dir, folder_of, metadata, noise, png, settings, specimens  # noqa: F401
from kits.problems import expect_problem
from PIL import Image
from pyarrow import parquet

from ddpm_app.data import cache, folder, image_source, open_source
from ddpm_app.data.open_source import originals
from ddpm_app.errors import Stopped
from ddpm_app.i18n import problem_text
from ddpm_app.specimens import collection


def problem_of(code, field="dataset_name", **values) -> str:
    """Opening must fail with this problem; returns its words."""
    with expect_problem(code, field) as caught:
        originals(settings(**values))
    return problem_text(caught.value)


def lines(source) -> dict[str, int]:
    """The counts of a source's account."""
    return {line.code: line.count for line in source.account}


def test_a_flat_folder(tmp_path):
    source = originals(settings(folder_of(tmp_path / "pics", ["b.png", "a.png"])))
    assert (len(source), source.names, source.labels, source.captions) == (2, ["a.png", "b.png"], None, None)
    assert (source.kind, source.image_column, lines(source)) == ("folder", "image", {"pictures": 2})


def test_sub_folders_become_labels(tmp_path):
    source = originals(settings(folder_of(tmp_path, ["cats/1.png", "cats/2.png", "dogs/1.png"])))
    assert (source.labels, source.label_names, source.names) == (
        [0, 0, 1],
        ("cats", "dogs"),
        ["cats/1.png", "cats/2.png", "dogs/1.png"],
    )


def test_a_folder_with_strange_characters_and_split_words_in_file_names(tmp_path):
    folder = folder_of(tmp_path / "my [best] *pics? äö", ["test-1.png", "validation_2.PNG", "3 x.png"])
    assert len(originals(settings(folder))) == 3


def test_sub_folders_named_like_splits_are_splits(tmp_path):
    folder_of(tmp_path, ["train/a.png", "train/b.png", "test/c.png"])
    source = originals(settings(tmp_path))
    assert (source.names, lines(source)["other_split"]) == (["train/a.png", "train/b.png"], 1)
    assert originals(settings(tmp_path, split="test")).names == ["test/c.png"]
    assert "test, train" in problem_of("split_missing", "split", dataset_name=tmp_path, split="val")


def test_a_label_named_train_loses_nothing(tmp_path):
    source = originals(settings(folder_of(tmp_path, ["train/a.png", "bus/b.png"])))
    assert source.label_names == ("bus", "train")


def test_a_slice_of_a_split(tmp_path):
    assert originals(
        settings(folder_of(tmp_path, ["a.png", "b.png", "c.png", "d.png"]), split="train[:50%]")
    ).names == ["a.png", "b.png"]


def test_captions_of_a_metadata_file_and_unlisted_pictures(tmp_path):
    folder_of(tmp_path, ["a.png", "b.png", "c.png"])
    metadata(tmp_path, [{"file_name": "a.png", "text": "red"}, {"file_name": "b.png", "text": None}])
    source = originals(settings(tmp_path))
    assert (source.names, source.captions, lines(source)["unlisted"]) == (["a.png", "b.png"], ["red", ""], 1)


def test_a_metadata_file_that_names_no_file_there(tmp_path):
    folder_of(tmp_path, ["a.png"])
    metadata(tmp_path, [{"file_name": "a.png", "text": "x"}, {"file_name": "gone.png", "text": "y"}])
    source = originals(settings(tmp_path))
    assert (source.names, lines(source)["lone_rows"]) == (["a.png"], 1)
    (tmp_path / "a.png").unlink()
    with expect_problem("picture_unfit") as caught:
        source.picture(0)
    assert caught.value.values == {"name": "a.png", "reason": "missing"} and source.sizes() == []


@pytest.mark.parametrize("name", ["../secret.png", "{0}/secret.png", "../pics-2/b.png"])
def test_a_metadata_file_cannot_reach_outside_its_folder(tmp_path, name):
    folder_of(tmp_path, ["secret.png", "pics/a.png", "pics-2/b.png"])
    metadata(tmp_path / "pics", [{"file_name": name.format(tmp_path), "text": ""}])
    source = originals(settings(tmp_path / "pics"))
    assert (source.names, lines(source)["lone_tables"]) == (["a.png"], 1)


@pytest.mark.parametrize("text", ["\n{broken", "\n[]"])
def test_a_broken_metadata_file_is_one_clear_line(tmp_path, text):
    folder_of(tmp_path, ["a.png"])
    (tmp_path / "metadata.jsonl").write_text(text)
    words = problem_of("table_unreadable", None, dataset_name=tmp_path)
    assert "metadata.jsonl" in words and "line 2" in words


def test_a_changed_folder_is_read_anew(tmp_path):
    folder_of(tmp_path / "pics", ["a.png", "b.png"])
    fingerprints = {originals(settings(tmp_path / "pics")).fingerprint}
    folder_of(tmp_path / "pics", ["c.png"])
    grown = originals(settings(tmp_path / "pics"))
    assert len(grown) == 3
    fingerprints.add(grown.fingerprint)
    (tmp_path / "pics/a.png").unlink()
    assert originals(settings(tmp_path / "pics")).names == ["b.png", "c.png"]
    (tmp_path / "pics/b.png").rename(tmp_path / "pics/a.png")
    fingerprints.add(originals(settings(tmp_path / "pics")).fingerprint)
    for size in (50, 60):
        (tmp_path / "pics/a.png").write_bytes(bytes(size))
        os.utime(tmp_path / "pics/a.png", ns=(1, 1))
        fingerprints.add(originals(settings(tmp_path / "pics")).fingerprint)
    assert len(fingerprints) == 5


def test_a_changed_caption_of_the_same_length_is_seen(tmp_path):
    folder_of(tmp_path, ["a.png"])
    for text in ("red", "sea"):
        metadata(tmp_path, [{"file_name": "a.png", "text": text}])
        assert originals(settings(tmp_path)).captions == [text]


def test_an_unchanged_folder_is_prepared_once(tmp_path, monkeypatch):
    folder_of(tmp_path / "pics", ["a.png"])
    first = originals(settings(tmp_path / "pics"))
    monkeypatch.setattr(folder, "read", None)
    assert originals(settings(tmp_path / "pics")).fingerprint == first.fingerprint


def test_a_folder_of_parquet_files(tmp_path):
    source = originals(settings(specimens(tmp_path / "train.parquet").parent))
    assert (len(source), source.label_names, source.captions[0], source.held_out) == (
        12,
        ("a", "b"),
        "butterfly 0",
        None,
    )
    assert source.picture(3).tobytes() == Image.fromarray(noise(seed=3)).tobytes()
    assert source.names[3] == "3"


def test_the_built_in_set_keeps_its_own_rows_out(tmp_path, monkeypatch):
    monkeypatch.setattr(open_source, "BUILT_IN_FILE", specimens(tmp_path / "x [1].parquet"))
    source = originals(settings("butterflies"))
    assert (source.kind, source.held_out, source.label_names) == ("built-in", [0, 1, 2], ("a", "b"))


@pytest.fixture
def few_drawn(monkeypatch):
    """The set that is drawn on first use has 16 specimens at 24 px; holds how often it was drawn."""
    write, drawn = collection.write_parquet, []

    def few(path, size, progress):
        drawn.append(size)
        write(path, 24, progress, count=16)

    monkeypatch.setattr(collection, "write_parquet", few)
    return drawn


def test_the_large_built_in_set_is_drawn_once(few_drawn):
    reports = []
    source = originals(settings("butterflies-256"), lambda *report: reports.append(report))
    assert few_drawn == [256] and reports == [("draw", k, 16) for k in range(16)]
    assert (source.kind, len(source), source.held_out, len(source.label_names)) == ("built-in", 16, [7, 15], 16)
    assert sorted(source.labels) == list(range(16)) and all(source.captions)
    assert len(originals(settings("butterflies-256"))) == 16 and few_drawn == [256]
    cache.clear_cache()
    assert originals(settings("butterflies-256")).file(3) == source.file(3) and few_drawn == [256, 256]


def test_stopped_while_drawing_leaves_nothing(few_drawn, cache_dir):  # noqa: F811
    calls = []
    with pytest.raises(Stopped):
        originals(settings("butterflies-256"), None, lambda: calls.append(1) or len(calls) > 3)
    assert not [path for path in (cache_dir / "drawn").iterdir() if path.is_dir()]
    assert len(originals(settings("butterflies-256"))) == 16


def test_the_large_set_has_the_specimens_of_the_small_one(tmp_path):
    """Row by row as in the shipped file. Captions are measured on the picture: a mark that is just visible may be told of at one size alone."""
    collection.write_parquet(tmp_path / "drawn.parquet", 24, lambda done, count: None, count=20)
    drawn, shipped = (
        parquet.read_table(file, columns=["species", "split", "caption"]).slice(0, 20).to_pydict()
        for file in (tmp_path / "drawn.parquet", open_source.BUILT_IN_FILE)
    )
    assert (drawn["species"], drawn["split"]) == (shipped["species"], shipped["split"])
    assert sum(a == b for a, b in zip(drawn["caption"], shipped["caption"], strict=True)) >= 19


def test_a_label_column_of_strings_needs_no_naming(tmp_path):
    folder_of(tmp_path, ["a.png", "b.png", "c.png", "d.png"])
    metadata(
        tmp_path,
        [
            {"file_name": f"{name}.png", "label": label}
            for name, label in zip("abcd", ("moth", "", "bee", "moth"), strict=True)
        ],
    )
    source = originals(settings(tmp_path))
    assert (source.labels, source.label_names) == ([1, -1, 0, 1], ("bee", "moth"))


def test_named_columns(tmp_path):
    specimens(tmp_path / "train.parquet")
    source = originals(settings(tmp_path, label_column="split", caption_column="split", image_column="image"))
    assert (
        source.label_names == ("held-out", "train")
        and source.labels[2:4] == [0, 1]
        and source.captions[0] == "held-out"
    )


@pytest.mark.parametrize("field", ["image_column", "label_column", "caption_column"])
def test_a_missing_column_is_named_with_those_there(tmp_path, field):
    specimens(tmp_path / "train.parquet")
    words = problem_of("column_missing", field, dataset_name=tmp_path, **{field: "colour"})
    assert field in words and "'colour'" in words and "image, species, caption, split" in words


@pytest.mark.parametrize(
    ("field", "column"), [("image_column", "caption"), ("label_column", "weight"), ("caption_column", "species")]
)
def test_a_column_of_the_wrong_kind(tmp_path, field, column):
    specimens(tmp_path / "train.parquet", weight=[0.5] * 12)
    problem_of("column_type", field, dataset_name=tmp_path, **{field: column})


def test_no_column_of_pictures(tmp_path):
    datasets.Dataset.from_dict({"n": [1, 2]}).to_parquet(tmp_path / "train.parquet")
    assert "n" in problem_of("no_image_column", "image_column", dataset_name=tmp_path)


def test_a_parquet_file_that_is_none(tmp_path, cache_dir):  # noqa: F811
    (tmp_path / "train.parquet").write_bytes(b"PAR1 nothing")
    problem_of("dataset_unreadable", dataset_name=tmp_path)
    assert not list(cache_dir.rglob("*.arrow"))


def test_empty_folders(tmp_path):
    problem_of("no_pictures", dataset_name=tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden.png").write_bytes(png())
    words = problem_of("no_pictures_but", dataset_name=tmp_path)
    assert "notes.txt" in words and ".hidden.png" in words


@pytest.mark.parametrize("name", ["/no/such/folder", "./pics", "~/no-such-folder-here", "pics/", "a/b/c", "C:\\pics"])
def test_what_looks_like_a_path_is_a_missing_folder(name):
    problem_of("folder_missing", dataset_name=name)


@pytest.mark.parametrize("name", ["no such", "weird?name", "imagefolder", "parquet", "a" * 97])
def test_what_can_be_no_hub_id_is_not_looked_for(name):
    problem_of("dataset_not_found", dataset_name=name)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"x")
    problem_of("dataset_is_file", dataset_name=tmp_path / "a.zip")


def test_home_and_relative_folders(tmp_path, monkeypatch):
    folder_of(tmp_path / "pics", ["a.png"])
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert len(originals(settings("~/pics"))) == len(originals(settings("pics"))) == 1


def test_thumbnails_and_sizes(tmp_path, monkeypatch):
    folder_of(tmp_path, ["a.png", "b.png", "c.png"], width=40, height=20)
    (tmp_path / "b.png").write_bytes(b"junk")
    source = originals(settings(tmp_path))
    assert source.thumbnail(0, 10).size == (10, 5)
    assert source.sizes() == [(40, 20)] * 2
    monkeypatch.setattr(image_source, "SIZES_READ", 1)
    assert len(source.sizes()) == 1


def test_labels_and_captions_need_no_decoding(tmp_path):
    folder_of(tmp_path, ["x/a.png", "y/b.png"])
    for file in tmp_path.rglob("*.png"):
        file.write_bytes(b"junk")
    assert originals(settings(tmp_path)).labels == [0, 1]


def test_a_linked_folder_of_pictures_is_followed(tmp_path):
    folder_of(tmp_path / "real", ["a.png"])
    (tmp_path / "pics").mkdir()
    os.symlink(tmp_path / "real/a.png", tmp_path / "pics/link.png")
    assert originals(settings(tmp_path / "pics")).picture(0).size == (12, 9)


def test_the_page_needs_no_torch_to_browse(tmp_path):
    folder_of(tmp_path / "pics", ["a.png"])
    code = (
        "import sys; from ddpm_app.data import cache, upload; assert not {'torch', 'datasets'} & sys.modules.keys();"
        "from ddpm_app.config import from_dict; from ddpm_app.data.open_source import originals;"
        "print(len(originals(from_dict({'dataset_name': sys.argv[1]})))); assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path / "pics")], capture_output=True, text=True
    )
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr


def test_a_folder_of_other_tables(tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps({"n": 1}))
    assert "rows.jsonl" in problem_of("no_pictures_but", dataset_name=tmp_path)


def test_a_zip_inside_a_folder_is_not_opened(tmp_path):
    with zipfile.ZipFile(tmp_path / "more.ZIP", "w") as archive:
        archive.writestr("b.png", png())
    assert "more.ZIP" in problem_of("no_pictures_but", dataset_name=tmp_path)
    folder_of(tmp_path, ["a.png", "b.JPG"])
    assert originals(settings(tmp_path)).names == ["a.png", "b.JPG"]
    metadata(tmp_path, [{"file_name": name, "text": name} for name in ("a.png", "b.JPG")])
    source = originals(settings(tmp_path))
    assert (source.names, source.captions) == (["a.png", "b.JPG"], ["a.png", "b.JPG"]) and lines(source)[
        "archives"
    ] == 1
    assert originals(settings(tmp_path / "more.ZIP")).names == ["b.png"]


def test_a_folder_that_links_to_itself(tmp_path):
    folder_of(tmp_path, ["a.png"])
    os.symlink(tmp_path, tmp_path / "again")
    assert originals(settings(tmp_path)).names == ["a.png"]
