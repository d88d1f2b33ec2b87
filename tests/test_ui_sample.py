import io
import threading
import time
import types
import zipfile

import pytest
from fabricated import at_work, make_run, save_pipeline
from PIL import Image, ImageChops

from ddpm_app.jobs import Jobs
from ddpm_app.problems import Problem
from ddpm_app.ui import film, sample, sources
from ddpm_app.ui.board import Board
from ddpm_app.ui.studio import Studio

ORDER = ("status", "pictures", "as_png", "as_zip", "film", "seed", "go", "cancel")
SETTINGS = {
    "source": "run:tiny", "other": "", "num_images": 2, "sampler": "dpmpp_2m", "num_inference_steps": 3, "eta": 0.0, "seed": 11,
    "weights": "ema",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    runs_dir = tmp_path_factory.mktemp("trained")
    make_run(runs_dir, "tiny", steps=5, preset="quick-check", previews=1, pipeline=True)
    return runs_dir


@pytest.fixture
def studio(trained):
    return Studio(trained, Jobs(trained), Board(trained))


def outcomes(studio, cancels=None, locked=True, session="one", **changes):
    """What the draw handler yields, as dicts of what changed; files are read while they are there."""
    request = types.SimpleNamespace(session_hash=session)
    draw = sample.drawer(studio, {} if cancels is None else cancels)
    for news in draw("", "en", locked, request, *(SETTINGS | changes).values()):
        told = {name: value for name, value in zip(ORDER, news, strict=True) if value != {"__type__": "update"}}
        for name in ("as_png", "as_zip"):
            if "value" in told.get(name, ()):
                with open(told[name]["value"], "rb") as file:
                    told[name] = file.read()
        yield told


def test_drawing_ends_in_pictures_files_and_a_film(studio):
    from ddpm_app import sample as engine

    told = list(outcomes(studio))
    done = told[-2]
    gallery = done["pictures"]["value"]
    assert [caption for _, caption in gallery] == ["seed 11", "seed 12"]
    request = engine.Request(num_images=2, num_inference_steps=3, seed=11)
    *_, (_, expected) = engine.draw(engine.load(studio.runs_dir / "tiny"), request)
    for (image, _), want in zip(gallery, expected, strict=True):
        assert not ImageChops.difference(image, want).getbbox()
    archive = zipfile.ZipFile(io.BytesIO(done["as_zip"]))
    assert archive.namelist() == ["0000.png", "0001.png", "grid.png"]
    assert not ImageChops.difference(Image.open(archive.open("0001.png")), expected[1]).getbbox()
    assert Image.open(io.BytesIO(done["as_png"])).size == (34, 16)
    assert [frame["caption"].split(" · ")[0] for frame in done["film"]["frames"]] == [f"step {k} of 3" for k in (1, 2, 3)]
    assert told[0]["cancel"]["visible"] and not told[-1]["cancel"]["visible"] and told[-1]["go"]["visible"]


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
    from ddpm_app import sample as engine

    lock, asked = Lock(), []
    monkeypatch.setattr(sample.jobs, "DEVICE", lock)
    monkeypatch.setattr(engine, "fetch", lambda place: asked.append((place, lock.held)) or studio.runs_dir)
    monkeypatch.setattr(engine, "load", lambda place, *_: (place, lock.held))
    monkeypatch.setattr(sample, "_loaded", [])
    assert sample.load("user/name", "ema") == (studio.runs_dir, True)
    assert asked == [("user/name", False)]


def test_a_visitor_gets_their_own_model_while_another_loads_one(studio, monkeypatch, tmp_path):
    from ddpm_app import sample as engine

    monkeypatch.setattr(sample, "_loaded", [])
    monkeypatch.setattr(sample.jobs, "DEVICE", Lock(after=lambda: sample.load(tmp_path, "ema")))
    monkeypatch.setattr(engine, "load", lambda place, *_: place)
    assert sample.load(studio.runs_dir, "ema") == studio.runs_dir
    assert sample.load(studio.runs_dir, "ema") == studio.runs_dir


def test_the_seed_is_random_unless_locked_and_shown(studio):
    seeds = {next(outcomes(studio, locked=False))["seed"] for _ in range(5)}
    assert len(seeds) > 1 and 11 not in seeds
    assert next(outcomes(studio))["seed"] == 11


def test_cancel_ends_between_two_steps(studio):
    cancels = {}
    told = []
    for news in outcomes(studio, cancels, num_inference_steps=50):
        told.append(news)
        if "step 1 of" in news.get("status", ""):
            sample.canceller(cancels)(types.SimpleNamespace(session_hash="another"))
            sample.canceller(cancels)(types.SimpleNamespace(session_hash="one"))
    assert "Cancelled" in told[-2]["status"]
    assert told[-1]["go"]["visible"] and not cancels
    assert not any("value" in news.get("pictures", ()) for news in told)


def test_a_visitor_who_leaves_frees_the_device(studio):
    from ddpm_app.jobs import DEVICE

    cancels = {}
    left = outcomes(studio, cancels, num_inference_steps=50)
    for news in left:
        if "step 1 of" in news.get("status", ""):
            break
    left.close()
    assert not DEVICE._queue


@pytest.mark.parametrize(("changes", "words"), [
    ({"source": None}, "Choose a model"),
    ({"source": "other", "other": None}, "Choose a model"),
    ({"source": "run:../tiny"}, "no run"),
    ({"source": "shipped:../../runs"}, "no model"),
    ({"source": "other", "other": "/nowhere/at/all"}, "no model"),
    ({"num_images": None}, "num_images is 0"),
    ({"num_inference_steps": 5000}, "at most 1000"),
    ({"sampler": "euler"}, "sampler"),
    ({"seed": -1}, "seed is -1"),
])
def test_what_cannot_be_drawn_is_said(studio, changes, words):
    told = list(outcomes(studio, **changes))
    assert words in told[-1]["status"] and 'role="alert"' in told[-1]["status"]
    assert told[-1]["go"]["visible"]


def test_in_public_there_is_no_other_source_and_a_cap(trained):
    studio = Studio(trained, Jobs(trained), Board(trained), public=True)
    assert "other" not in dict(sources.choices(studio, "en")).values()
    with pytest.raises(Problem, match="public_off"):
        sources.place_of(studio, "other", "user/name")
    assert "at most" in list(outcomes(studio, num_images=500))[-1]["status"]


def test_raw_weights_are_offered_where_a_checkpoint_has_them(studio):
    assert sources.has_raw(studio, "run:tiny")
    assert not sources.has_raw(studio, "run:nobody")
    assert not sources.has_raw(studio, "other")
    assert "pictures" in list(outcomes(studio, weights="raw"))[-2]


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "ddim", "ddpm"])
def test_the_shown_lines_draw_pictures(studio, sampler, tmp_path, monkeypatch):
    lines = sources.python_lines(studio, SETTINGS | {"sampler": sampler, "num_inference_steps": 2, "num_images": 1})
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(lines, scope)
    assert (tmp_path / "0000.png").is_file() and scope["images"][0].size == (16, 16)


