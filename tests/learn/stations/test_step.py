"""Station 7: steps on a copy, seen one by one."""

import copy
import types

import pytest
import torch
from kits.learn import begin, by_name, shows, to_json

from ddpm_app import i18n
from ddpm_app.learn.probes import step as probe
from ddpm_app.learn.stations import step


@pytest.fixture(autouse=True)
def nobody_else():
    step._memories.clear()


def ask(context, memory, **options):
    """All that is shown, as panels by name."""
    return shows("step", context, memory=memory, **options)


def losses(shown):
    line = shown["loss"]["value"]["charts"][0]["lines"][0]
    return line["y"]


def cell(panels, key):
    """The number of that name in the table of numbers."""
    label = i18n.t(f"ui.learn.step.row_{key}")
    return next(value for name, value in panels["numbers"]["rows"] if name == label)


@pytest.mark.parametrize("kind", ["pixels", "latents", "labels", "words"])
def test_steps_are_taken_by_clicks_and_the_loss_falls(context_of, kind):
    context, memory = context_of(kind), {}
    weights = copy.deepcopy(context.model.unet.state_dict())
    first = ask(context, memory)[-1]
    assert [len(row["images"]) for row in first["pictures"]["rows"]] == [4, 4, 4]
    assert len(losses(first)) == 1 and cell(first, "step") == "0"
    one = ask(context, memory, pressed="one")[-1]
    assert cell(one, "step") == "1" and losses(one)[0] == losses(first)[0]
    seen = ask(context, memory, pressed="ten")
    assert [cell(panels, "step") for panels in seen] == [str(k) for k in range(1, 12)]
    assert len(losses(seen[-1])) == 12 and losses(seen[-1])[-1] < losses(first)[0]
    assert (
        seen[-1]["pictures"] != first["pictures"] and seen[-1]["pictures"]["rows"][:2] == first["pictures"]["rows"][:2]
    )
    assert all(torch.equal(value, weights[name]) for name, value in context.model.unet.state_dict().items())


def test_many_steps_are_shown_now_and_then(context_of, monkeypatch):
    context, memory = context_of("pixels"), {}
    monkeypatch.setitem(step.STEPS, "hundred", 30)
    seen = ask(context, memory, pressed="hundred")
    assert [cell(panels, "step") for panels in seen] == [str(k) for k in range(0, 31, 5)]
    assert losses(seen[-1])[-1] < losses(seen[0])[0] * 0.7


def test_the_same_clicks_are_the_same_steps_and_reset_begins_again(context_of):
    context = context_of("pixels")
    memories = [{}, {}]
    runs = [
        [ask(context, memory, pressed=pressed)[-1] for pressed in ("one", "one", "reset", "one")] for memory in memories
    ]
    assert [losses(shown) for shown in runs[0]] == [losses(shown) for shown in runs[1]]
    assert losses(runs[0][2]) == losses(runs[0][0])[:1] and losses(runs[0][3]) == losses(runs[0][0])
    other = ask(context, memories[0], seed=1)[-1]
    assert cell(other, "step") == "0" and other["pictures"]["rows"][1] != runs[0][3]["pictures"]["rows"][1]


def test_the_rate_is_a_share_of_the_runs_own(context_of):
    context, memory = context_of("pixels"), {}
    shown = ask(context, memory, rate=0.0)[-1]
    assert cell(shown, "rates") == f"AdamW {context.config.learning_rate:.2g}"
    slow, fast = (ask(context, {}, pressed="one", rate=rate)[-1] for rate in (-3.0, 0.0))
    moved = [float(cell(shown, "change").removesuffix(" %")) for shown in (slow, fast)]
    assert moved[1] > 100 * moved[0] > 0


def test_a_loss_that_is_no_number_ends_it(context_of):
    context, memory = context_of("pixels"), {}
    ask(context, memory)
    with torch.no_grad():
        memory["experiment"].trial.network.conv_in.weight.fill_(float("nan"))
    seen = ask(context, memory, pressed="hundred")
    assert len(seen) == 2 and seen[1]["note"]["tone"] == "bad" and cell(seen[1], "step") == "1"
    assert len(ask(context, memory, pressed="ten")) == 1
    assert "note" not in ask(context, memory, pressed="reset")[-1]


def test_a_look_that_was_given_up_is_taken_again(context_of):
    context, memory, whole = context_of("pixels"), {}, {}
    work = begin("step", context, memory=memory, pressed="ten")
    for _ in range(8):
        next(work)
    work.close()
    done = memory["experiment"].trial.step
    assert 0 < done < 10
    for _ in range(done):
        last = ask(context, whole, pressed="one")[-1]
    assert losses(ask(context, memory)[-1]) == losses(last)


def test_a_run_without_average_and_with_frozen_parts(context_of):
    context = context_of("pixels", use_ema=False, trainable=("up",))
    shown = ask(context, {}, pressed="one")[-1]
    table = {row[0]: row[1:] for row in shown["blocks"]["rows"]}
    assert table["mid"][0] == "frozen" and table["up.0"][0]["bar"] > 0
    assert any("keeps none" in row[1] for row in shown["numbers"]["rows"])


def test_a_model_too_large_is_not_copied(context_of, monkeypatch):
    monkeypatch.setattr("ddpm_app.learn.panels.MAX_PARAMETERS", 10)
    shown = ask(context_of("pixels"), {})[-1]
    assert set(shown) == {"note", "way-out"} and "shipped:butterflies-words" in shown["way-out"]["html"]


def test_the_time_of_a_step_is_that_of_its_slices(context_of, monkeypatch):
    """Every look at the clock is a second after the last; what others do between two turns of the generator takes a thousand."""
    context, memory, now = context_of("pixels"), {}, [0.0]

    def clock():
        now[0] += 1
        return now[0]

    monkeypatch.setattr(step, "time", types.SimpleNamespace(perf_counter=clock))
    last = None
    for panels in begin("step", context, memory=memory, pressed="one"):
        now[0] += 1000
        last = panels or last
    slices = 4 // probe.PART
    assert cell(by_name(to_json(last)), "seconds") == f"{1 + slices:.2f} s"


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_muon_is_told_of_where_it_steps(context_of, lang):
    told = [
        ask(context_of("pixels", optimizer=name, block_out_channels=(16, 16)), {}, lang=lang)[-1]
        for name in ("adamw", "muon")
    ]
    assert ["muon" in shown for shown in told] == [False, True] and "AdamW" in told[1]["muon"]["text"]


def test_the_oldest_copies_are_forgotten(context_of, monkeypatch):
    monkeypatch.setattr(step, "MAX_COPIES", 2)
    context, memories = context_of("pixels"), [{}, {}, {}]
    for memory in memories:
        ask(context, memory, pressed="one")
    ask(context, memories[1], pressed="reset")
    assert ["experiment" in memory for memory in memories] == [False, True, True]
    assert cell(ask(context, memories[0])[-1], "step") == "0"


def test_it_is_told_in_chinese(context_of):
    shown = ask(context_of("pixels"), {}, pressed="one", lang="zh")[-1]
    assert "图片" in shown["pictures"]["title"]


@pytest.mark.parametrize("lang, word", [("en", "next step"), ("zh", "下一步")])
def test_gradient_and_clipping_are_told_as_those_of_the_next_step(context_of, lang, word):
    shown = ask(context_of("pixels"), {}, lang=lang)[-1]
    assert all(word in shown["numbers"]["rows"][row][0] for row in (2, 3, 4)) and word in shown["blocks"]["head"][1]
