"""The desk of the Learn tab: who asks what, piece by piece, and nobody's training is in the way."""

import base64
import io
import json
import shutil
import threading

import pytest
import safetensors.torch
import torch
from kits import page as ui_kit
from PIL import Image

from ddpm_app import i18n, jobs
from ddpm_app.device_lock import DEVICE
from ddpm_app.files import folder_atomic
from ddpm_app.learn import panels, stations
from ddpm_app.learn.sessions import LearnSessions
from ddpm_app.learn.station import Action, Choice, Slider, Station, Toggle, Words
from ddpm_app.runs.run import Run
from ddpm_app.ui.tabs.learn import Offers

SHIPPED = "shipped:butterflies-64"


@pytest.fixture
def desk(runs_dir):
    _, studio = ui_kit.build(runs_dir)
    jobs.engine()
    studio.warm.set()
    return LearnSessions(studio)


@pytest.fixture
def show(monkeypatch):
    """Puts a station in the place of all: ``show(function, controls)``."""

    def put(function, *controls, **options):
        monkeypatch.setattr(stations, "station", lambda name: Station(name, function, controls, **options))

    return put


def query(turn=1, **given):
    plain = {
        "client": "a",
        "turn": turn,
        "lang": "en",
        "station": "noise",
        "model": SHIPPED,
        "picture": "0",
        "t": 300,
        "seed": 0,
        "values": {},
    }
    return plain | given


def text(panels):
    return [panel["text"] for panel in panels]


def test_panels_come_piece_by_piece(desk, show):
    def three(bench, asked):
        yield [panels.note("one")]
        yield [panels.note("two")]

    show(three)
    first = desk.ask(query())
    assert text(first["panels"]) == ["one"] and first["more"]
    assert (first["timesteps"], first["picture"], first["asked"]) == (1000, "0", "none")
    assert text(desk.ask(query(more=True))["panels"]) == ["two"]
    assert desk.ask(query(more=True)) == {"more": False}


def test_the_newest_question_ends_the_one_before(desk, show):
    closed = []

    def endless(bench, asked):
        try:
            while True:
                yield [panels.note(str(asked.t))]
        finally:
            closed.append(asked.t)

    show(endless)
    desk.ask(query(1, t=100))
    assert text(desk.ask(query(2, t=200))["panels"]) == ["200"]
    assert closed == [100]
    assert desk.ask(query(1, more=True)) == {"stale": True}
    assert text(desk.ask(query(2, more=True))["panels"]) == ["200"]


def test_a_question_that_is_asked_meanwhile_waits_for_a_slice_only(desk, show):
    began, go_on = threading.Event(), threading.Event()
    slices = []

    def slow(bench, asked):
        for k in range(1000):
            slices.append((asked.t, k))
            if asked.t == 1:
                began.set()
                assert go_on.wait(30)
            yield None

    show(slow)
    thread = threading.Thread(target=desk.ask, args=(query(1, t=1),))
    thread.start()
    assert began.wait(30)
    other = threading.Thread(target=desk.ask, args=(query(2, t=2),))
    other.start()
    while desk._viewers["a"].turn < 2:
        pass
    go_on.set()
    thread.join(30)
    other.join(30)
    assert [k for t, k in slices if t == 1] == [0]


def test_each_slice_holds_the_device_and_leaves_it(desk, show):
    held = []

    def station(bench, asked):
        held.append(len(DEVICE._queue))
        yield None
        held.append(len(DEVICE._queue))
        raise RuntimeError("broken")

    show(station)
    said = desk.ask(query())
    assert "broken" in said["error"] and held == [1, 1] and not DEVICE._queue


def test_a_station_without_a_network_keeps_the_device_from_nobody(desk, show):
    held = []

    def station(bench, asked):
        held.append(len(DEVICE._queue))
        yield []

    show(station, network=False)
    desk.ask(query())
    assert held == [0]


@pytest.mark.parametrize(
    "wrong, told",
    [
        ({"model": "run:nobody"}, "nobody"),
        ({"model": "shipped:nobody"}, "nobody"),
        ({"model": "other:/etc"}, "model"),
        ({"picture": "own:0123"}, "Your own"),
    ],
)
def test_what_is_not_there_is_told(desk, wrong, told):
    said = desk.ask(query(**wrong))
    assert told in said["error"] and "Traceback" not in said["error"]


