import io
import json
import os
import pathlib
import subprocess
import sys
import threading

import numpy as np
import pytest
import sklearn.datasets
import torch
from kits import ROOT
from kits.pictures import cache_dir, folder_of, noise, png, settings, specimens  # noqa: F401
from kits.problems import expect_problem
from PIL import Image

from ddpm_app.data import cache, decode, image_dataset, open_source
from ddpm_app.data.image_dataset import load
from ddpm_app.errors import Problem, Stopped
from ddpm_app.i18n import problem_text


def many(root, count=30):
    return folder_of(root, [f"{i:03}.png" for i in range(count)])


def entries(kind="pictures"):
    return sorted(path.name for path in (cache.cache_folder() / kind).iterdir() if path.is_dir())


def test_shapes_types_and_names(tmp_path):
    pictures = load(settings(folder_of(tmp_path, ["a/1.png", "b/1.png", "b/2.png"])))
    assert (pictures.images.shape, pictures.images.dtype, len(pictures)) == ((3, 16, 16, 3), np.uint8, 3)
    assert isinstance(pictures.images, np.memmap) and not pictures.images.flags.writeable
    assert (pictures.labels, pictures.label_names, pictures.captions, pictures.rejected) == (
        [0, 1, 1],
        ("a", "b"),
        None,
        [],
    )
    assert pictures.source == {"kind": "folder", "name": str(tmp_path), "license": ""}
    assert pictures[1]["images"].shape == (3, 16, 16)
    batch = pictures.tensors([2, 0, 2], [True, False, False])
    assert batch.shape == (3, 3, 16, 16) and batch.dtype == torch.float32 and batch.is_contiguous()
    assert torch.equal(batch[0].flip(-1), batch[2])


def test_one_channel(tmp_path):
    pictures = load(settings(folder_of(tmp_path, ["a.png"]), channels=1))
    assert pictures.images.shape == (1, 16, 16, 1) and pictures.tensors([0]).shape == (1, 1, 16, 16)


def test_broken_pictures_are_left_out_and_named(tmp_path):
    folder_of(tmp_path, [f"{label}/{i}.png" for label in "ab" for i in range(6)])
    (tmp_path / "a/2.png").write_bytes(png()[:-30])
    (tmp_path / "b/0.png").write_bytes(b"")
    pictures = load(settings(tmp_path))
    assert pictures.rejected == [("a/2.png", "broken"), ("b/0.png", "broken")]
    assert len(pictures) == len(pictures.labels) == len(pictures.names) == 10 and "a/2.png" not in pictures.names
    assert pictures.labels == [0] * 5 + [1] * 5
    assert all(np.array_equal(pictures.images[i], load(settings(tmp_path)).images[i]) for i in range(10))
    for _, reason in pictures.rejected:
        assert problem_text(Problem("picture_unfit", name="x", reason=reason))


def test_all_broken_is_one_clear_line(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.png").write_bytes(b"junk")
    with expect_problem("all_left_out") as caught:
        load(settings(tmp_path))
    assert "2 pictures" in problem_text(caught.value) and "a.png" in problem_text(caught.value)
    assert entries() == []


def test_rows_without_a_picture_are_left_out(tmp_path):
    import datasets

    rows = {"image": [{"bytes": png(), "path": None}, None], "text": ["x", "y"]}
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "train.parquet")
    pictures = load(settings(tmp_path))
    assert (pictures.rejected, pictures.captions) == ([("1", "missing")], ["x"])


def test_a_second_load_decodes_nothing(tmp_path, monkeypatch):
    many(tmp_path)
    first = load(settings(tmp_path))
    monkeypatch.setattr(decode, "read", None)
    again = load(settings(tmp_path))
    assert again.cache_path == first.cache_path and again.fingerprint == first.fingerprint
    assert np.array_equal(again.images, first.images)


def test_what_changes_the_pixels_changes_the_cache(tmp_path):
    many(tmp_path, 3)
    load(settings(tmp_path))
    for change in ({"image_size": 32}, {"resize_mode": "crop"}, {"resize_mode": "pad"}, {"channels": 1}):
        load(settings(tmp_path, **change))
    load(settings(tmp_path, validation_share=0.3, seed=4, learning_rate=0.5))
    assert len(entries()) == 5


def test_a_replaced_picture_is_decoded_anew(tmp_path):
    folder_of(tmp_path, ["a.png", "b.png"])
    before = load(settings(tmp_path))
    (tmp_path / "a.png").write_bytes(png(noise(seed=77)))
    os.utime(tmp_path / "a.png", ns=(5, 5))
    after = load(settings(tmp_path))
    assert before.fingerprint != after.fingerprint
    assert not np.array_equal(before.images[0], after.images[0]) and np.array_equal(before.images[1], after.images[1])


