"""The Dataset tab: opening, paging, searching, looking, uploading."""

import re
import types
import zipfile

import gradio as gr
import pytest
from kits import page as ui_kit
from kits import pictures as data_kit
from PIL import Image

from ddpm_app import access, presets
from ddpm_app.config import BUILT_IN, BUILT_IN_256, FIELDS, from_dict
from ddpm_app.data import cache, open_datasets
from ddpm_app.runs import registry
from ddpm_app.train.recipes import Recipe
from ddpm_app.ui import html
from ddpm_app.ui.state import App
from ddpm_app.ui.tabs import dataset_gallery, dataset_view
from ddpm_app.ui.tabs.config_form import to_form_value
from ddpm_app.ui.tabs.dataset import DatasetTab, kind_of
from ddpm_app.ui.tabs.dataset_expect import doubt_lines
from ddpm_app.ui.tabs.dataset_gallery import PAGE_SIZE


@pytest.fixture
def app(runs_dir):
    app = App(runs_dir)
    app.warm.set()
    return app


@pytest.fixture
def tab(app):
    tab = ui_kit.draw(app, DatasetTab)
    tab.view.page = tab.page
    tab.form = {name: gr.State() for name in open_datasets.FIELDS}
    return tab


@pytest.fixture
def public_tab(tab):
    tab.app = tab.view.app = tab.view.editor.app = App(tab.app.runs_dir, public=True)
    tab.app.warm.set()
    return tab


def ask(tab, retry=False, **changes):
    """What the tab answers to the form's settings."""
    values = presets.build("first-butterflies").to_dict() | changes
    fields = {tab.form[name]: to_form_value(FIELDS[name], values[name]) for name in open_datasets.FIELDS}
    return (tab.reopen if retry else tab.open)(
        fields | {tab.page.visitor: "me", tab.page.lang: "en", tab.last_names: {}}
    )


def opened(tab, **changes):
    key = ask(tab, **changes)[tab.view.key]
    entry = tab.app.datasets.get(key)
    assert entry.ended.wait(60) and entry.problem is None
    return key, entry


def show(tab, key, identity="", search="", page_number=0, row=0):
    """The view of an open data set."""
    view = tab.view
    states = {
        view.identity: identity,
        view.row: row,
        view.gallery.search: search,
        view.gallery.page_number: page_number,
    }
    return view.show({view.key: key, tab.page.lang: "en", **states})


def save(tab, key, row, caption, label, visitor="me"):
    view = tab.view
    texts = {view.editor.caption: caption, view.editor.label: label}
    return tab.save_texts({view.key: key, view.row: row, tab.page.lang: "en", tab.page.visitor: visitor, **texts})


def upload(tab, *files):
    """The message and the name that goes into the form."""
    updates = tab.take_upload("me", "en", [str(file) for file in files])
    return updates[tab.page.message], updates.get(tab.form["dataset_name"])


def test_a_folder_is_opened_decoded_and_counted(tab, drawn):
    key, entry = opened(tab, dataset_name=str(drawn), image_size=8)
    assert tab.stages(key, "en") == {tab.opened: key, tab.ended: key, tab.problem: ""}
    assert len(entry.source) == len(entry.pictures) == 24
    figures = tab.view.show_figures(key, "en")
    assert "24 pictures" in figures[tab.view.facts] and "24 pictures" in figures[tab.view.account]
    assert "kept in" in figures[tab.view.cache]


