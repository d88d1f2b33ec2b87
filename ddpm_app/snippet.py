"""How to draw the same pictures with plain diffusers, without this project: the lines shown on the Sample tab."""

import dataclasses
import math
import pathlib
from collections.abc import Sequence

from ddpm_app.access import AccessPolicy
from ddpm_app.model import describe, locate
from ddpm_app.model.describe import ModelInfo
from ddpm_app.model_choices import OTHER, ModelChoices

SCHEDULERS = {"dpmpp_2m": "DPMSolverMultistepScheduler", "ddim": "DDIMScheduler", "ddpm": "DDPMScheduler"}
SOLVER = (
    "(\n    pipeline.scheduler.config, trained_betas=pipeline.scheduler.betas.tolist(),"
    ' timestep_spacing="leading", steps_offset=0, final_sigmas_type="zero"\n)'
)
LOAD_FILE = "from safetensors.torch import load_file"
NOISE = "noise = torch.cat([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in range({first}, {end})])"
GENERATORS = "generators = [torch.Generator().manual_seed(seed) for seed in range({first}, {end})]"
SHAPE = (
    "shape = (1, pipeline.unet.config.in_channels, pipeline.unet.config.sample_size, pipeline.unet.config.sample_size)"
)


@dataclasses.dataclass(frozen=True)
class DrawSettings:
    """What the Sample tab holds: ``source`` is a choice of ModelChoices, ``other`` what is typed beside it, ``prompt`` has a text per
    line, ``labels`` are numbers; the rest as in sample.Request."""

    source: str | None = None
    other: str = ""
    prompt: str = ""
    negative_prompt: str = ""
    labels: tuple[int, ...] = ()
    guidance_scale: float = 3.0
    num_images: int = 4
    sampler: str = "dpmpp_2m"
    num_inference_steps: int = 20
    eta: float = 0.0
    seed: int = 0
    weights: str = "ema"

    @property
    def prompts(self) -> tuple[str, ...]:
        """The texts of the prompt."""
        return tuple(line.strip() for line in self.prompt.splitlines() if line.strip())


def diffusers_snippet(settings: DrawSettings, models: ModelChoices, access: AccessPolicy) -> str:
    """The lines that draw with these settings. Each picture starts from the noise of its own seed, as in the app. It comes out the
    same (to rounding) where the sampler adds no noise on the way; with the solver, whose timesteps diffusers rounds otherwise,
    nearly the same."""
    info = models.info(settings.source, settings.other)
    lines = snippet(settings, info, str(_shown_location(settings, access)), _checkpoint_weights(settings, access))
    return lines + '\nimages[0].save("0000.png")'


def snippet(settings: DrawSettings, info: ModelInfo, location: str, weights: Sequence[str] = ()) -> str:
    """The lines that make ``images`` with the pipeline that lies at ``location``; ``weights``: lines that put others into it."""
    pipeline, scheduler = _pipeline_class(info, settings), _scheduler_class(info, settings.sampler)
    imports = ", ".join(sorted({pipeline, *([scheduler] if scheduler else [])}))
    lines = ["import torch", f"from diffusers import {imports}", *([LOAD_FILE] if weights else []), ""]
    lines += [*_loading(pipeline, info, location), *weights]
    if scheduler:
        arguments = SOLVER if settings.sampler == "dpmpp_2m" else "(pipeline.scheduler.config)"
        lines.append(f"pipeline.scheduler = {scheduler}.from_config{arguments}")
    if info.own:
        lines.append(SHAPE)
    first = settings.seed
    lines.append((NOISE if info.own else GENERATORS).format(first=first, end=first + settings.num_images))
    options = {**_conditions(info, settings), "num_inference_steps": str(settings.num_inference_steps)}
    if settings.sampler == "ddim" and not info.own:
        options["eta"] = str(settings.eta)
    options |= {"latents": "noise"} if info.own else {"generator": "generators"}
    return "\n".join([*lines, f"images = pipeline({_arguments(options)}).images"])


def _takes_text(info: ModelInfo, settings: DrawSettings) -> bool:
    """Whether the pictures are asked for by a text; of a model that isn't on this machine, whether one was typed."""
    return info.conditioning == "text" or info.conditioning == "unknown" and bool(settings.prompt.strip())


