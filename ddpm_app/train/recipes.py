"""What can be expected of pictures that somebody brought, before time is spent on them: a judgement of the set, and recipes that suit it.

A recipe never changes whose pictures are learnt, the run's name or the seed: it is the settings that a person who knew all this would take.
"""

import dataclasses
import statistics
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ddpm_app import presets
from ddpm_app.config import SHIPPED_VAE, ConfigValues, TrainConfig, from_dict
from ddpm_app.data.image_dataset import sample, training_rows
from ddpm_app.data.image_source import ImageSource
from ddpm_app.data.open_source import Cancelled
from ddpm_app.data.preprocess import square, to_images, to_tensors
from ddpm_app.device import resolve_device
from ddpm_app.device_lock import DEVICE
from ddpm_app.model import pipeline
from ddpm_app.model.reconstruction import UNFIT_PSNR, psnr, there_and_back
from ddpm_app.presets import FEWEST_STEPS
from ddpm_app.train.estimate import estimate, machine_speed

FEW, VERY_FEW = 100, 20
"""Pictures below which a model learns many of them by heart, and below which it learns nothing else."""
VARIOUS = 0.35
"""Of the pictures' likeness: sets below it hold all kinds of things, and a model of them takes several times the steps."""
STEPS = {"alike": 700, "various": 3000}
"""Steps after which pictures of a set of each kind are plain to see (tests/benchmarks/real.md)."""
SAMPLE_PICTURES, ENCODED_PICTURES = 48, 12
"""Pictures of a set that are looked at, and those of them that go through the autoencoder."""
EXAMPLES = 3
"""Pictures that are shown before and after the autoencoder."""
SIZES = (128, 64, 32)
MOST_MINUTES = 60


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A set of pictures: ``count`` to learn from, the middle of their shorter ``side``, ``likeness`` (mean correlation of two of them at
    16 px, -1 to 1), the shares that are ``transparent`` and far from square (``oblong``), the numbers of ``labels`` and captions, and the ``psnr``
    of the built-in autoencoder's reconstructions at ``size`` px in decibels, beside the ``coarse_psnr`` of what ``SIZES[-1]`` px keep of them,
    with a few ``examples`` of the pictures."""

    count: int
    side: int
    likeness: float
    transparent: float
    oblong: float
    labels: int
    size: int
    psnr: float
    coarse_psnr: float
    examples: tuple[Image.Image, ...] = ()

    @property
    def kind(self) -> Literal["alike", "various"]:
        """Whether the pictures are of one kind of thing."""
        return "alike" if self.likeness >= VARIOUS else "various"

    @property
    def fits(self) -> bool:
        """Whether the autoencoder gives the pictures back well enough to learn its latents."""
        return self.psnr >= UNFIT_PSNR

    @property
    def suits_latents(self) -> bool:
        """Whether a model of its latents can give more of the pictures than one of their small copies' pixels."""
        return self.fits or self.psnr >= self.coarse_psnr

    def notices(self) -> list[tuple[str, dict[str, Any]]]:
        """The judgement as (code, values) under ``notice.``."""
        notices: list[tuple[str, dict[str, Any]]] = [(f"expect_{self.kind}", {"count": self.count, "side": self.side})]
        if self.psnr:
            code = "expect_vae_fits" if self.fits else "expect_vae_unfit"
            notices.append((code, {"psnr": f"{self.psnr:.1f}", "size": self.size}))
        return notices


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Settings for a set of pictures, with what they cost here. ``name``: "sharp", "quick" or "pixels" (texts: ui.recipe.<name>). ``doubts``:
    what may go wrong, as (code, values) under ``notice.``. ``at_best``: the judgement's examples as a model of these settings gives them back
    when it has learnt all that it can."""

    name: str
    config: TrainConfig
    steps: int
    minutes: float
    doubts: tuple[tuple[str, dict[str, Any]], ...]
    at_best: tuple[Image.Image, ...]


def judge(config: TrainConfig, source: ImageSource, cancelled: Cancelled | None = None) -> Judgement:
    """Judge a set by a sample of it, at the config's size. Takes a few seconds and the device. Raises Problem("all_left_out") and Stopped."""
    pixels, marks = sample(config, source, SAMPLE_PICTURES, cancelled)
    sizes, count = source.sizes(), len(pixels)
    encoded = to_tensors(pixels[_spread(count, ENCODED_PICTURES)])
    decibels = psnr(encoded, _reconstructed(config, encoded)) if config.channels == 3 else 0.0
    return Judgement(
        count=len(training_rows(config, source)),
        side=round(statistics.median(map(min, sizes))),
        likeness=likeness(pixels),
        transparent=marks["transparent"] / count,
        oblong=marks["squashed"] / count,
        labels=len(source.label_names or ()),
        size=config.image_size,
        psnr=decibels,
        coarse_psnr=psnr(encoded, _coarse(encoded)),
        examples=tuple(to_images(to_tensors(pixels[_spread(count, EXAMPLES)]))),
    )


