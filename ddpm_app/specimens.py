"""Drawn butterflies, set as in a museum drawer: endless pictures, each with its species and a true caption.

One half of a specimen is drawn in *wing coordinates* and mirrored, so the pattern follows the wing however it is bent:
    u   0 at the wing's root .. 1 at its edge, along the ray from the root
    v   where on the edge that ray ends: -1..0 leading edge, 0..1 outer edge (tip to inner corner), 1..2 inner edge
Veins are lines of constant v, bands are curves of nearly constant u, and a spot in every cell sits half-way between
two veins. Lengths are in wing units: a fore wing is about 1 long. A species is a row of `KINDS`: two outlines, a body
and its marks from the bottom up. There (low, high) is a value drawn anew for each specimen; a pair to be taken as it
stands is a list.

Pixels are made with sums, products, quotients and roots only (an angle is a quotient, see `_turn`). Those are rounded
alike on every processor, which sines and exponentials are not: so one seed gives one picture.
"""

import colorsys
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZES = (16, 1024)  # smallest and largest picture side, in pixels
CANVAS = 512  # drawn at least this large, then reduced
CELLS = 7  # cells between the veins along a wing's outer edge
FORE_ROOT, HIND_ROOT = (0.035, -0.07), (0.03, 0.03)


@dataclass(frozen=True)
class Specimen:
    """One butterfly: `image` (RGB, size x size), `species` (index into SPECIES), `caption` (true of this picture)."""

    image: Image.Image
    species: int
    caption: str


@dataclass(frozen=True)
class Outline:
    """A wing's edge from its root (0, 0) along the leading edge to the tip, down the outer edge to the corner and home.

    x points away from the body and y down. points[3] is the tip, points[corner] the inner corner of the outer edge.
    `tail`: the middle line of a tail (hind wings), `tail_width` its half width.
    """

    points: tuple
    corner: int = 6
    scallop: float = 0.0
    tail: tuple = ()
    tail_width: float = 0.035


@dataclass(frozen=True)
class Mark:
    """One layer of paint, `paint(wing, rng, colour, **values)`, on wings 'f', 'h' or 'fh'; captions call it `word`."""

    paint: Callable
    wings: str
    colour: str
    word: str
    values: dict


@dataclass(frozen=True)
class Kind:
    """A species as it is drawn. `span`: size among the others; `body`: colours of thorax and abdomen, half width."""

    name: str
    fore: Outline
    hind: Outline
    body: tuple
    marks: tuple
    noun: str = "butterfly"
    span: float = 1.0


def outline(points: str, tail: str = "", width: float = 0.035, **rest) -> Outline:
    """An Outline from "x y  x y ..." in hundredths; the root (0, 0) comes before the first point."""
    numbers = [[int(n) / 100 for n in text.split()] for text in (points, tail)]
    edge, line = (tuple(zip(n[::2], n[1::2], strict=True)) for n in numbers)
    return Outline(((0.0, 0.0), *edge), tail=line, tail_width=width, **rest)


def mark(paint: Callable, wings: str, colour: str, word: str = "", **values) -> Mark:
    return Mark(paint, wings, colour, word, values)


# ------------------------------------------------------------------------------------------------------- geometry


def _ramp(x, low: float, high: float):
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _within(x, ends, soft: float):
    """1 between the two ends, 0 outside, smooth over 2 * soft."""
    return _ramp(x, ends[0] - soft, ends[0] + soft) * (1 - _ramp(x, ends[1] - soft, ends[1] + soft))


def _bump(x):
    """A smooth hill of height 1 on -1..1."""
    t = np.clip(1 - x * x, 0, 1)
    return t * t


def _turn(dx, dy):
    """Direction of (dx, dy) as a number that grows clockwise: 0 up, 1 right, 2 down, 3 left; no arc tangent needed."""
    q = dy / (np.abs(dx) + np.abs(dy) + 1e-6)
    return np.where(dx >= 0, 1 + q, 3 - q)


def _spline(points, steps: int = 12) -> np.ndarray:
    """Catmull-Rom curve through points, (n, 2) -> ((n - 1) * steps + 1, 2)."""
    p = np.asarray(points, float)
    p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = (p[i : len(p) - 3 + i, None] for i in range(4))
    curve = b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.concatenate([curve.reshape(-1, 2), p[-2:-1]])


def _stroke(line, width) -> np.ndarray:
    """The polygon around a line (n, 2) with half widths `width` (a number or n of them)."""
    line = np.asarray(line, float)
    along = np.gradient(line, axis=0)
    along /= np.sqrt((along**2).sum(1, keepdims=True)) + 1e-9
    side = along[:, ::-1] * [-1, 1] * np.broadcast_to(width, len(line))[:, None]
    return np.concatenate([line + side, (line - side)[::-1]])


