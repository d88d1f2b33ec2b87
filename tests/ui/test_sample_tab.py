"""The Sample tab: what is drawn, what is seen for which model, sheets, films, and the code that draws the same."""

import base64
import dataclasses
import io
import pathlib
import threading
import types
import zipfile

import pytest
from gradio.components import Component
from kits import models as parts_kit
from kits import page as ui_kit
from kits.fabricated_runs import at_work, make_run, save_pipeline
from PIL import Image, ImageChops

from ddpm_app import drawing, film, presets, sample, snippet
from ddpm_app.access import AccessPolicy
from ddpm_app.data.preprocess import to_images
from ddpm_app.device_lock import DEVICE
from ddpm_app.errors import Problem
from ddpm_app.images import captioned_grid, data_uri, rows_grid
from ddpm_app.model import describe, loaded, locate
from ddpm_app.model.describe import ModelInfo
from ddpm_app.model.vocabulary import prompt_words
from ddpm_app.model_choices import EXAMPLE_PROMPTS, WORDS_MODEL
from ddpm_app.runs import registry
from ddpm_app.runs.run import Run
from ddpm_app.snippet import DrawSettings, diffusers_snippet
from ddpm_app.ui.state import App
from ddpm_app.ui.tabs import sample_handlers
from ddpm_app.ui.tabs.sample import SampleTab, visible_settings

SETTINGS = DrawSettings(source="run:tiny", num_images=2, num_inference_steps=3, seed=11)
COLOURS = tuple(sorted(parts_kit.COLOURS))
KINDS = {
    "pixels": ModelInfo(),
    "latents": ModelInfo(latent=True),
    "labels": ModelInfo("labels", COLOURS, own=True),
    "labels-in-latents": ModelInfo("labels", COLOURS, latent=True, own=True),
    "words": ModelInfo("text", latent=True),
    "words-in-pixels": ModelInfo("text", own=True),
    "tuned-words": ModelInfo("text", latent=True),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def source_of(kind):
    return f"run:{kind}" if kind != "pixels" else "run:tiny"


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory):
    runs_dir = tmp_path_factory.mktemp("runs")
    make_run(runs_dir, "tiny", steps=5, preset="quick-check", previews=1, pipeline=True)
    return runs_dir


@pytest.fixture
def studio(runs_dir):
    return App(runs_dir)


@pytest.fixture
def studio_with(trained):
    """The studio over the folder that holds the tiny trained run of a kind, which is named after it."""

    def make(kind, public=False):
        folder = trained(kind).path.parent
        return App(folder, public)

    return make


def open_tab(studio):
    return ui_kit.draw(studio, SampleTab)


def draw(tab, locked=True, session="one", sheet="", **changes):
    """What the draw handler yields, as dicts by the components' names; files are read while they are there."""
    names = {component: name for name, component in vars(tab).items() if isinstance(component, Component)}
    values = dataclasses.asdict(SETTINGS) | changes
    data = {getattr(tab, name): value for name, value in values.items()}
    data |= {tab.page.visitor: "", tab.page.lang: "en", tab.locked: locked}
    for updates in tab.handlers.draw(data, session, sheet):
        outcome = {names[component]: update for component, update in updates.items()}
        for name in ("as_png", "as_zip"):
            if "value" in outcome.get(name, ()):
                with open(outcome[name]["value"], "rb") as file:
                    outcome[name] = file.read()
        yield outcome


def outcomes(studio, **options):
    """As ``draw``, on a tab of its own."""
    return draw(open_tab(studio), **options)


def snippet_of(studio, **changes):
    return diffusers_snippet(dataclasses.replace(SETTINGS, **changes), studio.models, studio.access)


