"""The whole specimen: paint one half, mirror it, wear it, mount it; one, many, or a folder full."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ddpm_app.specimens.body import antennae, body
from ddpm_app.specimens.captions import caption, size_word
from ddpm_app.specimens.colours import shades
from ddpm_app.specimens.geometry import noise, overlay, ramp
from ddpm_app.specimens.species import KINDS, SPECIES, Kind
from ddpm_app.specimens.wings import Wing

SIZES = (16, 1024)  # smallest and largest picture side, in pixels
CANVAS = 512  # drawn at least this large, then reduced
FORE_ROOT, HIND_ROOT = (0.035, -0.07), (0.03, 0.03)


@dataclass(frozen=True)
class Specimen:
    """One butterfly: `image` (RGB, size x size), `species` (index into SPECIES), `caption` (true of this picture)."""

    image: Image.Image
    species: int
    caption: str


def _paint(kind: Kind, wings: dict[str, Wing], rng: np.random.Generator, tint: Callable) -> dict[int, str]:
    """All marks of the species on both wings, then light, relief and scales; returns a word for each mark's size."""
    sizes = {}
    for number, mark in enumerate(kind.marks, 1):
        values = {k: rng.uniform(*v) if isinstance(v, tuple) else v for k, v in mark.values.items()}
        if rng.random() >= values.pop("chance", 1.0):
            continue
        sizes[number] = size_word(mark.word, values)
        for letter in mark.wings:
            for alpha, colour in mark.paint(wings[letter], rng, tint(mark.colour), **values):
                wings[letter].lay(alpha, colour, number if mark.word else 0)
    for wing in wings.values():
        scales = wing.grain[(wing.v * 61).astype(int) % 64, (wing.u * 190).astype(int) % 512]
        light = (0.74 + 0.26 * ramp(wing.u, 0.0, 0.3)) * (1.03 - 0.09 * wing.pleat * wing.u)
        light = (light + 0.04 * wing.cloud + 0.035 * scales) * (0.88 + 0.12 * ramp(wing.inset, 0, 0.03))
        wing.rgb *= light[..., None]
    return sizes


