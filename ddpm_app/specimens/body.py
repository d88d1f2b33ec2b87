"""Body and antennae, painted in place on the right half of the canvas: `rgb` (side, side / 2, 3) and its `alpha`.

A point (x, y) in wing units lies at column x * unit and row side / 2 + (y - middle) * unit.
"""

from collections.abc import Callable

import numpy as np

from ddpm_app.specimens.geometry import bump, fill, noise, overlay, ramp, spline, stroke
from ddpm_app.specimens.species import Kind

# y of each half width (a share of the body's), from head to tail.
KNOTS = np.array([-0.275, -0.265, -0.235, -0.2, -0.185, -0.16, -0.08, 0.02, 0.07, 0.09, 0.2, 0.4, 0.52, 0.56, 0.575])
WIDTHS = np.array([0, 0.45, 0.72, 0.64, 0.56, 0.95, 1.2, 1.1, 0.8, 0.78, 0.92, 0.78, 0.5, 0.27, 0])


def body(kind: Kind, rgb, alpha, unit: float, middle: float, tint: Callable, rng) -> None:
    """Head, thorax and abdomen as round, banded, furry solids over x = 0."""
    side, reach = alpha.shape[0], int(unit * 0.14)
    # The abdomen is not as long as to pass the hind wing's inner half.
    length = rng.uniform(0.88, 1.05) * min(1.0, 1.5 * float(kind.hind.points[:, 1].max()) - 0.05)
    thorax, abdomen, wide = tint(kind.body[0]), tint(kind.body[1]), kind.body[2]
    x = ((np.arange(reach) + 0.5) / unit)[None, :]
    y = ((np.arange(side) + 0.5 - side / 2) / unit + middle)[:, None]
    half = np.interp(y, np.where(KNOTS > 0.08, 0.08 + (KNOTS - 0.08) * length, KNOTS), WIDTHS * wide)
    fur = 0.10 * noise(rng, 48, (side, reach))
    across = np.minimum(x / (half + 1e-6), 1)
    rings = 1 - 0.28 * bump(((y - 0.08) / 0.062 % 1 - 0.5) * 2.6) * (y > 0.08)
    light = (0.62 + 0.5 * np.sqrt(1 - across * across) * (1 - 0.25 * across)) * rings + fur
    colour = np.clip((thorax + ramp(y, 0.04, 0.1)[..., None] * (abdomen - thorax)) * light[..., None], 0, 1)
    cover = np.clip((half - x) * unit + 0.5, 0, 1) * (half > 0)
    overlay(rgb[:, :reach], alpha[:, :reach], cover.astype(np.float32), colour)


def antennae(kind: Kind, rgb, alpha, unit: float, middle: float, tint: Callable, rng) -> None:
    """A clubbed feeler (butterfly) or a feathered one (moth)."""
    lean, lift = rng.uniform(-0.04, 0.04, 2)
    if kind.noun == "moth":
        line = spline([(0.015, -0.25), (0.06, -0.38), (0.14 + lean, -0.46 + lift), (0.24 + lean, -0.48 + lift)], 6)
        shapes, colour = [stroke(line, 0.008)], tint("#b08a4c")
        for place, width in zip(line[1:], 0.06 * bump(np.linspace(-0.8, 1, len(line) - 1)), strict=True):
            shapes += [stroke([place, place + np.array(barb) * width], 0.006) for barb in ([0.6, -0.8], [1.0, 0.4])]
    else:
        line = spline([(0.012, -0.25), (0.07, -0.42), (0.15 + lean / 2, -0.58), (0.25 + lean, -0.70 + lift)], 8)
        width = np.interp(np.arange(len(line)), [0, 19, 22, 24], [0.0075, 0.0065, 0.017, 0.01])
        shapes, colour = [stroke(line, width)], tint("#2a211d")
    cover = fill(alpha.shape, [(shape - [0, middle]) * unit + [0, len(alpha) / 2] for shape in shapes])
    overlay(rgb, alpha, cover, colour)
