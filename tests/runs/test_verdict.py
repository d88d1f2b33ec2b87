"""What the curves mean, by the rules of runs.verdict."""

import math

import pytest

from ddpm_app.i18n import LANGUAGES, t
from ddpm_app.runs.verdict import FEWEST, verdict


def points(train, held_out=()):
    steps = lambda losses: (range(len(losses)), losses)  # noqa: E731
    return {"train": steps(train), "held_out": steps(held_out)}


FALLING = [0.9 * math.exp(-k / 5) + 0.02 for k in range(16)]
LEVEL = [0.9] + [0.02 + 0.0002 * (k % 2) for k in range(15)]
VALLEY = [0.9 * math.exp(-k) + 0.004 * max(0, k - 5) + 0.03 for k in range(16)]


@pytest.mark.parametrize(
    ("train", "held_out", "meaning"),
    [
        ([], [], "early"),
        (FALLING[: FEWEST - 1], FALLING[: FEWEST - 1], "early"),
        (FALLING, FALLING, "improving"),
        (FALLING, [], "improving"),
        (LEVEL, LEVEL, "level"),
        (LEVEL, [], "level"),
        (FALLING, LEVEL, "level"),
        (FALLING, VALLEY, "by_heart"),
        (LEVEL, VALLEY, "by_heart"),
        (VALLEY, VALLEY, "rising"),
        (VALLEY, [], "rising"),
    ],
)
def test_the_rules(train, held_out, meaning):
    assert verdict(points(train, held_out)) == meaning
    assert all(t(f"ui.train.verdict_{meaning}", lang) for lang in LANGUAGES)


def test_one_outlier_changes_nothing():
    noisy = [*FALLING[:-1], FALLING[-1] * 1.03]
    assert verdict(points(noisy, noisy)) == "improving"