def test_a_broken_file_is_named(tab, drawn, tmp_path):
    for path in drawn.glob("*.png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "00.png").write_bytes(b"not a picture")
    key, entry = opened(tab, dataset_name=str(tmp_path), image_size=8)
    assert "00.png" in tab.view.show_figures(key, "en")[tab.view.account]
    assert "<img" in show(tab, key)[tab.view.preview]
    assert "note bad" in tab.view.show_picture(key, "en", 0, "squash")
    datasets = tab.app.datasets
    assert datasets.training_count(from_dict({"dataset_name": str(tmp_path)})) == 23 - round(23 * 0.05)
    assert datasets.training_count(from_dict({"dataset_name": str(tmp_path), "max_train_samples": 8})) == 8


def test_what_can_t_be_opened_is_said(tab):
    problem = ask(tab, dataset_name="/no/such/folder")[tab.problem]
    assert "note bad" in problem and "folder" in problem
    assert (
        ask(tab, dataset_name="/no/such/folder")[tab.view.stage]["visible"] is False
    )  # no pictures of an earlier choice


def test_where_nothing_is_chosen_yet_the_stage_is_empty(tab):
    answer = ask(tab, dataset_name="")
    assert (answer[tab.view.key], answer[tab.view.stage]["visible"], answer[tab.problem]) == ("", False, "")


def test_opening_can_be_stopped(tab, drawn):
    tab.app.warm.clear()  # decoding waits for torch, and can be stopped meanwhile
    key = ask(tab, dataset_name=str(drawn))[tab.view.key]
    tab.stop(key)
    assert tab.app.datasets.get(key).ended.wait(30)
    assert tab.app.datasets.get(key).problem.code == "data_stopped"
    tab.app.warm.set()
    key = ask(tab, retry=True, dataset_name=str(drawn))[tab.view.key]
    assert tab.app.datasets.get(key).ended.wait(60) and tab.app.datasets.get(key).problem is None


def test_the_tick_tells_how_far_opening_is(tab, drawn):
    key, _ = opened(tab, dataset_name=str(drawn), image_size=8)
    idle = {tab.working: gr.update(visible=False), tab.progress: ""}
    assert tab.follow({}, "en", key) == idle | {tab.opened: key, tab.ended: key, tab.problem: ""}
    assert tab.follow({}, "en", "no such key") == idle


def test_the_last_few_data_sets_stay_open(app, drawn):
    keys = [
        app.datasets.ask(from_dict({"dataset_name": str(drawn), "image_size": size, "unet": "tiny"}))
        for size in (8, 12, 16, 20, 24)
    ]
    assert len(set(keys)) == 5 and app.datasets.get(keys[0]) is None and app.datasets.get(keys[-1]) is not None
    assert app.datasets.ask(from_dict({"dataset_name": str(drawn), "image_size": 24, "unet": "tiny"})) == keys[-1]
    for key in keys[1:]:
        assert app.datasets.get(key).ended.wait(60)


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
    assert dataset_gallery.matching_rows(source, "Morpho") == list(range(0, 60, 2))
    assert dataset_gallery.matching_rows(source, "monarch torn") == [59]
    assert dataset_gallery.matching_rows(source, "7.png monarch") == [7, 17, 27, 37, 47, 57]
    assert (
        dataset_gallery.matching_rows(source, "zebra") == [] and len(dataset_gallery.matching_rows(source, " ")) == 60
    )


def test_pages_stay_inside(tab, monkeypatch):
    gallery = tab.view.gallery
    monkeypatch.setattr(dataset_gallery, "open_entry", lambda app, key: types.SimpleNamespace(source=Source()))
    last = gallery.turn("k", "en", "", 99)
    assert last[gallery.page_number] == 2 and "3 of 3" in last[gallery.position]
    assert len(last[gallery.pictures].value) == 60 - 2 * PAGE_SIZE
    assert (last[gallery.back]["interactive"], last[gallery.next]["interactive"]) == (True, False)
    nothing = gallery.turn("k", "en", "zebra", 1)
    assert (nothing[gallery.position], nothing[gallery.page_number]) == ("page 1 of 1 · 0 pictures", 0)
    assert gallery.turn_back("k", "en", "", 2)[gallery.page_number] == 1
    assert gallery.turn_on("k", "en", "", 0)[gallery.page_number] == 1
    assert gallery.find("k", "en", "monarch")[gallery.page_number] == 0

    click = types.SimpleNamespace(index=3)
    assert gallery.pick("k", "monarch", 1, click) == 2 * (PAGE_SIZE + 3) + 1


def test_the_size_histogram_counts_every_picture():
    html = dataset_view.sizes([(8, 8)] * 3 + [(100, 50)] * 2 + [(512, 400)], "en")
    assert html.count("<i ") <= dataset_view.MAX_BARS
    assert sum(int(count) for count in re.findall(r"<b>(\d+)</b>", html)) == 6
    assert dataset_view.sizes([], "en") == ""


def test_an_upload_becomes_a_data_set(tab, drawn, tmp_path):
    archive = tmp_path / "wings.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in drawn.glob("*.png"):
            file.write(path, f"{int(path.stem) % 2}/{path.name}")
    message, name = upload(tab, archive)
    assert message == "" and kind_of(name) == "upload"
    _, entry = opened(tab, dataset_name=name, image_size=8)
    assert entry.source.label_names == ("0", "1")


@pytest.fixture
def quickly(monkeypatch):
    """`datasets` works in this process: seconds faster."""
    monkeypatch.setattr("ddpm_app.data.open_source._run", data_kit.prepare_here)


@pytest.fixture
def wings(tab, drawn, tmp_path, quickly):
    """An upload of the visitor "me" with a label per sub-folder, opened: its key and entry."""
    archive = tmp_path / "wings.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(drawn.glob("*.png"))[:4]:
            file.write(path, f"{'ab'[int(path.stem) % 2]}/{path.name}")
    _, name = upload(tab, archive)
    return opened(tab, dataset_name=name, image_size=8)


def test_a_caption_and_a_label_of_an_upload_change(tab, wings):
    key, entry = wings
    view, editor = tab.view, tab.view.editor
    row = entry.source.names.index("b/03.png")
    fields = editor.show(key, row, "me")
    assert (fields[editor.caption]["value"], fields[editor.label]["value"]) == ("", "b")
    updates = save(tab, key, row, "  a red\nwing ", "c")
    new = updates[view.key]
    assert "b/03.png" in updates[tab.page.message] and new != key
    after = tab.app.datasets.get(new)
    assert after.ended.wait(60) and after.problem is None and tab.app.datasets.get(key) is None
    assert after.source.captions[row] == after.pictures.captions[row] == "a red wing"
    assert after.source.label_names == ("a", "b", "c")
    assert [after.source.label_names[k] for k in after.source.labels] == ["a", "a", "b", "c"]
    assert after.pictures.fingerprint == entry.pictures.fingerprint  # the same pixels
    assert view.gallery.turn(new, "en", "red", 0)[view.gallery.position].endswith("1 pictures")
    assert "as it was" in save(tab, new, row, "a red wing", "c")[tab.page.message]


def test_what_was_on_show_stays_after_an_edit(tab, wings):
    view, (key, _) = tab.view, wings
    identity = show(tab, key)[view.identity]
    new = save(tab, key, 2, "spotted", "a")[view.key]
    assert tab.app.datasets.get(new).opened.wait(60)
    same, other = (show(tab, new, name, search="spotted", row=2) for name in (identity, "other"))
    assert (same[view.row], same[view.gallery.position]) == (2, "page 1 of 1 · 1 pictures")
    assert (other[view.row], other[view.gallery.position]) == (0, "page 1 of 1 · 4 pictures")


def test_only_own_uploads_can_be_changed(tab, wings, drawn):
    key, _ = wings
    editor, message = tab.view.editor, tab.page.message
    other, _ = opened(tab, dataset_name=str(drawn), image_size=8)
    assert not any(field["visible"] for field in editor.show(other, 0, "me").values())
    assert "note bad" in save(tab, other, 0, "x", "")[message] and not list(drawn.glob("metadata*"))
    assert "note bad" in save(tab, "no such key", 0, "x", "")[message]
    assert editor.show(key, 0, "anybody at home")[editor.save]["visible"]


def test_in_public_only_the_owner_changes_an_upload(public_tab, drawn, quickly):
    tab, editor = public_tab, public_tab.view.editor
    _, name = upload(tab, drawn / "00.png", drawn / "01.png")
    key, entry = opened(tab, dataset_name=name, image_size=8)
    assert not editor.show(key, 0, "somebody")[editor.save]["visible"]
    assert "note bad" in save(tab, key, 0, "mine now", "", visitor="somebody")[tab.page.message]
    assert "note bad" in save(tab, key, 0, "mine now", "", visitor="")[tab.page.message]
    assert "01.png" in save(tab, key, 1, "a wing", "")[tab.page.message]


@pytest.mark.parametrize("caption, label", [("x" * 1001, ""), ("", "x" * 101)])
def test_texts_have_an_end(tab, wings, caption, label):
    assert "too long" in save(tab, wings[0], 0, caption, label)[tab.page.message]


def test_labels_are_counted():
    html = dataset_view.label_counts(Source(), "en")
    assert html.count("<div><span>") == 2 and html.count("<b>30</b>") == 2
    many = types.SimpleNamespace(label_names=tuple(f"<{k}>" for k in range(40)), labels=[-1, *range(40)])
    html = dataset_view.label_counts(many, "en")
    assert html.count("<div><span>") == dataset_view.MAX_LABELS + 1 and "and 16 more labels with 16 pictures" in html
    assert "&lt;0&gt;" in html and "without a label" in html
    assert "no labels" in dataset_view.label_counts(types.SimpleNamespace(label_names=None, labels=None), "en")


def test_the_gallery_tells_label_and_caption():
    assert dataset_gallery.captioned_thumbnail(Source(), 1)[1] == "monarch · wide wings"


def upload_squares(tab, tmp_path, *numbers):
    for k in numbers:
        Image.new("RGB", (8, 8), (k, 0, 0)).save(tmp_path / f"{k}.png")
        message, name = upload(tab, tmp_path / f"{k}.png")
    return message, name


def test_in_public_uploads_are_few_and_small(public_tab, tmp_path, monkeypatch):
    upload_squares(public_tab, tmp_path, *range(access.UPLOADS_PER_VISITOR + 1))
    assert len(list(public_tab.uploads.glob("*/upload-*"))) == access.UPLOADS_PER_VISITOR
    monkeypatch.setattr(access, "UPLOAD_SHARE", 1e-9)
    assert "note bad" in upload_squares(public_tab, tmp_path, 9)[0]


@pytest.mark.parametrize("public", [True, False])
def test_in_public_the_cache_stays_bounded(tab, public, monkeypatch):
    cleared = []
    tab.app.public = public
    monkeypatch.setattr(cache, "caches", lambda: [("a", access.CACHE_BYTES + 1, "a")])
    monkeypatch.setattr(cache, "clear_cache", lambda: cleared.append(1))
    at_once = types.SimpleNamespace(wait=lambda seconds: None)
    monkeypatch.setattr(tab.app.datasets, "ask", lambda config, retry: "")
    monkeypatch.setattr(tab.app.datasets, "get", lambda key: open_datasets.OpenDataset(None, opened=at_once))
    ask(tab)
    assert len(cleared) == public


def test_clearing_takes_old_uploads_too(tab, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "clear_cache", lambda: 0)
    _, name = upload_squares(tab, tmp_path, 1, 2, 3)
    tab.clear("en")
    assert [str(folder) for folder in tab.uploads.glob("*/upload-*")] == [name]


def test_clearing_leaves_what_runs_refer_to_and_says_which(tab, tmp_path, monkeypatch):
    """Also a run in the trash, which can come back; what runs of another data set refer to is no reason."""
    monkeypatch.setattr(cache, "clear_cache", lambda: 0)
    names = [upload_squares(tab, tmp_path, k)[1] for k in (1, 2, 3, 4)]
    for name, place in (("first", names[0]), ("again", names[0]), ("thrown", names[1]), ("other", "butterflies")):
        registry.create(
            tab.app.runs_dir, presets.build("quick-check", output_dir=name, dataset_name=place)
        ).update_status(state="finished")
    thrown = registry.discard(registry.find(tab.app.runs_dir, "thrown"))
    message = tab.clear("en")[tab.page.message]
    left = {str(folder) for folder in tab.uploads.glob("*/upload-*")}
    assert left == {names[0], names[1], names[3]}
    assert all(name in message for name in ("first", "again", thrown.name)) and "other" not in message
    registry.empty_trash(tab.app.runs_dir)
    message = tab.clear("en")[tab.page.message]
    assert {str(folder) for folder in tab.uploads.glob("*/upload-*")} == {names[0], names[3]}
    assert "thrown" not in message and " 0 kB" not in message


def test_a_bad_upload_is_refused_in_words(tab, tmp_path):
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"PK nonsense")
    message, _ = upload(tab, bad)
    assert "note bad" in message and "bad.zip" in message
    assert "note bad" in upload(tab)[0]
    assert "note bad" in tab.take_upload("me", "en", None)[tab.page.message]


