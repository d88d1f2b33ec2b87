"""Sampling as a generator: every denoising step is a frame with x_t and the guess of x0."""

import dataclasses
import math
import types
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from PIL import Image
from torch import Tensor

from ddpm_app import diffusion
from ddpm_app.data.preprocess import to_images
from ddpm_app.errors import Problem
from ddpm_app.images import add_info
from ddpm_app.model.pipeline import Model

SAMPLERS = ("dpmpp_2m", "ddim", "ddpm")
Sampler: TypeAlias = DDPMScheduler | DDIMScheduler | DPMSolverMultistepScheduler


@dataclasses.dataclass(frozen=True)
class Request:
    """What to draw. Picture i comes from a generator seeded with ``seed + i``, so it doesn't depend on how many are
    drawn or on ``batch_size``. ``eta`` (0 to 1) is DDIM's share of fresh noise (arXiv 2010.02502).

    Of a model with words each picture takes the next text of ``prompt``, of one with labels the next number in ``labels`` (-1: none;
    empty: every label in turn). ``guidance_scale`` (0 to 100): 0 ignores it, 1 follows it plainly, more exaggerates it against ``negative_prompt`` (classifier-free guidance, arXiv 2207.12598)."""

    num_images: int = 4
    sampler: str = "dpmpp_2m"
    num_inference_steps: int = 20
    eta: float = 0.0
    seed: int = 0
    batch_size: int = 16
    prompt: tuple[str, ...] = ()
    negative_prompt: str = ""
    labels: tuple[int, ...] = ()
    guidance_scale: float = 3.0

    def __post_init__(self):
        bounds = dict(
            num_images=(1, 1024),
            num_inference_steps=(1, 10_000),
            eta=(0, 1),
            seed=(0, 2**32 - 1),
            batch_size=(1, 1024),
            guidance_scale=(0, 100),
        )
        for field, (low, high) in bounds.items():
            value = getattr(self, field)
            if value > high:
                raise Problem("less_than_equal", field, value=value, limit=high)
            if not value >= low:  # not a number, too
                raise Problem("greater_than_equal", field, value=value, limit=low)
        if self.sampler not in SAMPLERS:
            raise Problem("literal_error", "sampler", value=self.sampler, limit=", ".join(SAMPLERS))


@dataclasses.dataclass(frozen=True)
class Frame:
    """One denoising step: ``step`` of ``total`` (1 to total) at ``timestep``; ``x`` is what the next step starts from and
    ``x0`` the guess of what is clean, both [N, C, H, W], pictures or latents as the model's codec has them."""

    step: int
    total: int
    timestep: int
    x: Tensor
    x0: Tensor


def make_sampler(name: str, trained: DDPMScheduler) -> Sampler:
    """The sampler of that name for a model trained with ``trained``. "dpmpp_2m" is DPM-Solver++ (2M), arXiv 2211.01095."""
    if name == "ddpm":
        return DDPMScheduler.from_config(trained.config)
    if name == "ddim":
        return DDIMScheduler.from_config(trained.config)
    shared = {k: trained.config[k] for k in ("num_train_timesteps", "prediction_type")}
    betas = trained.betas.tolist()  # the solver doesn't know all schedules by name
    return DPMSolverMultistepScheduler(
        **shared,
        trained_betas=betas,
        algorithm_type="dpmsolver++",
        solver_order=2,
        final_sigmas_type="zero",
        rescale_betas_zero_snr=diffusion.has_zero_snr(trained),  # the solver then keeps its last sigma finite
    )


