"""The sessions of the Learn tab: who asks what, piece by piece, and nobody's training is in the way."""

import base64
import io
import json
import shutil
import threading

import pytest
import safetensors.torch
import torch
from kits.learn import Client, learn_sessions
from PIL import Image

from ddpm_app import i18n, jobs
from ddpm_app.device_lock import DEVICE
from ddpm_app.errors import Problem
from ddpm_app.files import folder_atomic
from ddpm_app.learn import panels, sessions, stations
from ddpm_app.learn.catalog import LearnCatalog
from ddpm_app.learn.sessions import Query
from ddpm_app.learn.station import Action, Choice, Slider, StationSpec, Textbox, Toggle
from ddpm_app.runs.run import Run

SHIPPED = "shipped:butterflies-64"


@pytest.fixture
def learn(runs_dir):
    """The sessions of an app with an empty runs folder."""
    jobs.engine()
    return learn_sessions(runs_dir)


@pytest.fixture
def client(learn):
    """Makes a browser that asks for the shipped model: ``client("a")``."""
    return lambda name="a", **defaults: Client(learn, name, model=SHIPPED, picture="0", **defaults)


@pytest.fixture
def show(monkeypatch):
    """Puts a station in the place of "noise": ``show(function, *controls)``."""

    def put(function, *controls, **options):
        monkeypatch.setitem(stations.SPECS, "noise", StationSpec("noise", controls, **options))
        monkeypatch.setattr(stations, "load", lambda name: function)

    return put


def texts(answer):
    return [panel["text"] for panel in answer["panels"]]


def test_panels_come_piece_by_piece(client, show):
    def three(context, request):
        yield [panels.note("one")]
        yield [panels.note("two")]

    show(three)
    browser = client()
    first = browser.ask()
    assert texts(first) == ["one"] and first["more"]
    assert (first["timesteps"], first["picture"], first["conditioning"]) == (1000, "0", "none")
    assert texts(browser.more()) == ["two"]
    assert browser.more() == {"more": False}


def test_the_newest_query_ends_the_one_before(client, show):
    closed = []

    def endless(context, request):
        try:
            while True:
                yield [panels.note(str(request.t))]
        finally:
            closed.append(request.t)

    show(endless)
    browser = client()
    browser.ask(t=100)
    first = browser.query
    assert texts(browser.ask(t=200)) == ["200"]
    assert closed == [100]
    assert browser.sessions.ask(first | {"more": True}) == {"stale": True}
    assert texts(browser.more()) == ["200"]


def test_a_query_that_is_asked_meanwhile_waits_for_a_slice_only(learn, client, show):
    began, go_on = threading.Event(), threading.Event()
    slices = []

    def slow(context, request):
        for k in range(1000):
            slices.append((request.t, k))
            if request.t == 1:
                began.set()
                assert go_on.wait(30)
            yield None

    show(slow)
    browser = client()
    first = threading.Thread(target=browser.ask, kwargs={"t": 1})
    first.start()
    assert began.wait(30)
    second = threading.Thread(target=browser.ask, kwargs={"t": 2})
    second.start()
    while learn._sessions["a"].turn < 2:
        pass
    go_on.set()
    first.join(30)
    second.join(30)
    assert [k for t, k in slices if t == 1] == [0]


def test_each_slice_holds_the_device_and_leaves_it(client, show):
    holders = []

    def station(context, request):
        holders.append(len(DEVICE._queue))
        yield None
        holders.append(len(DEVICE._queue))
        raise RuntimeError("broken")

    show(station)
    answer = client().ask()
    assert "broken" in answer["error"] and holders == [1, 1] and not DEVICE._queue


def test_a_station_without_a_network_keeps_the_device_from_nobody(client, show):
    holders = []

    def station(context, request):
        holders.append(len(DEVICE._queue))
        yield []

    show(station, network=False)
    assert client().ask()["panels"] == []
    assert holders == [0]


@pytest.mark.parametrize(
    "wrong, name",
    [
        ({"model": "run:nobody"}, "nobody"),
        ({"model": "shipped:nobody"}, "nobody"),
        ({"model": "other:/etc"}, "model"),
        ({"picture": "own:0123"}, "Your own"),
    ],
)
def test_what_does_not_exist_is_told(client, wrong, name):
    answer = client().ask(**wrong)
    assert name in answer["error"] and "Traceback" not in answer["error"]


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
def test_what_makes_no_sense_becomes_something_that_does(client, odd):
    assert "panels" in client().ask(**odd)


