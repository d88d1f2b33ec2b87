"""Which files of a Hub set a split needs, and that the rows of a part are those that the whole set would give."""

import types

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from datasets.data_files import DataFilesDict, DataFilesList
from kits.pictures import cache_dir  # noqa: F401
from kits.problems import expect_problem

from ddpm_app.data import hub_part

SIZES = {"train": (5, 7, 6), "test": (4,)}
"""Rows of each file."""
COUNTS = {"train": 18, "test": 4}
ALL = (0, 1, 2)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The set's parquet files by split; the rows of a split are numbered."""
    folder, files = tmp_path_factory.mktemp("tables"), {}
    for split, sizes in SIZES.items():
        files[split] = [str(folder / f"{split}-{k}.parquet") for k in range(len(sizes))]
        first = 0 if split == "train" else 100
        for file, size in zip(files[split], sizes, strict=True):
            pyarrow.parquet.write_table(pyarrow.table({"number": range(first, first + size)}), file)
            first += size
    return files


def described(tables, counts=None, kind="parquet"):
    """What ``choose`` reads of a builder."""
    files = DataFilesDict({name: DataFilesList(paths, []) for name, paths in tables.items()})
    splits = counts and {name: types.SimpleNamespace(num_examples=count) for name, count in counts.items()}
    return types.SimpleNamespace(
        name=kind,
        cache_dir="/nowhere",
        config=types.SimpleNamespace(data_files=files, name="default"),
        info=types.SimpleNamespace(splits=splits),
    )


@pytest.mark.parametrize(
    ("split", "counts", "needed"),
    [
        ("train", None, {"train": ALL}),
        ("test", None, {"test": (0,)}),
        ("train+test", None, None),
        ("test + train", None, None),
        ("train[:0]", None, {"train": (0,)}),
        ("train[:5]", None, {"train": (0,)}),
        ("train[:6]", None, {"train": (0, 1)}),
        ("train[3:1_2]", None, {"train": (0, 1)}),
        ("train[3:]", None, {"train": ALL}),
        ("train[:-17]", None, {"train": ALL}),
        ("train[:99]", None, {"train": ALL}),
        ("train[-6:]", None, {"train": (2,)}),
        ("train[-7:-2]", None, {"train": (1, 2)}),
        ("train[:2]+train[4:6]", None, {"train": (0, 1)}),
        ("train[:2]+train[-2:]", None, {"train": ALL}),
        ("train[:2]+test", None, {"train": (0,), "test": (0,)}),
        ("train[:20%]", None, {"train": ALL}),
        ("train[:20%]", COUNTS, {"train": (0,)}),
        ("train[40%:50%]", COUNTS, {"train": (0, 1)}),
    ],
)
def test_the_files_that_a_split_needs(tables, split, counts, needed):
    part = hub_part.choose(described(tables, counts), split)
    files = part and {name: [tables[name].index(file) for file in files] for name, files in part.files.items()}
    assert files == (needed and {name: list(numbers) for name, numbers in needed.items()})


def test_pictures_are_taken_by_whole_splits(tables):
    """The labels of a class that begins beyond the slice would be missing."""
    part = hub_part.choose(described(tables, kind="imagefolder"), "train[:1]")
    assert list(part.files) == ["train"] and len(part.files["train"]) == 3


def test_a_whole_set_that_lies_here_is_taken(tables, tmp_path):
    (tmp_path / datasets.config.DATASET_INFO_FILENAME).touch()
    builder = described(tables)
    builder.cache_dir = str(tmp_path)
    assert hub_part.choose(builder, "train[:1]") is None


@pytest.mark.parametrize("split", ["", "train[", "train[1:2:3]", "train[a:]", "train++test"])
def test_what_is_no_split(split):
    with expect_problem("split_unreadable", "split"):
        hub_part.split_names(split)


def numbers(folder, split):
    info = datasets.DatasetInfo.from_directory(folder)
    ranges = hub_part.row_ranges(info, split, folder)
    return [
        n for file, first, count in ranges for n in datasets.Dataset.from_file(file)[first : first + count]["number"]
    ]


@pytest.fixture
def make(tables, tmp_path, cache_dir):  # noqa: F811
    """Prepares the part that a split needs, as a Hub set's: where it lies, and the split to read there."""

    def make(split):
        builder = datasets.load_dataset_builder("parquet", data_files=tables, cache_dir=str(tmp_path))
        part = hub_part.prepare(builder, hub_part.choose(builder, split), ("me/set", None), split)
        return part["folder"], part["slices"]

    datasets.disable_progress_bars()
    return make


def expected(split):
    """What Python says."""
    rows = {"train": list(range(18)), "test": list(range(100, 104))}
    return eval(split.replace("train", "rows['train']").replace("test", "rows['test']"), {"rows": rows})


@pytest.mark.parametrize("split", ["test", "train[2:6]", "train[-7:-2]", "train[:2]+train[4:6]+test[1:]"])
def test_a_part_gives_the_rows_of_the_whole(make, split):
    assert numbers(*make(split)) == expected(split)


def test_a_part_is_found_again_by_whatever_it_holds(make):
    make("train[:6]")
    for split in ("train[:6]", "train[2:4]", "train[:1]+train[:3]"):
        part = hub_part.find(("me/set", None), split)
        assert numbers(part["folder"], part["slices"]) == expected(split)
    for hub_set, split in (
        (("me/set", None), "train"),
        (("me/set", None), "train[:7]"),
        (("me/set", None), "train[-1:]"),
        (("me/set", None), "test"),
        (("me/set", "birds"), "train[:6]"),
        (("me/other", None), "train[:6]"),
    ):
        assert hub_part.find(hub_set, split) is None, (hub_set, split)


def test_the_rows_of_a_set_in_several_arrow_files(make, monkeypatch):
    monkeypatch.setattr(datasets.config, "MAX_SHARD_SIZE", 50)
    folder, _ = make("train")
    assert len(hub_part.row_ranges(datasets.DatasetInfo.from_directory(folder), "train", folder)) > 1
    for split in ("train", "train[4:15]"):
        assert numbers(folder, split) == expected(split)
