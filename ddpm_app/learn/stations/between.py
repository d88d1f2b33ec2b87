"""Station 14, between two noises: what the model draws on the way from one seed to another, or from one label or text to another."""

import math
from collections.abc import Generator, Iterator

import torch
from PIL import Image
from torch import Tensor

from ddpm_app import plots, sample
from ddpm_app.data.preprocess import to_images
from ddpm_app.learn import panels
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.panels import Panel, PictureRow, PicturesPanel
from ddpm_app.learn.probes import slerp
from ddpm_app.learn.station import StationRequest
from ddpm_app.learn.stations.words import Prompt, condition_for, prompt_name, read_prompts, unconditional_panels

FRAMES, STEPS = 9, 8
STRIP = (0, 2, 4, 6, 8)
"""Frames shown side by side."""
ORDER = ((0, 4, 8), (2, 6, 1), (3, 5, 7))
"""Which frames are drawn together: the ends and the middle first."""
GUIDANCE = 3.0
THUMBNAIL_SIDE = 64
"""Side of the pictures in the strip."""
POINTS = 33


def show(context: LearnContext, request: StationRequest) -> Iterator[list[Panel] | None]:
    """All frames as noise, then as they are drawn, three at a time."""
    prompts: list[Prompt] = []
    if request["way"] == "asked":
        if context.model.conditioning.kind == "none":
            yield unconditional_panels(request)
            return
        prompts = read_prompts(context, request, "first", "last")
    shares = torch.linspace(0, 1, FRAMES)
    noise = _noise(context, request, shares)
    noise_images = _noise_images(context, noise)
    images: dict[int, Image.Image] = {}
    yield _panels(context, request, noise, noise_images, images, prompts)
    for frames in map(list, ORDER):
        x0 = yield from _denoise(context, noise[frames], shares[frames], prompts)
        images |= zip(frames, to_images(context.model.codec.decode(x0)), strict=True)
        yield _panels(context, request, noise, noise_images, images, prompts)


def _seeds(request: StationRequest) -> tuple[int, int]:
    return request.seed, request["second"]


def _noise(context: LearnContext, request: StationRequest, shares: Tensor) -> Tensor:
    """What each frame starts from [FRAMES, c, h, w]."""
    first, second = (context.noise(seed).expand(FRAMES, -1, -1, -1) for seed in _seeds(request))
    if request["way"] == "asked" or request.seed == request["second"]:
        return first.clone()
    return (slerp.lerp if request["way"] == "line" else slerp.slerp)(first, second, shares)


def _denoise(
    context: LearnContext, noise: Tensor, shares: Tensor, prompts: list[Prompt]
) -> Generator[None, None, Tensor]:
    """What becomes of ``noise``. Between two noises a conditional model is asked for what the picture shows."""
    model = context.model
    if prompts:
        ends = [condition_for(context, prompt) for prompt in (*prompts, None)]
        unet, condition, blank = slerp.blended(model.unet, *ends, shares.to(context.device))
    else:
        unet, condition, blank = model.unet, context.condition(len(noise)), context.unconditional(len(noise))
    denoiser = sample.CFGDenoiser(unet, condition, blank, GUIDANCE)
    sampler = sample.make_sampler("dpmpp_2m", model.scheduler)
    for frame in sample.denoise(denoiser, noise, sampler, min(STEPS, context.timesteps)):
        x = frame.x
        yield None
    return x


# ---- what is shown ------------------------------------------------------------------------------------------------------
def _noise_images(context: LearnContext, noise: Tensor) -> list[Image.Image]:
    """Noise as a person is shown it, as large as the pictures."""
    side = context.model.image_size
    return [
        image.resize((side, side), Image.Resampling.NEAREST)
        for image in to_images(panels.viewable(context.model, noise))
    ]


def _panels(
    context: LearnContext,
    request: StationRequest,
    noise: Tensor,
    noise_images: list[Image.Image],
    images: dict[int, Image.Image],
    prompts: list[Prompt],
) -> list[Panel]:
    """``images``: the frames that are drawn; the others are noise still."""
    if prompts:
        first, last = (prompt_name(context, prompt) for prompt in prompts)
        flows = [(request.say("noise"), noise[:1], "noise")]
    else:
        first, last = (request.say("seed", seed=seed) for seed in _seeds(request))
        half = noise[FRAMES // 2 : FRAMES // 2 + 1]
        flows = [(first, noise[:1], "noise"), (request.say("half"), half, "noise"), (last, noise[-1:], "noise")]
    frames = []
    for k in range(FRAMES):
        caption = request.say("frame", share=f"{100 * k / (FRAMES - 1):.0f}", first=first, last=last)
        frames.append((caption, [[noise_images[k], images.get(k, noise_images[k])]]))
    rows = [(request.say("noise"), "noise"), (request.say("drawn"), "prediction")]
    note = request.say("same") if not prompts and request.seed == request["second"] else ""
    return [
        panels.film("between", frames, request.lang, rows, note, pace=220, autoplay=len(images) == FRAMES),
        PicturesPanel("strip", [_strip(noise_images, images)], size="small"),
        panels.note(request.say(f"told_{request['way']}")),
        *([] if prompts else [panels.charts("length", [_length(context, request)], request.lang)]),
        panels.flow(flows, request.lang),
    ]


def _strip(noise_images: list[Image.Image], images: dict[int, Image.Image]) -> PictureRow:
    thumbnails = [
        panels.picture(
            _thumbnail(images.get(k, noise_images[k])),
            f"{100 * k / (FRAMES - 1):.0f} %",
            "prediction" if k in images else "noise",
        )
        for k in STRIP
    ]
    return PictureRow("", thumbnails)


def _thumbnail(image: Image.Image) -> Image.Image:
    if image.width <= THUMBNAIL_SIDE:
        return image
    return image.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX)


def _length(context: LearnContext, request: StationRequest) -> plots.Chart:
    """How long the noise is along the arc and along the straight line, over sqrt(D)."""
    shares = torch.linspace(0, 1, POINTS)
    ends = [context.noise(seed).cpu().expand(POINTS, -1, -1, -1) for seed in _seeds(request)]
    percentages, lines = [100 * float(share) for share in shares], []
    for key, colour, way in (("line_arc", "prediction", slerp.slerp), ("line_straight", "noise", slerp.lerp)):
        lengths = way(*ends, shares).flatten(1).norm(dim=1) / math.sqrt(ends[0][0].numel())
        points = percentages, [float(f"{length:.4g}") for length in lengths]
        lines.append(plots.line(request.say(key), colour, points, "line"))
    return plots.chart("length", request.say("chart"), request.say("axis"), lines, x_max=100)
