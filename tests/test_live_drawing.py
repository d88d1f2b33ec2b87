"""Drawings on the first view: when there is one, when not, and what it holds."""

import base64
import io
import queue
import threading

import pytest
from kits.fabricated_runs import at_work, make_run
from PIL import Image

from ddpm_app.access import AccessPolicy
from ddpm_app.live_drawing import STEPS, LiveDrawings
from ddpm_app.model_choices import EXAMPLE_PROMPTS
from ddpm_app.runs.monitor import RunMonitor


@pytest.fixture
def drawings(runs_dir):
    warm = threading.Event()
    warm.set()
    return LiveDrawings(RunMonitor(runs_dir), AccessPolicy(runs_dir, public=True), warm)


def test_a_drawing_is_a_strip_of_its_steps_and_names_unknown_words(drawings):
    drawn = drawings.draw({"prompt": "a purple cat", "seed": 7, "lang": "en"})
    assert (drawn["steps"], drawn["prompt"], drawn["seed"], drawn["unknown"]) == (STEPS, "a purple cat", 7, ["cat"])
    with Image.open(io.BytesIO(base64.b64decode(drawn["strip"].partition(",")[2]))) as strip:
        assert strip.size == (STEPS * 128, 128)
        last = strip.crop(((STEPS - 1) * 128, 0, STEPS * 128, 128)).convert("L")
        assert last.getextrema()[1] - last.getextrema()[0] > 100  # a picture and no grey


def test_it_comes_later_while_torch_or_another_drawing_is_on_its_way(drawings, runs_dir):
    cold = LiveDrawings(RunMonitor(runs_dir), AccessPolicy(runs_dir), threading.Event())
    assert cold.draw({"prompt": "x"}) == {"later": True}
    with drawings._drawing:
        assert drawings.draw({"prompt": "x"}) == {"later": True}


def test_nothing_is_drawn_unasked_beside_a_run(drawings, runs_dir, monkeypatch):
    at_work(make_run(runs_dir, "mine", steps=0))
    drawings._prepare()
    assert drawings._ready is None and drawings.draw({"prompt": "x", "idle": True}) == {"training": True}
    monkeypatch.setattr(drawings, "_draw", lambda prompt, seed: {"prompt": prompt, "seed": seed})
    assert drawings.draw({"prompt": "x", "seed": "nonsense"}) == {"prompt": "x", "seed": 0}


def test_one_lies_ready_for_the_next_view_and_is_given_once(drawings, monkeypatch):
    drawn = queue.SimpleQueue()

    def draw(prompt, seed):
        drawn.put(prompt)
        return {"prompt": prompt, "seed": seed}

    monkeypatch.setattr(drawings, "_draw", draw)
    drawings._prepare(), drawings._prepare()
    assert drawn.get(timeout=30) in EXAMPLE_PROMPTS and drawn.empty()  # one is enough
    ready = drawings.draw({"prompt": "my own", "idle": True})
    assert ready["prompt"] in EXAMPLE_PROMPTS
    drawn.get(timeout=30)  # the next
    assert drawings.draw({"prompt": "my own", "seed": 3}) != ready  # what somebody wants is drawn for them


def test_a_failure_is_told_without_paths_and_the_next_one_is_drawn(drawings, monkeypatch):
    def fail(prompt, seed):
        raise OSError("no room in /home/somebody/secret/file")

    monkeypatch.setattr(drawings, "_draw", fail)
    error = drawings.draw({"prompt": "x", "lang": "en"})["error"]
    assert "no room" in error and "secret" not in error
    monkeypatch.undo()
    monkeypatch.setattr(drawings, "_draw", lambda prompt, seed: {"prompt": prompt})
    assert drawings.draw({"prompt": 300 * "long "}) == {"prompt": (300 * "long ")[:300]}
