"""What kind of model lies in a folder, read from its small files. No torch."""

import dataclasses
import pathlib

from huggingface_hub import errors, try_to_load_from_cache

from ddpm_app.files import read_json
from ddpm_app.runs.run import Run

VAES = ("vae", "vqvae")


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """What a pipeline is asked by: ``asked`` is "none", "labels", "text", or "unknown" (nothing of it lies here yet). ``latent``:
    it draws in an autoencoder's latents; ``own``: no pipeline of diffusers draws with it, so that its folder carries one."""

    conditioning: str = "none"
    labels: tuple[str, ...] = ()
    latent: bool = False
    own: bool = False


UNKNOWN = ModelInfo("unknown")


def pipeline_folder(place: pathlib.Path) -> pathlib.Path:
    """The pipeline's folder: a run keeps it in one of its own."""
    return Run(place).pipeline if (place / "status.json").is_file() else place


def describe_folder(folder: pathlib.Path) -> ModelInfo:
    """The kind of the pipeline in ``folder``, from its small files."""
    index, unet = read_json(folder / "model_index.json"), read_json(folder / "unet" / "config.json")
    latent = any((folder / name).is_dir() for name in VAES)
    own = not isinstance(index.get("_class_name"), str | None)
    names = index.get("id2label")
    if unet.get("_class_name") == "UNet2DConditionModel":
        return ModelInfo("text", latent=latent, own=own)
    if isinstance(names, dict) and set(names) == {str(k) for k in range(len(names))}:
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
    """Changes when a run has saved or a pipeline folder was replaced."""
    found = [
        path
        for path in (pathlib.Path(place, "pipeline", "model_index.json"), pathlib.Path(place, "model_index.json"))
        if path.is_file()
    ]
    return tuple(n for path in found for n in (path.stat().st_ino, path.stat().st_mtime_ns))
