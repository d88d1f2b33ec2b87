"""Station 11: both weights of a run from one noise, and the window of the average."""

import dataclasses

import pytest
import torch
from kits.learn import asked, panels

from ddpm_app import presets
from ddpm_app.learn import context as benches
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.stations.ema import STATION
from ddpm_app.model import loaded

both = pytest.mark.parametrize("lang", ["en", "zh"])


def bench_of_run(run):

    config, found = benches.settings(model := loaded.load_model(run.path), run.path)
    source = benches.open_source(config)
    return LearnContext(model, config, found, run.path, source, source.picture(0), 0)


@both
@pytest.mark.parametrize("kind", ["pixels", "latents", "labels", "words"])
def test_a_run_has_both_weights(trained, kind, lang):
    bench = bench_of_run(trained(kind))
    turns = list(STATION.show(bench, asked(STATION, lang=lang, steps=3)))
    seen = [turn for turn in turns if turn]
    assert len(turns) == 6 and len(seen) == 3
    names = ["pair", "note", "window", "window_told", "flow"]
    assert all([panel["name"] for panel in turn] == names for turn in seen)
    assert seen[-1][0]["before"] != seen[-1][0]["after"] and seen[0][0]["after"] != seen[-1][0]["after"]
    assert seen[-1][2]["value"]["charts"][0]["xMax"] == 12


def test_seed_and_steps_are_followed(trained):
    bench, memory = bench_of_run(trained("pixels")), {}
    first, other, longer = (
        panels(STATION, bench, memory=memory, **given)["pair"]
        for given in ({"steps": 2}, {"steps": 2, "seed": 1}, {"steps": 3})
    )
    assert len({first["before"], other["before"], longer["before"]}) == 3 and "raw" in memory


@both
@pytest.mark.parametrize("kind", ["pixels", "words"])
def test_of_a_model_without_raw_weights_a_copy_goes_on_training(bench_of, lang, kind):
    bench, memory = bench_of(kind), {}
    before = [p.clone() for p in bench.model.unet.parameters()]
    turns = [turn for turn in STATION.show(bench, asked(STATION, lang=lang, steps=3, memory=memory)) if turn]
    assert [panel["name"] for panel in turns[0]] == ["before", "tried", "window", "window_told"]
    assert [panel["name"] for panel in turns[-1]] == ["pair", "note", "tried", "window", "window_told", "flow"]
    assert turns[-1][0]["before"] != turns[-1][0]["after"]
    assert all(torch.equal(p, q) for p, q in zip(before, bench.model.unet.parameters(), strict=True))
    again = [turn for turn in STATION.show(bench, asked(STATION, lang=lang, steps=3, seed=5, memory=memory)) if turn]
    assert again[0][0]["name"] == "pair" and again[-1][0]["before"] != turns[-1][0]["before"]


def test_the_windows_own_line_is_drawn_beside_another(bench_of):
    shown = panels(STATION, bench_of("pixels"))
    assert [len(line["y"]) for line in shown["window"]["value"]["charts"][0]["lines"]] == [120]
    shown = panels(STATION, bench_of("pixels"), window=0.5)
    assert [line["style"] for line in shown["window"]["value"]["charts"][0]["lines"]] == ["line", "dashed"]


@both
def test_a_run_without_an_average_or_checkpoint_says_so(trained, bench_of, lang, tmp_path):
    bench = bench_of_run(trained("pixels"))
    bare = dataclasses.replace(bench, config=dataclasses.replace(bench.config, use_ema=False))
    shown = panels(STATION, bare, lang=lang)
    assert (
        "pair" not in shown
        and "use_ema" in shown["note"]["text"]
        and len(shown["window"]["value"]["charts"][0]["lines"]) == 1
    )
    unsaved = dataclasses.replace(bench, place=tmp_path)
    assert panels(STATION, unsaved, lang=lang)["note"]["tone"] == "warn"


def test_the_shipped_presets_have_a_window():
    assert {presets.build(name).ema_window for name in benches.RECIPES.values()} == {0.1}
