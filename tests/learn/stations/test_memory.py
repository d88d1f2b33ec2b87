"""Station 13: drawn pictures beside their nearest, the distances, the verdict in words."""

import pytest
import torch
from kits.learn import panels, turns

from ddpm_app import i18n
from ddpm_app.learn.probes import memorization

NAMES = {"pairs", "note", "distances", "control", "unseen", "overfit", "flow"}


def told(panel, row=1):
    return [image["caption"] for image in panel["rows"][row]["images"]]


@pytest.mark.parametrize("kind", ["pixels", "latents", "labels", "words"])
def test_every_kind_of_model(context_of, kind):
    shown = panels("memory", context_of(kind))
    assert shown.keys() == NAMES and len(told(shown["pairs"])) == 4 and all(told(shown["pairs"]))
    assert shown["note"]["tone"] in ("good", "warn", "bad")
    chart = shown["distances"]["value"]["charts"][0]
    assert [line["style"] for line in chart["lines"]] == ["bars", "bars"] and chart["lines"][0]["colour"] == "held-out"
    assert chart["at"] > 0 and all(sum(line["y"]) == pytest.approx(100, abs=1) for line in chart["lines"])
    assert "overfit-8" in shown["overfit"]["html"]


def test_a_model_that_gives_back_what_it_saw(context_of, monkeypatch):
    context = context_of("pixels")
    train = context.pictures.tensors(context.pictures.train[:8])
    monkeypatch.setattr(
        "ddpm_app.learn.stations.memory._drawn",
        lambda context, asked, first, train_: iter([train[first : first + 4].flip(-1)]),
    )
    shown = panels("memory", context, count="8")
    assert shown["note"]["tone"] == "bad" and shown["note"]["text"].count("8") >= 2
    copy = i18n.t("ui.learn.memory.copy", "en", distance="0.000")
    assert told(shown["pairs"]) == [copy] * 8
    drawn, nearest = ([image["src"] for image in row["images"]] for row in shown["pairs"]["rows"])
    mirrored = [image["src"] for image in panels("memory", context)["pairs"]["rows"][1]["images"]]
    assert nearest[:4] == mirrored and drawn != nearest


def test_nothing_jumps_and_pictures_come_early(context_of):
    all_turns = turns("memory", context_of("pixels"))
    assert all_turns[0] is not None and all_turns[0][0]["name"] == "pairs"
    pairs = [panel["rows"] for turn in all_turns if turn for panel in turn if panel["name"] == "pairs"]
    assert {tuple(len(row["images"]) for row in rows) for rows in pairs} == {(4, 4)}


def test_the_search_is_in_slices(context_of, monkeypatch):
    context = context_of("pixels")
    whole = panels("memory", context)
    monkeypatch.setattr("ddpm_app.learn.stations.memory.PART", 5)
    all_turns = turns("memory", context)
    assert all_turns.count(None) == 6 + 6 and {panel["name"]: panel for panel in all_turns[-1]} == whole


def test_another_seed_draws_others_from_the_same_measure(context_of):
    context, memory = context_of("pixels"), {}
    first, second = (panels("memory", context, seed=seed, memory=memory) for seed in (0, 1))
    assert first["pairs"] != second["pairs"] and first["unseen"] == second["unseen"]
    assert first == panels("memory", context, seed=0)


def test_no_held_out_pictures(context_of):
    context = context_of("pixels", validation_share=0.0)
    shown = panels("memory", context)
    assert shown["distances"]["value"]["charts"][0]["lines"][0]["colour"] == "data"
    usual = list(
        memorization.search(context.pictures.tensors(range(24)), [context.pictures.tensors(range(24))], range(24))
    )[-1][1]
    assert f"{float(usual.median()):.3f}" in shown["note"]["text"]
    assert shown["control"]["text"].startswith(
        i18n.t("ui.learn.memory.among_themselves", "en", copies=0, count=24)[:30]
    )


def test_a_single_training_picture(context_of):
    shown = panels("memory", context_of("pixels", validation_share=0.0, max_train_samples=1))
    assert shown["note"]["tone"] == "warn" and "distances" not in shown


def test_a_great_set_is_searched_in_part(context_of, monkeypatch):
    monkeypatch.setattr("ddpm_app.learn.stations.memory.COMPARED", 5)
    assert "5 of the 18" in panels("memory", context_of("pixels"))["part"]["text"]


def test_chinese(context_of):
    shown = panels("memory", context_of("pixels"), lang="zh")
    assert "训练图片" in shown["note"]["text"]


def test_the_model_is_as_before(context_of):
    context, state = context_of("labels"), torch.get_rng_state()
    before = {k: v.clone() for k, v in context.model.unet.state_dict().items()}
    panels("memory", context)
    assert all(torch.equal(v, before[k]) for k, v in context.model.unet.state_dict().items()) and torch.equal(
        torch.get_rng_state(), state
    )
