"""Curves, polygons and smooth steps, from sums, products, quotients and roots only.

Those are rounded alike on every processor, so one seed gives one picture; sines are not, and are cut to 9 digits here.
"""

import numpy as np
from PIL import Image, ImageDraw


def ramp(x, low: float, high: float):
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def within(x, ends, soft: float):
    """1 between the two ends, 0 outside, smooth over 2 * soft."""
    return ramp(x, ends[0] - soft, ends[0] + soft) * (1 - ramp(x, ends[1] - soft, ends[1] + soft))


def bump(x):
    """A smooth hill of height 1 on -1..1."""
    t = np.clip(1 - x * x, 0, 1)
    return t * t


def direction(dx, dy):
    """Where (dx, dy) points as a number that grows clockwise, without an arc tangent: 0 up, 1 right, 2 down, 3 left."""
    q = dy / (np.abs(dx) + np.abs(dy) + 1e-6)
    return np.where(dx >= 0, 1 + q, 3 - q)


def circle(n: int) -> np.ndarray:
    """n points of the unit circle, (n, 2)."""
    angle = np.arange(n) * (2 * np.pi / n)
    return np.round(np.stack([np.cos(angle), np.sin(angle)], -1), 9)


def rotation(degrees: float) -> np.ndarray:
    """The matrix that turns points (n, 2) @ matrix."""
    angle = np.deg2rad(degrees)
    return np.round([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], 9)


def lengths(line) -> np.ndarray:
    """Length of each vector (n, 2) -> (n)."""
    return np.sqrt((line**2).sum(1))


def spline(points, steps: int = 12) -> np.ndarray:
    """Catmull-Rom curve through points, (n, 2) -> ((n - 1) * steps + 1, 2)."""
    p = np.asarray(points, float)
    p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = (p[i : len(p) - 3 + i, None] for i in range(4))
    curve = b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.concatenate([curve.reshape(-1, 2), p[-2:-1]])


def stroke(line, width) -> np.ndarray:
    """The polygon around a line (n, 2) with half widths `width` (a number or n of them)."""
    line = np.asarray(line, float)
    along = np.gradient(line, axis=0)
    along /= lengths(along)[:, None] + 1e-9
    side = along[:, ::-1] * [-1, 1] * np.broadcast_to(width, len(line))[:, None]
    return np.concatenate([line + side, (line - side)[::-1]])


def fill(shape: tuple, polygons) -> np.ndarray:
    """Polygons (n, 2) in pixels -> a mask of 0..1 with that shape (rows, columns)."""
    image = Image.new("L", shape[::-1])
    pen = ImageDraw.Draw(image)
    for polygon in polygons:
        pen.polygon(polygon.ravel().tolist(), fill=255)
    return np.asarray(image, np.float32) / 255


def noise(rng: np.random.Generator, cells: int, shape: tuple) -> np.ndarray:
    """Soft noise of about -1..1 that looks the same at every size: a small grid of values, enlarged."""
    grid = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(grid.resize(shape[::-1], Image.Resampling.BICUBIC))


def overlay(rgb, alpha, cover, colour) -> None:
    """Lay `colour` (one RGB, or one per pixel) over a picture and its alpha, in place, as far as `cover` (0..1) goes."""
    rgb += cover[..., None] * (colour - rgb)
    np.maximum(alpha, cover, out=alpha)
