"""Pictures of nothing in particular, drawn by a procedure: what the built-in autoencoder learns to give back.

Shapes over shapes - ellipses, polygons, stars, blobs, strokes, letters - filled plain, graded, striped, chequered, radially or with noise of
a natural spectrum; half of the pictures hold a few things on a quiet ground, half are densely covered. No photograph and no drawing of
anybody else's goes in, so no licence is touched.
"""

import colorsys
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIDE = 256
"""Pixels along a side; the training cuts and shrinks from there."""
FINE = 2
"""Outlines are drawn this many times larger and shrunk, so that their edges are smooth."""
LETTERS = "ABCDEFGHKMNPRSTUVWXYZabcdefghkmnpqrstuvwxyz0123456789&%@#?!"

Colour = np.ndarray
"""Red, green, blue: float32 [3] in [0, 1]."""


def picture(rng: np.random.Generator) -> np.ndarray:
    """One picture: uint8 [SIDE, SIDE, 3]."""
    palette = [_colour(rng) for _ in range(rng.integers(2, 8))]
    dense = rng.random() < 0.5
    canvas = (_fill if dense else _quiet_ground)(rng, palette, SIDE).copy()
    if dense:
        for _ in range(rng.integers(8, 70)):
            _paint(rng, canvas, palette, rng.uniform(-0.1, 1.1, 2) * SIDE, SIDE * (float(rng.beta(1.2, 4)) + 0.03))
    else:
        for _ in range(rng.integers(1, 4)):
            _thing(rng, canvas, palette)
    return _finish(rng, canvas)


def _thing(rng: np.random.Generator, canvas: np.ndarray, palette: list[Colour]) -> None:
    """A large shape with smaller ones on and around it."""
    centre, size = rng.uniform(0.25, 0.75, 2) * SIDE, SIDE * float(rng.uniform(0.3, 0.85))
    _paint(rng, canvas, palette, centre, size)
    for _ in range(rng.integers(0, 12)):
        _paint(rng, canvas, palette, centre + rng.normal(0, size / 4, 2), size * float(rng.uniform(0.06, 0.5)))


def _colour(rng: np.random.Generator) -> Colour:
    """Any colour, greys and dull ones as often as bright ones."""
    hue, saturation, value = rng.random(), rng.beta(0.9, 1.2), rng.beta(1.3, 0.9)
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value), np.float32)


