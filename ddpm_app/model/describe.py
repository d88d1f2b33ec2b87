"""What kind of model lies in a folder, read from its small files: the one place that decides it. No torch."""

import dataclasses
import pathlib
from typing import Literal

from huggingface_hub import errors, try_to_load_from_cache

from ddpm_app.files import read_json
from ddpm_app.runs.run import Run

AVERAGE = "ema.safetensors"
"""The file of a checkpoint with the averaged weights, numbered in the order of the network's parameters."""
VAES = ("vae", "vqvae")
"""Folders of a pipeline that hold its autoencoder."""


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """A pipeline's kind.

    ``conditioning``: what it is conditioned by; "unknown" for one on the Hub of which nothing lies on this machine yet. ``labels``:
    their names. ``latent``: its UNet denoises an autoencoder's latents. ``own``: no pipeline of diffusers draws with it, so that its
    folder carries one.
    """

    conditioning: Literal["none", "labels", "text", "unknown"] = "none"
    labels: tuple[str, ...] = ()
    latent: bool = False
    own: bool = False

    @property
    def pipeline(self) -> str:
        """The class of diffusers that loads it."""
        if self.own:
            return "DiffusionPipeline"
        if self.conditioning == "text":
            return "StableDiffusionPipeline"
        return "LDMPipeline" if self.latent else "DDPMPipeline"


UNKNOWN = ModelInfo("unknown")


def pipeline_folder(place: pathlib.Path) -> pathlib.Path:
    """The pipeline's folder: a run keeps it in one of its own, and so do its checkpoints."""
    run = run_of_checkpoint(place) or (Run(place) if (place / "status.json").is_file() else None)
    return run.pipeline if run else place


def run_of_checkpoint(place: pathlib.Path) -> Run | None:
    """The run that has, or had, a checkpoint in the folder ``place``; None for any other place."""
    place = place.absolute()
    run = Run(place.parent.parent)
    is_named = place.name.startswith("step-") and place.parent == run.checkpoints_folder
    return run if is_named and (run.path / "status.json").is_file() else None


def part_folder(folder: pathlib.Path, *names: str) -> pathlib.Path:
    """Where a part of a pipeline lies: in the first of the folders ``names``, or, in the oldest pipelines, among the others."""
    return next((folder / name for name in names if (folder / name).is_dir()), folder)


def is_autoencoder(folder: pathlib.Path) -> bool:
    """Whether an autoencoder alone lies in ``folder``, and no pipeline."""
    return not read_json(folder / "model_index.json") and "latent_channels" in read_json(folder / "config.json")


def describe_folder(folder: pathlib.Path) -> ModelInfo:
    """The kind of the pipeline in ``folder``."""
    index, unet = read_json(folder / "model_index.json"), read_json(folder / "unet" / "config.json")
    latent = any((folder / name).is_dir() for name in VAES)
    own = not isinstance(index.get("_class_name"), str | None)
    names = index.get("id2label")
    if unet.get("_class_name") == "UNet2DConditionModel":
        return ModelInfo("text", latent=latent, own=own)
    if names and isinstance(names, dict) and set(names) == {str(k) for k in range(len(names))}:
        return ModelInfo("labels", tuple(str(names[str(k)]) for k in range(len(names))), latent, own)
    return ModelInfo("none", latent=latent, own=own)


def describe_cached(name: str) -> ModelInfo:
    """The kind of a Hub id that was downloaded before."""
    try:
        index = try_to_load_from_cache(name, "model_index.json")
    except errors.HFValidationError:
        return ModelInfo()
    if isinstance(index, str):
        return describe_folder(pathlib.Path(index).parent)
    return UNKNOWN if index is None and "/" in name else ModelInfo()


def saved_version(place: pathlib.Path | str) -> tuple[int, ...]:
    """Changes when a run has saved, or a pipeline folder or a checkpoint was replaced."""
    files = [pathlib.Path(place, name) for name in ("pipeline/model_index.json", "model_index.json", "training.pt")]
    return tuple(n for file in files if file.is_file() for n in (file.stat().st_ino, file.stat().st_mtime_ns))
