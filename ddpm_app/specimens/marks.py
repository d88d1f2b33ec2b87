"""The painters, one per kind of mark: paint(wing, rng, colour, **values) -> layers [(alpha 0..1 per pixel, colour), ...]."""

from collections.abc import Callable

import numpy as np

from ddpm_app.specimens.geometry import bump, circle, lengths, ramp, stroke, within
from ddpm_app.specimens.wings import CELLS


class Mark:
    """One layer of paint, `paint(wing, rng, colour, **values)`, on wings 'f', 'h' or 'fh'; captions call it `word`."""

    def __init__(self, paint: Callable, wings: str, colour: str, word: str = "", **values):
        self.paint, self.wings, self.colour, self.word, self.values = paint, wings, colour, word, values


def ground(wing, rng, colour, outer):
    """The wing's own colour, turning to `outer` towards the edge."""
    t = ramp(wing.u + 0.08 * wing.cloud, 0.3, 1.05)[..., None]
    return [(np.ones(wing.shape, np.float32), colour + t * (wing.tint(outer) - colour))]


def margin(wing, rng, colour, width, wave=0.0, v=(-1, 2), soft=0.02):
    """A border along the edge; `wave` scallops its inner side cell by cell."""
    wide = width * (1 + wave * (wing.pleat - 0.4)) + 0.012 * wing.cloud
    return [((1 - ramp(wing.inset, wide - soft, wide + soft)) * within(wing.v, v, 0.05), colour)]


def veins(wing, rng, colour, width, strength=1.0):
    """The long cell in the middle of the wing, and the veins that leave it for the edge."""
    at = np.linspace(0, 1, 9)
    low, high = -0.12, 0.74  # the cell's sides; its round end is at u = `end`
    across = np.linspace(low, high, 13)
    end = 0.54 - 1.1 * (across - 0.31) ** 2
    lines = [stroke(wing.point(end, across), width)]
    for side, last in ((low, end[0]), (high, end[-1])):
        lines.append(stroke(wing.point(0.03 + (last - 0.03) * at, np.full(9, side)), width * 1.1))
    for goal in (-0.25, *(np.arange(CELLS + 1) / CELLS), 1.35):
        leave = np.clip(low + (goal + 0.1) * 0.78, low, high)  # the veins spread as they run outwards
        first = np.interp(leave, across, end) if goal < 1.2 else 0.05
        line = wing.point(first + (0.995 - first) * at, leave + (goal - leave) * (1 - (1 - at) ** 2))
        lines.append(stroke(line, width * (1 - 0.45 * at)))
    return [(wing.stencil(lines) * np.float32(strength), colour)]


def edge(wing, rng, colour, width):
    """A fine line all round the wing."""
    return [(wing.stencil([stroke(wing.curve, width)]), colour)]


def costa(wing, rng, colour, width):
    """A stroke along the leading edge."""
    lead = wing.curve[wing.edge_v < 0.02]
    return [(wing.stencil([stroke(lead, width * np.linspace(1.3, 0.6, len(lead)))]), colour)]


def band(wing, rng, colour, u, width, v=(-1, 2), wave=0.0, soft=0.018):
    """A band around the root at u; `wave` narrows it at the veins."""
    half = width / 2 * (1 - wave * wing.pleat)
    alpha = 1 - ramp(np.abs(wing.u - (u + 0.02 * wing.cloud)) - half, -soft, soft)
    return [(alpha * within(wing.v, v, 0.03), colour)]


def streak(wing, rng, colour, line, width, taper=0.2, bend=0.0):
    """A band along `line` (u, v, u, v), straight but for `bend`, thinner by `taper` where it stops."""
    start, stop = wing.point(np.array(line[::2]), np.array(line[1::2]))
    along, at = stop - start, np.linspace(0, 1, 15)[:, None]
    middle = start + at * along + bend * (4 * at * (1 - at)) * along[::-1] * [1, -1]
    profile = [0.55, 1, *rng.uniform(0.88, 1.12, 2), 1, 0.55]
    half = width / 2 * np.interp(at[:, 0], [0, 0.06, 0.35, 0.65, 0.94, 1], profile)
    return [(wing.stencil([stroke(middle, half * (1 - taper * at[:, 0]))]), colour)]