def test_drawing_ends_in_pictures_files_and_a_film(studio):
    news = list(outcomes(studio))
    done = news[-1]
    gallery = done["pictures"]["value"]
    assert [caption for _, caption in gallery] == ["seed 11", "seed 12"]
    request = sample.Request(num_images=2, num_inference_steps=3, seed=11)
    *_, (_, expected) = sample.draw(loaded.load_model(studio.runs_dir / "tiny"), request)
    for (image, _), want in zip(gallery, expected, strict=True):
        assert not ImageChops.difference(image, want).getbbox()
    archive = zipfile.ZipFile(io.BytesIO(done["as_zip"]))
    assert archive.namelist() == ["0000.png", "0001.png", "grid.png"]
    assert not ImageChops.difference(Image.open(archive.open("0001.png")), expected[1]).getbbox()
    with Image.open(io.BytesIO(done["as_png"])) as grid, Image.open(archive.open("0001.png")) as second:
        assert grid.size == (34, 16) and grid.info["seed"].split() == ["11", "12"]
        told = {name: second.info[name] for name in ("seed", "sampler", "num_inference_steps", "model")}
    assert told == {"seed": "12", "sampler": SETTINGS.sampler, "num_inference_steps": "3", "model": "tiny"}
    assert gallery[1][0].info["seed"] == "12", "Gradio writes it into the file of the gallery"
    captions = [frame["caption"].split(" · ")[0] for frame in done["film"]["frames"]]
    assert captions == [f"step {k} of 3" for k in (1, 2, 3)]
    assert news[0]["cancel"]["visible"] and not done["cancel"]["visible"] and done["draw"]["visible"]


class Lock:
    """In place of the device: tells who holds it, and calls ``after`` when it is given back for the first time."""

    def __init__(self, after=None):
        self.held, self.after = False, after

    def __enter__(self):
        self.held = True

    def __exit__(self, *_):
        self.held, after, self.after = False, self.after, None
        if after:
            after()


def test_a_download_leaves_the_device_to_training(studio, monkeypatch):
    lock, downloads = Lock(), []
    monkeypatch.setattr(loaded, "DEVICE", lock)
    monkeypatch.setattr(locate, "download", lambda place: downloads.append((place, lock.held)) or studio.runs_dir)
    monkeypatch.setattr(loaded, "load_model", lambda place, *_: (place, lock.held))
    monkeypatch.setattr(loaded, "_loaded", {})
    assert loaded.load("user/name", "ema") == (studio.runs_dir, True)
    assert downloads == [("user/name", False)]


def test_a_visitor_gets_their_own_model_while_another_loads_one(studio, monkeypatch, tmp_path):
    monkeypatch.setattr(loaded, "_loaded", {})
    monkeypatch.setattr(loaded, "DEVICE", Lock(after=lambda: loaded.load(tmp_path, "ema")))
    monkeypatch.setattr(loaded, "load_model", lambda place, *_: model(place))
    assert loaded.load(studio.runs_dir, "ema").place == studio.runs_dir
    assert loaded.load(studio.runs_dir, "ema").place == studio.runs_dir


def model(place, parameters=4):
    import torch

    return types.SimpleNamespace(place=place, unet=torch.nn.Linear(parameters, 1, bias=False))


def test_the_last_models_are_kept_while_they_are_small_together(monkeypatch, tmp_path):
    loads = []

    def load(place, *_):
        loads.append(place.name)
        return model(place, 20 if place.name == "large" else 4)

    monkeypatch.setattr(loaded, "_loaded", {})
    monkeypatch.setattr(loaded, "KEPT_MODELS", 2)
    monkeypatch.setattr(loaded, "KEPT_BYTES", 100)
    monkeypatch.setattr(loaded, "load_model", load)
    for name in ("a", "b", "a", "c", "b", "a", "large", "large", "c"):
        (tmp_path / name).mkdir(exist_ok=True)
        loaded.load(tmp_path / name, "ema")
    assert loads == ["a", "b", "c", "a", "large", "c"]


def test_the_seed_is_random_unless_locked_and_shown(studio):
    seeds = {next(outcomes(studio, locked=False))["seed"] for _ in range(5)}
    assert len(seeds) > 1 and 11 not in seeds
    assert next(outcomes(studio))["seed"] == 11