def test_a_query_is_read_with_care():
    empty = Query.parse({})
    assert (empty.client, empty.turn, empty.more, empty.t, empty.seed, empty.values) == ("", 0, False, 0, 0, {})
    odd = Query.parse({"client": "x" * 99, "turn": "7.0", "seed": 1e300, "t": "inf", "values": [], "visitor": None})
    assert (len(odd.client), odd.turn, odd.seed, odd.t, odd.values, odd.visitor) == (64, 7, 2**31, 0, {}, "")


def test_controls_are_read_with_care():
    sliders = Slider("n", 0, 10, 1, 3), Slider("f", 0, 1, 0.1, 0.5)
    spec = StationSpec("x", (*sliders, Choice("c", ("a", "b")), Toggle("on"), Textbox("w", "hi"), Action("go")))
    default = {"n": 3, "f": 0.5, "c": "a", "on": False, "w": "hi"}
    assert spec.read({}) == default
    assert spec.read({"n": 11, "f": float("nan"), "c": "z", "on": "yes", "w": 5, "go": 1}) == default
    assert spec.read({"c": ["a"], "n": None}) == default
    values = spec.read({"n": 7.0, "f": 0, "c": "b", "on": True, "w": "x" * 999})
    assert values == {"n": 7, "f": 0.0, "c": "b", "on": True, "w": "x" * 300}


def test_memory_lasts_while_one_stays(client, show):
    def counting(context, request):
        request.memory["count"] = request.memory.get("count", 0) + (request.pressed == "one")
        yield [panels.note(str(request.memory["count"]))]

    show(counting, Action("one"))
    browser, other = client("a"), client("b")
    counts = [
        texts(answer)[0]
        for answer in (
            browser.ask(pressed="one"),
            browser.ask(pressed="one", t=5),
            browser.ask(),
            other.ask(),
            browser.ask(picture="1"),
            browser.ask(pressed="one"),
        )
    ]
    assert counts == ["1", "2", "2", "0", "0", "1"]


def png(size=(40, 30), colour="red"):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def test_a_viewers_own_picture_is_taken(learn):
    key = learn.add_picture(png())
    context = learn.context(SHIPPED, key)
    assert context.index is None and context.x.shape == (1, 3, 64, 64)
    assert context.x.amax((0, 2, 3)).tolist() == [1, -1, -1]
    assert learn.add_picture(png()) == key


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused(learn, data):
    with pytest.raises(Problem) as refused:
        learn.add_picture(data)
    assert refused.value.code == "picture_unfit"


def test_only_so_many_are_remembered(learn):
    keys = [learn.add_picture(png(colour=(k, 0, 0))) for k in range(40)]
    assert len(learn._pictures) == 32 and keys[0] not in learn._pictures and keys[-1] in learn._pictures
    for k in range(70):
        learn._session(str(k))
    assert len(learn._sessions) == 64


def remembering(context, request):
    request.memory["copy"] = True
    yield [panels.note("told")]


def test_only_the_last_viewers_keep_a_memory_and_the_others_are_told(learn, client, show):
    show(remembering)
    browsers = [client(str(k)) for k in range(12)]
    for browser in browsers:
        browser.ask()
    browsers[4].ask()  # still remembered, and again among the last
    assert [bool(learn._sessions[str(k)].memory) for k in range(12)] == [False] * 4 + [True] * 8
    assert browsers[0].ask()["note"] and "note" not in browsers[4].ask()
    browsers[0].more()
    assert learn._sessions["0"].memory and not learn._sessions["5"].memory and learn._sessions["4"].memory


def test_what_lies_idle_is_dropped(learn, client, show, monkeypatch):
    show(remembering)
    client("a").ask()
    monkeypatch.setattr(sessions, "IDLE_SECONDS", -1)
    client("b").ask()
    assert not learn._sessions["a"].memory and learn._sessions["a"].context is None


def test_only_so_many_are_at_work_at_once(client, show):
    begun, go_on = threading.Barrier(3), threading.Event()

    def slow(context, request):
        begun.wait(30)
        assert go_on.wait(30)
        yield [panels.note("done")]

    show(slow, network=False)
    threads = [threading.Thread(target=client(name).ask) for name in "ab"]
    for thread in threads:
        thread.start()
    begun.wait(30)
    third = client("c")
    assert third.ask() == {"more": True, "again": True, "status": "others are at work, a moment"}
    go_on.set()
    for thread in threads:
        thread.join(30)
    show(remembering)
    assert texts(third.ask()) == ["told"]


@pytest.fixture
def a_run(runs_dir, trained):
    """A tiny run that has ended, in the runs folder."""
    run = trained("pixels")
    shutil.copytree(run.path, runs_dir / run.name)
    return Run(runs_dir / run.name)