@pytest.mark.parametrize(
    "name, kind",
    [
        (BUILT_IN, "built_in"),
        (BUILT_IN_256, "built_in_256"),
        ("huggan/smithsonian", "hub"),
        ("/data/wings", "folder"),
        ("/wings", "folder"),
        ("./wings", "folder"),
        ("wings", "folder"),
        ("/runs/.uploads/mine/upload-1", "upload"),
    ],
)
def test_the_way_of_choosing_is_told_from_the_name(name, kind):
    assert kind_of(name) == kind


def test_choosing_fills_the_form_and_shows_what_it_asks_for(tab):
    name = tab.form["dataset_name"]
    assert tab.choose_kind("built_in", {})[name] == BUILT_IN
    hub = tab.choose_kind("hub", {})
    assert hub[name] == "" and hub[tab.name]["value"].count("/") == 1 and hub[tab.split]["visible"]
    again = tab.choose_kind("hub", {"hub": "someone/pictures", "upload": "/x/upload-1"})
    assert again[name] == again[tab.name]["value"] == "someone/pictures"
    assert tab.choose_kind("upload", {"upload": "/x/upload-1"})[name] == "/x/upload-1"
    assert tab.choose_kind("upload", {})[name] == ""
    shown = tab.show_choice("built_in", "someone/pictures", "birds", "test")
    assert (shown[tab.kind], shown[tab.name]["value"], shown[tab.split]["value"]) == ("hub", "someone/pictures", "test")
    assert shown[tab.subset]["value"] == "birds" and shown[tab.subset]["visible"]
    assert tab.name not in tab.show_choice("folder", BUILT_IN, "", "train")
    same = tab.show_choice("hub", "someone/pictures", "birds", "test")
    assert tab.kind not in same and same[tab.subset] == gr.update(value="birds"), (
        "another may have been chosen meanwhile"
    )
    typed = tab.choose_name(" someone/pictures ", " birds ", "")
    assert {
        tab.form[field]: value
        for field, value in zip(
            ("dataset_name", "subset", "split"), ("someone/pictures", "birds", "train"), strict=True
        )
    } | {tab.expect.fresh: True} == typed