def test_cancel_ends_between_two_steps(studio):
    tab, news = open_tab(studio), []
    for outcome in draw(tab, num_inference_steps=50):
        news.append(outcome)
        if "step 1 of" in outcome.get("status", ""):
            tab.handlers.cancel(types.SimpleNamespace(session_hash="another"))
            tab.handlers.cancel(types.SimpleNamespace(session_hash="one"))
    assert "Cancelled" in news[-1]["status"]
    assert news[-1]["draw"]["visible"] and not tab.handlers.cancels
    assert not any("value" in outcome.get("pictures", ()) for outcome in news)


def test_a_visitor_who_leaves_frees_the_device(studio):
    left = outcomes(studio, num_inference_steps=50)
    for outcome in left:
        if "step 1 of" in outcome.get("status", ""):
            break
    left.close()
    assert not DEVICE._queue


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source": None}, "Choose a model"),
        ({"source": "other", "other": None}, "Choose a model"),
        ({"source": "run:../tiny"}, "no run"),
        ({"source": "shipped:../../runs"}, "no model"),
        ({"source": "other", "other": "/nowhere/at/all"}, "no model"),
        ({"num_images": None}, "“Pictures” is 0"),
        ({"num_inference_steps": 5000}, "at most 1000"),
        ({"sampler": "euler"}, "“Sampler” is"),
        ({"seed": -1}, "“Seed” is -1"),
    ],
)
def test_what_cannot_be_drawn_is_said(studio, changes, words):
    *_, last = outcomes(studio, **changes)
    assert words in last["status"] and 'role="alert"' in last["status"]
    assert last["draw"]["visible"]


def test_in_public_there_is_no_other_source_and_a_cap(runs_dir):
    studio = App(runs_dir, public=True)
    assert "other" not in dict(studio.models.options("en")).values()
    with pytest.raises(Problem, match="public_off"):
        studio.models.location("other", "user/name")
    assert "at most" in list(outcomes(studio, num_images=500))[-1]["status"]


def test_raw_weights_are_offered_where_a_checkpoint_has_them(studio):
    assert studio.models.has_raw_weights("run:tiny")
    assert not studio.models.has_raw_weights("run:nobody")
    assert not studio.models.has_raw_weights("other")
    assert "pictures" in list(outcomes(studio, weights="raw"))[-1]


def drawn_by(code, tmp_path, monkeypatch):
    """What the shown lines draw."""
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(code, scope)
    assert (tmp_path / "0000.png").is_file()
    return scope["images"]


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "ddim", "ddpm"])
@every_kind
def test_the_shown_lines_draw_the_same_pictures(studio_with, kind, sampler, tmp_path, monkeypatch):
    studio = studio_with(kind)
    changes = {"source": source_of(kind), "sampler": sampler, "labels": (2, 0), "num_images": 3}
    changes |= {"prompt": "red bug\nblue", "negative_prompt": "green"}
    theirs = drawn_by(snippet_of(studio, **changes), tmp_path, monkeypatch)
    ours = [image for image, _ in list(outcomes(studio, **changes))[-1]["pictures"]["value"]]
    assert len(theirs) == 3
    if sampler == "ddpm" and (KINDS[kind].own or kind == "latents"):
        return  # these pipelines add noise of their own on the way
    # the solver's 3 + 1 intervals divide the 1,000 timesteps: so there is nothing to round
    for a, b in zip(theirs, ours, strict=True):
        assert max(high for _, high in ImageChops.difference(a.convert("RGB"), b.convert("RGB")).getextrema()) <= 1


def test_the_shown_lines_name_the_folder_of_a_typed_run(studio_with, tmp_path, monkeypatch):
    studio = studio_with("labels")
    code = snippet_of(studio, source="other", other="labels", num_images=1)
    assert len(drawn_by(code, tmp_path, monkeypatch)) == 1
    public = snippet_of(App(studio.runs_dir, True), source="other", other="labels")
    assert str(studio.runs_dir) not in public


