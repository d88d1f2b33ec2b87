"""Station 5: the guess in three ways, and its error over the schedule."""

import pytest
from kits.learn import panels, turns

every_kind = pytest.mark.parametrize("kind", ["pixels", "latents", "labels", "words", "words-in-pixels"])


def shown_of(panel, row):
    return [image["src"] for image in panel["rows"][row]["images"]]


@every_kind
def test_three_ways_of_one_guess(context_of, kind):
    shown = panels("guess", context_of(kind), lang="zh")
    assert [len(row["images"]) for row in shown["guess"]["rows"]] == [1, 3, 3, 3]
    assert shown_of(shown["guess"], 1) != shown_of(shown["guess"], 2)
    assert [len(line["y"]) for line in shown["errors"]["value"]["charts"][0]["lines"]] == [8, 8, 8]


def test_the_curve_comes_point_by_point_and_is_kept(context_of):
    context, memory = context_of("pixels"), {}
    all_turns = turns("guess", context, memory=memory)
    assert len(all_turns) == 9 and all(
        [panel["name"] for panel in turn] == [panel["name"] for panel in all_turns[0]] for turn in all_turns
    )
    again = turns("guess", context, memory=memory, t=700)
    assert len(again) == 1  # another t measures nothing anew
    first, second = (
        {panel["name"]: panel for panel in shown[-1]}["errors"]["value"]["charts"][0] for shown in (all_turns, again)
    )
    assert first["lines"] == second["lines"] and (first["at"], second["at"]) == (300, 700)
    assert len(turns("guess", context, memory=memory, seed=1)) == 9


def test_t_and_seed_are_followed(context_of):
    context = context_of("pixels")
    first, later, other = panels("guess", context), panels("guess", context, t=700), panels("guess", context, seed=1)
    assert shown_of(first["guess"], 0) != shown_of(later["guess"], 0) and shown_of(first["guess"], 0) != shown_of(
        other["guess"], 0
    )
    assert shown_of(first["guess"], 1)[:2] == shown_of(later["guess"], 1)[:2]  # eps and x0 are the same at every t


@pytest.mark.parametrize(
    "kind, t, tone",
    [
        ("epsilon", 999, "warn"),
        ("epsilon", 300, "good"),
        ("sample", 0, "warn"),
        ("v_prediction", 999, "good"),
        ("v_prediction", 0, "good"),
    ],
)
def test_where_an_error_grows_it_is_told(context_of, kind, t, tone):
    shown = panels("guess", context_of("pixels", prediction_type=kind, beta_schedule="squaredcos_cap_v2"), t=t)
    assert shown["note"]["tone"] == tone
    growth = {row[0]: row[3] for row in shown["ways"]["rows"]}
    assert growth[{"epsilon": "ε", "sample": "x₀", "v_prediction": "v"}[kind]] == "x 1"


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_schedule_without_any_picture_left(context_of, lang):
    context = context_of("pixels", prediction_type="epsilon")
    context.model.scheduler.alphas_cumprod[-1] = 0.0
    shown = panels("guess", context, lang=lang, t=999)
    assert shown["note"]["tone"] == "bad" and "x₀" in shown["note"]["text"]
    assert shown["ways"]["rows"][1][2:] == ["-", "x -"]
