"""The page's poll: one answer for all parts, and nothing twice."""

import json
import subprocess
import sys

import pytest
from kits import page as ui_kit
from kits.engine import until
from kits.fabricated_runs import at_work, make_run
from markupsafe import escape

from ddpm_app import jobs
from ddpm_app.ui import header, polling
from ddpm_app.ui.state import App


@pytest.fixture
def built(runs_dir):
    return ui_kit.build(runs_dir)


def size(answer):
    return len(json.dumps(list(answer.values()), default=repr))


def test_a_poll_sends_only_what_is_new(built, runs_dir):
    demo, app = built
    viewer = ui_kit.Viewer(demo)
    first = viewer.redraw()
    assert first[viewer.poller.timer] == polling.IDLE_SECONDS and len(first) > 10
    feed = viewer.poll()
    assert {"status", "can", "train-charts"} <= set(feed["news"]) and "stale" not in feed
    assert viewer.poll() == {"news": {}} and viewer.redraw() == {}
    make_run(runs_dir, "another", steps=10)
    app.monitor.refresh()
    feed = viewer.poll()
    assert "another" in feed["news"]["status"]["line"] and "train-log" in feed["news"] and feed["stale"]
    assert "notes" not in feed["news"]
    assert 0 < len(viewer.redraw()) < len(first)
    assert viewer.poll() == {"news": {}}


def test_no_listener_writes_loading_states_into_the_page(built):
    """At every call of any listener the browser writes those of all: they took a page that stood still most of a core."""
    listeners = [fn for fn in built[0].fns.values() if fn.fn is not None]
    seen = [fn for fn in listeners if fn.show_progress_on != []]
    assert len(listeners) > 80 and {fn.show_progress for fn in seen} == {"minimal"}
    assert all(len(fn.show_progress_on) == 1 for fn in seen)


def test_a_browser_sends_its_poll_itself(built):
    viewer = ui_kit.Viewer(built[0])
    poller = viewer.poller
    feed, version = poller.answer([viewer.data[part] for part in poller.sent])
    assert feed["news"] == viewer.poll()["news"] and version == viewer.data[poller.live_version]


def test_a_lost_answer_is_sent_again(built):
    viewer = ui_kit.Viewer(built[0])
    before = dict(viewer.data)
    feed = viewer.poll()
    viewer.data = before | {viewer.poller.live_version: None}
    assert feed["stale"] and viewer.poll()["news"] == feed["news"]
    viewer.data[viewer.poller.live_version] = "of another version of the page"
    assert viewer.poll()["news"] == feed["news"]


def test_what_a_viewer_has_is_not_sent_again_though_the_server_forgot(built):
    viewer = ui_kit.Viewer(built[0])
    viewer.redraw(), viewer.poll()
    viewer.poller._live_versions, viewer.poller._versions = polling.Versions(), polling.Versions()
    assert viewer.poll() == {"news": {}} and viewer.redraw() == {}


def test_few_versions_are_remembered(monkeypatch):
    monkeypatch.setattr(polling, "REMEMBERED_VERSIONS", 2)
    versions = polling.Versions()
    first, second, third = (polling.Drawing({"a": 0, "b": k}, {"a": "same", "b": str(k)}) for k in range(3))
    assert versions.news(first, "") == {"a": 0, "b": 0}
    assert versions.news(second, first.version) == {"b": 1}
    assert versions.news(third, second.version) == {"b": 2}
    assert versions.news(second, first.version) == {"a": 0, "b": 1}


def test_the_pace_follows_the_runs(built, runs_dir):
    demo, app = built
    viewer = ui_kit.Viewer(demo)
    viewer.redraw()
    at_work(make_run(runs_dir, steps=5))
    app.monitor.refresh()
    assert viewer.redraw()[viewer.poller.timer] == polling.TICK_SECONDS


def test_viewers_share_what_is_drawn(built, monkeypatch):
    calls = []
    monkeypatch.setattr("ddpm_app.plots.training", lambda *arguments: calls.append(arguments) or {"charts": []})
    for _ in range(3):
        ui_kit.Viewer(built[0]).poll()
    assert len(calls) == 1


def test_a_tick_of_a_million_steps_is_small(built, runs_dir):
    """However long the run, however many runs there are."""
    demo, app = built
    for k in range(24):
        make_run(runs_dir, f"butterflies-of-march-{k}", steps=2, previews=1)
    run = make_run(runs_dir, steps=3000, total=2_000_000)
    rows = run.metrics_path.read_text().splitlines()
    stretched = [json.dumps(row | {"step": row["step"] * 333 + 1}) for row in map(json.loads, rows[1:])]
    run.metrics_path.write_text("\n".join([rows[0], *stretched]) + "\n")
    for k in range(200):
        (run.path / "samples" / f"step-{k * 5000:07}.png").write_bytes(b"")
    at_work(run, step=1_000_000)
    app.monitor.refresh()
    viewer = ui_kit.Viewer(demo)
    poll, redraw = size(viewer.poll()), size(viewer.redraw())
    assert 4_000 < poll < 8_000  # everything a poll can bring, in Python's wide spacing
    assert poll + redraw < 19_000  # a page that is opened
    run.update_status(state="paused")
    app.monitor.refresh()
    viewer.data[viewer.poller.live_version] = ""
    assert size(viewer.poll()) + size(viewer.redraw()) < 15_000


