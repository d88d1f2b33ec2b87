"""The Dataset tab: opening, paging, searching, looking, uploading."""

import re
import types
import zipfile

import pytest
from PIL import Image

from ddpm_app import presets
from ddpm_app.config import BUILT_IN, FIELDS, from_dict
from ddpm_app.data import cache
from ddpm_app.jobs import Jobs
from ddpm_app.ui import drawings, guard, shelf
from ddpm_app.ui.board import Board
from ddpm_app.ui.browser import PAGE, Browser, kind_of
from ddpm_app.ui.studio import Studio, in_form


@pytest.fixture
def studio(runs_dir):
    made = Studio(runs_dir, Jobs(runs_dir), Board(runs_dir))
    made.warm.set()
    return made


@pytest.fixture
def browser(studio):
    return Browser(studio)


def given(**changes):
    values = presets.build("first-butterflies").to_dict() | changes
    return [in_form(FIELDS[name], values[name]) for name in shelf.FIELDS]


def opened(browser, **changes):
    key, *_ = browser.ask(False, "me", "en", *given(**changes))
    entry = browser.shelf.get(key)
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
    assert "<img" in browser.first_show(key, "en")[0]
    assert "note bad" in browser.one(key, "en", 0, "squash")
    assert browser.shelf.trained_on(from_dict({"dataset_name": str(tmp_path)})) == 23 - round(23 * 0.05)


@pytest.mark.parametrize("name, said", [("/no/such/folder", "folder"), ("", "empty")])
def test_what_can_t_be_opened_is_said(browser, name, said):
    *_, problem = browser.ask(False, "me", "en", *given(dataset_name=name))
    assert "note bad" in problem and said in problem


def test_opening_can_be_stopped(studio, drawn):
    studio.warm.clear()  # decoding waits for torch, and can be stopped meanwhile
    browser = Browser(studio)
    key, *_ = browser.ask(False, "me", "en", *given(dataset_name=str(drawn)))
    browser.stop(key)
    assert browser.shelf.get(key).ended.wait(30)
    assert browser.shelf.get(key).problem.code == "data_stopped"
    studio.warm.set()
    again, *_ = browser.ask(True, "me", "en", *given(dataset_name=str(drawn)))
    assert browser.shelf.get(again).ended.wait(60) and browser.shelf.get(again).problem is None


def test_the_shelf_keeps_a_few(studio, drawn):
    keys = [studio.shelf.ask(from_dict({"dataset_name": str(drawn), "image_size": size, "unet": "tiny"})) for size in (8, 12, 16, 20, 24)]
    assert len(set(keys)) == 5 and studio.shelf.get(keys[0]) is None and studio.shelf.get(keys[-1]) is not None
    assert studio.shelf.ask(from_dict({"dataset_name": str(drawn), "image_size": 24, "unet": "tiny"})) == keys[-1]
    for key in keys[1:]:
        assert studio.shelf.get(key).ended.wait(60)


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
    assert drawings.found(source, "Morpho") == list(range(0, 60, 2))
    assert drawings.found(source, "monarch torn") == [59]
    assert drawings.found(source, "7.png monarch") == [7, 17, 27, 37, 47, 57]
    assert drawings.found(source, "zebra") == [] and len(drawings.found(source, " ")) == 60


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
    told = drawings.sizes([(8, 8)] * 3 + [(100, 50)] * 2 + [(512, 400)], "en")
    assert told.count("<i ") <= 12
    assert sum(int(count) for count in re.findall(r"<b>(\d+)</b>", told)) == 6
    assert drawings.sizes([], "en") == ""


def test_an_upload_becomes_a_data_set(browser, drawn, tmp_path):
    archive = tmp_path / "wings.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in drawn.glob("*.png"):
            file.write(path, f"{int(path.stem) % 2}/{path.name}")
    message, name = browser.upload("me", "en", [str(archive)])
    assert message == "" and kind_of(name) == "upload"
    _, entry = opened(browser, dataset_name=name, image_size=8)
    assert entry.source.label_names == ("0", "1")


def sent(browser, tmp_path, *numbers):
    for k in numbers:
        Image.new("RGB", (8, 8), (k, 0, 0)).save(tmp_path / f"{k}.png")
        message, name = browser.upload("me", "en", [str(tmp_path / f"{k}.png")])
    return message, name


def test_in_public_uploads_are_few_and_small(browser, tmp_path, monkeypatch):
    browser.studio.public = True
    sent(browser, tmp_path, *range(guard.UPLOADS_KEPT + 1))
    assert len(list(browser.uploads.glob("*/upload-*"))) == guard.UPLOADS_KEPT
    monkeypatch.setattr(guard, "UPLOAD_SHARE", 1e-9)
    assert "note bad" in sent(browser, tmp_path, 9)[0]


def test_in_public_the_cache_stays_bounded(browser, monkeypatch):
    browser.studio.public, cleared = True, []
    monkeypatch.setattr(cache, "caches", lambda: [("a", guard.CACHE_BYTES + 1, "a")])
    monkeypatch.setattr(cache, "clear_cache", lambda: cleared.append(1))
    monkeypatch.setattr(browser.shelf, "ask", lambda config, again: "")
    monkeypatch.setattr(browser.shelf, "get", lambda key: shelf.Entry(None, opened=types.SimpleNamespace(wait=lambda seconds: None)))
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
        ("huggan/smithsonian", "hub"),
        ("/data/wings", "folder"),
        ("wings", "folder"),
        ("/runs/.uploads/mine/upload-1", "upload"),
    ],
)
def test_the_way_of_choosing_is_told_from_the_name(name, kind):
    assert kind_of(name) == kind


def test_captions_are_no_html():
    assert drawings.img(Image.new("RGB", (4, 4)), '"><b>', 64).count("<") == 1