def _near(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    return np.clip(colour + rng.normal(0, spread, 3), 0, 1).astype(np.float32)


def _quiet_ground(rng: np.random.Generator, palette: list[Colour], side: int) -> np.ndarray:
    kind = rng.random()
    if kind < 0.45:
        return np.ones((side, side, 3), np.float32)
    if kind < 0.7:
        return np.broadcast_to(_colour(rng), (side, side, 3))
    if kind < 0.9:
        first = _colour(rng)
        return _mix(_slope(rng, side), [first, _near(rng, first, 0.25)])
    return _natural(rng, [_near(rng, palette[0], 0.1), palette[0]], side)


def _paint(
    rng: np.random.Generator, canvas: np.ndarray, palette: list[Colour], centre: np.ndarray, size: float
) -> None:
    """Lay one filled shape of about ``size`` pixels over the canvas, with a shadow, an outline or some transparency now and then."""
    side = int(size * 1.4) + 16  # of the square that holds it
    top, left = (int(round(float(place))) - side // 2 for place in centre)
    inside = tuple(slice(*np.clip((edge, edge + side), 0, SIDE)) for edge in (top, left))
    own = tuple(slice(part.start - edge, part.stop - edge) for part, edge in zip(inside, (top, left), strict=True))
    target = canvas[inside]
    if not target.size:
        return
    mask = _mask(rng, size, side)
    filling = _fill(rng, palette, side)
    if rng.random() < 0.35:  # rounded by light from one side
        filling = filling * (1 - rng.uniform(0.2, 0.7) * _slope(rng, side)[..., None])
    if rng.random() < 0.12:
        soft = mask.filter(ImageFilter.GaussianBlur(float(rng.uniform(1, 6))))
        shadow = np.roll(np.asarray(soft, np.float32) / 255, tuple(rng.integers(-6, 7, 2)), (0, 1))[own]
        target *= 1 - rng.uniform(0.2, 0.6) * shadow[..., None]
    alpha = (np.asarray(mask, np.float32) / 255)[own][..., None]
    if rng.random() < 0.15:
        alpha = alpha * rng.uniform(0.3, 0.9)
    target += alpha * (filling[own] - target)
    if rng.random() < 0.25:
        edge = (np.asarray(mask.filter(ImageFilter.FIND_EDGES), np.float32) / 255)[own][..., None]
        target += edge * ((0 if rng.random() < 0.6 else palette[-1]) - target)


def _mask(rng: np.random.Generator, size: float, side: int) -> Image.Image:
    """Where the shape lies: a greyscale picture of ``side`` pixels."""
    image = Image.new("L", (side * FINE, side * FINE))
    draw = ImageDraw.Draw(image)
    kind = rng.random()
    if kind < 0.12:
        _letters(rng, draw, size, side)
    elif kind < 0.34:
        _stroke(rng, draw, size, side)
    else:
        draw.polygon([tuple(point) for point in (_outline(rng, size) + side / 2) * FINE], fill=255)
    return image.reduce(FINE)


def _outline(rng: np.random.Generator, size: float) -> np.ndarray:
    """The corners of a closed shape around 0: [N, 2] in pixels."""
    kind = rng.integers(4)
    if kind == 0:  # an ellipse
        angle = np.linspace(0, 2 * math.pi, 64, endpoint=False)
        radius = np.ones(64)
    elif kind == 1:  # a polygon of uneven corners
        angle = np.sort(rng.uniform(0, 2 * math.pi, rng.integers(3, 9)))
        radius = rng.uniform(0.6, 1, len(angle))
    elif kind == 2:  # a star
        points = int(rng.integers(3, 12)) * 2
        angle = np.linspace(0, 2 * math.pi, points, endpoint=False)
        radius = np.where(np.arange(points) % 2, rng.uniform(0.25, 0.8), 1.0)
    else:  # a blob: a few low waves around a circle
        angle = np.linspace(0, 2 * math.pi, 96, endpoint=False)
        waves = np.arange(2, 8)
        size_of_wave = rng.normal(0, 0.35, len(waves)) / waves
        phase = rng.uniform(0, 2 * math.pi, len(waves))
        radius = 1 + (size_of_wave[:, None] * np.cos(waves[:, None] * angle + phase[:, None])).sum(0)
    points = np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None]
    points[:, 1] *= rng.uniform(0.25, 1)
    return points @ _turn(rng) * size / 2


def _turn(rng: np.random.Generator) -> np.ndarray:
    angle = 0.0 if rng.random() < 0.3 else rng.uniform(0, 2 * math.pi)
    return np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])


def _stroke(rng: np.random.Generator, draw: ImageDraw.ImageDraw, size: float, side: int) -> None:
    """A line along a Bezier curve, thin or thick; or a brush of several beside each other, like fur or grass."""
    bundle = int(rng.integers(4, 25)) if rng.random() < 0.3 else 1
    corners = rng.normal(0, 0.35, (4, 2)) * size + side / 2
    t = np.linspace(0, 1, 24)[:, None]
    width = max(
        1, int(FINE * (rng.uniform(0.6, 2) if bundle > 1 or rng.random() < 0.5 else rng.uniform(1, 0.15 * size + 1)))
    )
    for _ in range(bundle):
        a, b, c, d = corners + rng.normal(0, 0.12 * size if bundle > 1 else 0, (4, 2))
        line = (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d
        draw.line([tuple(point) for point in line * FINE], fill=255, width=width, joint="curve")


def _letters(rng: np.random.Generator, draw: ImageDraw.ImageDraw, size: float, side: int) -> None:
    text = "".join(rng.choice(list(LETTERS), rng.integers(1, 6)))
    font = ImageFont.load_default(max(8, size * FINE / max(1, len(text) * 0.6)))
    draw.text((side * FINE / 2, side * FINE / 2), text, fill=255, font=font, anchor="mm")


def _fill(rng: np.random.Generator, palette: list[Colour], side: int) -> np.ndarray:
    """What a shape is filled with: float32 [side, side, 3] in [0, 1]."""
    colours = [palette[i] for i in rng.permutation(len(palette))[: rng.integers(2, 4)]]
    kind = rng.random()
    if kind < 0.3:
        return np.broadcast_to(_near(rng, colours[0], 0.04), (side, side, 3))
    if kind < 0.45:
        return _mix(_slope(rng, side), colours)
    if kind < 0.55:
        return _mix(_radial(rng, side), colours)
    if kind < 0.68:
        return _mix(_stripes(rng, side), colours[:2])
    if kind < 0.74:
        return _mix((_stripes(rng, side) > 0.5) ^ (_stripes(rng, side) > 0.5), colours[:2])
    return _natural(rng, colours, side)


def _mix(share: np.ndarray, colours: list[Colour]) -> np.ndarray:
    """Colours one after the other along ``share`` [side, side] in [0, 1]."""
    stops = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(share, stops, [colour[c] for colour in colours]) for c in range(3)], -1).astype(
        np.float32
    )


