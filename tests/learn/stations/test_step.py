"""Station 7: steps on a copy, seen one by one."""

import copy
import types

import pytest
import torch
from kits.learn import asked

from ddpm_app.learn.probes import step as probe
from ddpm_app.learn.stations import step
from ddpm_app.learn.stations.step import STATION


@pytest.fixture(autouse=True)
def nobody_else():
    step._kept.clear()


def ask(bench, memory, **given):
    """All that is shown, as panels by name."""
    shown = STATION.show(bench, asked(STATION, memory=memory, **given))
    return [{panel["name"]: panel for panel in panels} for panels in shown if panels is not None]


def losses(shown):
    line = shown["loss"]["value"]["charts"][0]["lines"][0]
    return line["y"]


def number(shown, key):
    return shown["numbers"]["rows"][key][1]


@pytest.mark.parametrize("kind", ["pixels", "latents", "labels", "words"])
def test_steps_are_taken_by_clicks_and_the_loss_falls(bench_of, kind):
    bench, memory = bench_of(kind), {}
    weights = copy.deepcopy(bench.model.unet.state_dict())
    first = ask(bench, memory)[-1]
    assert [len(row["images"]) for row in first["pictures"]["rows"]] == [4, 4, 4]
    assert len(losses(first)) == 1 and number(first, 0) == "0"
    one = ask(bench, memory, pressed="one")[-1]
    assert number(one, 0) == "1" and losses(one)[0] == losses(first)[0]
    seen = ask(bench, memory, pressed="ten")
    assert [number(panels, 0) for panels in seen] == [str(k) for k in range(1, 12)]
    assert len(losses(seen[-1])) == 12 and losses(seen[-1])[-1] < losses(first)[0]
    assert (
        seen[-1]["pictures"] != first["pictures"] and seen[-1]["pictures"]["rows"][:2] == first["pictures"]["rows"][:2]
    )
    assert all(torch.equal(value, weights[name]) for name, value in bench.model.unet.state_dict().items())


def test_many_steps_are_shown_now_and_then(bench_of, monkeypatch):
    bench, memory = bench_of("pixels"), {}
    monkeypatch.setitem(step.STEPS, "hundred", 30)
    seen = ask(bench, memory, pressed="hundred")
    assert [number(panels, 0) for panels in seen] == [str(k) for k in range(0, 31, 5)]
    assert losses(seen[-1])[-1] < losses(seen[0])[0] * 0.7


def test_the_same_clicks_are_the_same_steps_and_reset_begins_again(bench_of):
    bench = bench_of("pixels")
    memories = [{}, {}]
    runs = [
        [ask(bench, memory, pressed=pressed)[-1] for pressed in ("one", "one", "reset", "one")] for memory in memories
    ]
    assert [losses(shown) for shown in runs[0]] == [losses(shown) for shown in runs[1]]
    assert losses(runs[0][2]) == losses(runs[0][0])[:1] and losses(runs[0][3]) == losses(runs[0][0])
    other = ask(bench, memories[0], seed=1)[-1]
    assert number(other, 0) == "0" and other["pictures"]["rows"][1] != runs[0][3]["pictures"]["rows"][1]


def test_the_rate_is_a_share_of_the_runs_own(bench_of):
    bench, memory = bench_of("pixels"), {}
    shown = ask(bench, memory, rate=0.0)[-1]
    assert number(shown, 4) == f"AdamW {bench.config.learning_rate:.2g}"
    slow, fast = (ask(bench, {}, pressed="one", rate=rate)[-1] for rate in (-3.0, 0.0))
    moved = [float(number(shown, 5).removesuffix(" %")) for shown in (slow, fast)]
    assert moved[1] > 100 * moved[0] > 0


