"""Station 11: both weights of a run from one noise, and the window of the average."""

import dataclasses

import pytest
import torch
from kits.learn import open_run, panels, turns

from ddpm_app import presets
from ddpm_app.learn.context import SHIPPED_PRESETS

both = pytest.mark.parametrize("lang", ["en", "zh"])


@both
@pytest.mark.parametrize("kind", ["pixels", "latents", "labels", "words"])
def test_a_run_has_both_weights(trained, kind, lang):
    context = open_run(trained(kind).path)
    all_turns = turns("ema", context, lang=lang, steps=3)
    seen = [turn for turn in all_turns if turn]
    assert len(all_turns) == 6 and len(seen) == 3
    names = ["pair", "note", "window", "window_told", "flow"]
    assert all([panel["name"] for panel in turn] == names for turn in seen)
    assert seen[-1][0]["before"] != seen[-1][0]["after"] and seen[0][0]["after"] != seen[-1][0]["after"]
    assert seen[-1][2]["value"]["charts"][0]["xMax"] == 12


def test_seed_and_steps_are_followed(trained):
    context, memory = open_run(trained("pixels").path), {}
    first, other, longer = (
        panels("ema", context, memory=memory, **given)["pair"]
        for given in ({"steps": 2}, {"steps": 2, "seed": 1}, {"steps": 3})
    )
    assert len({first["before"], other["before"], longer["before"]}) == 3 and "raw" in memory


@both
@pytest.mark.parametrize("kind", ["pixels", "words"])
def test_of_a_model_without_raw_weights_a_copy_goes_on_training(context_of, lang, kind):
    context, memory = context_of(kind), {}
    before = [p.clone() for p in context.model.unet.parameters()]
    all_turns = [turn for turn in turns("ema", context, lang=lang, steps=3, memory=memory) if turn]
    assert [panel["name"] for panel in all_turns[0]] == ["before", "tried", "window", "window_told"]
    assert [panel["name"] for panel in all_turns[-1]] == ["pair", "note", "tried", "window", "window_told", "flow"]
    assert all_turns[-1][0]["before"] != all_turns[-1][0]["after"]
    assert all(torch.equal(p, q) for p, q in zip(before, context.model.unet.parameters(), strict=True))
    again = [turn for turn in turns("ema", context, lang=lang, steps=3, seed=5, memory=memory) if turn]
    assert again[0][0]["name"] == "pair" and again[-1][0]["before"] != all_turns[-1][0]["before"]


def test_the_windows_own_line_is_drawn_beside_another(context_of):
    shown = panels("ema", context_of("pixels"))
    assert [len(line["y"]) for line in shown["window"]["value"]["charts"][0]["lines"]] == [120]
    shown = panels("ema", context_of("pixels"), window=0.5)
    assert [line["style"] for line in shown["window"]["value"]["charts"][0]["lines"]] == ["line", "dashed"]


@both
def test_a_run_without_an_average_or_checkpoint_says_so(trained, context_of, lang, tmp_path):
    context = open_run(trained("pixels").path)
    bare = dataclasses.replace(context, config=dataclasses.replace(context.config, use_ema=False))
    shown = panels("ema", bare, lang=lang)
    assert (
        "pair" not in shown
        and "use_ema" in shown["note"]["text"]
        and len(shown["window"]["value"]["charts"][0]["lines"]) == 1
    )
    unsaved = dataclasses.replace(context, location=tmp_path)
    assert panels("ema", unsaved, lang=lang)["note"]["tone"] == "warn"


def test_the_shipped_presets_have_a_window():
    assert {presets.build(name).ema_window for name in SHIPPED_PRESETS.values()} == {0.1}