def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    return np.meshgrid(np.arange(side) / side - 0.5, np.arange(side) / side - 0.5)


def _slope(rng: np.random.Generator, side: int) -> np.ndarray:
    x, y = _grid(side)
    angle = rng.uniform(0, 2 * math.pi)
    return np.clip(
        0.5 + rng.uniform(0.5, 2.5) * (x * math.cos(angle) + y * math.sin(angle) + rng.uniform(-0.3, 0.3)), 0, 1
    )


def _radial(rng: np.random.Generator, side: int) -> np.ndarray:
    x, y = _grid(side)
    from_centre = np.hypot(x - rng.uniform(-0.5, 0.5), y - rng.uniform(-0.5, 0.5)) * rng.uniform(1, 6)
    return np.clip(from_centre, 0, 1) if rng.random() < 0.6 else 0.5 + 0.5 * np.cos(2 * math.pi * from_centre)


def _stripes(rng: np.random.Generator, side: int) -> np.ndarray:
    x, y = _grid(side)
    angle = rng.choice([0, math.pi / 2, rng.uniform(0, math.pi)])
    wave = np.sin(
        2
        * math.pi
        * math.exp(rng.uniform(math.log(1.5), math.log(side / 4)))
        * (x * math.cos(angle) + y * math.sin(angle))
        + rng.uniform(0, 6)
    )
    return np.clip(0.5 + wave * (0.5 if rng.random() < 0.3 else 8), 0, 1)


def _natural(rng: np.random.Generator, colours: list[Colour], side: int) -> np.ndarray:
    """Noise whose power falls with frequency as in photographs (1/f to a power about 1 to 2 in amplitude, Field 1987), in the colours given;
    now and then stretched in one direction like hair, wood or water, or cut into patches."""
    fx, fy = np.meshgrid(np.fft.rfftfreq(side), np.fft.fftfreq(side))
    stretch = math.exp(rng.normal(0, 0.8)) if rng.random() < 0.4 else 1.0
    turn = _turn(rng)
    frequency = np.hypot((turn[0, 0] * fx + turn[0, 1] * fy) * stretch, (turn[1, 0] * fx + turn[1, 1] * fy) / stretch)
    amplitude = 1 / np.maximum(frequency, 1 / side) ** rng.uniform(0.7, 2.0)
    field = np.fft.irfft2(amplitude * np.fft.rfft2(rng.standard_normal((side, side))), (side, side))
    field = (field - field.mean()) / (field.std() + 1e-9)
    if rng.random() < 0.15:
        field = np.round(field * rng.uniform(0.7, 2))
    detail = np.fft.irfft2(amplitude * np.fft.rfft2(rng.standard_normal((side, side))), (side, side))
    tint = (detail / (np.abs(detail).max() + 1e-9))[..., None] * rng.normal(0, 0.12, 3)
    return np.clip(_mix(np.clip(0.5 + field * rng.uniform(0.1, 0.45), 0, 1), colours) + tint, 0, 1).astype(np.float32)


def _finish(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """Light over the whole, blur, grain."""
    if rng.random() < 0.2:
        canvas = canvas * (1 - rng.uniform(0.1, 0.5) * _slope(rng, SIDE)[..., None])
    if rng.random() < 0.2:
        image = Image.fromarray((np.clip(canvas, 0, 1) * 255).astype(np.uint8))
        canvas = np.asarray(image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 3)))), np.float32) / 255
    if rng.random() < 0.2:
        grain = rng.standard_normal((SIDE, SIDE, 1 if rng.random() < 0.6 else 3))
        canvas = canvas + grain * rng.uniform(0.005, 0.04)
    return (np.clip(canvas, 0, 1) * 255).round().astype(np.uint8)
