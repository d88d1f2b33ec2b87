"""Sampling as a generator: every denoising step is a frame with x_t and the guess of x0."""

import dataclasses
import math
import pathlib
import re
from collections.abc import Iterator

import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DModel
from huggingface_hub import errors, snapshot_download
from huggingface_hub.utils import httpx
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from ddpm_app import diffusion
from ddpm_app.data.preprocess import to_display
from ddpm_app.problems import Problem
from ddpm_app.runs import Run

SAMPLERS = ("dpmpp_2m", "ddim", "ddpm")


@dataclasses.dataclass(frozen=True)
class Request:
    """What to draw. Picture i comes from a generator seeded with ``seed + i``, so it doesn't depend on how many are
    drawn or on ``batch_size``. ``eta`` (0 to 1) is DDIM's share of fresh noise (arXiv 2010.02502)."""

    num_images: int = 4
    sampler: str = "dpmpp_2m"
    num_inference_steps: int = 20
    eta: float = 0.0
    seed: int = 0
    batch_size: int = 16

    def __post_init__(self):
        bounds = dict(num_images=(1, 1024), num_inference_steps=(1, 10_000), eta=(0, 1), seed=(0, 2**32 - 1), batch_size=(1, 1024))
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
    ``x0`` the guess of the clean pictures, both [N, C, H, W]."""

    step: int
    total: int
    timestep: int
    x: Tensor
    x0: Tensor


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A model to sample from: the UNet in eval mode and the scheduler it was trained with."""

    unet: UNet2DModel
    scheduler: DDPMScheduler

    @property
    def shape(self) -> tuple[int, int, int]:
        """[C, H, W] of a picture."""
        side = self.unet.config.sample_size
        height, width = side if isinstance(side, (list, tuple)) else (side, side)
        return self.unet.config.in_channels, height, width


def load(source: str | pathlib.Path, weights: str = "ema", device: str = "cpu") -> Loaded:
    """A run's folder, a diffusers folder or a Hub id. ``weights`` "raw" takes those of a run's latest checkpoint.

    Reads safetensors only, and never runs code from the folder. Raises Problem: "model_missing", "no_snapshot" (the run
    has saved nothing yet), "no_raw_weights", "no_network".
    """
    path = pathlib.Path(source)
    checkpoint = None
    if (path / "status.json").is_file():
        run = Run(path)
        if weights == "raw":
            checkpoint = next(reversed(run.checkpoints), None)
        path = run.pipeline
        if not path.is_dir():
            raise Problem("no_snapshot", value=run.name)
    elif not str(source) or not path.is_dir():
        path = fetch(str(source))
    if weights == "raw" and checkpoint is None:
        raise Problem("no_raw_weights", value=str(source))
    try:
        scheduler = DDPMScheduler.from_pretrained(path, **_part(path, "scheduler"))
        unet = UNet2DModel.from_pretrained(checkpoint or path, use_safetensors=True, **_part(checkpoint or path, "unet"))
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise Problem("model_unreadable", value=str(source), reason=str(error).splitlines()[0]) from error
    return Loaded(unet.eval().requires_grad_(False).to(device), scheduler)


def _part(folder: pathlib.Path, name: str) -> dict[str, str]:
    """Where a part of a pipeline lies: in a folder of its own, or, in the oldest pipelines, among the others."""
    return {"subfolder": name} if (folder / name).is_dir() else {}


