"""What the curves of a run mean, in one word, by rules that are stated here."""

import statistics
from collections.abc import Sequence
from typing import Literal

from ddpm_app.runs.records import CurvePoints

Verdict = Literal["early", "improving", "level", "by_heart", "rising"]
FEWEST = 6
"""Measurements on fixed pictures from which something can be said."""
CHANGE = 0.03
"""Losses that differ by less than this share are level."""


def verdict(points: CurvePoints) -> Verdict:
    """What the losses on fixed noise say. The last third of their measurements is compared with the middle third, since one alone is noisy:

    "rising": the training pictures' loss grows; "by_heart": it doesn't, but the held-out pictures' loss is higher than it was at its lowest;
    "improving": the loss of held-out pictures (of training pictures where none are held out) falls; "level": it stays; "early": too few
    measurements."""
    train, held_out = points["train"][1], points["held_out"][1]
    if len(train) < FEWEST:
        return "early"
    if _grew(train, _third(train, 1)):
        return "rising"
    if len(held_out) >= FEWEST and _grew(held_out, _lowest_third(held_out)):
        return "by_heart"
    judged = held_out if len(held_out) >= FEWEST else train
    return "improving" if _third(judged, 2) < (1 - CHANGE) * _third(judged, 1) else "level"


def _third(losses: Sequence[float], number: int) -> float:
    """The mean of a third (0 to 2) of the losses."""
    size = len(losses) // 3
    first = len(losses) - (3 - number) * size
    return statistics.mean(losses[first : first + size])


def _lowest_third(losses: Sequence[float]) -> float:
    """The least mean of neighbours that are a third of the losses."""
    size = len(losses) // 3
    return min(statistics.mean(losses[k : k + size]) for k in range(len(losses) - size + 1))


def _grew(losses: Sequence[float], before: float) -> bool:
    """Whether the last third is higher than a mean of ``before``."""
    return _third(losses, 2) > (1 + CHANGE) * before