# Figures of radius 1: x along the ray outwards, y across it.
FIGURES = {
    "dot": circle(18),
    "crescent": np.concatenate([circle(24)[:13], circle(24)[12::-1] * [0.95, 0.25]])[:, ::-1] - [0.5, 0],
    "block": np.array([[-1, -0.7], [-0.8, -0.9], [0.8, -1], [1, -0.8], [1, 0.8], [0.8, 1], [-0.8, 0.9], [-1, 0.7]]),
}


def _figures(wing, shape: str, places, radii, stretch: float) -> np.ndarray:
    """The mask of a figure at each place (n, 2), its x axis along the ray from the root."""
    rays = places - wing.root
    rays /= lengths(rays)[:, None] + 1e-9
    x, y = np.hsplit(FIGURES[shape] * [stretch, 1], 2)
    every = zip(places, rays, radii, strict=True)
    return wing.stencil([place + radius * (x * ray + y * [-ray[1], ray[0]]) for place, ray, radius in every])


def spots(wing, rng, colour, u, r, first=0, last=CELLS - 1, shape="dot", stretch=1.0, skip=0.0):
    """One spot in each cell from `first` (-1 is past the tip) to `last`, each left out by chance `skip`."""
    v = (np.arange(first, last + 1) + 0.5) / CELLS
    drawn = rng.random(len(v)) >= skip
    drawn[rng.integers(len(v))] = True
    radii = r * (1 + rng.uniform(-0.15, 0.15, len(v)))
    places = wing.point(u + rng.uniform(-0.1, 0.1, len(v)) * r, v)
    return [(_figures(wing, shape, places[drawn], radii[drawn], stretch), colour)]


def patch(wing, rng, colour, u, v, r, shape="dot", stretch=1.0, rings=()):
    """One figure at (u, v), and on it an eyespot's rings: [[share of r, colour, offset along the ray], ...]."""
    place = wing.point(u, [v])
    out = place - wing.root
    out *= r / np.sqrt((out**2).sum())
    layers = [(1.0, colour, 0.0), *((share, wing.tint(ring), off) for share, ring, off in rings)]
    return [(_figures(wing, shape, place + out * off, [r * share], stretch), shade) for share, shade, off in layers]


def tip(wing, rng, colour, size, bow=0.0, soft=0.03):
    """The wing's tip, coloured as far in as `size`."""
    x, y = wing.point(1.0, 0.0)
    away = np.sqrt((wing.x - x) ** 2 + (wing.y - y) ** 2) + 0.03 * wing.cloud + bow * (wing.v - 0.3)
    return [(1 - ramp(away, size - soft, size + soft).astype(np.float32), colour)]


def dust(wing, rng, colour, reach, strength):
    """Scales of another colour, thick at the root and thinning outwards."""
    return [(strength * (1 - ramp(wing.u + 0.1 * wing.cloud, reach * 0.15, reach)), colour)]


def _pane(wing, low, high, across):
    """A rounded window from u = `low` to `high` and across = -1 to 1."""
    along = (wing.u - (low + high) / 2) / ((high - low) / 2)
    return 1 - ramp(along**4 + across**4 + 0.15 * wing.cloud, 0.8, 1.1)


def cells(wing, rng, colour, u, gap, first=0, last=CELLS - 1, tilt=0.0):
    """Rounded panes between the veins, from u[0] to u[1]; `tilt` moves them outwards with v."""
    low, high = (edge + tilt * (wing.v - 0.5) for edge in u)
    alpha = _pane(wing, low, high, np.abs(wing.v * CELLS % 1 - 0.5) / (0.5 - gap))
    return [(alpha * (wing.v * CELLS > first) * (wing.v * CELLS < last + 1), colour)]


def disc(wing, rng, colour, u, v):
    """The cell in the middle of the wing, filled."""
    return [(_pane(wing, *u, (wing.v - (v[0] + v[1]) / 2) / ((v[1] - v[0]) / 2)), colour)]


def sheen(wing, rng, colour, u, width, strength):
    """A soft light across the wing, as on scales that shimmer."""
    return [(strength * bump((wing.u - u - 0.12 * wing.cloud) / width), colour)]
