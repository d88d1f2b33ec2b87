"""The page's tick: one answer for all parts, and nothing twice."""

import json

import pytest
from kits import page as ui_kit
from kits.fabricated_runs import at_work, make_run

from ddpm_app.ui import polling


@pytest.fixture
def built(runs_dir):
    return ui_kit.build(runs_dir)


def handler(demo, name):
    [found] = [fn for fn in demo.fns.values() if fn.fn is not None and fn.fn.__qualname__ == f"Ticker.{name}"]
    return found


def ask(demo, name, *prints):
    fn = handler(demo, name)
    return fn.fn(
        "",
        "en",
        *prints,
        *(component.value if not component.stateful else "" for component in fn.inputs[2 + len(prints) :]),
    )


def is_skip(value):
    return isinstance(value, dict) and value == {"__type__": "update"}


def test_a_tick_sends_only_what_is_new(built, runs_dir):
    demo, studio = built
    held, timer, *first = ask(demo, "rest", "")
    assert len(first) + 2 == len(handler(demo, "rest").outputs) and not all(is_skip(value) for value in first)
    assert timer.value == polling.IDLE_SECONDS
    feed, seen = ask(demo, "tick", "", held)
    assert {"status", "can", "train-charts"} <= set(feed["news"]) and "stale" not in feed
    assert ask(demo, "tick", seen, held) == [{"news": {}}, seen]
    assert all(is_skip(value) for value in ask(demo, "rest", held)[1:])
    make_run(runs_dir, "another", steps=10)
    studio.monitor.refresh()
    feed, seen = ask(demo, "tick", seen, held)
    assert "another" in feed["news"]["status"]["line"] and "train-log" in feed["news"] and feed["stale"]
    assert "notes" not in feed["news"]
    held, _, *changed = ask(demo, "rest", held)
    assert any(is_skip(value) for value in changed) and not all(is_skip(value) for value in changed)
    assert ask(demo, "tick", seen, held) == [{"news": {}}, seen]


def test_a_lost_answer_is_sent_again(built):
    demo, _ = built
    feed, seen = ask(demo, "tick", None, None)
    assert feed["stale"] and ask(demo, "tick", None, None)[0]["news"] == feed["news"]
    assert ask(demo, "tick", seen[:-1], None)[0]["news"] == feed["news"]  # prints of another version of the page


def test_the_pace_follows_the_runs(built, runs_dir):
    demo, studio = built
    held, *_ = ask(demo, "rest", "")
    at_work(make_run(runs_dir, steps=5))
    studio.monitor.refresh()
    assert ask(demo, "rest", held)[1].value == polling.TICK_SECONDS


def test_viewers_share_what_is_drawn(built, monkeypatch):
    demo, _ = built
    asked = []
    monkeypatch.setattr("ddpm_app.plots.training", lambda *given: asked.append(given) or {})
    for prints in ("", "", "0"):
        ask(demo, "tick", prints, prints)
    assert len(asked) == 1


def test_a_tick_of_a_million_steps_is_small(built, runs_dir):
    """However long the run, however many runs there are."""
    demo, studio = built
    for k in range(24):
        make_run(runs_dir, f"butterflies-of-march-{k}", steps=2, previews=1)
    run = make_run(runs_dir, steps=3000, total=2_000_000)
    rows = run.metrics_path.read_text().splitlines()
    stretched = [json.dumps(row | {"step": row["step"] * 333 + 1}) for row in map(json.loads, rows[1:])]
    run.metrics_path.write_text("\n".join([rows[0], *stretched]) + "\n")
    for k in range(200):
        (run.path / "samples" / f"step-{k * 5000:07}.png").write_bytes(b"")
    at_work(run, step=1_000_000)
    studio.monitor.refresh()
    tick, rest = (len(json.dumps(ask(demo, *asked), default=repr)) for asked in (("tick", "", ""), ("rest", "")))
    assert 4_000 < tick < 8_000  # everything a tick can bring, in Python's wide spacing
    assert tick + rest < 19_000  # a page that is opened
    held = ask(demo, "rest", "")[0]
    run.update_status(state="paused")
    studio.monitor.refresh()
    tick, rest = (len(json.dumps(ask(demo, *asked), default=repr)) for asked in (("tick", "", held), ("rest", held)))
    assert tick + rest < 15_000


def test_no_heavy_library_is_imported_to_build_the_page():
    import subprocess
    import sys

    heavy = "torch", "torchvision", "diffusers", "datasets", "accelerate", "transformers"
    code = (
        f"import sys, ddpm_app.ui.page as p; p.build('runs-nowhere'); print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_after_a_start_the_next_tick_sends_everything(built, runs_dir, monkeypatch):
    """Start shows Stop itself. Where the run has failed by the next tick, the buttons look as before Start."""
    demo, studio = built
    [start] = [fn for fn in demo.fns.values() if fn.fn is not None and fn.fn.__qualname__ == "wire.<locals>.start"]
    seen = handler(demo, "tick").outputs[1]
    monkeypatch.setattr(
        studio.jobs, "start", lambda config, owner: make_run(runs_dir, "gone", steps=0, previews=0, state="failed")
    )
    spare = [component.value if not component.stateful else "" for component in start.inputs]
    shown = dict(zip(start.outputs, start.fn(*spare), strict=True))
    names = {part.elem_id: part for part in start.outputs}
    assert shown[names["feed"]]["news"]["can"] == "stop"
    studio.monitor.refresh()
    assert ask(demo, "tick", shown[seen], "")[0]["news"]["can"] == "resume start"
