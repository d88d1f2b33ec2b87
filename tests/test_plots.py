import json

import pytest

from ddpm_app import plots

SERIES = {
    "raw": (list(range(999_000, 999_140)), [0.12345] * 140),
    "smooth": (list(range(80)), [0.1] * 80),
    "rate": (list(range(28)), [1e-3] * 28),
    "train": (list(range(32)), [0.1] * 32),
    "held_out": ([], []),
    "bands": [(10, [0.1] * 10), (900, [0.2] * 9 + [float("nan")])],
    "seconds": 3,
}


def luminance(colour):
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    return sum(
        w * (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
        for w, c in zip((0.2126, 0.7152, 0.0722), channels, strict=True)
    )


@pytest.mark.parametrize("name", plots.COLOURS)
def test_colours_stand_out_on_both_pages(name):
    light, dark = plots.COLOURS[name]
    assert 1.05 / (luminance(light) + 0.05) >= 3
    assert (luminance(dark) + 0.05) / (luminance("#16191c") + 0.05) >= 3


def test_the_style_sheet_names_every_colour_twice():
    for name in plots.COLOURS:
        assert plots.css().count(f"--colour-{name}:") == 2


def test_a_run_gives_three_plots_within_400_points():
    frame = plots.training(SERIES, {"total_steps": 1000}, 1000)
    assert [chart["name"] for chart in frame["charts"]] == ["loss", "bands", "rate"]
    assert sum(len(line["y"]) for chart in frame["charts"] for line in chart["lines"]) <= 400
    assert len(json.dumps(frame)) < 6_000


def test_a_line_without_points_is_left_out():
    loss = plots.training(SERIES, {}, 1000)["charts"][0]
    assert [line["colour"] for line in loss["lines"]] == ["noise", "prediction", "data"]
    assert loss["xMax"] is None


def test_steps_travel_as_differences_and_once_for_lines_that_share_them():
    loss = plots.training(SERIES | {"held_out": ([*range(31), 40], [0.2] * 32)}, {}, 1000)["charts"][0]
    assert loss["lines"][0]["x"][:3] == [999_000, 1, 1] and loss["lines"][0]["y"][0] == 0.123
    assert loss["lines"][3]["x"][-2:] == [1, 10]
    loss = plots.training(SERIES | {"held_out": SERIES["train"]}, {}, 1000)["charts"][0]
    assert loss["lines"][3]["x"] is None and len(loss["lines"][3]["y"]) == 32


def test_bands_lie_in_the_middle_of_their_timesteps_and_leave_gaps():
    now, earlier = plots.bands(SERIES["bands"], 1000)
    assert earlier["x"] == [50, 150, 250, 350, 450, 550, 650, 750, 850, 950]
    assert len(now["x"]) == 9 and now["style"] == "dots" and earlier["style"] == "dashed"
    assert "900" in now["label"]


def test_comparison_draws_both_runs_in_their_own_colour():
    (chart,) = plots.comparison([("a", SERIES), ("b", SERIES)])["charts"]
    assert [(line["label"], line["colour"]) for line in chart["lines"]] == [("a", "prediction"), ("b", "data")]