def timesteps(sampler: Sampler, count: int, device: str | torch.device) -> Tensor:
    """Set ``sampler`` to ``count`` timesteps, from the noisiest down [count], all of them among those the model was trained with."""
    total = sampler.config.num_train_timesteps
    if isinstance(sampler, DPMSolverMultistepScheduler):
        # Spread evenly inside (0, T): the very first timesteps, where a briefly trained network guesses worst, are left out. diffusers'
        # own "leading" rounds the distance down, and would begin 200 steps in the middle of the noise and 1,000 at its end.
        sampler.set_timesteps(timesteps=[k * total // (count + 1) for k in range(count, 0, -1)], device=device)
    else:
        sampler.set_timesteps(count, device=device)
    # steps_offset moves the first of all T beyond the last
    steps = sampler.timesteps - max(0, int(sampler.timesteps[0]) - total + 1)
    if diffusion.hides_x0(sampler):
        steps = steps.clamp(max=total - 2)
    sampler.timesteps = steps  # where DDPM looks up which comes next
    return steps


class CFGDenoiser:
    """A UNet with its conditions filled in and classifier-free guidance: ``denoiser(x, t).sample``. Unlike the pipelines of diffusers it also
    takes a scale below 1. ``conditional`` and ``unconditional`` are the UNet's arguments with and without label or text, [N, ...] each."""

    def __init__(
        self,
        unet: Callable[..., Any],
        conditional: dict[str, Tensor],
        unconditional: dict[str, Tensor],
        scale: float,
    ):
        self.unet, self.scale = unet, scale
        self.alone = conditional if scale == 1 else unconditional if scale == 0 else None
        self.both = {name: torch.cat([unconditional[name], conditional[name]]) for name in conditional}

    def __call__(self, x: Tensor, t: Tensor) -> Any:
        if self.alone is not None or not self.both:
            return self.unet(x, t, **(self.alone or {}))
        plain, guided = self.unet(torch.cat([x, x]), t, **self.both).sample.chunk(2)
        return types.SimpleNamespace(sample=plain + self.scale * (guided - plain))


@torch.no_grad()
def denoise(
    unet: Callable[..., Any],
    noise: Tensor,
    sampler: Sampler,
    num_inference_steps: int,
    generators: list[torch.Generator] | None = None,
    eta: float = 0.0,
) -> Iterator[Frame]:
    """From pure noise [N, C, H, W] to pictures, or their latents, in ``num_inference_steps`` frames. ``unet``: a UNet or a CFGDenoiser."""
    x, steps = noise, timesteps(sampler, num_inference_steps, noise.device)
    options = {"eta": eta} if isinstance(sampler, DDIMScheduler) else {}
    for k, t in enumerate(steps):
        output = unet(x, t).sample
        result = sampler.step(output, t, x, generator=generators, **options)
        x0 = getattr(result, "pred_original_sample", None)
        if x0 is None:
            alpha_bar = sampler.alphas_cumprod[t.long().cpu()].to(x.device)
            x0 = diffusion.x0_from(sampler.config.prediction_type, output, x, alpha_bar)
        x = result.prev_sample
        yield Frame(k + 1, len(steps), int(t), x, x0)


def sample(model: Model, request: Request) -> Iterator[Frame]:
    """Draw the request's pictures batch by batch. Each frame holds the batch it belongs to; the last frame of each batch
    holds finished pictures. ``step`` and ``total`` count over all batches.

    Raises Problem: "preview_steps" (more steps than the model was trained with), "label_unknown".
    """
    trained_steps = model.scheduler.config.num_train_timesteps
    if request.num_inference_steps > trained_steps:
        raise Problem(
            "preview_steps",
            "num_inference_steps",
            other="num_train_timesteps",
            value=request.num_inference_steps,
            timesteps=trained_steps,
        )
    device = model.unet.device
    conditional = model.conditioning.conditional(request.num_images, request.prompt, request.labels)
    unconditional = model.conditioning.unconditional(request.num_images, request.negative_prompt)
    batches = math.ceil(request.num_images / request.batch_size)
    for b in range(batches):
        first = b * request.batch_size
        count = min(request.batch_size, request.num_images - first)
        generators = [torch.Generator().manual_seed(request.seed + first + i) for i in range(count)]
        noise = torch.cat([torch.randn((1, *model.shape), generator=g) for g in generators]).to(device)
        sampler = make_sampler(request.sampler, model.scheduler)
        denoiser = CFGDenoiser(
            model.unet,
            _part(conditional, first, count, device),
            _part(unconditional, first, count, device),
            request.guidance_scale,
        )
        for frame in denoise(denoiser, noise, sampler, request.num_inference_steps, generators, request.eta):
            yield dataclasses.replace(frame, step=b * frame.total + frame.step, total=batches * frame.total)


def _part(arguments: dict[str, Tensor], first: int, count: int, device: torch.device) -> dict[str, Tensor]:
    return {name: values[first : first + count].to(device) for name, values in arguments.items()}


def draw(model: Model, request: Request) -> Iterator[tuple[Frame, list[Image.Image]]]:
    """As ``sample``, with all pictures finished so far beside each frame. Each says in its ``info`` how it was drawn (see ``provenance``)."""
    batches = math.ceil(request.num_images / request.batch_size)
    pictures: list[Image.Image] = []
    for frame in sample(model, request):
        if frame.step % (frame.total // batches) == 0:
            finished = to_images(model.codec.decode(frame.x))
            for picture, texts in zip(finished, provenance(model, request)[len(pictures) :], strict=False):
                add_info(picture, texts)
            pictures = pictures + finished
        yield frame, pictures


def provenance(model: Model, request: Request) -> list[dict[str, str]]:
    """How each picture of a request is drawn, as texts by the names of Request: with its own ``seed`` it can be drawn again alone."""
    shared: dict[str, object] = {"Software": "DDPM Studio", "model": model.name, "weights": model.weights}
    shared |= {"sampler": request.sampler, "num_inference_steps": request.num_inference_steps}
    if request.sampler == "ddim":
        shared["eta"] = request.eta
    kind = model.conditioning.kind
    if kind != "none":
        shared["guidance_scale"] = request.guidance_scale
    if kind == "text":
        shared["negative_prompt"] = request.negative_prompt
    condition = {"labels": "label", "text": "prompt"}.get(kind)
    pictures = []
    for k, text in enumerate(conditions(model, request)):
        own = {"seed": request.seed + k} | ({condition: text} if condition else {})
        pictures.append({name: str(value) for name, value in (shared | own).items()})
    return pictures


def conditions(model: Model, request: Request) -> list[str]:
    """What each picture of a request shows: the name of its label, its text, or ""."""
    conditioning = model.conditioning
    turn: list[str] = [""]
    if conditioning.kind == "labels":
        names = [*conditioning.names, ""]  # -1, no label, takes the last
        turn = [names[k] for k in request.labels or range(len(names) - 1)]
    elif conditioning.kind == "text":
        turn = list(request.prompt) or turn
    return [turn[k % len(turn)] for k in range(request.num_images)]