def _pipeline_class(info: ModelInfo, settings: DrawSettings) -> str:
    """The pipeline class that draws with this model."""
    if info.own:
        return "DiffusionPipeline"
    if _takes_text(info, settings):
        return "StableDiffusionPipeline"
    if info.latent:
        return "LDMPipeline"
    return "DDIMPipeline" if settings.sampler == "ddim" else "DDPMPipeline"


def _scheduler_class(info: ModelInfo, sampler: str) -> str | None:
    """The scheduler to put into the pipeline; None where it brings the right one."""
    plain = not info.own and not info.latent and info.conditioning in ("none", "unknown")
    return None if plain and sampler in ("ddim", "ddpm") else SCHEDULERS.get(sampler)


def _loading(pipeline: str, info: ModelInfo, location: str) -> list[str]:
    if not info.own:
        remark = ["# it may warn of the type of its vqvae: any autoencoder of diffusers will do"]
        load = f"pipeline = {pipeline}.from_pretrained({_quoted(location)})"
        return [*(remark if pipeline == "LDMPipeline" else []), load]
    return [
        f"folder = {_quoted(location)}",
        f"pipeline = {pipeline}.from_pretrained(folder, custom_pipeline=folder, trust_remote_code=True)",
    ]


def _checkpoint_weights(settings: DrawSettings, access: AccessPolicy) -> list[str]:
    """Lines that put the weights of a run's checkpoint into the pipeline; none for another source."""
    typed = settings.other.strip() if settings.source == OTHER and not access.public else ""
    place = locate.find_local(typed, access.runs_dir)
    if place is None or not describe.run_of_checkpoint(place):
        return []
    if (place / describe.AVERAGE).is_file():
        return [
            f"average = load_file({_quoted(str(place / describe.AVERAGE))})",
            "for weight, number in zip(pipeline.unet.parameters(), sorted(average)):",
            "    weight.data.copy_(average[number])",
        ]
    file = place / "unet" / "diffusion_pytorch_model.safetensors"
    return [f"pipeline.unet.load_state_dict(load_file({_quoted(str(file))}))"]


def _conditions(info: ModelInfo, settings: DrawSettings) -> dict[str, str]:
    """How many pictures, of what: the arguments that say so, as code."""
    count, guidance = settings.num_images, {"guidance_scale": str(settings.guidance_scale)}
    if info.conditioning == "labels":
        names = [info.labels[k] for k in settings.labels if 0 <= k < len(info.labels)]
        return {"labels": _in_turn([_quoted(name) for name in names or info.labels], count), **guidance}
    if _takes_text(info, settings):
        texts = _in_turn([_quoted(text) for text in settings.prompts or [""]], count)
        negative = _quoted(settings.negative_prompt)
        return {"prompt": texts, "negative_prompt": negative if info.own else f"[{negative}] * {count}", **guidance}
    return {"batch_size": str(count)}


def _in_turn(values: list[str], count: int) -> str:
    """Code for a list of ``count`` that takes ``values`` in turn."""
    if len(values) >= count:
        return f"[{', '.join(values[:count])}]"
    if len(values) == 1:
        return f"[{values[0]}] * {count}"
    return f"([{', '.join(values)}] * {math.ceil(count / len(values))})[:{count}]"


def _arguments(options: dict[str, str]) -> str:
    """Code for keyword arguments, in lines of their own where they are many."""
    parts = [f"{name}={value}" for name, value in options.items()]
    line = ", ".join(parts)
    return line if len(line) < 100 else "\n" + "".join(f"    {part},\n" for part in parts)


def _quoted(text: str) -> str:
    """A text as Python writes it, in double quotes where it holds none."""
    plain = repr(text)
    return f'"{plain[1:-1]}"' if plain[0] == "'" and '"' not in text else plain


def _shown_location(settings: DrawSettings, access: AccessPolicy) -> pathlib.PurePath | str:
    """Where the source lies, as the visitor may see it: from where the app was started, and no machine's paths in public."""
    kind, _, name = (settings.source or "").partition(":")
    if kind == "run":
        folder = access.runs_dir / name / "pipeline"
    elif kind == "shipped":
        folder = locate.SHIPPED / name
    else:
        typed = settings.other.strip()
        location = None if access.public else locate.find_local(typed, access.runs_dir)
        if location is None:
            return typed or "user/name"
        folder = describe.pipeline_folder(location)
    if folder.is_relative_to(pathlib.Path.cwd()):
        return folder.relative_to(pathlib.Path.cwd())
    return pathlib.Path(*folder.parts[-3:]) if access.public else folder