def test_the_fingerprint_is_of_the_pixels_not_of_the_place(tmp_path):
    assert load(settings(many(tmp_path / "a"))).fingerprint == load(settings(many(tmp_path / "b"))).fingerprint


def test_progress_counts_every_picture(tmp_path):
    reports = []
    load(settings(many(tmp_path)), progress=lambda *report: reports.append(report))
    counts = [done for phase, done, total in reports if phase == "decode" and total == 30]
    assert counts == sorted(counts) and counts[-1] == 30 and len(counts) > 2


@pytest.mark.parametrize("after", [0, 1, 7])
def test_stop_ends_decoding_within_a_few_pictures(tmp_path, monkeypatch, after):
    many(tmp_path, 200)
    read, done = decode.read_marked, []
    monkeypatch.setattr(decode, "read_marked", lambda *a: (done.append(1), read(*a))[1])
    with pytest.raises(Stopped):
        load(settings(tmp_path), cancelled=lambda: len(done) > after)
    assert len(done) <= after + 1 + image_dataset.DECODERS and entries() == []
    monkeypatch.undo()


def test_a_killed_build_is_ignored_and_cleaned(tmp_path):
    config = settings(many(tmp_path / "pics", 40))
    path = load(config).cache_path
    cache.clear_cache()
    code = (
        "import sys, pathlib; from ddpm_app.data import cache; path = pathlib.Path(sys.argv[1])\n"
        "def build():\n    (path / 'pixels.npy').write_bytes(bytes(999))\n    print('building', flush=True)\n    sys.stdin.read()\n"
        "cache.make(path, build)"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    child = subprocess.Popen([sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
    assert child.stdout.readline() == b"building\n"
    cache.clear_cache()
    assert entries() == [path.name]  # what is being built is left alone
    child.kill()
    child.communicate()
    assert not (path / cache.META).exists() and (path / "pixels.npy").exists()
    pictures = load(config)
    assert (len(pictures), pictures.cache_path, entries()) == (40, path, [path.name]) and pictures.images[39].any()


def test_two_builders_at_once_make_one_cache(tmp_path):
    many(tmp_path, 60)
    read, results, lock = decode.read_marked, [], threading.Barrier(3)

    def build():
        lock.wait()
        results.append(load(settings(tmp_path)))

    count = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "read_marked", lambda *a: (count.append(1), read(*a))[1])
        threads = [threading.Thread(target=build) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(count) == 60 and len(entries()) == 1
    assert len(results) == 3 and all(np.array_equal(other.images, results[0].images) for other in results)


def test_stop_works_while_another_builds(tmp_path):
    config = settings(many(tmp_path))
    path = load(config).cache_path
    cache.clear_cache()
    with cache.entry_lock(path), pytest.raises(Stopped):
        answers = iter([False] * 3)
        load(config, cancelled=lambda: next(answers, True))


def test_a_full_disk_names_the_folder_and_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource", reason="needs Unix limits")
    config = settings(many(tmp_path), image_size=128)
    open_source.originals(config)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with expect_problem("cache_unwritable") as caught:
            load(config)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(cache.cache_folder()) in problem_text(caught.value)
    assert entries() == []
    assert len(load(config)) == 30


def test_a_cache_folder_that_is_a_file(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("DDPM_CACHE", str(tmp_path / "file"))
    with expect_problem("cache_unwritable"):
        load(settings(many(tmp_path / "pics", 2)))


def test_listing_and_clearing(tmp_path):
    pictures = load(settings(many(tmp_path / "pics")))
    listed = cache.caches()
    assert [what for _, _, what in listed] == [f"{tmp_path}/pics: 30 x 16 px, squash, 3", f"{tmp_path}/pics"]
    assert listed[0][0] == str(pictures.cache_path) and listed[0][1] >= pictures.images.nbytes
    assert cache.clear_cache() == sum(size for _, size, _ in listed)
    assert cache.caches() == [] and pictures.tensors([0]).shape == (1, 3, 16, 16)  # what is open goes on
    assert len(load(settings(tmp_path / "pics"))) == 30


def test_what_windows_does_not_let_go_stays_whole_and_is_not_counted(tmp_path, monkeypatch):
    """There a folder with an open file can't be renamed or removed."""
    pictures = load(settings(many(tmp_path / "pics")))
    rename = pathlib.Path.rename

    def refuse(path, target):
        if path == pictures.cache_path:
            raise PermissionError(13, "The process cannot access the file", str(path))
        return rename(path, target)

    monkeypatch.setattr(pathlib.Path, "rename", refuse)
    listed = {path: size for path, size, _ in cache.caches()}
    assert cache.clear_cache() == sum(listed.values()) - listed[str(pictures.cache_path)]
    assert entries() == [pictures.cache_path.name] and entries("sources") == []
    assert load(settings(tmp_path / "pics")).fingerprint == pictures.fingerprint


@pytest.mark.parametrize(
    ("count", "share", "held"), [(40, 0.05, 2), (12, 0.01, 1), (10, 0.5, 5), (9, 0.5, 0), (1, 0.5, 0), (40, 0.0, 0)]
)
def test_held_out_pictures(tmp_path, count, share, held):
    pictures = load(settings(many(tmp_path, count), validation_share=share))
    assert len(pictures.held_out) == held
    assert sorted([*pictures.train, *pictures.held_out]) == list(range(count)) and list(pictures.train) == sorted(
        pictures.train
    )


def test_held_out_pictures_follow_the_seed(tmp_path):
    many(tmp_path, 60)
    drawn = [tuple(load(settings(tmp_path, validation_share=0.2, seed=seed)).held_out) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(("samples", "left"), [(8, 8), (1, 1), (54, 54), (60, 54), (None, 54)])
def test_only_some_training_pictures(tmp_path, samples, left):
    """What is held out stays the same, and the seed chooses among the rest."""
    many(tmp_path, 60)
    whole, pictures, other = (
        load(settings(tmp_path, validation_share=0.1, max_train_samples=most, seed=seed))
        for most, seed in ((None, 3), (samples, 3), (samples, 4))
    )
    assert (
        len(pictures.train) == left
        and set(pictures.train) <= set(whole.train)
        and list(pictures.train) == sorted(pictures.train)
    )
    assert (
        pictures.held_out.tolist() == whole.held_out.tolist()
        and len(pictures) == 60
        and pictures.cache_path == whole.cache_path
    )
    assert (other.train.tolist() == pictures.train.tolist()) == (
        False if left < 54 else other.held_out.tolist() == pictures.held_out.tolist()
    )
    assert (
        load(settings(tmp_path, validation_share=0.1, max_train_samples=samples, seed=3)).train.tolist()
        == pictures.train.tolist()
    )


@pytest.mark.parametrize(("share", "held"), [(0.05, [0, 1, 2]), (0.0, [])])
def test_the_built_in_sets_own_rows_are_never_trained_on(tmp_path, monkeypatch, share, held):
    monkeypatch.setattr(open_source, "BUILT_IN_FILE", specimens(tmp_path / "butterflies.parquet"))
    pictures = load(settings("butterflies", validation_share=share))
    assert pictures.train.tolist() == list(range(3, 12)) and pictures.held_out.tolist() == held
    assert pictures.held_out.dtype.kind == "i" and pictures.tensors(pictures.held_out).shape == (len(held), 3, 16, 16)


@pytest.mark.parametrize("channels", [1, 3])
def test_digits_of_odd_sizes_with_a_broken_one(tmp_path, channels):
    digits = sklearn.datasets.load_digits()
    for i in range(60):
        picture = Image.fromarray((digits.images[i] * 15).astype(np.uint8))
        path = tmp_path / str(digits.target[i]) / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        picture.resize((8 + i % 13, 8 + i % 7)).save(path)
    (tmp_path / "0/broken.png").write_bytes(png()[:40])
    pictures = load(settings(tmp_path, channels=channels, validation_share=0.1))
    assert (len(pictures), pictures.rejected, len(pictures.held_out)) == (60, [("0/broken.png", "broken")], 6)
    assert pictures.label_names == tuple("0123456789") and pictures.tensors(pictures.train).shape == (
        54,
        channels,
        16,
        16,
    )
    if channels == 3:  # grey stays grey
        assert (pictures.images[..., 0] == pictures.images[..., 1]).all() and (
            pictures.images[..., 1] == pictures.images[..., 2]
        ).all()


def test_the_cache_is_a_plain_npy_file_with_its_meta(tmp_path):
    pictures = load(settings(many(tmp_path, 3)))
    assert np.array_equal(np.load(pictures.cache_path / "pixels.npy"), pictures.images)
    assert json.loads((pictures.cache_path / cache.META).read_text())["rows"] == [0, 1, 2]
    assert (
        io.BytesIO((pictures.cache_path / "pixels.npy").read_bytes()).getbuffer().nbytes == 128 + pictures.images.nbytes
    )