@pytest.mark.parametrize("kind", ["pixels", "labels"])
def test_the_shown_lines_take_a_checkpoints_weights(studio, studio_with, kind, tmp_path, monkeypatch):
    """The averaged ones of a run that keeps an average, else the raw ones."""
    place = "tiny/checkpoints/step-0000005" if kind == "pixels" else "labels/checkpoints/step-0000008"
    app, changes = studio if kind == "pixels" else studio_with(kind), dict(source="other", other=place, num_images=1)
    (image,) = drawn_by(snippet_of(app, **changes), tmp_path, monkeypatch)
    *_, done = outcomes(app, **changes)
    difference = ImageChops.difference(image.convert("RGB"), done["pictures"]["value"][0][0].convert("RGB"))
    assert max(high for _, high in difference.getextrema()) <= 1


@pytest.mark.parametrize(("count", "labels"), [(2, [1]), (5, [0, 2]), (1, []), (7, [])])
def test_the_shown_lines_take_labels_in_turn(studio_with, count, labels):
    code = snippet_of(studio_with("labels"), source="run:labels", labels=tuple(labels), num_images=count)
    in_turn = eval(code.partition("labels=")[2].partition(", guidance")[0])
    names = [COLOURS[k] for k in labels] or COLOURS
    assert in_turn == [names[k % len(names)] for k in range(count)]


@pytest.mark.parametrize("text", ['a "blue" one', "it's", "both ' and \"", "back\\slash", "plain"])
def test_any_text_is_quoted_as_python_reads_it(text):
    assert eval(snippet._quoted(text)) == text


def test_lines_for_nothing_chosen_name_a_placeholder(studio):
    assert 'DDPMPipeline.from_pretrained("user/name")' in snippet_of(studio, source=None)


def test_emptied_fields_count_as_nothing(studio):
    tab = open_tab(studio)
    settings = tab.settings(dict.fromkeys(tab.setting_components()))
    assert (settings.other, settings.prompt, settings.labels, settings.num_images) == ("", "", (), 0)


def test_a_running_run_is_asked_to_save_first(tmp_path, monkeypatch):
    run = make_run(tmp_path, "busy", steps=5, preset="quick-check", previews=0)
    at_work(run)

    requested, request = threading.Event(), Run.request
    monkeypatch.setattr(Run, "request", lambda self, *counted: (request(self, *counted), requested.set()))

    def train():
        assert requested.wait(30) and run.requests["save"]
        save_pipeline(run, 5)

    thread = threading.Thread(target=train)
    thread.start()
    lines = list(sample_handlers.fresh_snapshot(run, "en", threading.Event()))
    thread.join()
    assert lines and run.pipeline.is_dir()


@pytest.mark.parametrize("state", ["paused", "stopped", "waiting"])
def test_a_run_that_cannot_save_now_is_not_waited_for(tmp_path, state):
    run = make_run(tmp_path, "still", steps=5, preset="quick-check", previews=0)
    at_work(run)
    run.update_status(state=state)
    assert list(sample_handlers.fresh_snapshot(run, "en", threading.Event())) == []
    assert run.requests["save"] == 0


@pytest.mark.parametrize("steps", [1, 2, 19, 20, 21, 50, 1000])
def test_a_film_keeps_few_frames_the_first_and_the_last(steps):
    recorder = film.FilmRecorder(steps)
    kept = [step for step in range(1, steps + 1) if recorder.wants(step)]
    assert len(kept) == min(steps, film.MAX_FRAMES)
    assert kept[0] == 1 and kept[-1] == steps


def test_a_film_is_small_and_shows_no_more_than_four_pictures():
    recorder = film.FilmRecorder(20)
    noise = [Image.effect_noise((512, 512), 90).convert("RGB") for _ in range(6)]
    for step in range(1, 21):
        recorder.add(step, 1000 - 50 * step, [noise, noise])
        assert recorder.wants(step) == 0
    frames = recorder.film_value("name")["frames"]
    assert len(frames) == 20
    assert sum(len(frame["src"]) for frame in frames) < 4_000_000
    assert rows_grid([noise[:4], noise[:4]]).size == (4 * 513 - 1, 2 * 513 - 1)