@pytest.mark.parametrize(
    "odd",
    [
        {"t": "a"},
        {"t": 10**9},
        {"t": None},
        {"seed": -5},
        {"seed": "x"},
        {"values": "nothing"},
        {"values": {"schedule": 7}},
        {"picture": "99999"},
        {"lang": "xx"},
    ],
)
def test_what_makes_no_sense_becomes_something_that_does(desk, odd):
    assert "panels" in desk.ask(query(**odd))


def test_controls_are_read_with_care():
    sliders = Slider("n", 0, 10, 1, 3), Slider("f", 0, 1, 0.1, 0.5)
    station = Station("x", None, (*sliders, Choice("c", ("a", "b")), Toggle("on"), Words("w", "hi"), Action("go")))
    default = {"n": 3, "f": 0.5, "c": "a", "on": False, "w": "hi"}
    assert station.read({}) == default
    assert station.read({"n": 11, "f": float("nan"), "c": "z", "on": "yes", "w": 5, "go": 1}) == default
    assert station.read({"n": 7.0, "f": 0, "c": "b", "on": True, "w": "x" * 999}) == {
        "n": 7,
        "f": 0.0,
        "c": "b",
        "on": True,
        "w": "x" * 300,
    }


def test_memory_lasts_while_one_stays(desk, show):
    def counting(bench, asked):
        asked.memory["count"] = asked.memory.get("count", 0) + (asked.pressed == "one")
        yield [panels.note(str(asked.memory["count"]))]

    show(counting, Action("one"))
    told = [
        text(desk.ask(query(k, **more))["panels"])[0]
        for k, more in enumerate(
            [
                {"pressed": "one"},
                {"pressed": "one", "t": 5},
                {},
                {"client": "b"},
                {"picture": "1"},
                {"pressed": "one"},
            ],
            1,
        )
    ]
    assert told == ["1", "2", "2", "0", "0", "1"]


def png(size=(40, 30), colour="red"):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def test_a_viewers_own_picture_is_put_on_the_bench(desk):
    key = desk.keep(png())
    bench = desk.bench(SHIPPED, key)
    assert bench.index is None and bench.x.shape == (1, 3, 64, 64)
    assert bench.x.amax((0, 2, 3)).tolist() == [1, -1, -1]
    assert desk.keep(png()) == key


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused(desk, data):
    with pytest.raises(Exception) as refused:
        desk.keep(data)
    assert refused.value.code == "picture_unfit"


def test_only_so_many_are_remembered(desk):
    keys = [desk.keep(png(colour=(k, 0, 0))) for k in range(40)]
    assert len(desk._own) == 32 and keys[0] not in desk._own and keys[-1] in desk._own
    for k in range(70):
        desk._viewer(str(k))
    assert len(desk._viewers) == 64


def keeping(bench, asked):
    asked.memory["copy"] = True
    yield [panels.note("told")]


def test_only_the_last_viewers_keep_a_memory_and_the_others_are_told(desk, show):
    show(keeping)
    for k in range(12):
        desk.ask(query(client=str(k)))
    desk.ask(query(2, client="4"))  # still there, and again among the last
    assert [bool(desk._viewers[str(k)].memory) for k in range(12)] == [False] * 4 + [True] * 8
    assert desk.ask(query(2, client="0"))["note"] and "note" not in desk.ask(query(3, client="4"))
    desk.ask(query(2, client="0", more=True))
    assert desk._viewers["0"].memory and not desk._viewers["5"].memory and desk._viewers["4"].memory


def test_what_lies_idle_is_forgotten(desk, show, monkeypatch):
    show(keeping)
    desk.ask(query(client="a"))
    monkeypatch.setattr("ddpm_app.learn.desk.IDLE_SECONDS", -1)
    desk.ask(query(client="b"))
    assert not desk._viewers["a"].memory and desk._viewers["a"].bench is None


