import numpy as np
from PIL import Image, ImageDraw

from ddpm_app.data import alike


def scene(seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    image = Image.new("RGB", (64, 64), tuple(draw.integers(0, 255, 3).tolist()))
    for _ in range(12):
        x, y, r = draw.integers(0, 64, 3)
        ImageDraw.Draw(image).ellipse(
            [x - r / 3, y - r / 3, x + r / 3, y + r / 3], fill=tuple(draw.integers(0, 255, 3).tolist())
        )
    return np.asarray(image)


def changed(pixels: np.ndarray) -> np.ndarray:
    """As another program would save it: a little brighter, with grain."""
    noise = np.random.default_rng(0).normal(2, 2, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def test_nearly_equal_pictures_are_put_together():
    pictures = [scene(seed) for seed in range(20)]
    pictures += [changed(pictures[3]), changed(pictures[3]), changed(pictures[7])]
    assert alike.groups([alike.fingerprint(picture) for picture in pictures]) == [[3, 20, 21], [7, 22]]


def test_plain_pictures_are_not_alike_for_being_plain():
    pictures = [np.full((32, 32, 3), value, np.uint8) for value in (0, 90, 200)]
    assert alike.groups([alike.fingerprint(picture) for picture in pictures]) == []
    assert alike.groups([]) == []