def _reconstructed(config: TrainConfig, x: Tensor) -> Tensor:
    """Pictures through the built-in autoencoder and back; a run beside it goes on before and after."""
    codec = pipeline.load_vae(SHIPPED_VAE)
    with DEVICE:
        return there_and_back(codec.to(resolve_device(config)), x)


def _coarse(x: Tensor) -> Tensor:
    """Pictures [N, C, S, S] shrunk to ``SIZES[-1]`` px and enlarged again."""
    small = functional.interpolate(x, (SIZES[-1], SIZES[-1]), mode="area")
    return functional.interpolate(small, x.shape[-2:], mode="bicubic")


def _at_best(config: TrainConfig, examples: tuple[Image.Image, ...]) -> tuple[Image.Image, ...]:
    """Pictures at the config's size, and through its autoencoder where it has one."""
    if not examples:
        return ()
    x = to_tensors(np.stack([square(image, config.image_size, "squash", config.channels) for image in examples]))
    return tuple(to_images(_reconstructed(config, x) if config.vae else x))


def _spread(count: int, most: int) -> np.ndarray:
    """At most ``most`` of ``count`` places, spread evenly."""
    return np.linspace(0, count - 1, min(most, count)).round().astype(int)


def likeness(pixels: np.ndarray) -> float:
    """Mean correlation of two of the pictures [N, H, W, C] in grey at 16 x 16 pixels: near 1 for one thing in one pose, near 0 for anything."""
    small = [Image.fromarray(picture.mean(-1).astype(np.uint8)).resize((16, 16)) for picture in pixels]
    flat = np.stack([np.asarray(image, np.float64).ravel() for image in small])
    flat -= flat.mean(1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-9
    count = len(flat)
    if count < 2:
        return 1.0
    return float((np.square(flat.sum(0)).sum() - np.square(flat).sum()) / (count * (count - 1)))


def recipes(
    judgement: Judgement, current: ConfigValues, minutes: float | None = None, most_minutes: float = MOST_MINUTES
) -> list[Recipe]:
    """Recipes for a set, the best first, over the ``current`` settings' pictures, name and seed. ``minutes``: how long they take; None takes
    what the set needs, up to ``most_minutes``."""
    # the autoencoder gives a picture of 64 px back better at 128 px
    size = next(size for size in SIZES if size <= max(2 * judgement.side, SIZES[-1]))
    sharp = [_recipe("sharp", "latent-128", judgement, current, (minutes, most_minutes), image_size=max(size, 64))]
    pixels = [_recipe("pixels", "first-butterflies", judgement, current, (minutes, most_minutes), image_size=32)]
    quick = (
        []
        if size < 128
        else [_recipe("quick", "latent-128", judgement, current, (minutes, most_minutes), image_size=64)]
    )
    return [*sharp, *quick, *pixels] if judgement.suits_latents and judgement.side >= SIZES[1] else [*pixels, *sharp]


def _recipe(
    name: str,
    preset: str,
    judgement: Judgement,
    current: ConfigValues,
    length: tuple[float | None, float],
    **changes: Any,
) -> Recipe:
    minutes, most_minutes = length
    values = presets.over(preset, current) | changes
    values |= {"conditioning": "labels" if 2 <= judgement.labels <= judgement.count / 4 else "none"}
    values |= {"resize_mode": current["resize_mode"], "random_flip": current["random_flip"]}
    config = from_dict(values)
    counted = estimate(config, judgement.count, judgement.labels)
    assert counted is not None  # its parts ship with the app
    with DEVICE:
        speed = machine_speed()
    seconds = counted["flops"] / speed
    chosen = minutes or min(most_minutes, max(1.0, round(STEPS[judgement.kind] * seconds / 60)))
    steps = int(chosen * 60 / seconds)
    config = from_dict(config.to_dict() | {"max_train_minutes": chosen, "max_train_steps": None})
    doubts = tuple(_doubts(judgement, config, steps))
    return Recipe(name, config, steps, chosen, doubts, _at_best(config, judgement.examples))


def _doubts(judgement: Judgement, config: TrainConfig, steps: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Why a run may come out badly, each with the remedy."""
    if judgement.count < FEW:
        code = "expect_very_few" if judgement.count < VERY_FEW else "expect_few"
        yield code, {"count": judgement.count, "wanted": FEW}
    if config.vae and not judgement.fits:
        yield "expect_unfit", {"psnr": f"{judgement.psnr:.1f}", "wanted": UNFIT_PSNR}
    if steps < FEWEST_STEPS:
        needed = config.max_train_minutes * FEWEST_STEPS / max(1, steps) if config.max_train_minutes else 0
        yield "expect_too_short", {"steps": steps, "wanted": FEWEST_STEPS, "minutes": f"{needed:.2g}"}
    elif steps < STEPS[judgement.kind] / 2:
        yield f"expect_short_{judgement.kind}", {"steps": steps, "wanted": STEPS[judgement.kind]}
