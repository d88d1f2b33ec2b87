"""Station 14: the film between two noises, labels or texts."""

import pytest
from kits.learn import panels, turns

from ddpm_app.learn.stations.between import FRAMES

ALL = ["between", "strip", "note", "length", "flow"]


def frames(shown):
    return [frame["src"] for frame in shown["between"]["value"]["frames"]]


def strip(shown):
    return [image["src"] for image in shown["strip"]["rows"][0]["images"]]


@pytest.mark.parametrize("kind", ["pixels", "latents", "labels", "words"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_noise_to_noise(context_of, kind, lang):
    shown = panels("between", context_of(kind), lang=lang)
    assert list(shown) == ALL and len(set(frames(shown))) == FRAMES and shown["between"]["value"]["autoplay"]


def test_the_ends_are_what_the_seeds_draw(context_of):
    context = context_of("pixels")
    way, back = panels("between", context, seed=3, second=7), panels("between", context, seed=7, second=3)
    straight = panels("between", context, seed=3, second=7, way="line")
    assert (
        strip(way)[0] == strip(back)[-1] == strip(straight)[0]
        and strip(way)[-1] == strip(back)[0] == strip(straight)[-1]
    )
    assert strip(way)[2] == strip(back)[2] != strip(straight)[2]


def test_the_straight_line_is_shorter(context_of):
    arc, straight = panels("between", context_of("pixels"))["length"]["value"]["charts"][0]["lines"]
    assert min(arc["y"]) > 0.9 and straight["y"][len(straight["y"]) // 2] == pytest.approx(0.71, abs=0.08)
    assert arc["y"][0] == straight["y"][0] and arc["y"][-1] == straight["y"][-1]


@pytest.mark.parametrize("kind", ["labels", "labels-in-latents", "words", "words-in-pixels"])
def test_from_one_to_another(context_of, kind):
    context = context_of(kind)
    here = panels("between", context, way="asked", first="red", last="blue")
    there = panels("between", context, way="asked", first="blue", last="red")
    assert (
        "length" not in here
        and strip(here)[0] == strip(there)[-1]
        and strip(here)[-1] == strip(there)[0]
        and len(set(strip(here))) == 5
    )
    assert "red" in here["between"]["value"]["frames"][0]["caption"]


def test_one_seed_is_no_way(context_of):
    shown = panels("between", context_of("pixels"), seed=1, second=1)
    assert shown["between"]["value"]["note"] and len(set(strip(shown))) == 1


def test_frames_come_three_at_a_time_and_nothing_jumps(context_of):
    all_turns = turns("between", context_of("pixels"))
    shown = [turn for turn in all_turns if turn]
    assert all_turns[0] is not None and len(shown) == 4 and all_turns.count(None) == 3 * 8
    assert [sum(image["colour"] == "prediction" for image in turn[1]["rows"][0]["images"]) for turn in shown] == [
        0,
        3,
        5,
        5,
    ]
    assert {len(turn[0]["value"]["frames"]) for turn in shown} == {FRAMES}


def test_a_model_that_cannot_be_asked(context_of):
    for lang in ("en", "zh"):
        shown = panels("between", context_of("pixels"), way="asked", lang=lang)
        assert list(shown) == ["way"] and "butterflies-words" in shown["way"]["html"]