def test_a_runs_newest_snapshot_is_looked_at(learn, a_run):
    first = learn.context(f"run:{a_run.name}", "0")
    assert first.run.path == a_run.path and learn.context(f"run:{a_run.name}", "0") is first
    weights = next(a_run.pipeline.glob("unet/*.safetensors"))
    halved = {name: value / 2 for name, value in safetensors.torch.load_file(weights).items()}
    with folder_atomic(a_run.pipeline) as part:  # as a run saves
        shutil.copytree(a_run.pipeline, part, dirs_exist_ok=True)
        safetensors.torch.save_file(halved, part / weights.relative_to(a_run.pipeline))
    second = learn.context(f"run:{a_run.name}", "0")
    pairs = zip(first.model.unet.parameters(), second.model.unet.parameters(), strict=True)
    assert all(torch.equal(p / 2, q) for p, q in pairs)


def test_a_run_that_has_saved_nothing_says_so(client, a_run):
    shutil.rmtree(a_run.pipeline)
    assert a_run.name in client().ask(model=f"run:{a_run.name}")["error"]


# ---- the catalog --------------------------------------------------------------------------------------------------------
def test_its_owner_may_ask_a_run_to_save(learn, a_run, runs_dir):
    query = {"lang": "en", "model": f"run:{a_run.name}", "visitor": "me"}
    assert LearnCatalog(learn).snapshot(query) == {} and a_run.requests["save"] == 1
    assert "nobody" in LearnCatalog(learn).snapshot(query | {"model": "run:nobody"})["error"]
    public = LearnCatalog(learn_sessions(runs_dir, public=True))
    assert public.snapshot(query | {"visitor": "another"})["error"] and a_run.requests["save"] == 1


def test_the_page_is_told_what_it_shows(learn):
    catalog = LearnCatalog(learn)
    for lang in i18n.LANGUAGES:
        content = catalog.catalog(lang)
        assert [station["id"] for station in content["stations"]] == list(stations.ORDER)
        assert len(content["lessons"]) == 4 and content["words"]["model"]
    first, second = (catalog.thumbnails({"lang": "en", "model": SHIPPED, "page": page})["pictures"] for page in (0, 1))
    assert len(first) == 12 and {picture["key"] for picture in first} != {picture["key"] for picture in second}
    assert "error" in catalog.thumbnails({"lang": "en", "model": "run:nobody"})


def test_a_viewers_own_picture_comes_as_a_data_uri(learn):
    catalog, uri = LearnCatalog(learn), "data:image/png;base64," + base64.b64encode(png()).decode()
    assert catalog.upload({"lang": "en", "data": uri})["key"].startswith("own:")
    assert all("error" in catalog.upload({"lang": "en", "data": data}) for data in ("", "data:,x", None, uri[:-40]))


def test_in_public_nobody_looks_at_what_another_uploaded(learn, a_run, runs_dir):
    control = json.loads((a_run.path / "control.json").read_text())
    (a_run.path / "control.json").write_text(json.dumps(control | {"owner": "me"}))
    public, model = learn_sessions(runs_dir, public=True), f"run:{a_run.name}"
    browser, catalog = Client(public, model=model), LearnCatalog(public)
    assert "panels" in browser.ask(visitor="me")
    for visitor in ("you", "", None):
        assert a_run.name in browser.ask(visitor=visitor)["error"]
        assert a_run.name in catalog.thumbnails({"lang": "en", "model": model, "visitor": visitor})["error"]
    assert catalog.thumbnails({"lang": "en", "model": model, "visitor": "me"})["pictures"]
    assert "panels" in browser.ask(visitor="you", model=SHIPPED)


def test_a_key_frame_is_what_moves_in_the_first_panels_and_what_the_page_has_already_is_left_out(client):
    browser = client()
    exact = browser.ask(t=300)
    frame = browser.ask(t=301, key_frame=True)
    assert not browser.more().get("panels")  # nothing after the first

    def pictures(answer):
        panel = next(panel for panel in answer["panels"] if panel["name"] == "mixture")
        return [image["src"] for image in panel["rows"][0]["images"]]

    assert {panel["kind"] for panel in frame["panels"]} == {"pictures", "charts"}
    assert pictures(frame)[:2] == ["", ""], "picture and noise stand on the page"
    assert 0 < len(pictures(frame)[2]) < len(pictures(exact)[2]), "x_t is new, and lighter than the exact one"
    assert all(pictures(browser.ask(t=302))), "an exact answer always brings all of its pictures"


def test_a_station_takes_the_model_that_it_needs_and_says_so(client):
    answers = client().ask_all(station="latent")
    assert answers[0]["model"] == "shipped:butterflies-words" and "butterflies-words" in answers[0]["note"]
    assert "channels" in {panel["name"] for panel in answers[-2]["panels"]}
    insisting = client("b").ask_all(station="latent", insists=True)
    assert not any("note" in answer for answer in insisting) and "out" in {p["name"] for p in insisting[-2]["panels"]}