def test_drawings_stand_beside_each_other_in_a_film():
    recorder, image = film.FilmRecorder(2), Image.new("RGB", (8, 8))
    for _ in range(3):
        for step in (1, 2):
            recorder.add(step, 500, [[image, image]] * 3)
    reel = recorder.film_value("name", note="told")
    assert [frame["caption"] for frame in reel["frames"]] == ["step 1 of 2 · t = 500", "step 2 of 2 · t = 500"]
    assert [label for label, _ in reel["rows"]] == ["latents", "noisy", "guess"] and reel["note"] == "told"
    assert size_of(reel["frames"][0]["src"]) == (4 * 9 - 1, 3 * 9 - 1)


def size_of(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).size


def test_small_sheets_travel_without_loss():
    image = Image.effect_noise((64, 64), 90).convert("RGB")
    uri = data_uri(image, small=True)
    assert not ImageChops.difference(
        Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"), image
    ).getbbox()


# ---- what a model is asked by ----------------------------------------------------------------------------------------
@every_kind
def test_a_kind_is_read_from_the_folder(studio_with, kind):
    studio = studio_with(kind)
    source, name = source_of(kind), source_of(kind).partition(":")[2]
    assert studio.models.info(source, "") == studio.models.info("other", name) == KINDS[kind]
    assert describe.describe_folder(studio.runs_dir / name / "pipeline") == KINDS[kind]


def test_nothing_readable_is_asked_by_nothing(studio, tmp_path):
    (tmp_path / "model_index.json").write_text("[1]")
    assert (
        describe.describe_folder(tmp_path)
        == studio.models.info(None, None)
        == studio.models.info("run:nobody", "")
        == ModelInfo()
    )
    assert studio.models.info("other", "some one/model") == studio.models.info("other", "plain") == ModelInfo()


def test_a_hub_id_is_known_once_it_was_fetched(studio, trained, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert studio.models.info("other", "someone/words") == describe.UNKNOWN
    snapshot = tmp_path / "models--someone--words" / "snapshots" / "abc"
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(trained("words").pipeline)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path))
    assert studio.models.info("other", "someone/words") == KINDS["words"]


def test_a_run_that_has_saved_nothing_is_told_by_its_settings(trained, tmp_path):
    young, studio = tmp_path / "young", App(tmp_path)
    run = registry.create(tmp_path, presets.build("words-128", output_dir="young"))
    assert studio.models.info("run:young", "") == ModelInfo("text", latent=True)
    run.update_record(config=run.record["config"] | {"init_from": str(trained("labels").pipeline)})
    assert studio.models.info("run:young", "") == KINDS["labels"] and young.is_dir()


def test_an_autoencoder_draws_nothing_and_is_not_offered(studio_with):
    studio = studio_with("autoencoder")
    studio_with("latents")
    offered = dict(studio.models.options("en")).values()
    assert "run:latents" in offered and "run:autoencoder" not in offered
    assert "autoencoder" in list(outcomes(studio, source="run:autoencoder"))[-1]["status"]


@pytest.mark.parametrize(
    ("kind", "visible"),
    [
        (ModelInfo(), set()),
        (ModelInfo("labels", ("a", "b")), {"labels", "guidance_scale", "by_labels", "by_scales"}),
        (ModelInfo("text"), {"prompt", "negative_prompt", "guidance_scale", "by_prompts", "by_scales"}),
        (describe.UNKNOWN, {"prompt", "negative_prompt", "guidance_scale", "by_prompts", "by_scales"}),
    ],
)
def test_only_what_matters_is_seen(studio, kind, visible):
    assert {name for name, is_visible in visible_settings(kind).items() if is_visible} == visible
    tab = open_tab(studio)
    updates = tab.condition_updates(kind, [1, 7])
    components = [getattr(tab, name, None) or tab.sheets[name.removeprefix("by_")] for name in visible]
    components += [tab.words] if "prompt" in visible else []  # what of the prompt it knows
    assert {component for component, update in updates.items() if update["visible"]} == set(components)
    labels = updates[tab.labels]
    assert labels["value"] == ([1] if kind.labels else [])
    assert [k for _, k in labels["choices"]] == [0, 1][: len(kind.labels)]