def _shade(wings: dict[str, Wing], unit: float, side: int) -> None:
    """The fore wing's soft shadow on the hind wing."""
    fore, shade = wings["f"], Image.new("L", (side // 2, side))
    corner = (fore.at[1].start, fore.at[0].start + round(0.025 * unit))
    shade.paste(Image.fromarray((fore.mask * 255).astype(np.uint8)), corner)
    dark = np.asarray(shade.filter(ImageFilter.GaussianBlur(0.03 * unit)), np.float32) / 255
    wings["h"].rgb *= 1 - 0.3 * dark[wings["h"].at][..., None]


def _visible_marks(rgb: np.ndarray, label: np.ndarray, wings: dict[str, Wing]) -> dict[int, tuple[float, np.ndarray]]:
    """Number of each named mark that is visible -> (its share of the wings, its mean colour)."""
    counts = np.bincount(label.ravel())
    sums = np.stack([np.bincount(label.ravel(), rgb[..., i].ravel()) for i in range(3)], -1)
    whole = sum(float(wing.mask.sum()) for wing in wings.values())
    return {
        n: (count / whole, np.clip(sums[n] / count, 0, 1)) for n, count in enumerate(counts.tolist()) if n and count
    }


def _half(
    kind: Kind, rng: np.random.Generator, side: int
) -> tuple[np.ndarray, np.ndarray, tuple[dict[int, tuple[float, np.ndarray]], dict[int, str], float]]:
    """The right half, unposed: RGB (side, side / 2, 3) and cover (side, side / 2) in 0..1, and what `caption` tells of it."""
    size, spread = rng.random(), rng.uniform(-5, 5)
    hind = Wing(kind.hind, HIND_ROOT, rng, 0.6 * spread + rng.uniform(-3, 3))
    wings = {"h": hind, "f": Wing(kind.fore, FORE_ROOT, rng, -spread)}
    every = np.concatenate([shape for wing in wings.values() for shape in wing.shapes])
    low, high = every.min(0), every.max(0)
    unit = float(side / 2 * (0.76 + 0.12 * size) * kind.span / max(high[0], (high[1] - low[1]) / 2 * 1.02))
    middle, tint = (low[1] + high[1]) / 2, shades(rng)
    for wing in wings.values():
        wing.rasterise(unit, side, middle, tint)
    sizes = _paint(kind, wings, rng, tint)
    _shade(wings, unit, side)
    rgb = np.broadcast_to(tint("#6b5a4c"), (side, side // 2, 3)).copy()
    alpha, label = np.zeros((side, side // 2), np.float32), np.zeros((side, side // 2), np.uint8)
    antennae(kind, rgb, alpha, unit, middle, tint, rng)
    for wing in wings.values():
        overlay(rgb[wing.at], alpha[wing.at], wing.mask, wing.rgb)
        np.copyto(label[wing.at], wing.label, where=wing.mask > 0.5)
    marks = _visible_marks(rgb, label, wings)
    body(kind, rgb, alpha, unit, middle, tint, rng)
    return np.clip(rgb, 0, 1), alpha, (marks, sizes, size)


def _wear(cover: Image.Image, rng: np.random.Generator) -> int:
    """Bite a few small notches (mostly none) out of the wings' edges, on either side; returns how many."""
    side, pixels, pen, count = cover.width, np.asarray(cover), ImageDraw.Draw(cover), 0
    for _ in range(max(0, int(rng.integers(-9, 5)))):
        row, right = int(rng.uniform(0.25, 0.75) * side), rng.random() < 0.5
        deep, tall = rng.uniform(0.015, 0.032) * side, rng.uniform(0.006, 0.012) * side
        covered = np.flatnonzero(pixels[row] > 128)
        end, out = (covered.max(initial=0), 1) if right else (covered.min(initial=side), -1)
        if (end - side / 2) * out < 0.25 * side:  # not a wing's edge here: a feeler, the body or nothing
            continue
        x = float(end) - out * deep
        notch = [(x, row), (x + out * deep / 2, row - tall), (x + 2.5 * out * deep, row - 3 * tall)]
        pen.polygon([*notch, (x + 2.5 * out * deep, row + 2 * tall)], fill=0)
        count += 1
    return count


def _mount(rgb, cover: Image.Image, size: int, rng: np.random.Generator) -> Image.Image:
    """Lay the mirrored specimen, a little askew, on warm white with its soft shadow; size x size, RGB."""
    light = 1 + 0.035 * noise(rng, 5, rgb.shape[:2])[..., None]  # the two sides are never quite alike
    flat = Image.fromarray((np.clip(rgb * light, 0, 1) * 255 + 0.5).astype(np.uint8))
    flat.putalpha(cover)
    side, tilt = flat.width, rng.uniform(-5, 5)
    shift = tuple((rng.uniform(-0.012, 0.012, 2) * side).tolist())
    flat = flat.rotate(round(tilt, 6), Image.Resampling.BILINEAR, translate=shift)
    flat = flat.resize((size, size), Image.Resampling.LANCZOS)
    shadow = Image.new("L", (size, size))
    shadow.paste(flat.getchannel("A"), (round(0.012 * size), round(0.022 * size)))
    dark = np.asarray(shadow.filter(ImageFilter.GaussianBlur(0.022 * size)), np.float32)[..., None] / 255
    paper = np.array([250, 248, 243]) + rng.uniform(-1.5, 1.5) + np.linspace(1.5, -1.5, size)[:, None, None]
    paper = paper * (1 - 0.30 * dark * np.array([0.92, 1.0, 1.06]))
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
    choice = int(rng.integers(len(KINDS)))
    species = choice if species is None else int(species)
    kind = KINDS[species]
    side = max(2, -(-CANVAS // size)) * size
    side += side % 2  # two halves
    rgb, alpha, facts = _half(kind, rng, side)
    rgb, alpha = (np.concatenate([half[:, ::-1], half], 1) for half in (rgb, alpha))
    cover = Image.fromarray((alpha * 255 + 0.5).astype(np.uint8))
    notches = _wear(cover, rng)
    return Specimen(_mount(rgb, cover, size, rng), species, caption(kind, *facts, notches > 1))


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
