"""From one noise back to a picture by all samplers, and how near few steps come to many."""

import dataclasses
import time
from collections.abc import Callable, Iterator

from torch import Tensor

from ddpm_app import diffusion, sample
from ddpm_app.learn.probes.guess import rms
from ddpm_app.model.pipeline import Model
from ddpm_app.sample import CFGDenoiser, Frame

SAMPLERS = ("ddpm", "ddim", "dpmpp_2m")
FEW, MANY = (5, 10, 20, 50), 100
"""Steps that are compared, and what they are compared with."""


def network(model: Model, condition: dict[str, Tensor], scale: float = sample.Request.guidance_scale) -> CFGDenoiser:
    """The UNet of ``model`` with a ``condition`` for one picture filled in, as on the Sample tab."""
    unconditional = {name: value.to(model.unet.device) for name, value in model.conditioning.unconditional(1).items()}
    return CFGDenoiser(model.unet, condition, unconditional, scale)


def walks(
    model: Model, network: Callable, noise: Tensor, steps: int, eta: float, seed: int
) -> Iterator[tuple[str, Frame]]:
    """Each step of each of SAMPLERS in turn, all from the same noise [1, c, h, w]; ``network`` as the function of that name gives it.
    The fresh noise of DDPM, and of DDIM with ``eta`` > 0, comes from ``seed``."""
    frames = []
    for name in SAMPLERS:
        generators = [diffusion.generator(seed, "walk")]
        frames.append(
            sample.denoise(network, noise, sample.make_sampler(name, model.scheduler), steps, generators, eta)
        )
    for _ in range(steps):
        for name, walk in zip(SAMPLERS, frames, strict=True):
            yield name, next(walk)


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a ``sampler`` made in that many ``steps``: the ``picture`` [C, H, W], the ``seconds`` of all its steps, and its ``distance`` to
    what the same sampler makes of the same noise in many steps: root mean square over all values, which span 2."""

    sampler: str
    steps: int
    seconds: float
    distance: float
    picture: Tensor


def measure(
    model: Model, network: Callable, noise: Tensor, few: tuple[int, ...] = FEW, many: int = MANY
) -> Iterator[Measured | None]:
    """DPM++ 2M and DDIM (eta 0), the samplers whose end the noise alone decides, in ``many`` steps (distance 0) and then in ``few``;
    None after each step that ends nothing."""
    for name in ("dpmpp_2m", "ddim"):
        best = None
        for steps in (many, *few):
            seconds, began = 0.0, time.perf_counter()
            for frame in sample.denoise(network, noise, sample.make_sampler(name, model.scheduler), steps):
                seconds += time.perf_counter() - began
                if frame.step < frame.total:
                    yield None
                began = time.perf_counter()  # what others do between two steps doesn't count
            picture = model.codec.decode(frame.x)[0].clamp(-1, 1).cpu()
            best = picture if best is None else best
            yield Measured(name, steps, seconds, rms(picture - best), picture)
