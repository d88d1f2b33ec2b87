"""Colours: their everyday names, and each specimen's own shade of them. RGB is 0..1, text "#rrggbb"."""

import colorsys
from collections.abc import Callable

import numpy as np

# The everyday name of a colour is that of the nearest of these.
COLOURS = {
    "white": "#ffffff #f4f1e6 #e8e6de #e2e8e6",
    "cream": "#f3e6b4 #eadcae #f4ecc4",
    "yellow": "#fbdc4e #f4c52c #f7ee58 #e6d436 #d9bf3a #f6e79a",
    "orange": "#f0942a #dd6a14 #e07a1c #f2a850 #c8641e",
    "red": "#e2481e #d8321e #b43a22 #a02a1c #c03028",
    "maroon": "#5a2420 #70302a #7a2a24",
    "brown": "#4a2a1c #6b4630 #8a5a38 #3d2a20 #54402f #6b5a4c",
    "black": "#000000 #1a1411 #2b211b #15121a #26262a",
    "grey": "#808080 #a9aca6 #8a8680 #5a5a5c #b8bab6",
    "green": "#2fa05a #58c24c #a6dc8a #a4d28c #c6e6a8 #1f6a3c #8fb060",
    "blue": "#1c55cf #2f8be6 #4a6fd0 #123a86 #5b8fe0 #7fa8f0 #2a4a9c #8c9bea #7282dc #a8b4ee",
    "purple": "#5a2fae #4a2a8a #8a5cd8 #3a2260 #6a44b8",
    "pink": "#f0a0b8 #d86a92 #8e3a58",
}


def _rgb(text: str) -> np.ndarray:
    return np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def _opponent(rgb) -> np.ndarray:
    """RGB -> brightness, red-green, yellow-blue: near enough to how far apart colours look."""
    r, g, b = np.moveaxis(np.asarray(rgb, float), -1, 0)
    return np.stack([0.8 * (0.3 * r + 0.59 * g + 0.11 * b), r - g, (r + g) / 2 - b], -1)


_NAMED = [(word, _opponent(_rgb(text))) for word, texts in COLOURS.items() for text in texts.split()]


def colour_words(rgb) -> np.ndarray:
    """RGB of 0..1, shape (..., 3) -> the everyday names of those colours (keys of COLOURS), shape (...)."""
    gaps = [((_opponent(rgb) - place) ** 2).sum(-1) for _, place in _NAMED]
    return np.array([word for word, _ in _NAMED])[np.argmin(gaps, 0)]


def shades(rng: np.random.Generator) -> Callable[[str], np.ndarray]:
    """This specimen's own shade of every colour: hue, strength and brightness a little off, the same way for all."""
    hue, strength, light = rng.uniform(-0.018, 0.018), rng.uniform(0.88, 1.08), rng.uniform(0.92, 1.07)

    def tint(text: str) -> np.ndarray:
        h, s, v = colorsys.rgb_to_hsv(*_rgb(text))
        return np.array(colorsys.hsv_to_rgb((h + hue) % 1, min(s * strength, 1), min(v * light, 1)), np.float32)

    return tint
