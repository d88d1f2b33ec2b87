"""Station 13: drawn pictures beside their nearest, the distances, the verdict in words."""

import pytest
import torch
from kits.learn import asked, panels

from ddpm_app import i18n
from ddpm_app.learn.probes import memorization
from ddpm_app.learn.stations.memory import STATION

NAMES = {"pairs", "note", "distances", "control", "unseen", "overfit", "flow"}


def told(panel, row=1):
    return [image["told"] for image in panel["rows"][row]["images"]]


@pytest.mark.parametrize("kind", ["pixels", "latents", "labels", "words"])
def test_every_kind_of_model(bench_of, kind):
    shown = panels(STATION, bench_of(kind))
    assert shown.keys() == NAMES and len(told(shown["pairs"])) == 4 and all(told(shown["pairs"]))
    assert shown["note"]["tone"] in ("good", "warn", "bad")
    chart = shown["distances"]["value"]["charts"][0]
    assert [line["style"] for line in chart["lines"]] == ["bars", "bars"] and chart["lines"][0]["colour"] == "held-out"
    assert chart["at"] > 0 and all(sum(line["y"]) == pytest.approx(100, abs=1) for line in chart["lines"])
    assert "overfit-8" in shown["overfit"]["html"]


def test_a_model_that_gives_back_what_it_saw(bench_of, monkeypatch):
    bench = bench_of("pixels")
    train = bench.pictures.tensors(bench.pictures.train[:8])
    monkeypatch.setattr(
        "ddpm_app.learn.stations.memory._drawn",
        lambda bench, asked, first, train_: iter([train[first : first + 4].flip(-1)]),
    )
    shown = panels(STATION, bench, count="8")
    assert shown["note"]["tone"] == "bad" and shown["note"]["text"].count("8") >= 2
    copy = i18n.t("ui.learn.memory.copy", "en", distance="0.000")
    assert told(shown["pairs"]) == [copy] * 8
    drawn, nearest = ([image["src"] for image in row["images"]] for row in shown["pairs"]["rows"])
    mirrored = [image["src"] for image in panels(STATION, bench)["pairs"]["rows"][1]["images"]]
    assert nearest[:4] == mirrored and drawn != nearest


def test_nothing_jumps_and_pictures_come_early(bench_of):
    turns = list(STATION.show(bench_of("pixels"), asked(STATION)))
    assert turns[0] is not None and turns[0][0]["name"] == "pairs"
    pairs = [panel["rows"] for turn in turns if turn for panel in turn if panel["name"] == "pairs"]
    assert {tuple(len(row["images"]) for row in rows) for rows in pairs} == {(4, 4)}


def test_the_search_is_in_slices(bench_of, monkeypatch):
    bench = bench_of("pixels")
    whole = panels(STATION, bench)
    monkeypatch.setattr("ddpm_app.learn.stations.memory.PART", 5)
    turns = list(STATION.show(bench, asked(STATION)))
    assert turns.count(None) == 6 + 6 and {panel["name"]: panel for panel in turns[-1]} == whole


def test_another_seed_draws_others_from_the_same_measure(bench_of):
    bench, memory = bench_of("pixels"), {}
    first, second = (panels(STATION, bench, seed=seed, memory=memory) for seed in (0, 1))
    assert first["pairs"] != second["pairs"] and first["unseen"] == second["unseen"]
    assert first == panels(STATION, bench, seed=0)


def test_no_held_out_pictures(bench_of):
    bench = bench_of("pixels", validation_share=0.0)
    shown = panels(STATION, bench)
    assert shown["distances"]["value"]["charts"][0]["lines"][0]["colour"] == "data"
    usual = list(
        memorization.search(bench.pictures.tensors(range(24)), [bench.pictures.tensors(range(24))], range(24))
    )[-1][1]
    assert f"{float(usual.median()):.3f}" in shown["note"]["text"]
    assert shown["control"]["text"].startswith(
        i18n.t("ui.learn.memory.among_themselves", "en", copies=0, count=24)[:30]
    )


def test_a_single_training_picture(bench_of):
    shown = panels(STATION, bench_of("pixels", validation_share=0.0, max_train_samples=1))
    assert shown["note"]["tone"] == "warn" and "distances" not in shown


def test_a_great_set_is_searched_in_part(bench_of, monkeypatch):
    monkeypatch.setattr("ddpm_app.learn.stations.memory.COMPARED", 5)
    assert "5 of the 18" in panels(STATION, bench_of("pixels"))["part"]["text"]


def test_chinese(bench_of):
    shown = panels(STATION, bench_of("pixels"), lang="zh")
    assert "训练图片" in shown["note"]["text"]


def test_the_model_is_as_before(bench_of):
    bench, state = bench_of("labels"), torch.get_rng_state()
    before = {k: v.clone() for k, v in bench.model.unet.state_dict().items()}
    panels(STATION, bench)
    assert all(torch.equal(v, before[k]) for k, v in bench.model.unet.state_dict().items()) and torch.equal(
        torch.get_rng_state(), state
    )
