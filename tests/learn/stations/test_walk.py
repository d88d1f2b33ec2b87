"""Station 10: the film of three samplers, and what fewer steps cost."""

import pytest
from kits.learn import panels, turns

from ddpm_app import i18n
from ddpm_app.film import MAX_FRAMES
from ddpm_app.learn.probes import samplers


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(samplers, "FEW", (2, 4))
    monkeypatch.setattr(samplers, "MANY", 6)


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("kind", ["pixels", "latents", "labels", "words"])
def test_the_film(context_of, kind, lang):
    shown = panels("walk", context_of(kind), lang=lang, steps=5)
    assert len(shown["walk"]["value"]["frames"]) == 5 and len(shown["walk"]["value"]["rows"]) == 2
    assert len({frame["src"] for frame in shown["walk"]["value"]["frames"]}) == 5
    told = shown["asked_for"]["text"] if kind in ("labels", "words") else ""
    assert ("bug" in told) == (kind == "words") and any(colour in told for colour in ("red", "blue", "green")) == bool(
        told
    )
    assert ("asked_for" in shown) == bool(told)
    assert "measure_told" in shown and "quality" not in shown


def test_it_grows_and_is_kept(context_of):
    context, memory = context_of("pixels"), {}
    all_turns = turns("walk", context, memory=memory, steps=6)
    films = [{panel["name"]: panel for panel in turn}["walk"]["value"]["frames"] for turn in all_turns if turn]
    assert len(all_turns) == 3 * 6 + 1 and [len(film) for film in films] == [1, 4, 6, 6]
    assert len(turns("walk", context, memory=memory, steps=6)) == 1
    assert len(turns("walk", context, memory=memory, steps=6, lang="zh")) == 19


def test_controls_are_followed(context_of):
    context = context_of("pixels")
    shown = [
        panels("walk", context, steps=5, **given)["walk"]["value"]["frames"][-1]
        for given in ({}, {"eta": 1.0}, {"seed": 1})
    ]
    assert len({frame["src"] for frame in shown}) == 3
    long = panels("walk", context, steps=50)["walk"]["value"]["frames"]
    assert len(long) == MAX_FRAMES and long[0]["caption"] != long[-1]["caption"]


def test_more_steps_than_timesteps(context_of, monkeypatch):
    monkeypatch.setattr(samplers, "MANY", 12)
    context = context_of("pixels", num_train_timesteps=10)
    for lang in ("en", "zh"):
        shown = panels("walk", context, steps=50, pressed="measure", lang=lang)
        assert len(shown["walk"]["value"]["frames"]) == 10
        assert shown["measure_told"]["text"] == i18n.t("ui.learn.walk.measure_told", lang, many=10)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_measuring_fills_the_chart(context_of, lang):
    context, memory = context_of("latents"), {}
    panels("walk", context, memory=memory, steps=5, lang=lang)
    all_turns = turns("walk", context, pressed="measure", memory=memory, steps=5, lang=lang)
    assert len(all_turns) == 1 + 2 * (6 + 2 + 4) and sum(turn is not None for turn in all_turns) == 1 + 2 * 3
    last = {panel["name"]: panel for panel in all_turns[-1]}
    assert [len(line["y"]) for line in last["quality"]["value"]["charts"][0]["lines"]] == [2, 2]
    assert [len(row["images"]) for row in last["results"]["rows"]] == [3, 3]
    again = panels("walk", context, memory=memory, steps=5, lang=lang)
    assert again["results"] == last["results"]  # stays without measuring anew
    assert "results" not in panels("walk", context, memory=memory, steps=5, lang=lang, seed=1)
