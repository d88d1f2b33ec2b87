"""The header: buttons that fit the state, words that fit the run, nothing of a run's name read as HTML."""

import pytest

from ddpm_app.errors import Problem
from ddpm_app.runs.run import ACTIVE, STATES
from ddpm_app.ui import header
from ddpm_app.ui.html import notice

NASTY = "<img src=x onerror=alert(1)>"


@pytest.mark.parametrize(
    "state, buttons",
    [
        (None, {"start"}),
        ("preparing", {"next", "stop"}),
        ("waiting", {"next", "go", "stop"}),
        ("training", {"next", "pause", "stop"}),
        ("paused", {"next", "unpause", "stop"}),
        ("stopped", {"start", "resume"}),
        ("interrupted", {"start", "resume"}),
        ("failed", {"start", "resume"}),
        ("finished", {"start"}),
    ],
)
def test_buttons_of_each_state(state, buttons):
    run = {"name": "a", "state": state, "active": state in ACTIVE}
    assert header.buttons_for(run, mine=True) == buttons
    assert header.buttons_for(run, mine=False) == ({"next"} if state in ACTIVE else {"start"})


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    "phase", ["start", "download", "decode", "rehearsal", "training", "paused", "preview", "saving", "publishing", None]
)
def test_every_state_and_phase_has_words(state, phase):
    run = {
        "name": NASTY,
        "state": state,
        "phase": phase,
        "active": state in ACTIVE,
        "done": 3,
        "total": None if phase == "download" else 10,
    }
    run |= {"step": 5, "total_steps": 20, "images_per_second": 31.4, "eta_seconds": 75}
    text = "".join(header.status(run, "en").values())
    assert "<img" not in text and "&lt;img" in text
    assert (f'class="state {state}"') in text


def test_progress_is_of_the_phase_then_of_the_run():
    preparing = {"name": "a", "active": True, "state": "preparing", "done": 1, "total": 4}
    assert "width:25.0%" in header.status(preparing, "en")["bar"]
    assert 'class="bar open"' in header.status(preparing | {"total": None}, "en")["bar"]
    assert (
        "width:50.0%"
        in header.status({"name": "a", "active": True, "state": "training", "step": 5, "total_steps": 10}, "en")["bar"]
    )
    assert 'class="bar still"' in header.status({}, "en")["bar"]


def test_an_error_is_plain_and_its_traceback_folded():
    run = {
        "name": "a",
        "state": "failed",
        "error": {"code": "run_name", "field": "output_dir", "values": {"value": NASTY}},
        "traceback": NASTY,
    }
    text = header.notes(run, "en", set())
    assert "plain folder name" in text and "<details>" in text and "<img" not in text


def test_a_long_run_asks():
    text = header.notes(
        {
            "name": "tutorial",
            "state": "waiting",
            "active": True,
            "estimate_seconds": 52 * 3600,
            "plan": {"device": "cpu"},
        },
        "en",
        {"go"},
    )
    assert "52 h" in text and "butterflies-64" in text


def test_an_interrupted_run_offers_to_go_on():
    run = {
        "name": "a",
        "state": "interrupted",
        "notices": [{"code": "data_broken", "values": {"count": 1, "names": NASTY}}],
    }
    assert "checkpoint" in header.notes(run, "en", {"resume"}) and "<img" not in header.notes(run, "en", {"resume"})


def test_outcomes():
    assert notice("") == ""
    assert "note good" in notice(NASTY) and "<img" not in notice(NASTY)
    assert "note bad" in notice(Problem("public_off"))


def test_codes_of_another_version_show_as_they_are():
    run = {"name": "a", "state": "failed", "error": {"code": "from_the_future", "values": {"a": 1}}}
    run["notices"] = [{"code": "long_warmup", "values": {}}, {"code": "unheard_of", "values": {"b": 2}}]
    text = header.notes(run, "en", set())
    assert "from_the_future" in text and "long_warmup {}" in text and "unheard_of" in text