def test_the_source_is_the_newest_finished_run_until_another_is_chosen(tmp_path):
    make_run(tmp_path, "short", steps=5, previews=0, pipeline=True)
    make_run(tmp_path, "stopped", state="stopped", previews=0, pipeline=True)
    studio = App(tmp_path)
    tab = open_tab(studio)
    first = tab.source.value
    assert first == f"shipped:{WORDS_MODEL}"
    snapshot = {"name": "stopped", "saved": True, "config": {}}
    assert "value" not in tab.follow(snapshot, "en", first, first, "")[tab.source]
    make_run(tmp_path, "long", previews=0, pipeline=True)
    studio.monitor.refresh()
    updates = tab.follow(snapshot, "en", first, first, "")
    assert (updates[tab.source]["value"], updates[tab.followed]) == ("run:long", "run:long")
    updates = tab.follow(snapshot, "en", first, "run:long", "")
    assert "value" not in updates[tab.source] and tab.followed not in updates


def test_another_visitor_s_run_is_not_drawn_with(tmp_path):
    run = make_run(tmp_path, "theirs", previews=0, pipeline=True)
    run.request(owner="them")
    models = App(tmp_path, public=True).models
    assert (models.default("me"), models.default("them")) == (f"shipped:{WORDS_MODEL}", "run:theirs")


def test_the_words_of_a_prompt_are_told_apart(studio):
    tab = open_tab(studio)
    text = tab.show_words(f"shipped:{WORDS_MODEL}", "", "a purple cat, with white spots", "en")
    assert ("It knows:</b> a, purple, with, white, spots" in text) and (
        "doesn&#39;t know:</b> cat" in text or "know:</b> cat" in text
    )
    assert tab.show_words("shipped:butterflies-64", "", "a purple cat", "en") == ""
    assert not any(prompt_words(locate.SHIPPED / WORDS_MODEL, text).unknown_words for text in EXAMPLE_PROMPTS)


def test_a_picture_is_drawn_again(studio_with):
    tab = open_tab(studio_with("words"))
    event = types.SimpleNamespace(_data={"seed": 7, "caption": "a red bug · seed 7"})
    updates = tab.take_picture("run:words", "", event)
    assert [updates[part] for part in (tab.seed, tab.locked, tab.num_images, tab.prompt)] == [7, True, 1, "a red bug"]
    assert updates[tab.source] == "run:words"
    event._data |= {"caption": "seed 7", "source": "run:words"}
    updates = tab.take_picture(f"shipped:{WORDS_MODEL}", "", event)  # chosen after it was drawn
    assert (updates[tab.source], updates[tab.prompt]) == ("run:words", "")
    event._data["source"] = "run:gone"
    assert tab.take_picture("run:words", "", event)[tab.source] == "run:words"


# ---- sheets ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "sheet", "rows"),
    [
        ("labels", "labels", 3),
        ("labels-in-latents", "labels", 3),
        ("words", "prompts", 2),
        ("words-in-pixels", "scales", 4),
        ("labels", "scales", 4),
    ],
)
def test_a_sheet_has_a_row_for_each(studio_with, kind, sheet, rows):
    *_, done = outcomes(studio_with(kind), sheet=sheet, source=f"run:{kind}", prompt="red bug\nblue bug")
    assert f"{4 * rows} pictures" in done["status"] and "visible" not in done.get("pictures", ())
    archive = zipfile.ZipFile(io.BytesIO(done["as_zip"]))
    assert len(archive.namelist()) == 4 * rows + 1
    assert Image.open(io.BytesIO(done["as_png"])).height == rows * (96 + 4) - 4  # 8 px wide ones, 12 times as large
    assert len(done["film"]["frames"]) == 3 and len(done["film"]["rows"]) == 2 + KINDS[kind].latent