def test_a_loss_that_is_no_number_ends_it(bench_of):
    bench, memory = bench_of("pixels"), {}
    ask(bench, memory)
    with torch.no_grad():
        memory["glass"].trial.network.conv_in.weight.fill_(float("nan"))
    seen = ask(bench, memory, pressed="hundred")
    assert len(seen) == 2 and seen[1]["note"]["tone"] == "bad" and number(seen[1], 0) == "1"
    assert len(ask(bench, memory, pressed="ten")) == 1
    assert "note" not in ask(bench, memory, pressed="reset")[-1]


def test_a_look_that_was_given_up_is_taken_again(bench_of):
    bench, memory, whole = bench_of("pixels"), {}, {}
    work = STATION.show(bench, asked(STATION, memory=memory, pressed="ten"))
    for _ in range(8):
        next(work)
    work.close()
    done = memory["glass"].trial.step
    assert 0 < done < 10
    for _ in range(done):
        last = ask(bench, whole, pressed="one")[-1]
    assert losses(ask(bench, memory)[-1]) == losses(last)


def test_a_run_without_average_and_with_frozen_parts(bench_of):
    bench = bench_of("pixels", use_ema=False, trainable=("up",))
    shown = ask(bench, {}, pressed="one")[-1]
    table = {row[0]: row[1:] for row in shown["blocks"]["rows"]}
    assert table["mid"][0] == "frozen" and table["up.0"][0]["bar"] > 0
    assert any("keeps none" in row[1] for row in shown["numbers"]["rows"])


def test_a_model_too_large_is_not_copied(bench_of, monkeypatch):
    monkeypatch.setattr("ddpm_app.learn.scene.MOST_PARAMETERS", 10)
    shown = ask(bench_of("pixels"), {})[-1]
    assert set(shown) == {"note", "way-out"} and "shipped:butterflies-words" in shown["way-out"]["html"]


def test_the_time_of_a_step_is_that_of_its_slices(bench_of, monkeypatch):
    """Every look at the clock is a second after the last; what others do between two turns of the generator takes a thousand."""
    bench, memory, now = bench_of("pixels"), {}, [0.0]

    def clock():
        now[0] += 1
        return now[0]

    monkeypatch.setattr(step, "time", types.SimpleNamespace(perf_counter=clock))
    shown = None
    for panels in STATION.show(bench, asked(STATION, memory=memory, pressed="one")):
        now[0] += 1000
        shown = panels or shown
    slices = 4 // probe.PART
    assert {panel["name"]: panel for panel in shown}["numbers"]["rows"][-1][1] == f"{1 + slices:.2f} s"


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_muon_is_told_of_where_it_steps(bench_of, lang):
    told = [
        ask(bench_of("pixels", optimizer=name, block_out_channels=(16, 16)), {}, lang=lang)[-1]
        for name in ("adamw", "muon")
    ]
    assert ["muon" in shown for shown in told] == [False, True] and "AdamW" in told[1]["muon"]["text"]


def test_the_oldest_copies_are_forgotten(bench_of, monkeypatch):
    monkeypatch.setattr(step, "KEPT", 2)
    bench, memories = bench_of("pixels"), [{}, {}, {}]
    for memory in memories:
        ask(bench, memory, pressed="one")
    ask(bench, memories[1], pressed="reset")
    assert ["glass" in memory for memory in memories] == [False, True, True]
    assert number(ask(bench, memories[0])[-1], 0) == "0"


def test_it_is_told_in_chinese(bench_of):
    shown = ask(bench_of("pixels"), {}, pressed="one", lang="zh")[-1]
    assert "图片" in shown["pictures"]["title"]


@pytest.mark.parametrize("lang, word", [("en", "next step"), ("zh", "下一步")])
def test_gradient_and_clipping_are_told_as_those_of_the_next_step(bench_of, lang, word):
    shown = ask(bench_of("pixels"), {}, lang=lang)[-1]
    assert all(word in shown["numbers"]["rows"][row][0] for row in (2, 3, 4)) and word in shown["blocks"]["head"][1]
