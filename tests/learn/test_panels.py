"""Panels tell the truth: pictures without loss, colours by one scale."""

import base64
import html
import io
import json
import re

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from ddpm_app.learn import panels


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.src.partition(",")[2]))).convert("RGB"))


def test_a_picture_is_clamped_once_and_sent_without_loss():
    x = torch.tensor([[-3.0, -1, -0.5], [0, 1, 7]])
    assert pixels(panels.picture(x))[..., 0].tolist() == [[0, 0, 64], [128, 255, 255]]
    colour = torch.rand(3, 5, 4) * 2 - 1
    wanted = ((colour * 0.5 + 0.5) * 255).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(pixels(panels.picture(colour)), wanted)


@pytest.mark.parametrize(
    "kind, values", [("signed", [-9.0, -2, -1, 0, 1, 2, 9]), ("size", [-1.0, 0, 0.5, 1, 1.5, 2, 9])]
)
def test_colours_are_those_of_the_map_between_the_limits(kind, values):
    shares = [(v + 2) / 4 if kind == "signed" else v / 2 for v in values]
    wanted = [matplotlib.colormaps[panels.MAPS[kind]](round(255 * min(1, max(0, share))))[:3] for share in shares]
    assert (
        np.abs(pixels(panels.heat_map(torch.tensor([values]), 2.0, kind=kind))[0] - 255 * np.array(wanted)).max()
        <= 0.5 + 1e-6
    )


def test_the_bar_shows_the_same_limits():
    bar = panels.colour_bar("signed", 2.0, "unit")
    assert (bar.low, bar.high, bar.caption, len(bar.stops)) == ("-2", "2", "unit", 9)
    assert panels.colour_bar("size", 2.0).low == "0"


def test_nothing_and_no_number_have_colours_too():
    assert pixels(panels.heat_map(torch.zeros(2, 2), 0.0, kind="size")).shape == (2, 2, 3)
    assert pixels(panels.heat_map(torch.tensor([[float("nan")]]), 1.0, kind="size")).shape == (1, 1, 3)


def test_what_flows_is_told_in_numbers():
    x, n = torch.tensor([[0.0, 1.0], [2.0, 3.0]]), torch.tensor(200)
    rows = panels.flow([("x", x, "data"), ("n", n, "")], "en").rows
    assert rows[0] == [panels.Cell("x", "data"), "2×2", "float32", "0.000", "3.000", "1.500", "1.118"]
    assert rows[1] == [panels.Cell("n"), "1", "int64", "200", "200", "200", "0.000"]


def test_what_a_click_sets_survives_the_attribute():
    attributes = panels.clickable(block='a"b', t=3)
    value = html.unescape(re.match('data-set="([^"]*)"', attributes)[1])
    assert 'role="button"' in attributes and json.loads(value) == {"block": 'a"b', "t": 3}


def test_what_a_panel_is_filled_with_is_escaped():
    assert panels.button("<b>", model='"') == (
        '<button type="button" class="soft" data-set="{&#34;model&#34;: &#34;\\&#34;&#34;}" role="button" tabindex="0">'
        "&lt;b&gt;</button>"
    )
