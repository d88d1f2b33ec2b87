"""Figures in words, and codes that a file of another version holds."""

import pytest

from ddpm_app.i18n import format_bytes, format_duration, text_for_code


@pytest.mark.parametrize(
    "seconds, told",
    [
        (0, "0 s"),
        (59.6, "1 min 00 s"),
        (250, "4 min 10 s"),
        (7500, "2 h 05 min"),
        (36_000, "10 h"),
        (187_200, "52 h"),
    ],
)
def test_lengths_of_time(seconds, told):
    assert format_duration(seconds) == told


@pytest.mark.parametrize(
    ("count", "told"), [(900, "0.9 kB"), (4_200_000, "4.2 MB"), (412_000_000, "412 MB"), (1_530_000_000, "1.5 GB")]
)
def test_bytes_are_spelled(count, told):
    assert format_bytes(count) == told


def test_a_code_of_another_version_shows_as_it_is():
    assert text_for_code("notice.from_the_future", "en", {"a": 1}, "from_the_future") == "from_the_future {'a': 1}"
    assert text_for_code("problem.run_missing", "en", {}, "run_missing") == "run_missing {}"
    assert (
        text_for_code("ui.time.minutes", "en", {"minutes": 1, "seconds": None}, "x")
        == "x {'minutes': 1, 'seconds': None}"
    )
