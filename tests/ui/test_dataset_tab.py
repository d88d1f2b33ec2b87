"""The Dataset tab: opening, paging, searching, looking, uploading."""

import re
import types
import zipfile

import pytest
from kits import pictures as data_kit
from PIL import Image

from ddpm_app import access, presets
from ddpm_app.config import BUILT_IN, BUILT_IN_256, FIELDS, from_dict
from ddpm_app.data import cache, open_datasets
from ddpm_app.ui.state import App
from ddpm_app.ui.tabs import dataset_view
from ddpm_app.ui.tabs.config_form import to_form_value
from ddpm_app.ui.tabs.dataset_handlers import PAGE, DatasetHandlers, kind_of


@pytest.fixture
def studio(runs_dir):
    made = App(runs_dir)
    made.warm.set()
    return made


@pytest.fixture
def browser(studio):
    return DatasetHandlers(studio)


def given(**changes):
    values = presets.build("first-butterflies").to_dict() | changes
    return [to_form_value(FIELDS[name], values[name]) for name in open_datasets.FIELDS]


def opened(browser, **changes):
    key, *_ = browser.ask(False, "me", "en", *given(**changes))
    entry = browser.datasets.get(key)
    assert entry.ended.wait(60) and entry.problem is None
    return key, entry


def test_a_folder_is_opened_decoded_and_counted(browser, drawn):
    key, entry = opened(browser, dataset_name=str(drawn), image_size=8)
    assert browser.stages(key, "en") == [key, key, ""]
    assert len(entry.source) == len(entry.pictures) == 24
    facts, left_out, cache = browser.details(key, "en")
    assert "24 pictures" in facts and "every picture" in left_out and "kept in" in cache