def test_no_heavy_library_is_imported_to_build_the_page():
    heavy = "torch", "torchvision", "diffusers", "datasets", "accelerate", "transformers"
    code = (
        f"import sys, ddpm_app.ui.page as p; p.build('runs-nowhere'); print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("method", "actions"),
    [("Header.act", ["go", "resume", "pause", "unpause", "stop"]), ("TrainTab.ask", ["sample", "save"])],
)
def test_a_click_sends_the_name_that_stands_beside_it(built, method, actions):
    """In the place of the first input, which the browser would otherwise fill with the run on show, or with none."""
    demo, app = built
    for action in actions:
        fn = ui_kit.listener(demo, method, action)
        assert fn.inputs[0] is fn.fn.func.__self__.page.selected and "[data-run]" in fn.js


@pytest.mark.parametrize("name", ["older", "newer"])
def test_a_click_acts_on_the_run_named_beside_it(built, runs_dir, name):
    """Not on the newest, and not on the one at work."""
    demo, app = built
    runs = {name: make_run(runs_dir, name, steps=3, previews=0, age=age) for name, age in (("older", 60), ("newer", 0))}
    at_work(runs["older"])
    ui_kit.call(demo, "Header.act", "stop", selected=name, lang="en")
    ui_kit.call(demo, "TrainTab.ask", "save", selected=name, lang="en")
    assert [key for key, run in runs.items() if run.requests["stop"]] == [name]
    assert [key for key, run in runs.items() if run.requests["save"]] == [name]


def test_the_status_names_its_run(built, runs_dir):
    nasty = 'a"b<i>'
    assert f'data-run="{escape(nasty)}"' in header.status({"name": nasty, "state": "finished", "step": 1}, "en")["line"]
    make_run(runs_dir, "newest", steps=3)
    built[1].monitor.refresh()
    news = ui_kit.Viewer(built[0]).poll()["news"]
    assert 'data-run="newest"' in news["status"]["line"] and 'data-run="newest"' in news["train-previews-heading"]


def test_after_a_start_the_header_is_not_asked_for_what_was_before(built, runs_dir, monkeypatch):
    """The run that was just started is the one on show at the very next look."""
    demo, app = built
    make_run(runs_dir, "older", steps=3)
    app.monitor.refresh()
    assert app.monitor.snapshot("")["name"] == "older"
    monkeypatch.setattr(
        app.jobs, "start", lambda config, owner: make_run(runs_dir, "new", steps=0, previews=0, state="preparing")
    )
    ui_kit.call(demo, "Header.start")
    assert app.monitor.snapshot("")["name"] == "new"


def test_after_a_start_the_next_poll_sends_everything(built, runs_dir, monkeypatch):
    """Start shows Stop itself. Where the run has failed by the next poll, the buttons look as before Start."""
    demo, app = built
    monkeypatch.setattr(
        app.jobs, "start", lambda config, owner: make_run(runs_dir, "gone", steps=0, previews=0, state="failed")
    )
    viewer = ui_kit.Viewer(demo)
    viewer.poll()
    answer = ui_kit.call(demo, "Header.start")
    assert answer[viewer.poller.feed]["news"]["can"] == "stop"
    viewer.data[viewer.poller.live_version] = answer[viewer.poller.live_version]
    app.monitor.refresh()
    assert viewer.poll()["news"]["can"] == "resume start"


def test_what_a_part_skips_stays():
    skip = polling.gr.skip()
    assert polling.by_key({"one": 1, "two": skip}) == {"one": 1} and polling.by_key(skip) == {}


@pytest.mark.parametrize(("viewers", "seconds"), [(1, 1), (5, 1), (10, 2), (25, 5)])
def test_an_audience_polls_as_often_as_a_few(monkeypatch, viewers, seconds):
    now = [0.0]
    monkeypatch.setattr(polling.time, "monotonic", lambda: now[0])
    audience = polling.Audience()
    for _ in range(8):  # each viewer polls once an interval
        interval = audience.interval()
        for _ in range(3):
            for _ in range(viewers):
                audience.poll()
            now[0] += interval
    assert audience.interval() == seconds


def test_a_server_that_starts_goes_on_with_the_queue_and_prepares_a_drawing(runs_dir, monkeypatch):
    studio, turns = App(runs_dir), []
    monkeypatch.setattr(jobs, "engine", lambda: None)
    monkeypatch.setattr("ddpm_app.train.estimate.seconds_needed", lambda config, count: 60)
    monkeypatch.setattr(studio.jobs, "take_turns", lambda: turns.append(studio.warm.is_set()))
    monkeypatch.setattr(studio.live_drawings, "prepare", lambda: turns.append("a drawing"))
    studio.warm_up(after=0)
    assert studio.warm.wait(60)
    until(lambda: turns == [True, "a drawing"])