def fetch(hub_id: str) -> pathlib.Path:
    """The folder of a pipeline downloaded from the Hub, or found in its cache: settings and safetensors, never code or pickles.

    Raises Problem: "model_missing", "no_network", "model_unreadable"."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", hub_id):
        raise Problem("model_missing", value=hub_id)
    try:
        return pathlib.Path(snapshot_download(hub_id, allow_patterns=["*.json", "*.safetensors"]))
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise Problem("model_missing", value=hub_id) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, ConnectionError, httpx.TransportError) as error:
        raise Problem("no_network", value=hub_id) from error
    except errors.HfHubHTTPError as error:
        raise Problem("model_unreadable", value=hub_id, reason=str(error).splitlines()[0]) from error


def make_sampler(name: str, trained: DDPMScheduler) -> DDPMScheduler | DDIMScheduler | DPMSolverMultistepScheduler:
    """The sampler of that name for a model trained with ``trained``. "dpmpp_2m" is DPM-Solver++ (2M), arXiv 2211.01095."""
    if name == "ddpm":
        return DDPMScheduler.from_config(trained.config)
    if name == "ddim":
        return DDIMScheduler.from_config(trained.config)
    shared = {k: trained.config[k] for k in ("num_train_timesteps", "prediction_type")}
    betas = trained.betas.tolist()  # the solver doesn't know all schedules by name
    return DPMSolverMultistepScheduler(**shared, trained_betas=betas, algorithm_type="dpmsolver++", solver_order=2, final_sigmas_type="zero")


@torch.no_grad()
def denoise(unet: torch.nn.Module, noise: Tensor, sampler, num_inference_steps: int, generators: list[torch.Generator] | None = None,
            eta: float = 0.0) -> Iterator[Frame]:
    """From pure noise [N, C, H, W] to pictures in ``num_inference_steps`` frames."""
    sampler.set_timesteps(num_inference_steps, device=noise.device)
    options = {"eta": eta} if isinstance(sampler, DDIMScheduler) else {}
    x, steps = noise, sampler.timesteps
    for k, t in enumerate(steps):
        output = unet(x, t).sample
        result = sampler.step(output, t, x, generator=generators, **options)
        x0 = getattr(result, "pred_original_sample", None)
        if x0 is None:
            abar = sampler.alphas_cumprod[t.long().cpu()].to(x.device)
            x0 = diffusion.x0_from(sampler.config.prediction_type, output, x, abar)
        x = result.prev_sample
        yield Frame(k + 1, len(steps), int(t), x, x0)


def sample(model: Loaded, request: Request) -> Iterator[Frame]:
    """Draw the request's pictures batch by batch. Each frame holds the batch it belongs to; the last frame of each batch
    holds finished pictures. ``step`` and ``total`` count over all batches.

    Raises Problem("preview_steps") for more steps than the model was trained with.
    """
    known = model.scheduler.config.num_train_timesteps
    if request.num_inference_steps > known:
        raise Problem("preview_steps", "num_inference_steps", other="num_train_timesteps", value=request.num_inference_steps, timesteps=known)
    device = model.unet.device
    batches = math.ceil(request.num_images / request.batch_size)
    for b in range(batches):
        first = b * request.batch_size
        count = min(request.batch_size, request.num_images - first)
        generators = [torch.Generator().manual_seed(request.seed + first + i) for i in range(count)]
        noise = torch.cat([torch.randn((1, *model.shape), generator=g) for g in generators]).to(device)
        sampler = make_sampler(request.sampler, model.scheduler)
        for frame in denoise(model.unet, noise, sampler, request.num_inference_steps, generators, request.eta):
            yield dataclasses.replace(frame, step=b * frame.total + frame.step, total=batches * frame.total)


def draw(model: Loaded, request: Request) -> Iterator[tuple[Frame, list[Image.Image]]]:
    """As ``sample``, with all pictures finished so far beside each frame."""
    done: list[Image.Image] = []
    for frame in sample(model, request):
        if frame.step % (frame.total // math.ceil(request.num_images / request.batch_size)) == 0:
            done = done + to_images(frame.x)
        yield frame, done


def to_images(x: Tensor) -> list[Image.Image]:
    """Pictures in [-1, 1], [N, C, H, W], as PIL images, clamped."""
    return [Image.fromarray(a.squeeze(-1) if a.shape[-1] == 1 else a) for a in to_display(x)]


def grid(images: list[Image.Image], columns: int | None = None, gap: int = 2) -> Image.Image:
    """All pictures on one white sheet, ``columns`` (default: about square) to a row."""
    columns = columns or math.ceil(math.sqrt(len(images)))
    width, height = images[0].size
    rows = math.ceil(len(images) / columns)
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), "white")
    for k, image in enumerate(images):
        sheet.paste(image, (k % columns * (width + gap), k // columns * (height + gap)))
    return sheet