def _rotation(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.round([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], 9)


def _noise(rng: np.random.Generator, cells: int, shape: tuple) -> np.ndarray:
    """Soft noise of about -1..1 that looks the same at every size: a small grid of values, enlarged."""
    grid = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(grid.resize(shape[::-1], Image.Resampling.BICUBIC))


class Wing:
    """One right-hand wing on its own small raster, with the coordinates of the module's docstring for every pixel."""

    def __init__(self, outline: Outline, root, rng: np.random.Generator, spread: float):
        points = np.asarray(outline.points) + rng.uniform(-0.012, 0.012, (len(outline.points), 2))
        points[0] = 0
        turn = _rotation(spread)
        curve = _spline(points) @ turn
        self.root = np.asarray(root)
        self.edge_v = self._edge(curve, outline)
        swell = 1 + outline.scallop * (4 * ((self.edge_v * CELLS % 1) - 0.5) ** 2 - 0.5) * -2
        inside = (self.edge_v > 0) & (self.edge_v < 1)
        self.curve = self.root + curve * np.where(inside, swell, 1)[:, None]
        shapes = [self.curve]
        if outline.tail:
            line = _spline(outline.tail) @ turn + self.root
            at = np.linspace(0, 1, len(line))
            profile = np.interp(at, [0, 0.2, 0.5, 0.8, 0.9, 0.97, 1], [2.6, 1.3, 0.8, 1.15, 1.1, 0.7, 0.15])
            shapes.append(_stroke(line, outline.tail_width * profile))
        self.shapes = shapes
        self.grain = rng.uniform(-1, 1, (64, 512)).astype(np.float32)
        self.cloud_seed = rng.integers(1 << 32)

    @staticmethod
    def _edge(curve, outline) -> np.ndarray:
        """v of every point of the outline, by length along it."""
        length = np.concatenate([[0], np.cumsum(np.sqrt((np.diff(curve, axis=0) ** 2).sum(1)))])
        steps = (len(curve) - 1) // (len(outline.points) - 1)
        marks = [0, 3 * steps, outline.corner * steps, len(curve) - 1]
        return np.interp(length, length[marks], [-1, 0, 1, 2])

    def rasterise(self, unit: float, side: int, middle: float, tint: Callable) -> None:
        """Set up the pixels, `unit` per wing unit, for a half canvas (side, side / 2), y = `middle` half-way down."""
        self.unit, self.tint = unit, tint
        every = np.concatenate(self.shapes) * unit + [0, side / 2 - middle * unit]
        low = np.maximum(np.floor(every.min(0)).astype(int) - 2, 0)
        high = np.minimum(np.ceil(every.max(0)).astype(int) + 3, [side // 2, side])
        self.at = (slice(low[1], high[1]), slice(low[0], high[0]))
        self.shape = (high[1] - low[1], high[0] - low[0])
        self.shift = np.array([0, side / 2 - middle * self.unit]) - low
        columns, rows = np.arange(self.shape[1]) + 0.5, np.arange(self.shape[0]) + 0.5
        self.x = ((columns - self.shift[0]) / self.unit)[None, :]
        self.y = ((rows - self.shift[1]) / self.unit)[:, None]
        dx, dy = self.x - self.root[0], self.y - self.root[1]
        curve = self.curve - self.root
        turn = np.maximum.accumulate(_turn(*curve[2:-1].T))
        here = _turn(dx, dy)
        reach = np.interp(here, turn, np.sqrt((curve[2:-1] ** 2).sum(1)))
        distance = np.sqrt(dx * dx + dy * dy)
        self.u = np.minimum(distance / (reach + 1e-6), 1).astype(np.float32)
        self.v = np.interp(here, turn, self.edge_v[2:-1]).astype(np.float32)
        self.inset = np.maximum(reach - distance, 0).astype(np.float32)  # distance to the edge along the ray
        self.mask = self.stencil(self.shapes)
        self.cloud = _noise(np.random.default_rng(self.cloud_seed), 9, self.shape)
        self.rgb = np.zeros((*self.shape, 3), np.float32)
        self.label = np.zeros(self.shape, np.uint8)

    def point(self, u, v) -> np.ndarray:
        """Wing coordinates -> places (..., 2)."""
        edge = np.stack([np.interp(v, self.edge_v, self.curve[:, i]) for i in (0, 1)], -1)
        return self.root + np.asarray(u)[..., None] * (edge - self.root)

    def stencil(self, polygons) -> np.ndarray:
        """Polygons in wing units -> a mask of 0..1."""
        image = Image.new("L", self.shape[::-1])
        pen = ImageDraw.Draw(image)
        for polygon in polygons:
            pen.polygon((np.asarray(polygon) * self.unit + self.shift).ravel().tolist(), fill=255)
        return np.asarray(image, np.float32) / 255

    def lay(self, alpha, colour, label: int = 0) -> None:
        """Cover with colour (RGB of 0..1, one or one per pixel) where alpha is; `label`: whose paint lies on top."""
        self.rgb += alpha[..., None] * (np.asarray(colour, np.float32) - self.rgb)
        self.label[alpha > 0.75] = label


# ---------------------------------------------------------------------------------------------- painters (one per mark)


def ground(wing, rng, colour, outer, start=0.3):
    """The wing's own colour, turning to `outer` towards the edge."""
    t = _ramp(wing.u + 0.08 * wing.cloud, start, 1.05)[..., None]
    return [(np.ones(wing.shape, np.float32), colour + t * (wing.tint(outer) - colour))]


def margin(wing, rng, colour, width=0.1, wave=0.0, v=(-1, 2), soft=0.02):
    """A border along the edge; `wave` scallops its inner side cell by cell."""
    cell = 4 * (wing.v * CELLS % 1 - 0.5) ** 2
    wide = width * (1 + wave * (cell - 0.4)) + 0.012 * wing.cloud
    alpha = 1 - _ramp(wing.inset, wide - soft, wide + soft)
    return [(alpha * _within(wing.v, v, 0.05), colour)]


def veins(wing, rng, colour, width=0.008, strength=1.0):
    """The long cell in the middle of the wing, and the veins that leave it for the edge."""
    at = np.linspace(0, 1, 9)
    low, high = -0.12, 0.74  # the cell's sides; its round end is at u = `end`
    across = np.linspace(low, high, 13)
    end = 0.54 - 1.1 * (across - 0.31) ** 2
    lines = [_stroke(wing.point(end, across), width)]
    for side, last in ((low, end[0]), (high, end[-1])):
        lines.append(_stroke(wing.point(0.03 + (last - 0.03) * at, np.full(9, side)), width * 1.1))
    for goal in (-0.25, *(np.arange(CELLS + 1) / CELLS), 1.35):
        leave = np.clip(low + (goal + 0.1) * 0.78, low, high)  # the veins spread as they run outwards
        first = np.interp(leave, across, end) if goal < 1.2 else 0.05
        u = first + (0.995 - first) * at
        v = leave + (goal - leave) * (1 - (1 - at) ** 2)
        lines.append(_stroke(wing.point(u, v), width * (1 - 0.45 * at)))
    return [(wing.stencil(lines) * np.float32(strength), colour)]


def edge(wing, rng, colour, width=0.012):
    """A fine line all round the wing."""
    return [(wing.stencil([_stroke(wing.curve, width)]), colour)]


def costa(wing, rng, colour, width=0.02):
    """A stroke along the leading edge."""
    lead = wing.curve[wing.edge_v < 0.02]
    return [(wing.stencil([_stroke(lead, width * np.linspace(1.3, 0.6, len(lead)))]), colour)]


def band(wing, rng, colour, u=0.6, width=0.1, tilt=0.0, v=(-1, 2), wave=0.0, soft=0.018):
    """A band around the root at u; `tilt` moves it outwards with v, `wave` narrows it at the veins."""
    middle = u + tilt * (wing.v - 0.5) + 0.02 * wing.cloud
    cell = 4 * (wing.v * CELLS % 1 - 0.5) ** 2
    half = width / 2 * (1 - wave * cell)
    alpha = 1 - _ramp(np.abs(wing.u - middle) - half, -soft, soft)
    return [(alpha * _within(wing.v, v, 0.03), colour)]


def streak(wing, rng, colour, line=(0.6, -0.4, 0.8, 1.0), width=0.1, taper=0.2, bend=0.0):
    """A band along `line` (u, v, u, v), straight but for `bend`, thinner by `taper` where it stops."""
    ends = wing.point(np.array(line[::2]), np.array(line[1::2]))
    along = ends[1] - ends[0]
    at = np.linspace(0, 1, 15)[:, None]
    middle = ends[0] + at * along + bend * (4 * at * (1 - at)) * along[::-1] * [1, -1]
    profile = [0.55, 1, *rng.uniform(0.88, 1.12, 2), 1, 0.55]
    half = width / 2 * np.interp(at[:, 0], [0, 0.06, 0.35, 0.65, 0.94, 1], profile)
    return [(wing.stencil([_stroke(middle, half * (1 - taper * at[:, 0]))]), colour)]


def _round(n: int = 18) -> np.ndarray:
    angle = np.arange(n) * (2 * np.pi / n)
    return np.round(np.stack([np.cos(angle), np.sin(angle)], -1), 9)


# Shapes of radius 1: x along the ray outwards, y across it.
SHAPES = {
    "dot": _round(),
    "crescent": np.concatenate([_round(24)[:13], _round(24)[12::-1] * [0.95, 0.25]])[:, ::-1] - [0.5, 0],
    "block": np.array([[-1, -0.7], [-0.8, -0.9], [0.8, -1], [1, -0.8], [1, 0.8], [0.8, 1], [-0.8, 0.9], [-1, 0.7]]),
}


def _figures(wing, shape: str, places, radii, stretch: float) -> list:
    """The shape at each place (n, 2), its x axis along the ray from the root."""
    out = places - wing.root
    out /= np.sqrt((out**2).sum(1, keepdims=True)) + 1e-9
    figure = SHAPES[shape] * [stretch, 1]
    return [
        place + radius * (figure[:, :1] * ray + figure[:, 1:] * [-ray[1], ray[0]])
        for place, ray, radius in zip(places, out, radii, strict=True)
    ]


def spots(wing, rng, colour, u=0.9, r=0.03, first=0, last=CELLS - 1, shape="dot", stretch=1.0, skip=0.0):
    """One spot in each cell from `first` (-1 is past the tip) to `last`, each left out by chance `skip`."""
    v = (np.arange(first, last + 1) + 0.5) / CELLS
    kept = rng.random(len(v)) >= skip
    kept[rng.integers(len(v))] = True
    radii = r * (1 + rng.uniform(-0.15, 0.15, len(v)))
    places = wing.point(u + rng.uniform(-0.1, 0.1, len(v)) * r, v)
    return [(wing.stencil(_figures(wing, shape, places[kept], radii[kept], stretch)), colour)]


def patch(wing, rng, colour, u=0.5, v=0.5, r=0.06, shape="dot", stretch=1.0):
    """One figure at (u, v)."""
    return [(wing.stencil(_figures(wing, shape, wing.point(u, [v]), [r], stretch)), colour)]


def eye(wing, rng, colour, u=0.7, v=0.4, r=0.1, rings=()):
    """An eyespot: rings ((share of r, colour, offset along the ray), ...) on a disc of radius r."""
    place = wing.point(u, [v])
    out = place - wing.root
    out *= r / np.sqrt((out**2).sum())
    layers = [(1.0, colour, 0.0), *((share, wing.tint(ring), off) for share, ring, off in rings)]
    return [(wing.stencil(_figures(wing, "dot", place + out * off, [r * share], 1.0)), c) for share, c, off in layers]


def tip(wing, rng, colour, size=0.3, bow=0.0, soft=0.03):
    """The wing's tip, coloured as far in as `size`."""
    corner = wing.point(1.0, 0.0)
    away = np.sqrt((wing.x - corner[0]) ** 2 + (wing.y - corner[1]) ** 2) + 0.03 * wing.cloud
    away = away + bow * (wing.v - 0.3)
    return [(1 - _ramp(away, size - soft, size + soft).astype(np.float32), colour)]


def dust(wing, rng, colour, reach=0.4, strength=0.8):
    """Scales of another colour, thick at the root and thinning outwards."""
    return [(strength * (1 - _ramp(wing.u + 0.1 * wing.cloud, reach * 0.15, reach)), colour)]


def cells(wing, rng, colour, u=(0.5, 0.8), gap=0.12, first=0, last=CELLS - 1, tilt=0.0):
    """Rounded panes between the veins, from u[0] to u[1]."""
    low, high = (edge + tilt * (wing.v - 0.5) for edge in u)
    across = np.abs(wing.v * CELLS % 1 - 0.5) / (0.5 - gap)
    along = (wing.u - (low + high) / 2) / ((high - low) / 2)
    figure = across**4 + along**4 + 0.15 * wing.cloud
    alpha = (1 - _ramp(figure, 0.8, 1.1)) * (wing.v * CELLS > first) * (wing.v * CELLS < last + 1)
    return [(alpha.astype(np.float32), colour)]


def disc(wing, rng, colour, u=(0.1, 0.42), v=(0.0, 0.72)):
    """The cell in the middle of the wing, filled."""
    along = (wing.u - (u[0] + u[1]) / 2) / ((u[1] - u[0]) / 2)
    across = (wing.v - (v[0] + v[1]) / 2) / ((v[1] - v[0]) / 2)
    return [(1 - _ramp(along**4 + across**4 + 0.15 * wing.cloud, 0.8, 1.1), colour)]


def sheen(wing, rng, colour, u=0.55, width=0.5, strength=0.5):
    """A soft light across the wing, as on scales that shimmer."""
    return [(strength * _bump((wing.u - u - 0.12 * wing.cloud) / width), colour)]


# ---------------------------------------------------------------------------------------------------- the species

INK, STRAW, JADE = "#1a1411", "#f6e79a", "#a6dc8a"
PEACOCK_FORE = [[0.82, "#8c2a24", 0.0], [0.6, "#2b1d2c", 0.05], [0.4, "#6f7fc6", 0.3]]
PEACOCK_HIND = [[0.78, "#17131a", 0.0], [0.5, "#4d72d2", 0.1], [0.22, "#17131a", 0.1]]
LUNA_EYE = [[0.8, "#f0d878", 0.0], [0.42, "#3c3040", 0.1]]
APOLLO_EYE = [[0.74, "#d8321e", 0.0], [0.3, "#f6efe6", 0.0]]

KINDS = (
    Kind(
        "monarch",
        outline("30 -31  62 -57  95 -68  94 -48  81 -20  74 0  42 7  14 11  1 15"),
        outline("28 -14  58 -10  72 8  72 32  58 54  36 66  15 56  4 30", scallop=0.02),
        ("#1c1714", "#2a211c", 0.052),
        (
            mark(ground, "fh", "#f0942a", "ground", outer="#dd6a14"),
            mark(tip, "f", INK, "tips", size=(0.30, 0.36), bow=0.06),
            mark(margin, "fh", INK, "margins", width=(0.075, 0.11), wave=0.25),
            mark(veins, "fh", INK, "veins", width=(0.011, 0.017)),
            mark(costa, "f", INK, width=0.024),
            mark(spots, "f", "#ee9438", u=0.74, r=0.038, first=0, last=1, stretch=1.5),
            mark(spots, "f", "#fbf6ea", "spots", u=0.865, r=(0.017, 0.022), first=-1, last=2, chance=0.8),
            mark(spots, "fh", "#fbf6ea", "spots", u=0.945, r=(0.015, 0.02), skip=(0, 0.2)),
            mark(edge, "fh", INK, width=0.008),
        ),
    ),
    Kind(
        "blue morpho",
        outline("28 -40  60 -68  90 -74  95 -52  86 -22  80 2  44 9  14 11  1 15"),
        outline("30 -16  66 -12  85 12  83 40  66 65  40 80  18 66  4 32", scallop=0.03),
        ("#221b1a", "#2c2422", 0.042),
        (
            mark(ground, "fh", "#1c55cf", "ground", outer="#2f8be6"),
            mark(sheen, "fh", "#7fd0ff", u=(0.5, 0.68), width=0.34, strength=(0.3, 0.5)),
            mark(veins, "fh", "#123a86", width=0.006, strength=0.6),
            mark(tip, "f", "#15121a", size=(0.24, 0.34), bow=0.1),
            mark(margin, "fh", "#15121a", "margins", width=(0.05, 0.11), wave=0.1, v=[-0.2, 1.4]),
            mark(costa, "f", "#15121a", width=0.03),
            mark(spots, "f", "#f5f7ff", "spots", u=0.90, r=(0.014, 0.022), first=-1, last=4, skip=(0, 0.3)),
            mark(dust, "fh", "#152a5c", reach=(0.25, 0.4), strength=0.6),
        ),
    ),
    Kind(
        "tiger swallowtail",
        outline("28 -36  60 -64  93 -78  92 -56  82 -24  75 2  40 9  14 11  1 15"),
        outline(
            "26 -12  54 -6  68 14  66 40  55 62  34 76  15 62  4 30",
            scallop=0.04,
            tail="46 58  53 80  56 100",
            width=0.04,
        ),
        ("#2a241c", "#d8b640", 0.05),
        (
            mark(ground, "fh", "#fbdc4e", "ground", outer="#f4c52c"),
            mark(margin, "fh", INK, "margins", width=(0.12, 0.16), wave=0.15, v=[-0.1, 1.3]),
            mark(streak, "f", INK, "stripes", line=[0.97, -0.74, 0.36, 1.4], width=(0.06, 0.09), taper=0.5),
            mark(streak, "f", INK, "stripes", line=[0.97, -0.52, 0.60, 0.95], width=(0.07, 0.095), taper=0.75),
            mark(streak, "f", INK, "stripes", line=[0.97, -0.34, 0.66, 0.42], width=(0.06, 0.08), taper=0.6),
            mark(streak, "f", INK, "stripes", line=[0.97, -0.19, 0.80, 0.30], width=(0.05, 0.07), taper=0.4),
            mark(streak, "h", INK, "stripes", line=[0.5, -0.55, 0.8, 1.1], width=(0.06, 0.09), taper=0.6, bend=-0.1),
            mark(spots, "fh", "#fae07a", "spots", u=0.93, r=(0.022, 0.028), stretch=0.8, skip=(0, 0.2)),
            mark(spots, "h", "#5b8fe0", "spots", u=0.81, r=(0.04, 0.052), first=2, stretch=0.7, shape="crescent"),
            mark(patch, "h", "#e8622a", u=0.86, v=1.0, r=0.045),
            mark(veins, "fh", INK, width=0.005, strength=0.7),
            mark(costa, "f", INK, width=0.024),
            mark(edge, "fh", INK, width=0.007),
        ),
    ),
    Kind(
        "peacock",
        outline("30 -38  60 -62  87 -71  91 -56  79 -36  81 -14  72 3  40 9  14 11  1 15", corner=7, scallop=0.02),
        outline("30 -14  60 -8  74 12  70 32  66 53  50 60  34 68  15 56  4 28", corner=7, scallop=0.03),
        ("#4a2a1c", "#5a3626", 0.055),
        (
            mark(ground, "fh", "#8e2d1c", "ground", outer="#b43a22"),
            mark(margin, "fh", "#6b5a4c", "margins", width=(0.06, 0.09), wave=0.2, v=[-0.1, 1.6]),
            mark(dust, "h", "#5b4436", reach=(0.5, 0.7), strength=0.9),
            mark(costa, "f", "#2a1c18", width=0.03),
            mark(patch, "f", "#221719", u=0.42, v=-0.35, r=0.075, shape="block"),
            mark(patch, "f", "#f0d58a", u=0.58, v=-0.42, r=0.06, shape="block", stretch=0.8),
            mark(patch, "f", "#221719", u=0.70, v=-0.3, r=0.055, shape="block", stretch=0.7),
            mark(eye, "f", "#efc766", "eyespots", u=0.80, v=0.12, r=(0.12, 0.14), rings=PEACOCK_FORE),
            mark(eye, "h", "#cdbb98", "eyespots", u=0.70, v=0.10, r=(0.15, 0.175), rings=PEACOCK_HIND),
            mark(spots, "f", "#f1e8f0", "spots", u=0.86, r=0.014, first=2, last=5, skip=(0, 0.4)),
            mark(edge, "fh", "#3a2a24", width=0.007),
        ),
    ),
    Kind(
        "orange tip",
        outline("30 -38  60 -64  86 -72  92 -54  85 -24  74 2  40 8  14 11  1 15"),
        outline("30 -14  60 -8  74 12  73 36  60 58  38 70  16 58  4 28"),
        ("#4c4a48", "#8a8680", 0.04),
        (
            mark(ground, "fh", "#f4f1e2", "ground", outer="#efead6"),
            mark(tip, "f", "#f08a1e", "tips", size=(0.40, 0.52), soft=0.02),
            mark(tip, "f", "#3a332e", size=(0.13, 0.2), bow=0.1),
            mark(margin, "f", "#3a332e", width=(0.025, 0.04), wave=0.5, v=[-0.3, 0.7]),
            mark(dust, "fh", "#6f6c66", reach=(0.25, 0.4), strength=0.75),
            mark(veins, "fh", "#b9b3a0", width=0.0045, strength=0.7),
            mark(patch, "f", "#26211e", u=0.5, v=0.1, r=(0.025, 0.04), stretch=0.7),
            mark(spots, "h", "#8f9a5e", u=0.7, r=(0.02, 0.035), skip=(0.2, 0.7), chance=0.6),
            mark(edge, "fh", "#a39c8c", width=0.006),
        ),
        span=0.92,
    ),
    Kind(
        "brimstone",
        outline("28 -42  58 -68  92 -78  84 -54  80 -24  72 2  40 8  14 11  1 15"),
        outline("30 -14  60 -8  74 12  72 32  73 54  54 60  36 70  15 58  4 28", corner=7),
        ("#8a8452", "#c9bf72", 0.046),
        (
            mark(ground, "fh", "#f7ee58", "ground", outer="#eddc2e"),
            mark(sheen, "fh", "#fffbb0", u=0.6, width=0.3, strength=0.45),
            mark(veins, "fh", "#c2b530", width=0.005, strength=0.8),
            mark(dust, "fh", "#a9a040", reach=(0.3, 0.45), strength=0.5),
            mark(patch, "f", "#e07a1c", "spots", u=0.50, v=0.25, r=(0.038, 0.05)),
            mark(patch, "h", "#e07a1c", "spots", u=0.50, v=0.35, r=(0.042, 0.06)),
            mark(edge, "fh", "#b58a2c", width=0.006),
        ),
        span=0.95,
    ),
    Kind(
        "red admiral",
        outline("30 -36  62 -60  88 -69  93 -54  82 -30  79 -8  70 4  40 9  14 11  1 15", corner=7, scallop=0.02),
        outline("30 -14  58 -8  72 12  71 36  58 58  36 68  15 56  4 28", scallop=0.04),
        ("#2e221c", "#3c2d24", 0.054),
        (
            mark(ground, "fh", "#3d2a20", "ground", outer="#1c1513"),
            mark(streak, "f", "#e2481e", "bands", line=[0.96, -0.52, 0.93, 0.88], width=(0.12, 0.165), bend=0.06),
            mark(margin, "h", "#e2481e", "margins", width=(0.11, 0.14), v=[0.1, 1.05]),
            mark(spots, "h", "#1c1513", u=0.92, r=(0.017, 0.024), first=1, last=6),
            mark(patch, "f", "#faf5ea", "spots", u=0.72, v=-0.22, r=(0.05, 0.06), shape="block", stretch=0.6),
            mark(spots, "f", "#faf5ea", "spots", u=0.88, r=(0.02, 0.028), first=-1, last=2, stretch=0.8, skip=(0, 0.2)),
            mark(patch, "h", "#5d7fd0", u=0.94, v=0.99, r=0.03),
            mark(margin, "fh", "#171110", width=0.016),
        ),
    ),
    Kind(
        "luna moth",
        outline("30 -42  62 -60  94 -60  89 -40  76 -14  66 6  36 11  14 11  1 15"),
        outline(
            "26 -10  50 0  60 20  54 44  42 58  26 62  12 48  4 26",
            tail="34 44  36 80  42 108  54 128  70 138",
            width=0.058,
        ),
        ("#f2eee0", "#efe9d6", 0.068),
        (
            mark(ground, "fh", "#c6e6a8", "ground", outer="#a4d28c"),
            mark(sheen, "fh", "#ecf8d4", u=0.35, width=0.35, strength=0.5),
            mark(veins, "fh", "#86b878", width=0.005, strength=0.7),
            mark(band, "fh", "#8fc07c", u=(0.78, 0.84), width=0.022, wave=0.2),
            mark(costa, "f", "#8e3a58", width=(0.024, 0.034)),
            mark(eye, "f", "#7a3c4c", "eyespots", u=0.56, v=-0.06, r=(0.05, 0.062), rings=LUNA_EYE),
            mark(eye, "h", "#7a3c4c", "eyespots", u=0.52, v=0.28, r=(0.055, 0.068), rings=LUNA_EYE),
            mark(edge, "fh", "#8fc080", width=0.005),
        ),
        noun="moth",
    ),
    Kind(
        "zebra longwing",
        outline("34 -25  68 -44  99 -52  102 -38  88 -15  68 2  38 8  14 11  1 15"),
        outline("30 -10  60 -4  74 12  66 34  48 50  30 55  13 44  3 24", scallop=0.03),
        ("#1d1917", "#2c2620", 0.038),
        (
            mark(ground, "fh", "#241d1a", "ground", outer="#17120f"),
            mark(streak, "f", STRAW, "stripes", line=[0.1, 0.2, 0.72, 0.98], width=(0.09, 0.12), taper=0.2, bend=0.08),
            mark(streak, "f", STRAW, "stripes", line=[0.96, -0.45, 0.80, 0.66], width=(0.075, 0.10), taper=0.2),
            mark(streak, "f", STRAW, "stripes", line=[0.95, -0.2, 0.88, 0.42], width=(0.06, 0.08), taper=0.2),
            mark(streak, "h", STRAW, "stripes", line=[0.1, 0.9, 0.7, -0.05], width=(0.1, 0.13), bend=-0.06),
            mark(spots, "h", STRAW, "spots", u=0.76, r=(0.022, 0.03), stretch=1.1, skip=(0, 0.2)),
            mark(spots, "h", STRAW, u=0.92, r=(0.014, 0.018)),
            mark(edge, "fh", "#17120f", width=0.007),
        ),
    ),
    Kind(
        "glasswing",
        outline("32 -30  66 -52  94 -58  98 -42  83 -16  64 2  36 8  14 11  1 15"),
        outline("28 -12  54 -6  68 12  64 36  48 54  30 60  13 48  3 24"),
        ("#33261f", "#4a382c", 0.036),
        (
            mark(ground, "fh", "#dbe8ea", "ground", outer="#c6d9de"),
            mark(sheen, "fh", "#f2f3ff", u=0.5, width=0.3, strength=0.5),
            mark(veins, "fh", "#5a3a28", "veins", width=(0.008, 0.011)),
            mark(tip, "f", "#4a2a1c", size=(0.22, 0.28), bow=0.1),
            mark(margin, "fh", "#4a2a1c", "margins", width=(0.06, 0.085), wave=0.3),
            mark(streak, "f", "#fbf9f2", "bands", line=[0.96, -0.40, 0.76, 0.5], width=(0.09, 0.12)),
            mark(margin, "h", "#c65a24", "margins", width=(0.035, 0.05), v=[0, 1.1]),
            mark(costa, "f", "#5a3322", width=0.024),
            mark(edge, "fh", "#33211a", width=0.009),
        ),
        span=0.97,
    ),
    Kind(
        "mourning cloak",
        outline("30 -38  60 -63  86 -72  92 -58  80 -38  82 -16  73 2  40 9  14 11  1 15", corner=7, scallop=0.03),
        outline("30 -14  60 -8  76 10  72 32  68 55  50 62  34 70  15 58  4 28", corner=7, scallop=0.04),
        ("#3a2420", "#4a302a", 0.055),
        (
            mark(ground, "fh", "#5a2420", "ground", outer="#70302a"),
            mark(margin, "fh", "#1d1416", width=(0.17, 0.2), wave=0.1, v=[0, 1.25]),
            mark(margin, "fh", "#f3e3a4", "margins", width=(0.075, 0.105), wave=0.2, v=[0, 1.25]),
            mark(spots, "fh", "#5f86e0", "spots", u=0.835, r=(0.019, 0.026), skip=(0, 0.2)),
            mark(patch, "f", "#f3e3a4", u=0.60, v=-0.4, r=0.04, shape="block", stretch=0.6),
            mark(patch, "f", "#f3e3a4", u=0.79, v=-0.36, r=0.045, shape="block", stretch=0.6),
            mark(veins, "fh", "#3d1816", width=0.005, strength=0.6),
            mark(costa, "f", "#2c1a18", width=0.024),
        ),
    ),
    Kind(
        "birdwing",
        outline("32 -36  66 -66  100 -84  99 -66  82 -34  66 -4  34 6  14 11  1 15"),
        outline("24 -8  48 -2  60 14  58 36  46 56  29 64  13 50  3 26", scallop=0.03),
        ("#1d1a16", "#e2b73a", 0.058),
        (
            mark(ground, "f", "#16130f", "ground", outer="#1c1814"),
            mark(ground, "h", "#2fa05a", "ground", outer="#58c24c"),
            mark(band, "f", "#2fae5c", "bands", u=0.6, width=(0.86, 0.95), v=[-0.42, 0.10], soft=0.05),
            mark(band, "f", "#2fae5c", "bands", u=0.5, width=(0.7, 0.8), v=[0.92, 1.4], soft=0.05),
            mark(veins, "f", "#16130f", width=0.008),
            mark(veins, "h", "#16301c", width=0.006),
            mark(disc, "h", "#f0c93a", "patches", u=[0.15, 0.62], v=[0.1, 0.75]),
            mark(spots, "h", "#14120f", "spots", u=0.76, r=(0.034, 0.044), first=1, last=6, skip=(0, 0.2)),
            mark(margin, "fh", "#14120f", "margins", width=(0.035, 0.05), wave=0.3),
            mark(costa, "f", "#14120f", width=0.026),
        ),
    ),
    Kind(
        "common blue",
        outline("30 -40  58 -64  81 -70  87 -50  81 -22  71 2  40 8  14 11  1 15"),
        outline("30 -14  58 -8  72 12  71 36  56 57  36 65  15 54  4 28"),
        ("#6a6f90", "#7d86ac", 0.048),
        (
            mark(ground, "fh", "#8c9bea", "ground", outer="#7282dc"),
            mark(sheen, "fh", "#c6d2ff", u=0.5, width=0.35, strength=0.5),
            mark(veins, "fh", "#5560b4", width=0.005, strength=0.7),
            mark(margin, "fh", "#2c2838", "margins", width=(0.05, 0.085), v=[-0.3, 1.3]),
            mark(margin, "fh", "#e6e4e6", width=0.022, v=[-0.1, 1.3], soft=0.008),
            mark(spots, "h", "#ea8a34", "spots", u=0.83, r=(0.03, 0.038), shape="crescent", chance=0.7),
            mark(spots, "h", "#221e2c", u=0.89, r=0.017, chance=0.8),
            mark(dust, "fh", "#5a6ac8", reach=0.4, strength=0.6),
        ),
        span=0.86,
    ),
    Kind(
        "apollo",
        outline("30 -36  62 -62  90 -70  98 -50  90 -20  76 3  40 9  14 11  1 15"),
        outline("30 -14  58 -8  72 12  71 36  57 58  36 68  16 56  4 28"),
        ("#4a4440", "#6a625a", 0.058),
        (
            mark(ground, "fh", "#f1eee0", "ground", outer="#e8e6dc"),
            mark(margin, "f", "#a9aca6", "margins", width=(0.08, 0.12), wave=0.2, v=[-0.15, 0.95]),
            mark(band, "f", "#a9aca6", u=0.78, width=0.035, v=[-0.4, 0.9]),
            mark(dust, "fh", "#47423e", reach=(0.3, 0.42), strength=0.85),
            mark(veins, "fh", "#8a8880", width=0.005, strength=0.8),
            mark(patch, "f", "#191614", "spots", u=0.34, v=0.02, r=(0.045, 0.058), shape="block", stretch=0.8),
            mark(patch, "f", "#191614", "spots", u=0.53, v=-0.04, r=(0.048, 0.06), shape="block", stretch=0.7),
            mark(patch, "f", "#191614", "spots", u=0.70, v=-0.12, r=(0.035, 0.05), chance=0.8),
            mark(patch, "f", "#191614", "spots", u=0.62, v=1.05, r=(0.04, 0.052)),
            mark(eye, "h", "#1d1614", "eyespots", u=0.62, v=0.16, r=(0.085, 0.105), rings=APOLLO_EYE),
            mark(eye, "h", "#1d1614", "eyespots", u=0.62, v=0.70, r=(0.085, 0.105), rings=APOLLO_EYE),
            mark(edge, "fh", "#8f8c84", width=0.006),
        ),
    ),
    Kind(
        "malachite",
        outline("30 -36  62 -62  92 -70  92 -54  80 -28  78 -8  72 4  40 9  14 11  1 15", corner=7),
        outline(
            "30 -14  58 -8  72 12  70 36  58 58  38 70  16 58  4 28",
            scallop=0.05,
            tail="46 56  50 70  52 80",
            width=0.03,
        ),
        ("#2b2a20", "#4c4a34", 0.046),
        (
            mark(ground, "fh", "#33261a", "ground", outer="#1e1611"),
            mark(disc, "f", JADE, "patches", u=[0.10, 0.40], v=[0.0, 0.8]),
            mark(cells, "f", JADE, "patches", u=[0.50, 0.70], gap=(0.06, 0.12), tilt=0.12),
            mark(cells, "f", JADE, "patches", u=[0.76, 0.87], gap=(0.14, 0.2), tilt=0.04),
            mark(band, "f", JADE, "patches", u=0.45, width=0.5, v=[1.15, 1.55], soft=0.04),
            mark(cells, "h", JADE, "patches", u=[0.22, 0.68], gap=(0.03, 0.06), last=5),
            mark(cells, "h", JADE, "patches", u=[0.77, 0.88], gap=(0.16, 0.22)),
            mark(edge, "fh", "#1e1611", width=0.008),
        ),
    ),
    Kind(
        "purple emperor",
        outline("30 -38  62 -64  90 -70  92 -54  79 -28  77 -6  70 4  40 9  14 11  1 15", corner=7),
        outline("30 -14  60 -8  74 12  71 38  58 58  40 72  17 58  4 28", scallop=0.03),
        ("#2c2430", "#3a3040", 0.05),
        (
            mark(ground, "fh", "#5a2fae", "ground", outer="#4a2a8a"),
            mark(sheen, "fh", "#9a6cf0", u=(0.45, 0.65), width=0.35, strength=0.5),
            mark(margin, "fh", "#241a24", "margins", width=(0.08, 0.13), wave=0.15, v=[-0.2, 1.5]),
            mark(veins, "fh", "#2c1a4c", width=0.007, strength=0.8),
            mark(cells, "f", "#f8f5f0", "bands", u=[0.56, 0.66], gap=(0.05, 0.1), first=2, last=6, tilt=0.18),
            mark(spots, "f", "#f8f5f0", "spots", u=0.72, r=(0.026, 0.036), first=-1, last=1, stretch=1.2),
            mark(spots, "f", "#f8f5f0", "spots", u=0.87, r=0.018, first=-1, last=1, chance=0.7),
            mark(streak, "h", "#f8f5f0", "bands", line=[0.66, -0.3, 0.55, 0.98], width=(0.085, 0.12), taper=0.6),
            mark(eye, "h", "#e08a34", u=0.84, v=0.82, r=0.045, rings=[[0.6, "#1c1420", 0.0]]),
            mark(edge, "fh", "#1c141c", width=0.007),
        ),
    ),
)
SPECIES = tuple(kind.name for kind in KINDS)

# -------------------------------------------------------------------------------------------------- colours and words

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
    """RGB of 0..1 -> brightness, red-green, yellow-blue: near enough to how far apart colours look."""
    r, g, b = np.moveaxis(np.asarray(rgb, float), -1, 0)
    return np.stack([0.8 * (0.3 * r + 0.59 * g + 0.11 * b), r - g, (r + g) / 2 - b], -1)


_NAMED = [(word, _opponent(_rgb(text))) for word, texts in COLOURS.items() for text in texts.split()]


def colour_words(rgb) -> np.ndarray:
    """RGB of 0..1, shape (..., 3) -> the everyday names of those colours (keys of COLOURS), shape (...)."""
    gaps = [((_opponent(rgb) - place) ** 2).sum(-1) for _, place in _NAMED]
    return np.array([word for word, _ in _NAMED])[np.argmin(gaps, 0)]


def _tint(rng: np.random.Generator) -> Callable[[str], np.ndarray]:
    """This specimen's own shade of every colour: hue, strength and brightness a little off, the same way for all."""
    hue, strength, light = rng.uniform(-0.018, 0.018), rng.uniform(0.88, 1.08), rng.uniform(0.92, 1.07)

    def tint(text: str) -> np.ndarray:
        h, s, v = colorsys.rgb_to_hsv(*_rgb(text))
        return np.array(colorsys.hsv_to_rgb((h + hue) % 1, min(s * strength, 1), min(v * light, 1)), np.float32)

    return tint


NUMBERS = {2: "two", 4: "four"}
# A mark's measure (in wing units) below and above which a caption says so.
SIZES_SAID = {
    "margins": ("width", 0.05, "narrow", 0.095, "broad"),
    "bands": ("width", 0.09, "narrow", 0.13, "broad"),
    "spots": ("r", 0.018, "small", 0.052, "large"),
    "eyespots": ("r", 0.06, "small", 0.12, "large"),
}


def _size_word(word: str, values: dict) -> str:
    key, low, less, high, more = SIZES_SAID.get(word, ("", 0, "", 0, ""))
    return "" if key not in values else less if values[key] < low else more if values[key] > high else ""


def _caption(kind: Kind, painted: dict, sizes: dict, size: float, worn: bool) -> str:
    """Words for what is seen: `painted` maps a mark's number to (share of the wings, mean colour), `sizes` words."""
    ground, shares, said, eyes = {}, {}, {}, []
    for number, (share, colour) in sorted(painted.items(), key=lambda item: -item[1][0]):
        word, name = kind.marks[number - 1].word, str(colour_words(colour))
        if word == "ground":
            ground[name] = ground.get(name, 0) + share
        elif word == "eyespots":
            eyes.append(sizes[number])
        else:
            shares[name, word] = shares.get((name, word), 0) + share
            said.setdefault((name, word), f"{sizes[number]} {name} {word}".strip())
    grounds = sorted((name for name in ground if ground[name] > 0.2 * sum(ground.values())), key=ground.get)[:-3:-1]
    seen = [key for key in sorted(shares, key=shares.get, reverse=True) if shares[key] > 0.004 and key[0] != grounds[0]]
    phrases = [said[key] for key in seen[:3]]
    if eyes:
        phrases.insert(1, f"{NUMBERS[2 * len(eyes)]} {eyes[0]} eyespots".replace("  ", " "))
    if kind.hind.tail:
        phrases.append("long tails" if kind.noun == "moth" else "tails")
    if worn:
        phrases.append("worn edges")
    first = {-1: "small ", 0: "", 1: "large "}[int(size > 0.7) - int(size < 0.3)] + " and ".join(grounds)
    marks = ", ".join(phrases[:-1]) + (" and " if len(phrases) > 1 else "") + phrases[-1] if phrases else "plain wings"
    return f"{'an' if first[0] in 'aeiou' else 'a'} {first} {kind.noun} with {marks}"


# ------------------------------------------------------------------------------------------------- the whole specimen


def _paint(kind: Kind, wings: dict, rng: np.random.Generator, tint: Callable) -> dict:
    """All marks of the species on both wings, then light, relief and scales; returns a word for each mark's size."""
    sizes = {}
    for number, layer in enumerate(kind.marks, 1):
        values = {k: rng.uniform(*v) if isinstance(v, tuple) else v for k, v in layer.values.items()}
        if rng.random() >= values.pop("chance", 1.0):
            continue
        sizes[number] = _size_word(layer.word, values)
        for letter in layer.wings:
            for alpha, colour in layer.paint(wings[letter], rng, tint(layer.colour), **values):
                wings[letter].lay(alpha, colour, number if layer.word else 0)
    for wing in wings.values():
        pleats = 4 * (wing.v * CELLS % 1 - 0.5) ** 2
        rows = wing.grain[(wing.v * 61).astype(int) % 64, (wing.u * 190).astype(int) % 512]
        light = (0.74 + 0.26 * _ramp(wing.u, 0.0, 0.3)) * (1.03 - 0.09 * pleats * wing.u)
        light = (light + 0.04 * wing.cloud + 0.035 * rows) * (0.88 + 0.12 * _ramp(wing.inset, 0, 0.03))
        wing.rgb *= light[..., None]
    return sizes


def _body(kind: Kind, rgb, alpha, unit: float, middle: float, length: float, tint: Callable, rng) -> None:
    """Head, thorax and abdomen as round, banded, furry solids over x = 0; antennae; on the half canvas, in place."""
    side = alpha.shape[0]
    thorax, abdomen, wide = tint(kind.body[0]), tint(kind.body[1]), kind.body[2]
    reach = int(unit * 0.14)
    x = ((np.arange(reach) + 0.5) / unit)[None, :]
    y = ((np.arange(side) + 0.5 - side / 2) / unit + middle)[:, None]
    knots = [-0.275, -0.265, -0.235, -0.2, -0.185, -0.16, -0.08, 0.02, 0.07, 0.09, 0.2, 0.4, 0.52, 0.56, 0.575]
    knots = np.array(knots)  # y of each of the half widths below, from head to tail
    knots = np.where(knots > 0.08, 0.08 + (knots - 0.08) * length, knots)
    widths = [0, 0.45, 0.72, 0.64, 0.56, 0.95, 1.2, 1.1, 0.8, 0.78, 0.92, 0.78, 0.5, 0.27, 0]
    half = np.interp(y, knots, np.array(widths) * wide)
    fur = 0.10 * _noise(rng, 48, (side, reach))
    across = np.minimum(x / (half + 1e-6), 1)
    rings = 1 - 0.28 * _bump(((y - 0.08) / 0.062 % 1 - 0.5) * 2.6) * (y > 0.08)
    light = (0.62 + 0.5 * np.sqrt(1 - across * across) * (1 - 0.25 * across)) * rings + fur
    colour = thorax + _ramp(y, 0.04, 0.1)[..., None] * (abdomen - thorax)
    cover = np.clip((half - x) * unit + 0.5, 0, 1) * (half > 0)
    rgb[:, :reach] += cover[..., None].astype(np.float32) * (np.clip(colour * light[..., None], 0, 1) - rgb[:, :reach])
    alpha[:, :reach] = np.maximum(alpha[:, :reach], cover)


def _antennae(kind: Kind, rgb, alpha, unit: float, middle: float, tint: Callable, rng) -> None:
    """A clubbed feeler (butterfly) or a feathered one (moth) on the half canvas."""
    side, (lean, lift) = alpha.shape[0], rng.uniform(-0.04, 0.04, 2)
    if kind.noun == "moth":
        line = _spline([(0.015, -0.25), (0.06, -0.38), (0.14 + lean, -0.46 + lift), (0.24 + lean, -0.48 + lift)], 6)
        shapes = [_stroke(line, 0.008)]
        for place, width in zip(line[1:], 0.06 * _bump(np.linspace(-0.8, 1, len(line) - 1)), strict=True):
            for barb in ([0.6, -0.8], [1.0, 0.4]):
                shapes.append(_stroke([place, place + np.array(barb) * width], 0.006))
        colour = tint("#b08a4c")
    else:
        line = _spline([(0.012, -0.25), (0.07, -0.42), (0.15 + lean / 2, -0.58), (0.25 + lean, -0.70 + lift)], 8)
        width = np.interp(np.arange(len(line)), [0, 19, 22, 24], [0.0075, 0.0065, 0.017, 0.01])
        shapes, colour = [_stroke(line, width)], tint("#2a211d")
    image = Image.new("L", (side // 2, side))
    pen = ImageDraw.Draw(image)
    for shape in shapes:
        pen.polygon(((shape - [0, middle]) * unit + [0, side / 2]).ravel().tolist(), fill=255)
    cover = np.asarray(image, np.float32) / 255
    rgb += cover[..., None] * (colour - rgb)
    np.maximum(alpha, cover, out=alpha)


def _half(kind: Kind, rng: np.random.Generator, side: int) -> tuple:
    """The right half, unposed: RGB (side, side / 2, 3) and cover (side, side / 2) in 0..1, and the words for it."""
    size = rng.random()
    spread = rng.uniform(-5, 5)
    wings = {
        "h": Wing(kind.hind, HIND_ROOT, rng, 0.6 * spread + rng.uniform(-3, 3)),
        "f": Wing(kind.fore, FORE_ROOT, rng, -spread),
    }
    every = np.concatenate([shape for wing in wings.values() for shape in wing.shapes])
    low, high = every.min(0), every.max(0)
    unit = float(side / 2 * (0.76 + 0.12 * size) * kind.span / max(high[0], (high[1] - low[1]) / 2 * 1.02))
    middle, tint = (low[1] + high[1]) / 2, _tint(rng)
    for wing in wings.values():
        wing.rasterise(unit, side, middle, tint)
    sizes = _paint(kind, wings, rng, tint)
    rgb = np.broadcast_to(tint("#6b5a4c"), (side, side // 2, 3)).copy()
    alpha, label = np.zeros((side, side // 2), np.float32), np.zeros((side, side // 2), np.uint8)
    _antennae(kind, rgb, alpha, unit, middle, tint, rng)
    shade = Image.new("L", (side // 2, side))
    fore = wings["f"]
    corner = (fore.at[1].start, fore.at[0].start + round(0.025 * unit))
    shade.paste(Image.fromarray((fore.mask * 255).astype(np.uint8)), corner)
    shade = np.asarray(shade.filter(ImageFilter.GaussianBlur(0.03 * unit)), np.float32) / 255
    wings["h"].rgb *= 1 - 0.3 * shade[wings["h"].at][..., None]
    for wing in wings.values():
        mask = wing.mask[..., None]
        rgb[wing.at] += mask * (wing.rgb - rgb[wing.at])
        np.copyto(label[wing.at], wing.label, where=wing.mask > 0.5)
        np.maximum(alpha[wing.at], wing.mask, out=alpha[wing.at])
    seen = _seen(rgb, label, wings)
    _body(kind, rgb, alpha, unit, middle, rng.uniform(0.88, 1.05) * _reach(kind), tint, rng)
    return np.clip(rgb, 0, 1), alpha, (seen, sizes, size)


def _reach(kind: Kind) -> float:
    """How long the abdomen is: not past the hind wing's inner half."""
    return min(1.0, 1.5 * max(y for _, y in kind.hind.points) - 0.05)


def _seen(rgb, label, wings: dict) -> dict:
    """Number of each named mark that is visible -> (its share of the wings, its mean colour)."""
    counts = np.bincount(label.ravel(), minlength=1)
    sums = [np.bincount(label.ravel(), rgb[..., i].ravel()) for i in range(3)]
    whole = sum(float(wing.mask.sum()) for wing in wings.values())
    return {
        n: (count / whole, np.clip([total[n] / count for total in sums], 0, 1))
        for n, count in enumerate(counts.tolist())
        if n and count
    }


def _wear(cover: Image.Image, rng: np.random.Generator) -> int:
    """Bite a few small notches (mostly none) out of the wings' edges, on either side; returns how many."""
    side, pixels, pen, count = cover.width, np.asarray(cover), ImageDraw.Draw(cover), 0
    for _ in range(max(0, int(rng.integers(-9, 5)))):
        row, right = int(rng.uniform(0.25, 0.75) * side), rng.random() < 0.5
        deep, tall = rng.uniform(0.015, 0.032) * side, rng.uniform(0.006, 0.012) * side
        filled = np.flatnonzero(pixels[row] > 128)
        end, out = (filled.max(initial=0), 1) if right else (filled.min(initial=side), -1)
        if (end - side / 2) * out < 0.25 * side:  # not a wing's edge here: a feeler, the body or nothing
            continue
        x = float(end) - out * deep
        notch = [(x, row), (x + out * deep / 2, row - tall), (x + 2.5 * out * deep, row - 3 * tall)]
        pen.polygon([*notch, (x + 2.5 * out * deep, row + 2 * tall)], fill=0)
        count += 1
    return count


def _mount(rgb, cover: Image.Image, size: int, rng: np.random.Generator) -> Image.Image:
    """Lay the mirrored specimen, a little askew, on warm white with its soft shadow; size x size, RGB."""
    light = 1 + 0.035 * _noise(rng, 5, rgb.shape[:2])[..., None]  # the two sides are never quite alike
    flat = Image.fromarray((np.clip(rgb * light, 0, 1) * 255 + 0.5).astype(np.uint8))
    flat.putalpha(cover)
    side, tilt = flat.width, rng.uniform(-5, 5)
    shift = tuple((rng.uniform(-0.012, 0.012, 2) * side).tolist())
    flat = flat.rotate(round(tilt, 6), Image.Resampling.BILINEAR, translate=shift)
    flat = flat.resize((size, size), Image.Resampling.LANCZOS)
    shadow = Image.new("L", (size, size))
    shadow.paste(flat.getchannel("A"), (round(0.012 * size), round(0.022 * size)))
    shadow = np.asarray(shadow.filter(ImageFilter.GaussianBlur(0.022 * size)), np.float32)[..., None] / 255
    paper = np.array([250, 248, 243]) + rng.uniform(-1.5, 1.5) + np.linspace(1.5, -1.5, size)[:, None, None]
    paper = paper * (1 - 0.30 * shadow * [0.92, 1.0, 1.06])
    page = Image.fromarray(np.broadcast_to(np.clip(paper + 0.5, 0, 255), (size, size, 3)).astype(np.uint8))
    page.paste(flat.convert("RGB"), mask=flat.getchannel("A"))
    return page


def draw(seed: int | Sequence[int], size: int = 128, species: int | None = None) -> Specimen:
    """Draw one specimen: the same seed gives the same butterfly at every size, and the same pixels at the same size.

    seed: a whole number from 0 up, or several of them. size: side of the square picture in pixels, 16..1024.
    species: index into SPECIES; None lets the seed choose, each as likely. Raises ValueError outside those ranges.
    """
    if not SIZES[0] <= size <= SIZES[1]:
        raise ValueError(f"size: {size} is not in {SIZES[0]}..{SIZES[1]}")
    if species is not None and not 0 <= species < len(KINDS):
        raise ValueError(f"species: {species} is not in 0..{len(KINDS) - 1}")
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    chosen = int(rng.integers(len(KINDS)))
    species = chosen if species is None else int(species)
    kind = KINDS[species]
    side = max(2, -(-CANVAS // size)) * size
    side += side % 2
    rgb, alpha, words = _half(kind, rng, side)
    rgb, alpha = (np.concatenate([half[:, ::-1], half], 1) for half in (rgb, alpha))
    cover = Image.fromarray((alpha * 255 + 0.5).astype(np.uint8))
    notches = _wear(cover, rng)
    return Specimen(_mount(rgb, cover, size, rng), species, _caption(kind, *words, notches > 1))


def draw_many(count: int, size: int, seed: int) -> Iterator[Specimen]:
    """Yield `count` specimens; the k-th is draw((seed, k), size), so it doesn't depend on how many are drawn."""
    for k in range(count):
        yield draw((seed, k), size)


def write(count: int, size: int, seed: int, out: str | Path, progress: Callable | None = None) -> None:
    """Draw specimens into the folder `out` as `datasets` reads an imagefolder.

    Writes 0000.png, 0001.png, ... and metadata.jsonl (file_name, species, caption), nothing else. `progress(done,
    total)` is called after each picture. Raises FileExistsError when `out` isn't empty, ValueError as `draw` does.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} is not an empty folder")
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for k, specimen in enumerate(draw_many(count, size, seed)):
        name = f"{k:04d}.png"
        specimen.image.save(out / name)
        row = {"file_name": name, "species": SPECIES[specimen.species], "caption": specimen.caption}
        rows.append(json.dumps(row, ensure_ascii=False) + "\n")
        if progress:
            progress(k + 1, count)
    (out / "metadata.jsonl").write_text("".join(rows), encoding="utf-8")
