"""Station 8: the run's own numbers, other ones, and where a run is."""

import dataclasses
import re

import pytest
from kits.learn import panels


def sums(shown):
    return [row[1] for row in shown["sums"]["rows"]]


def boxes(shown):
    return [int(text) for text in re.findall(r"%\">(\d+)</i>", shown["epoch"]["html"])]


def states(shown):
    return re.findall(r'<li class="(done|now|)"', shown["epoch"]["html"])


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("kind", ["pixels", "latents", "words"])
def test_the_runs_own_numbers(context_of, kind, lang):
    """18 training pictures of 24, four at a time, 12 steps."""
    shown = panels("epoch", context_of(kind), lang=lang)
    assert sums(shown) == ["18", "4", "5", "1", "5", "2.4", "12", "44"]
    assert boxes(shown) == [4, 4, 4, 4, 2] and states(shown) == [""] * 5
    assert [len(row["images"]) for row in shown["pictures"]["rows"]] == [4]
    assert "note" not in shown


def test_other_numbers(context_of):
    shown = panels("epoch", context_of("pixels"), pictures=30, batch=8, accumulation=3, epochs=7)
    assert sums(shown) == ["30", "8", "4", "3", "2", "7", "14", "210"]
    assert boxes(shown) == [8, 8, 8, 6] and len(states(shown)) == 2
    assert "pictures" not in shown and shown["seen"]["rows"][-1][0] == "14"


def test_a_long_epoch_is_cut_in_the_middle(context_of):
    shown = panels("epoch", context_of("pixels"), pictures=4000, batch=3)
    assert sums(shown)[2] == "1,334" and len(boxes(shown)) == 160 and boxes(shown)[-1] == 1
    assert "1,174" in shown["epoch"]["html"]
    accumulated = panels("epoch", context_of("pixels"), pictures=4000, batch=1, accumulation=16)
    assert len(boxes(accumulated)) == 160


def test_where_a_run_is(context_of, trained):
    run = trained("pixels")
    context = dataclasses.replace(context_of("pixels"), run=run)
    before = run.status
    try:
        finished = panels("epoch", context)
        run.update_status(state="training", step=7)
        running = panels("epoch", context)
        run.update_status(state="stopped", step=7)
        stopped = [panels("epoch", context, lang=lang) for lang in ("en", "zh")]
    finally:
        run.update_status(state=before["state"], step=before["step"])
    assert "12" in finished["note"]["text"] and set(states(finished)) == {"done"}
    assert states(running) == ["done", "done", "now", "", ""]
    assert (
        "epoch 2" in running["note"]["text"]
        and "step 3 of 5" in running["note"]["text"]
        and "8 of them once more" in running["note"]["text"]
    )
    for shown in stopped:
        assert states(shown) == ["done", "done", "", "", ""]
        assert not any(word in shown["note"]["text"] for word in ("Now", "现在")) and "7" in shown["note"]["text"]
    assert "note" not in panels("epoch", context, batch=2)


def test_a_run_by_the_clock_has_its_plans_steps(context_of, trained):
    context = context_of("pixels", max_train_minutes=3.0, max_train_steps=None)
    assert sums(panels("epoch", context))[6] == "250" and "3 minutes" in panels("epoch", context)["epoch"]["html"]
    planned = dataclasses.replace(context, run=trained("pixels"))
    shown = panels("epoch", planned)
    assert sums(shown)[6] == "12" and "3 minutes" not in shown["epoch"]["html"]
    assert sums(panels("epoch", planned, batch=9))[6] == "12" and sums(panels("epoch", planned, epochs=2))[6] == "10"


def test_accumulated_batches_share_a_bracket(context_of):
    shown = panels("epoch", context_of("pixels", gradient_accumulation_steps=2))
    assert boxes(shown) == [4, 4, 4, 4, 2] and len(states(shown)) == 3
    assert [len(row["images"]) for row in shown["pictures"]["rows"]] == [4, 4]
