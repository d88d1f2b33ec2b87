"""How to draw the same pictures with plain diffusers, without this project: the lines shown on the Sample tab."""

import math
import pathlib
from typing import Any

from ddpm_app.model import describe, locate
from ddpm_app.model.describe import ModelInfo
from ddpm_app.ui.state import App

SCHEDULERS = {"dpmpp_2m": "DPMSolverMultistepScheduler", "ddim": "DDIMScheduler", "ddpm": "DDPMScheduler"}
SOLVER = (
    "(\n    pipeline.scheduler.config, trained_betas=pipeline.scheduler.betas.tolist(),"
    ' timestep_spacing="leading", steps_offset=0, final_sigmas_type="zero"\n)'
)
NOISE = "noise = torch.cat([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in range({first}, {end})])"
GENERATORS = "generators = [torch.Generator().manual_seed(seed) for seed in range({first}, {end})]"


def diffusers_snippet(app: App, asked: dict[str, Any]) -> str:
    """The lines for the tab's settings by name. Each picture starts from the noise of its own seed, as here. It comes out the same (to
    rounding) where the sampler adds no noise on the way; with the solver, whose timesteps diffusers rounds otherwise, nearly the same."""
    kind = app.models.info(asked["source"], asked["other"])
    name, scheduler = _pipeline_of(kind, asked), _scheduler_of(kind, asked["sampler"])
    used = sorted({name, *([scheduler] if scheduler else [])})
    first, end = int(asked["seed"] or 0), int(asked["seed"] or 0) + int(asked["num_images"] or 0)
    lines = ["import torch", f"from diffusers import {', '.join(used)}", "", *_loading(app, asked, kind, name)]
    if scheduler:
        made_from = SOLVER if asked["sampler"] == "dpmpp_2m" else "(pipeline.scheduler.config)"
        lines.append(f"pipeline.scheduler = {scheduler}.from_config{made_from}")
    if kind.own:
        lines.append(
            "shape = (1, pipeline.unet.config.in_channels, pipeline.unet.config.sample_size, pipeline.unet.config.sample_size)"
        )
    lines.append((NOISE if kind.own else GENERATORS).format(first=first, end=end))
    options = {**_wanted(kind, asked), "num_inference_steps": asked["num_inference_steps"]}
    if asked["sampler"] == "ddim" and not kind.own:
        options["eta"] = asked["eta"]
    options |= {"latents": "noise"} if kind.own else {"generator": "generators"}
    return "\n".join([*lines, f"images = pipeline({_spelled(options)}).images", 'images[0].save("0000.png")'])


def _pipeline_of(kind: ModelInfo, asked: dict[str, Any]) -> str:
    """The pipeline class that draws with this kind."""
    if kind.own:
        return "DiffusionPipeline"
    if kind.conditioning == "text" or kind.conditioning == "unknown" and (asked["prompt"] or "").strip():
        return "StableDiffusionPipeline"
    if kind.latent:
        return "LDMPipeline"
    return "DDIMPipeline" if asked["sampler"] == "ddim" else "DDPMPipeline"


def _scheduler_of(kind: ModelInfo, sampler: str) -> str | None:
    """The scheduler to put into the pipeline; None where it brings the right one."""
    plain = not kind.own and not kind.latent and kind.conditioning in ("none", "unknown")
    return None if plain and sampler in ("ddim", "ddpm") else SCHEDULERS.get(sampler)


def _loading(app: App, asked: dict[str, Any], kind: ModelInfo, name: str) -> list[str]:
    place = str(_shown_place(app, asked))
    if not kind.own:
        return [f"pipeline = {name}.from_pretrained({_quoted(place)})"]
    return [
        f"folder = {_quoted(place)}",
        f"pipeline = {name}.from_pretrained(folder, custom_pipeline=folder, trust_remote_code=True)",
    ]


def _wanted(kind: ModelInfo, asked: dict[str, Any]) -> dict[str, Any]:
    """How many pictures, of what: the arguments that say so, as code."""
    count, guidance = int(asked["num_images"] or 0), {"guidance_scale": asked["guidance_scale"]}
    if kind.conditioning == "labels":
        names = [kind.labels[k] for k in asked["labels"] or () if 0 <= k < len(kind.labels)]
        return {"labels": _in_turn([_quoted(name) for name in names or kind.labels], count), **guidance}
    if kind.conditioning == "text" or kind.conditioning == "unknown" and (asked["prompt"] or "").strip():
        texts, negative = (
            _in_turn([_quoted(text) for text in prompts(asked["prompt"]) or [""]], count),
            _quoted(asked["negative_prompt"] or ""),
        )
        return {"prompt": texts, "negative_prompt": negative if kind.own else f"[{negative}] * {count}", **guidance}
    return {"batch_size": count}


def prompts(text: str | None) -> list[str]:
    """The texts asked for, one per line."""
    return [line.strip() for line in (text or "").splitlines() if line.strip()]


def _in_turn(values: list[str], count: int) -> str:
    """Code for a list of ``count`` that takes ``values`` in turn."""
    if len(values) >= count:
        return f"[{', '.join(values[:count])}]"
    if len(values) == 1:
        return f"[{values[0]}] * {count}"
    return f"([{', '.join(values)}] * {math.ceil(count / len(values))})[:{count}]"


def _spelled(options: dict[str, Any]) -> str:
    parts = [f"{name}={value}" for name, value in options.items()]
    line = ", ".join(parts)
    return line if len(line) < 100 else "\n" + "".join(f"    {part},\n" for part in parts)


def _quoted(text: str) -> str:
    """A text as Python writes it, in double quotes where it holds none."""
    plain = repr(text)
    return f'"{plain[1:-1]}"' if plain[0] == "'" and '"' not in text else plain


def _shown_place(app: App, asked: dict[str, Any]) -> pathlib.PurePath | str:
    """The source's place as the visitor may see it: from where the app was started, and no machine's paths in public."""
    kind, _, name = (asked["source"] or "").partition(":")
    if kind == "run":
        folder = app.runs_dir / name / "pipeline"
    elif kind == "shipped":
        folder = locate.SHIPPED / name
    else:
        typed = (asked["other"] or "").strip()
        found = None if app.public else locate.find_local(typed, app.runs_dir)
        if found is None:
            return typed or "user/name"
        folder = describe.pipeline_folder(found)
    if folder.is_relative_to(pathlib.Path.cwd()):
        return folder.relative_to(pathlib.Path.cwd())
    return pathlib.Path(*folder.parts[-3:]) if app.public else folder
