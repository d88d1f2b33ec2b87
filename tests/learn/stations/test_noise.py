"""Station 3: the picture, its noise, their mixture, and the schedule's warning."""

import pytest
from kits.learn import panels


def pictures_of(panel):
    return [image["src"] for row in panel["rows"] for image in row["images"]]


@pytest.mark.parametrize("kind", ["pixels", "latents"])
def test_the_mixture_follows_t(context_of, kind):
    context = context_of(kind)
    early, late = (panels("noise", context, t=t) for t in (10, 900))
    first, second = pictures_of(early["mixture"]), pictures_of(late["mixture"])
    assert first[:2] == second[:2] and first[2] != second[2]
    assert pictures_of(early["strip"]) == pictures_of(late["strip"]) and len(pictures_of(early["strip"])) == 9
    assert [chart["at"] for chart in late["curves"]["value"]["charts"]] == [900, 900]


def test_another_seed_is_another_noise(context_of):
    context = context_of("pixels")
    first, second = (pictures_of(panels("noise", context, seed=seed)["mixture"]) for seed in (0, 1))
    assert first[0] == second[0] and first[1] != second[1] and first[2] != second[2]


def test_a_schedule_that_ends_too_early_is_told(context_of):
    context = context_of("pixels")
    assert panels("noise", context)["note"]["tone"] == "good"
    short = panels("noise", context, length="50", t=999)
    assert short["note"]["tone"] == "warn" and short["curves"]["value"]["charts"][0]["at"] == 49
    assert "49" in short["note"]["text"]