def test_a_choice_made_while_the_form_is_filled_stays(tab):
    assert tab.restore_choice("upload", "/mine", "", "train") == gr.skip()
    assert tab.restore_choice("built_in", "/mine", "", "train")[tab.kind] == "folder"


def test_captions_are_no_html():
    assert html.thumbnail(Image.new("RGB", (4, 4)), '"><b>', 64).count("<") == 1


# ---- what to expect ----------------------------------------------------------------------------------------------------
def brought(tab, settings, recipe):
    """A form that holds these settings, as pictures that somebody has just brought are judged."""
    card, key = tab.expect, opened(tab, dataset_name=str(tab.drawn))[0]
    tab.form = tab.form | {name: gr.State() for name in FIELDS if name not in tab.form}
    values = lambda data: {name: data[component] for name, component in tab.form.items()}  # noqa: E731
    card.page = types.SimpleNamespace(form=types.SimpleNamespace(components=tab.form, values=values))
    tab.app.expectations = types.SimpleNamespace(of=lambda entry: types.SimpleNamespace(recipes=[recipe]))
    fields = {component: to_form_value(FIELDS[name], settings[name]) for name, component in tab.form.items()}
    return fields | {card.fresh: True, card.key: key, card.untouched: card.untouched.default_value, card.recipe: "x"}