def test_lines_for_nothing_chosen_name_a_placeholder(studio):
    assert '"user/name"' in sources.python_lines(studio, SETTINGS | {"source": None, "other": None})


def test_a_running_run_is_asked_to_save_first(trained, tmp_path):
    run = make_run(tmp_path, "busy", steps=5, preset="quick-check", previews=0)
    at_work(run)

    def train():
        while not run.wishes["save"]:
            time.sleep(0.01)
        save_pipeline(run, 5)

    thread = threading.Thread(target=train)
    thread.start()
    lines = list(sample.fresh_snapshot(run, "en", threading.Event()))
    thread.join()
    assert lines and run.pipeline.is_dir()


@pytest.mark.parametrize("state", ["paused", "stopped", "waiting"])
def test_a_run_that_cannot_save_now_is_not_waited_for(tmp_path, state):
    run = make_run(tmp_path, "still", steps=5, preset="quick-check", previews=0)
    at_work(run)
    run.tell(state=state)
    assert list(sample.fresh_snapshot(run, "en", threading.Event())) == []
    assert run.wishes["save"] == 0


@pytest.mark.parametrize("steps", [1, 2, 19, 20, 21, 50, 1000])
def test_a_film_keeps_few_frames_the_first_and_the_last(steps):
    recorder = film.Recorder(steps)
    kept = [step for step in range(1, steps + 1) if recorder.wants(step)]
    assert len(kept) == min(steps, film.MAX_FRAMES)
    assert kept[0] == 1 and kept[-1] == steps


def test_a_film_is_small_and_shows_no_more_than_four_pictures():
    recorder = film.Recorder(20)
    noise = [Image.effect_noise((512, 512), 90).convert("RGB") for _ in range(6)]
    for step in range(1, 21):
        recorder.add(step, 1000 - 50 * step, noise, noise)
    frames = recorder.reel("name")["frames"]
    assert len(frames) == 20
    assert sum(len(frame["src"]) for frame in frames) < 4_000_000
    assert film.sheet([noise[:4], noise[:4]]).size == (4 * 513 - 1, 2 * 513 - 1)


def test_small_sheets_travel_without_loss():
    import base64

    image = Image.effect_noise((64, 64), 90).convert("RGB")
    uri = film.data_uri(image, small=True)
    assert not ImageChops.difference(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"), image).getbbox()