def pictures_of(done):
    archive = zipfile.ZipFile(io.BytesIO(done["as_zip"]))
    return [Image.open(archive.open(name)).tobytes() for name in archive.namelist()[:-1]]


def test_rows_share_their_noise_and_differ_in_one_thing(studio_with):
    studio = studio_with("labels")
    sheet = pictures_of(list(outcomes(studio, sheet="scales", source="run:labels", labels=[1]))[-1])
    for row, scale in enumerate((0, 1, 3, 7)):
        alone = pictures_of(
            list(outcomes(studio, source="run:labels", labels=[1], num_images=4, guidance_scale=scale))[-1]
        )
        assert sheet[4 * row : 4 * row + 4] == alone
    by_label = pictures_of(list(outcomes(studio, sheet="labels", source="run:labels", labels=[2, 0]))[-1])
    assert by_label == [
        p
        for k in (2, 0)
        for p in pictures_of(list(outcomes(studio, source="run:labels", labels=[k], num_images=4))[-1])
    ]


@pytest.mark.parametrize(
    ("sheet", "changes", "words"),
    [
        ("prompts", {"prompt": " \n"}, "one text per line"),
        ("prompts", {"prompt": "x" * 9000}, "too long"),
        ("prompts", {"prompt": "\n".join(map(str, range(1025)))}, "at most 1024"),
    ],
)
def test_a_sheet_that_cannot_be_drawn_is_said(studio_with, sheet, changes, words):
    assert words in list(outcomes(studio_with("words"), sheet=sheet, source="run:words", **changes))[-1]["status"]


def test_in_public_a_sheet_holds_as_many_pictures_as_one_may_draw():
    public = AccessPolicy(pathlib.Path("runs"), public=True)

    def label_rows(count):
        labels = ModelInfo("labels", tuple(map(str, range(count))))
        return sample_handlers.sheet_rows(SETTINGS, "labels", labels, "en", most=16)

    for names, columns in ((3, 4), (16, 1), (20, 1)):
        rows = label_rows(names)
        assert (len(rows), rows[0][1].num_images) == (names, columns)
    sample_handlers.check_rows(label_rows(16), public)
    with pytest.raises(Problem, match="public_cap"):
        sample_handlers.check_rows(label_rows(20), public)


def test_a_label_that_the_model_has_not_is_said(studio_with):
    assert "“Labels” names 9" in list(outcomes(studio_with("labels"), source="run:labels", labels=[9]))[-1]["status"]


def test_words_that_are_not_read_are_named(studio_with):
    changes = {"source": "run:words", "prompt": "red bug\nblue bug with spots"}
    *_, done = outcomes(studio_with("words"), num_images=2, **changes)
    assert "reads 12 tokens" in done["status"] and "spots" in done["status"]
    *_, done = outcomes(studio_with("words"), num_images=1, **changes)
    assert "reads 12" not in done["status"]


def test_words_that_are_not_known_are_named(studio_with):
    """Each once, of all prompts that are drawn and the negative one."""
    asked = {"source": "run:words", "prompt": "bug 7\nbug 7 8\nbug 9", "negative_prompt": "6"}
    *_, done = outcomes(studio_with("words"), num_images=2, **asked)
    assert "same unknown word: 7, 8, 6." in done["status"]
    *_, done = outcomes(studio_with("words"), num_images=1, source="run:words", prompt="red bug")
    assert "unknown" not in done["status"]


def test_a_checkpoint_is_drawn_with(studio_with):
    studio = studio_with("labels")
    place = "labels/checkpoints/step-0000008"
    model, last = loaded.load_model(place, runs_dir=studio.runs_dir), loaded.load_model(studio.runs_dir / "labels")
    asked = dict(source="other", num_images=1, seed=3, labels=[1])
    *_, done = outcomes(studio, other=f" {place} ", **asked)
    ((image, line),) = done["pictures"]["value"]
    request = sample.Request(num_images=1, seed=3, labels=(1,), num_inference_steps=SETTINGS.num_inference_steps)
    pictures = [list(sample.draw(each, request))[-1][1][0] for each in (model, last)]
    assert image.tobytes() == pictures[0].tobytes() != pictures[1].tobytes()
    assert image.info["model"] == place and line.startswith("green")
    *_, done = outcomes(studio, other="labels/checkpoints/step-0000001", **asked)
    assert "step-0000008, step-0000012" in done["status"]