def test_the_best_recipe_is_taken_unless_somebody_has_set_the_rest(tab, drawn):
    tab.drawn, card = drawn, tab.expect
    recipe = types.SimpleNamespace(name="x", config=presets.build("first-butterflies", seed=3))
    untouched = presets.build(presets.FIRST, output_dir="mine", seed=9).to_dict() | {"dataset_name": "/mine"}
    answer = card.take_best(brought(tab, untouched, recipe))
    assert (answer[card.recipe], answer[card.fresh], answer[tab.form["image_size"]]) == ("x", False, "32")
    assert not {tab.form[name] for name in ("dataset_name", "output_dir", "seed", "resize_mode")} & answer.keys()
    edited = brought(tab, untouched | {"max_train_minutes": 7.0}, recipe)
    assert card.take_best(edited) == {card.recipe: None, card.fresh: False}
    assert card.take(edited)[tab.form["image_size"]] == "32"
    reloaded = brought(tab, recipe.config.to_dict(), recipe) | {card.fresh: False}
    assert card.take_best(reloaded) == {card.recipe: "x", card.fresh: False}


def test_a_run_is_named_after_the_pictures_where_nobody_named_it(tab, drawn):
    tab.drawn, card = drawn, tab.expect
    recipe = types.SimpleNamespace(name="x", config=presets.build("first-butterflies"))
    answer = card.take_best(brought(tab, presets.build(presets.FIRST).to_dict(), recipe))
    assert answer[tab.form["output_dir"]] == drawn.name


def test_doubts_about_one_recipe_stand_under_its_line():
    few, unfit = ("expect_few", {"count": 60, "wanted": 100}), ("expect_unfit", {"psnr": "17.0", "wanted": 22.0})
    sharp, pixels = (
        Recipe(name, presets.build(preset), 100, 3, doubts, ())
        for name, preset, doubts in (("sharp", "latent-128", (few, unfit)), ("pixels", "first-butterflies", (few,)))
    )
    first, second = doubt_lines([pixels, sharp], "en")
    assert "60 pictures are few" in first and second.startswith("Sharp: 128 px, 3 min: ") and "17.0 dB" in second
