"""Station 1: squared, mirrored, to [-1, 1] and back."""

import base64
import io

import numpy as np
import pytest
from kits.learn import panels
from PIL import Image


def picture(image):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))))


def oblong():
    """Red above, blue below, twice as wide as high, with a white left edge."""
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :, 0] = pixels[8:, :, 2] = 200
    pixels[:, :8] = 255
    return Image.fromarray(pixels)


def test_there_and_back_is_exact(context_of):
    shown = panels("tensor", context_of("pixels"))
    _, square, back = shown["way"]["rows"][0]["images"]
    assert np.array_equal(picture(square), picture(back)) and picture(back).shape == (8, 8, 3)
    assert shown["note"]["tone"] == "good"
    assert [row[0] + row[3] for row in shown["followed"]["rows"]] == ["00", "6464", "128128", "255255", "not a number0"]


def test_what_lies_outside_is_clamped_and_told(context_of):
    context = context_of("pixels", own=oblong())
    shown = panels("tensor", context, stretch=2.0)
    _, square, back = (picture(image).astype(int) for image in shown["way"]["rows"][0]["images"])
    assert shown["note"]["tone"] == "warn" and str(np.abs(square - back).max()) in shown["note"]["text"]
    before, after = shown["histograms"]["value"]["charts"]
    assert len(before["lines"]) == 2 and after["xMax"] == 2
    assert sum(after["lines"][0]["y"]) == pytest.approx(100, abs=0.1)
    assert [row[3] for row in shown["followed"]["rows"]] == ["0", "0", "128", "255", "0"]


def test_the_picture_is_squared_as_asked(context_of):
    context = context_of("pixels", own=oblong(), resize_mode="pad")
    own, pad, crop = (panels("tensor", context, mode=mode) for mode in ("own", "pad", "crop"))
    assert own["way"] == pad["way"] != crop["way"]
    assert [image["set"]["mode"] for image in own["modes"]["rows"][0]["images"]] == ["squash", "crop", "pad"]
    assert [image["colour"] for image in own["modes"]["rows"][0]["images"]] == ["", "", "data"]
    assert picture(pad["way"]["rows"][0]["images"][2])[0].min() == 255  # the white above
    assert own["modes"]["note"] != panels("tensor", context_of("pixels"))["modes"]["note"]


def test_mirrored(context_of):
    context = context_of("pixels", own=oblong())
    plain, flipped = (panels("tensor", context, flip=flip) for flip in (False, True))
    for k in (1, 2):
        one, other = (picture(shown["way"]["rows"][0]["images"][k]) for shown in (plain, flipped))
        assert np.array_equal(one[:, ::-1], other) and not np.array_equal(one, other)
    assert flipped["note"]["tone"] == "good"


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_grey_and_latent_models_and_both_languages(context_of, lang):
    grey = panels("tensor", context_of("pixels", channels=1), lang=lang)
    assert len(grey["way"]["rows"][1]["images"]) == 1
    assert len(panels("tensor", context_of("latents"), lang=lang)["way"]["rows"][1]["images"]) == 3