def test_a_film_of_latents_shows_them_raw_and_decoded(studio_with):

    done = list(outcomes(studio_with("latents"), source="run:latents", num_images=3))[-1]
    reel = done["film"]
    assert [label for label, _ in reel["rows"]] == ["latents", "noisy", "guess"] and "first 3 of 4 channels" in reel[
        "note"
    ]
    assert size_of(reel["frames"][-1]["src"]) == (3 * 9 - 1, 3 * 9 - 1)
    model = loaded.load_model(studio_with("latents").runs_dir / "latents")
    import torch

    x = torch.full((1, *model.shape), 3.0)
    x[:, 1] = -3
    raw, noisy, _ = drawing.film_rows(model, x, x)
    assert raw[0].getpixel((0, 0)) == (255, 0, 255) and raw[0].size == noisy[0].size == (8, 8)
    assert not ImageChops.difference(noisy[0], to_images(model.codec.decode(x))[0]).getbbox()


def test_pictures_under_way_are_decoded(studio_with, monkeypatch):
    monkeypatch.setattr(drawing, "SHOW_SECONDS", 0.0)
    monkeypatch.setattr(drawing, "LIVE_SHARE", 1e9)
    news = list(outcomes(studio_with("latents"), source="run:latents", num_images=2))
    under_way = [outcome["status"] for outcome in news if "<img" in outcome.get("status", "")]
    assert len(under_way) == 3 and size_of(under_way[-1].partition('src="')[2].partition('"')[0]) == (18, 8)


def test_a_film_of_great_latents_shows_fewer_pictures():
    def model(size, vae):
        return types.SimpleNamespace(codec=types.SimpleNamespace(vae=vae), image_size=size)

    assert [drawing.film_pictures(model(size, object())) for size in (32, 256, 384, 512, 1024)] == [4, 4, 1, 1, 1]
    assert drawing.film_pictures(model(1024, None)) == 4


@pytest.mark.parametrize("side", [16, 128, 300])
def test_a_captioned_sheet_is_legible_and_bounded(side):
    images = [Image.new("RGB", (side, side), colour) for colour in ("red", "green")]
    made = captioned_grid(
        [("monarch", images), ("a very long caption that goes on and on " * 9, images[:1]), ("", images)]
    )
    tile = min(max(side, 96), 256)
    assert made.height == 3 * (tile + 4) - 4 and tile * 2 < made.width < tile * 2 + 190
    assert made.getpixel((made.width - 20, 20)) == (0, 128, 0) and made.getpixel((made.width - 20, tile + 24)) == (
        255,
        255,
        255,
    )
    assert (
        made.crop((0, 0, made.width - 2 * (tile + 4) - 4, tile)).convert("L").getextrema()[0] < 100
    )  # dark letters beside the first row
    assert made.crop((0, 0, 2, made.height)).getextrema() == ((255, 255),) * 3  # and none cut off at the edge


@pytest.mark.parametrize(
    ("kind", "changes", "captions"),
    [
        ("labels", {"labels": [2, 0]}, ["red · seed 11", "blue · seed 12", "red · seed 13"]),
        ("labels", {}, ["blue · seed 11", "green · seed 12", "red · seed 13"]),
        ("words", {"prompt": "one\ntwo"}, ["one · seed 11", "two · seed 12", "one · seed 13"]),
        ("words", {"prompt": "one"}, ["seed 11", "seed 12", "seed 13"]),
    ],
)
def test_each_picture_tells_what_was_asked(studio_with, kind, changes, captions):
    done = list(outcomes(studio_with(kind), source=f"run:{kind}", num_images=3, **changes))[-1]
    assert [caption for _, caption in done["pictures"]["value"]] == captions
