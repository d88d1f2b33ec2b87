"""One wing. The right half of a specimen is drawn in *wing coordinates*, so the pattern follows however a wing is bent:

    u   0 at the wing's root .. 1 at its edge, along the ray from the root
    v   where on the edge that ray ends: -1..0 leading edge, 0..1 outer edge (tip to inner corner), 1..2 inner edge

Veins are lines of constant v, bands are curves of nearly constant u, and a spot in every cell sits half-way between two
veins. Lengths are in wing units: a fore wing is about 1 long.
"""

from collections.abc import Callable

import numpy as np

from ddpm_app.specimens.geometry import direction, fill, lengths, noise, rotation, spline, stroke

CELLS = 7  # cells between the veins along a wing's outer edge


class Outline:
    """A wing's edge from its root (0, 0) along the leading edge to the tip, down the outer edge to the corner and home.

    `points`: "x y  x y ..." in hundredths, x away from the body and y down, the root left out; here (n, 2) with the root.
    points[3] is the tip, points[corner] the inner corner of the outer edge. `tail`: the middle line of a tail (hind
    wings), in the same way, `width` its half width.
    """

    def __init__(self, points: str, corner: int = 6, scallop: float = 0.0, tail: str = "", width: float = 0.035):
        self.points, self.tail = (
            np.array(text.split(), float).reshape(-1, 2) / 100 for text in (f"0 0 {points}", tail)
        )
        self.corner, self.scallop, self.width = corner, scallop, width


def pleat(v):
    """0 half-way between two veins, 1 on a vein."""
    return 4 * (v * CELLS % 1 - 0.5) ** 2


class Wing:
    """One right-hand wing on its own small raster: `u`, `v`, `x`, `y`, `inset` (distance to the edge along the ray),
    `pleat`, `cloud` (soft noise), `mask`, and what is painted: `rgb`, and `label`, the number of the mark on top."""

    def __init__(self, outline: Outline, root, rng: np.random.Generator, spread: float):
        points = outline.points + rng.uniform(-0.012, 0.012, outline.points.shape)
        points[0] = 0
        turn = rotation(spread)
        curve = spline(points) @ turn
        self.root = np.asarray(root)
        length = np.concatenate([[0], np.cumsum(lengths(np.diff(curve, axis=0)))])
        steps = (len(curve) - 1) // (len(points) - 1)
        self.edge_v = np.interp(length, length[[0, 3 * steps, outline.corner * steps, len(curve) - 1]], [-1, 0, 1, 2])
        swell = 1 + outline.scallop * (pleat(self.edge_v) - 0.5) * -2
        inside = (self.edge_v > 0) & (self.edge_v < 1)
        self.curve = self.root + curve * np.where(inside, swell, 1)[:, None]
        self.shapes = [self.curve]
        if len(outline.tail):
            line = spline(outline.tail) @ turn + self.root
            at, profile = [0, 0.2, 0.5, 0.8, 0.9, 0.97, 1], [2.6, 1.3, 0.8, 1.15, 1.1, 0.7, 0.15]
            self.shapes.append(stroke(line, outline.width * np.interp(np.linspace(0, 1, len(line)), at, profile)))
        self.grain = rng.uniform(-1, 1, (64, 512)).astype(np.float32)
        self.cloud_seed = rng.integers(1 << 32)

    def rasterise(self, unit: float, side: int, middle: float, tint: Callable) -> None:
        """Set up the pixels, `unit` per wing unit, for a half canvas (side, side / 2), y = `middle` half-way down."""
        self.unit, self.tint = unit, tint
        origin = np.array([0, side / 2 - middle * unit])
        every = np.concatenate(self.shapes) * unit + origin
        low = np.maximum(np.floor(every.min(0)).astype(int) - 2, 0)
        high = np.minimum(np.ceil(every.max(0)).astype(int) + 3, [side // 2, side])
        self.at = (slice(low[1], high[1]), slice(low[0], high[0]))
        self.shape = (high[1] - low[1], high[0] - low[0])
        self.shift = origin - low
        self.x = ((np.arange(self.shape[1]) + 0.5 - self.shift[0]) / unit)[None, :]
        self.y = ((np.arange(self.shape[0]) + 0.5 - self.shift[1]) / unit)[:, None]
        dx, dy = self.x - self.root[0], self.y - self.root[1]
        curve = (self.curve - self.root)[2:-1]
        angle, turn = direction(dx, dy), np.maximum.accumulate(direction(*curve.T))
        reach, distance = np.interp(angle, turn, lengths(curve)), np.sqrt(dx * dx + dy * dy)
        self.u = np.minimum(distance / (reach + 1e-6), 1).astype(np.float32)
        self.v = np.interp(angle, turn, self.edge_v[2:-1]).astype(np.float32)
        self.inset = np.maximum(reach - distance, 0).astype(np.float32)
        self.pleat = pleat(self.v)
        self.mask = self.stencil(self.shapes)
        self.cloud = noise(np.random.default_rng(self.cloud_seed), 9, self.shape)
        self.rgb = np.zeros((*self.shape, 3), np.float32)
        self.label = np.zeros(self.shape, np.uint8)

    def point(self, u, v) -> np.ndarray:
        """Wing coordinates -> places (..., 2)."""
        edge = np.stack([np.interp(v, self.edge_v, self.curve[:, i]) for i in (0, 1)], -1)
        return self.root + np.asarray(u)[..., None] * (edge - self.root)

    def stencil(self, polygons) -> np.ndarray:
        """Polygons in wing units -> a mask of 0..1."""
        return fill(self.shape, [polygon * self.unit + self.shift for polygon in polygons])

    def lay(self, alpha, colour, label: int = 0) -> None:
        """Cover with colour (RGB of 0..1, one or one per pixel) where alpha is; `label`: whose paint lies on top."""
        self.rgb += alpha[..., None] * (colour - self.rgb)
        self.label[alpha > 0.75] = label
