"""The page's tick: one answer for all parts, and nothing twice."""

import pytest
import ui_kit
from fabricated import make_run

from ddpm_app.ui import page


@pytest.fixture
def built(runs_dir):
    return ui_kit.build(runs_dir)


def handler(demo, name):
    [found] = [fn for fn in demo.fns.values() if fn.fn is not None and fn.fn.__qualname__ == f"_tick.<locals>.{name}"]
    return found


def tick(demo, seen, pace=page.IDLE_SECONDS):
    draw = handler(demo, "draw")
    spare = [component.value if not component.stateful else "" for component in draw.inputs[4:]]
    return draw.fn("", "en", seen, pace, *spare)


def is_skip(value):
    return isinstance(value, dict) and value == {"__type__": "update"}


def test_a_tick_sends_only_what_is_new(built, runs_dir):
    demo, studio = built
    first = tick(demo, None)
    assert len(first) == len(handler(demo, "draw").outputs) and not all(is_skip(value) for value in first)
    assert all(is_skip(value) for value in tick(demo, first[1]))
    make_run(runs_dir, "another", steps=10)
    studio.board = type(studio.board)(runs_dir)  # a fresh look, without waiting for the next second
    changed = tick(demo, first[1])
    assert not is_skip(changed[1]) and "another" in changed[2]
    assert any(is_skip(value) for value in changed[2:])


def test_a_lost_answer_is_sent_again(built):
    demo, _ = built
    first = tick(demo, None)
    assert tick(demo, None)[2] == first[2]
    assert tick(demo, first[1][:-1])[2] == first[2]  # prints of another version of the page


def test_the_pace_follows_the_runs(built):
    demo, _ = built
    assert tick(demo, None, pace=page.TICK_SECONDS)[0].value == page.IDLE_SECONDS


class Request:
    def __init__(self, lang="", accepted=""):
        self.query_params, self.headers = {"lang": lang}, {"accept-language": accepted}


def test_the_language_is_asked_for_or_the_browser_s():
    assert page.language(Request()) == page.language(Request("xx", "xx-YY,en;q=0.5")) == "en"
    assert page.language(Request("en")) == "en"


def test_no_heavy_library_is_imported_to_build_the_page():
    import subprocess
    import sys

    heavy = "torch", "torchvision", "diffusers", "datasets", "accelerate", "transformers"
    code = f"import sys, ddpm_app.ui.page as p; p.build('runs-nowhere'); print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_after_a_start_the_next_tick_sends_everything(built, runs_dir, monkeypatch):
    """Start shows Stop itself. Where the run has failed by the next tick, the buttons look as before Start."""
    demo, studio = built
    [start] = [fn for fn in demo.fns.values() if fn.fn is not None and fn.fn.__qualname__ == "wire.<locals>.start"]
    seen = {handler(demo, "draw").outputs[1]: tick(demo, None)[1]}
    monkeypatch.setattr(studio.jobs, "start", lambda config, owner: make_run(runs_dir, "gone", steps=0, previews=0, state="failed"))
    spare = [component.value if not component.stateful else "" for component in start.inputs]
    shown = dict(zip(start.outputs, start.fn(*spare), strict=True))
    names = {part.elem_id: part for part in start.outputs}
    assert not shown[names["button-start"]]["visible"] and shown[names["button-stop"]]["visible"]
    studio.board.refresh()
    prints = (seen | shown)[handler(demo, "draw").outputs[1]]
    sent = dict(zip(handler(demo, "draw").outputs, tick(demo, prints), strict=True))
    assert sent[names["button-start"]]["visible"] and not sent[names["button-stop"]]["visible"]