def test_a_broken_file_is_named(browser, drawn, tmp_path):
    for path in drawn.glob("*.png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "00.png").write_bytes(b"not a picture")
    key, entry = opened(browser, dataset_name=str(tmp_path), image_size=8)
    assert "00.png" in browser.details(key, "en")[1]
    assert "<img" in browser.first_show(key, "en", "", "", 0, 0)[0]
    assert "note bad" in browser.one(key, "en", 0, "squash")
    assert browser.datasets.training_count(from_dict({"dataset_name": str(tmp_path)})) == 23 - round(23 * 0.05)
    assert browser.datasets.training_count(from_dict({"dataset_name": str(tmp_path), "max_train_samples": 8})) == 8


@pytest.mark.parametrize("name, said", [("/no/such/folder", "folder"), ("", "empty")])
def test_what_can_t_be_opened_is_said(browser, name, said):
    *_, problem = browser.ask(False, "me", "en", *given(dataset_name=name))
    assert "note bad" in problem and said in problem


def test_opening_can_be_stopped(studio, drawn):
    studio.warm.clear()  # decoding waits for torch, and can be stopped meanwhile
    browser = DatasetHandlers(studio)
    key, *_ = browser.ask(False, "me", "en", *given(dataset_name=str(drawn)))
    browser.stop(key)
    assert browser.datasets.get(key).ended.wait(30)
    assert browser.datasets.get(key).problem.code == "data_stopped"
    studio.warm.set()
    again, *_ = browser.ask(True, "me", "en", *given(dataset_name=str(drawn)))
    assert browser.datasets.get(again).ended.wait(60) and browser.datasets.get(again).problem is None


def test_the_shelf_keeps_a_few(studio, drawn):
    keys = [
        studio.datasets.ask(from_dict({"dataset_name": str(drawn), "image_size": size, "unet": "tiny"}))
        for size in (8, 12, 16, 20, 24)
    ]
    assert len(set(keys)) == 5 and studio.datasets.get(keys[0]) is None and studio.datasets.get(keys[-1]) is not None
    assert studio.datasets.ask(from_dict({"dataset_name": str(drawn), "image_size": 24, "unet": "tiny"})) == keys[-1]
    for key in keys[1:]:
        assert studio.datasets.get(key).ended.wait(60)


class Source:
    names = tuple(f"{i}.png" for i in range(60))
    labels, label_names = [i % 2 for i in range(60)], ("blue morpho", "monarch")
    captions = ["wide wings"] * 59 + ["<b>torn</b> wings"]

    def __len__(self):
        return 60

    def thumbnail(self, i, side):
        return Image.new("RGB", (8, 8))


def test_search_finds_all_words_in_label_caption_or_name():
    source = Source()
    assert dataset_view.found(source, "Morpho") == list(range(0, 60, 2))
    assert dataset_view.found(source, "monarch torn") == [59]
    assert dataset_view.found(source, "7.png monarch") == [7, 17, 27, 37, 47, 57]
    assert dataset_view.found(source, "zebra") == [] and len(dataset_view.found(source, " ")) == 60


def test_pages_stay_inside(browser, monkeypatch):
    monkeypatch.setattr(browser, "source", lambda key: Source())
    gallery, told, page, back, following = browser.turn("k", "en", "", 99)
    assert page == 2 and len(gallery.value) == 60 - 2 * PAGE and "3 of 3" in told
    assert (back["interactive"], following["interactive"]) == (True, False)
    assert browser.turn("k", "en", "zebra", 1)[1:3] == ["page 1 of 1 · 0 pictures", 0]

    class Click:
        index = 3

    assert browser.pick("k", "monarch", 1, Click()) == 2 * (PAGE + 3) + 1


def test_the_size_histogram_counts_every_picture():
    told = dataset_view.sizes([(8, 8)] * 3 + [(100, 50)] * 2 + [(512, 400)], "en")
    assert told.count("<i ") <= 12
    assert sum(int(count) for count in re.findall(r"<b>(\d+)</b>", told)) == 6
    assert dataset_view.sizes([], "en") == ""


def test_an_upload_becomes_a_data_set(browser, drawn, tmp_path):
    archive = tmp_path / "wings.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in drawn.glob("*.png"):
            file.write(path, f"{int(path.stem) % 2}/{path.name}")
    message, name = browser.upload("me", "en", [str(archive)])
    assert message == "" and kind_of(name) == "upload"
    _, entry = opened(browser, dataset_name=name, image_size=8)
    assert entry.source.label_names == ("0", "1")


@pytest.fixture
def quickly(monkeypatch):
    """`datasets` works in this process: seconds faster."""
    monkeypatch.setattr("ddpm_app.data.image_source._run", data_kit.prepare_here)


@pytest.fixture
def wings(browser, drawn, tmp_path, quickly):
    """An upload of the visitor "me" with a label per sub-folder, opened: its key and entry."""
    archive = tmp_path / "wings.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(drawn.glob("*.png"))[:4]:
            file.write(path, f"{'ab'[int(path.stem) % 2]}/{path.name}")
    _, name = browser.upload("me", "en", [str(archive)])
    return opened(browser, dataset_name=name, image_size=8)


def test_a_caption_and_a_label_of_an_upload_change(browser, wings):
    key, entry = wings
    row = entry.source.names.index("b/03.png")
    assert [part.get("value") for part in browser.fields(key, row, "me")[:2]] == ["", "b"]
    message, new, *_ = browser.save(key, "en", row, "me", "  a red\nwing ", "c")
    assert "b/03.png" in message and new != key
    after = browser.datasets.get(new)
    assert after.ended.wait(60) and after.problem is None and browser.datasets.get(key) is None
    assert (after.source.captions[row], after.source.label_names, after.pictures.captions[row]) == (
        "a red wing",
        ("a", "b", "c"),
        "a red wing",
    )
    assert [after.source.label_names[k] for k in after.source.labels] == ["a", "a", "b", "c"]
    assert after.pictures.fingerprint == entry.pictures.fingerprint  # the same pixels
    assert browser.turn(new, "en", "red", 0)[1].endswith("1 pictures")
    assert "as it was" in browser.save(new, "en", row, "me", "a red wing", "c")[0]


def test_what_was_on_show_stays_after_an_edit(browser, wings):
    key, entry = wings
    shown = browser.first_show(key, "en", "", "", 0, 0)[3]
    new = browser.save(key, "en", 2, "me", "spotted", "a")[1]
    assert browser.datasets.get(new).opened.wait(60)
    kept, fresh = (
        browser.first_show(new, "en", shown, "spotted", 0, 2),
        browser.first_show(new, "en", "other", "spotted", 0, 2),
    )
    assert (kept[4], kept[6]) == (2, "page 1 of 1 · 1 pictures") and (fresh[4], fresh[6]) == (
        0,
        "page 1 of 1 · 4 pictures",
    )


def test_only_own_uploads_can_be_changed(browser, wings, drawn):
    key, _ = wings
    other, _ = opened(browser, dataset_name=str(drawn), image_size=8)
    assert not any(part["visible"] for part in browser.fields(other, 0, "me"))
    assert "note bad" in browser.save(other, "en", 0, "me", "x", "")[0] and not list(drawn.glob("metadata*"))
    assert "note bad" in browser.save("no such key", "en", 0, "me", "x", "")[0]
    assert browser.fields(key, 0, "anybody at home")[0]["visible"]


def test_in_public_only_the_owner_changes_an_upload(browser, drawn, quickly):
    browser.studio.public = True
    _, name = browser.upload("me", "en", [str(drawn / "00.png"), str(drawn / "01.png")])
    key, entry = opened(browser, dataset_name=name, image_size=8)
    assert not browser.fields(key, 0, "somebody")[0]["visible"]
    assert "note bad" in browser.save(key, "en", 0, "somebody", "mine now", "")[0]
    assert "note bad" in browser.save(key, "en", 0, "", "mine now", "")[0]
    assert "01.png" in browser.save(key, "en", 1, "me", "a wing", "")[0]


@pytest.mark.parametrize("caption, label", [("x" * 1001, ""), ("", "x" * 101)])
def test_texts_have_an_end(browser, wings, caption, label):
    assert "too long" in browser.save(wings[0], "en", 0, "me", caption, label)[0]


def test_labels_are_counted():
    told = dataset_view.counts(Source(), "en")
    assert told.count("<div><span>") == 2 and told.count("<b>30</b>") == 2
    many = types.SimpleNamespace(label_names=tuple(f"<{k}>" for k in range(40)), labels=[-1, *range(40)])
    told = dataset_view.counts(many, "en")
    assert told.count("<div><span>") == dataset_view.LABELS_SHOWN + 1 and "and 16 more labels with 16 pictures" in told
    assert "&lt;0&gt;" in told and "without a label" in told
    assert "no labels" in dataset_view.counts(types.SimpleNamespace(label_names=None, labels=None), "en")


def test_the_gallery_tells_label_and_caption():
    assert dataset_view.thumbnail(Source(), 1)[1] == "monarch · wide wings"


def sent(browser, tmp_path, *numbers):
    for k in numbers:
        Image.new("RGB", (8, 8), (k, 0, 0)).save(tmp_path / f"{k}.png")
        message, name = browser.upload("me", "en", [str(tmp_path / f"{k}.png")])
    return message, name


def test_in_public_uploads_are_few_and_small(browser, tmp_path, monkeypatch):
    browser.studio.public = True
    sent(browser, tmp_path, *range(access.UPLOADS_PER_VISITOR + 1))
    assert len(list(browser.uploads.glob("*/upload-*"))) == access.UPLOADS_PER_VISITOR
    monkeypatch.setattr(access, "UPLOAD_SHARE", 1e-9)
    assert "note bad" in sent(browser, tmp_path, 9)[0]


def test_in_public_the_cache_stays_bounded(browser, monkeypatch):
    browser.studio.public, cleared = True, []
    monkeypatch.setattr(cache, "caches", lambda: [("a", access.CACHE_BYTES + 1, "a")])
    monkeypatch.setattr(cache, "clear_cache", lambda: cleared.append(1))
    monkeypatch.setattr(browser.datasets, "ask", lambda config, again: "")
    monkeypatch.setattr(
        browser.datasets,
        "get",
        lambda key: open_datasets.OpenDataset(None, opened=types.SimpleNamespace(wait=lambda seconds: None)),
    )
    browser.ask(False, "me", "en", *given())
    assert cleared == [1]
    browser.studio.public = False
    browser.ask(False, "me", "en", *given())
    assert cleared == [1]


def test_clearing_takes_old_uploads_too(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "clear_cache", lambda: 0)
    _, name = sent(browser, tmp_path, 1, 2, 3)
    browser.clear("en")
    assert [str(folder) for folder in browser.uploads.glob("*/upload-*")] == [name]


def test_a_bad_upload_is_refused_in_words(browser, tmp_path):
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"PK nonsense")
    message, _ = browser.upload("me", "en", [str(bad)])
    assert "note bad" in message and "bad.zip" in message
    assert "note bad" in browser.upload("me", "en", None)[0]


@pytest.mark.parametrize(
    "name, kind",
    [
        (BUILT_IN, "built_in"),
        (BUILT_IN_256, "built_in_256"),
        ("huggan/smithsonian", "hub"),
        ("/data/wings", "folder"),
        ("wings", "folder"),
        ("/runs/.uploads/mine/upload-1", "upload"),
    ],
)
def test_the_way_of_choosing_is_told_from_the_name(name, kind):
    assert kind_of(name) == kind


def test_captions_are_no_html():
    assert dataset_view.img(Image.new("RGB", (4, 4)), '"><b>', 64).count("<") == 1