def test_only_so_many_are_at_work_at_once(desk, show):
    begun, go_on = threading.Barrier(3), threading.Event()

    def slow(bench, asked):
        begun.wait(30)
        assert go_on.wait(30)
        yield [panels.note("done")]

    show(slow, network=False)
    threads = [threading.Thread(target=desk.ask, args=(query(client=name),)) for name in "ab"]
    for thread in threads:
        thread.start()
    begun.wait(30)
    assert desk.ask(query(client="c")) == {"more": True, "again": True, "status": "others are at work, a moment"}
    go_on.set()
    for thread in threads:
        thread.join(30)
    show(keeping)
    assert text(desk.ask(query(client="c"))["panels"]) == ["told"]


@pytest.fixture
def a_run(desk, trained):
    """A tiny run that has ended, in the desk's runs folder."""
    known = trained("pixels")
    shutil.copytree(known.path, desk.studio.runs_dir / known.name)
    return Run(desk.studio.runs_dir / known.name)


def test_a_runs_newest_snapshot_is_looked_at(desk, a_run):
    first = desk.bench(f"run:{a_run.name}", "0")
    assert first.run.path == a_run.path and desk.bench(f"run:{a_run.name}", "0") is first
    weights = next(a_run.pipeline.glob("unet/*.safetensors"))
    halved = {name: value / 2 for name, value in safetensors.torch.load_file(weights).items()}
    with folder_atomic(a_run.pipeline) as part:  # as a run saves
        shutil.copytree(a_run.pipeline, part, dirs_exist_ok=True)
        safetensors.torch.save_file(halved, part / weights.relative_to(a_run.pipeline))
    second = desk.bench(f"run:{a_run.name}", "0")
    pairs = zip(first.model.unet.parameters(), second.model.unet.parameters(), strict=True)
    assert all(torch.equal(p / 2, q) for p, q in pairs)


def test_a_run_that_has_saved_nothing_says_so(desk, a_run):
    shutil.rmtree(a_run.pipeline)
    assert a_run.name in desk.ask(query(model=f"run:{a_run.name}"))["error"]


def test_its_owner_may_ask_a_run_to_save(desk, a_run):
    offers = Offers(desk.studio, desk)
    assert (
        offers.snapshot({"lang": "en", "model": f"run:{a_run.name}", "visitor": "me"}) == {}
        and a_run.requests["save"] == 1
    )
    assert "nobody" in offers.snapshot({"lang": "en", "model": "run:nobody"})["error"]
    desk.studio.public = True
    assert (
        offers.snapshot({"lang": "en", "model": f"run:{a_run.name}", "visitor": "another"})["error"]
        and a_run.requests["save"] == 1
    )


def test_the_page_is_told_what_it_shows(desk):
    offers = Offers(desk.studio, desk)
    for lang in i18n.LANGUAGES:
        found = offers.catalog(lang)
        assert (
            [station["id"] for station in found["stations"]] == list(stations.ORDER)
            and len(found["lessons"]) == 4
            and found["words"]["model"]
        )
    details = offers.details("noise")
    assert len(details["maths"]) == 2 and details["code"][0].startswith("def add_noise")
    first, second = (offers.pictures({"lang": "en", "model": SHIPPED, "page": page})["pictures"] for page in (0, 1))
    assert len(first) == 12 and {picture["key"] for picture in first} != {picture["key"] for picture in second}
    assert "error" in offers.pictures({"lang": "en", "model": "run:nobody"})
    uri = "data:image/png;base64," + base64.b64encode(png()).decode()
    assert offers.own({"lang": "en", "data": uri})["key"].startswith("own:")
    assert all("error" in offers.own({"lang": "en", "data": data}) for data in ("", "data:,x", None, uri[:-40]))


def test_in_public_nobody_looks_at_what_another_uploaded(desk, a_run):
    desk.studio.public = True
    control = json.loads((a_run.path / "control.json").read_text())
    (a_run.path / "control.json").write_text(json.dumps(control | {"owner": "me"}))
    offers, model = Offers(desk.studio, desk), f"run:{a_run.name}"
    assert "panels" in desk.ask(query(model=model, visitor="me"))
    for visitor in ("you", "", None):
        assert a_run.name in desk.ask(query(2, model=model, visitor=visitor))["error"]
        assert a_run.name in offers.pictures({"lang": "en", "model": model, "visitor": visitor})["error"]
    assert offers.pictures({"lang": "en", "model": model, "visitor": "me"})["pictures"]
    assert "panels" in desk.ask(query(3, visitor="you"))
