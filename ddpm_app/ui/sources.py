"""What one can draw with: runs, shipped models and, at home, any diffusers pipeline; and the same in plain diffusers."""

import pathlib
from typing import Any

from ddpm_app import runs
from ddpm_app.problems import Problem
from ddpm_app.text import ASSETS, t
from ddpm_app.ui import guard
from ddpm_app.ui.studio import Studio

MODELS = ASSETS / "models"
OTHER = "other"


def choices(studio: Studio, lang: str) -> list[tuple[str, str]]:
    """(label, value) of everything one can draw with: "run:NAME", "shipped:NAME", and at home "other"."""
    shipped = [(t("ui.sample.shipped", lang, name=name), f"shipped:{name}") for name in shipped_models()]
    saved = [
        (t("ui.sample.run", lang, name=one["name"], size=one["config"].get("image_size", "?")), f"run:{one['name']}")
        for one in studio.board.briefs()
        if one["saved"] or one["active"]
    ]
    return [*saved, *shipped, *([] if studio.public else [(t("ui.sample.another", lang), OTHER)])]


def shipped_models() -> list[str]:
    """Names of the pipelines that came with the app."""
    return sorted(path.parent.name for path in MODELS.glob("*/model_index.json"))


def default(studio: Studio, run: str) -> str | None:
    """The run on show once it has saved something, else a shipped model, else the first there is."""
    if run:
        return f"run:{run}"
    values = [value for _, value in choices(studio, "en")]
    return next((value for value in values if value.startswith("shipped:")), values[0] if values else None)


def place_of(studio: Studio, source: str | None, other: str | None) -> pathlib.Path | str:
    """Where the source lies. Raises Problem: "no_source", "run_missing", "model_missing", "public_off"."""
    kind, _, name = (source or "").partition(":")
    if kind == "run":
        return runs.find(studio.runs_dir, name).path
    if kind == "shipped":
        if name not in shipped_models():
            raise Problem("model_missing", value=name)
        return MODELS / name
    if kind != OTHER or not (other or "").strip():
        raise Problem("no_source")
    guard.refuse_in_public(studio)
    return other.strip()


def has_raw(studio: Studio, source: str | None) -> bool:
    """Whether the source holds raw weights beside the averaged ones."""
    kind, _, name = (source or "").partition(":")
    try:
        run = runs.find(studio.runs_dir, name) if kind == "run" else None
    except Problem:
        return False
    return bool(run and run.checkpoints and run.record.get("config", {}).get("use_ema"))


def python_lines(studio: Studio, asked: dict[str, Any]) -> str:
    """How to draw the same kind of pictures with plain diffusers, without this project. ``asked``: the tab's settings by name."""
    pipeline = "DDIMPipeline" if asked["sampler"] == "ddim" else "DDPMPipeline"
    fast, extra = asked["sampler"] == "dpmpp_2m", f", eta={asked['eta']}" if asked["sampler"] == "ddim" else ""
    lines = [
        "import torch",
        f"from diffusers import {pipeline}{', DPMSolverMultistepScheduler' if fast else ''}",
        "",
        f'pipeline = {pipeline}.from_pretrained("{_shown_place(studio, asked)}")',
    ]
    if fast:
        solver = 'DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config, final_sigmas_type="zero")'
        lines.append(f"pipeline.scheduler = {solver}")
    count = f"batch_size={asked['num_images']}, num_inference_steps={asked['num_inference_steps']}{extra}"
    return "\n".join([
        *lines,
        f"generator = torch.Generator().manual_seed({asked['seed'] or 0})",
        f"images = pipeline({count}, generator=generator).images",
        'images[0].save("0000.png")',
    ])


def _shown_place(studio: Studio, asked: dict[str, Any]) -> pathlib.PurePath | str:
    """The source's place as the visitor may see it: from where the app was started, and no machine's paths in public."""
    kind, _, name = (asked["source"] or "").partition(":")
    if kind not in ("run", "shipped"):
        return (asked["other"] or "").strip() or "user/name"
    folder = studio.runs_dir / name / "pipeline" if kind == "run" else MODELS / name
    if folder.is_relative_to(pathlib.Path.cwd()):
        return folder.relative_to(pathlib.Path.cwd())
    return pathlib.Path(*folder.parts[-3:]) if studio.public else folder
