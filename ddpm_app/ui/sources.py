"""What one can draw with: runs, shipped models and, at home, any diffusers pipeline; and what each is asked by."""

import dataclasses
import json
import pathlib
from typing import Any

from huggingface_hub import errors, try_to_load_from_cache

from ddpm_app import runs
from ddpm_app.problems import Problem
from ddpm_app.text import t
from ddpm_app.ui import guard
from ddpm_app.ui.studio import Studio

OTHER = "other"
VAES = ("vae", "vqvae")


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a pipeline is asked by: ``asked`` is "none", "labels", "text", or "unknown" (nothing of it lies here yet). ``latent``:
    it draws in an autoencoder's latents; ``own``: no pipeline of diffusers draws with it, so that its folder carries one."""

    asked: str = "none"
    labels: tuple[str, ...] = ()
    latent: bool = False
    own: bool = False


UNKNOWN = Kind("unknown")


# ---- which there are ------------------------------------------------------------------------------------------------
def choices(studio: Studio, lang: str) -> list[tuple[str, str]]:
    """(label, value) of everything one can draw with: "run:NAME", "shipped:NAME", and at home "other"."""
    shipped = [(t("ui.sample.shipped", lang, name=name), f"shipped:{name}") for name in shipped_models()]
    saved = [
        (t("ui.sample.run", lang, name=one["name"], size=one["config"].get("image_size", "?")), f"run:{one['name']}")
        for one in studio.board.briefs()
        if draws(one) and (one["saved"] or one["active"])
    ]
    return [*saved, *shipped, *([] if studio.public else [(t("ui.sample.another", lang), OTHER)])]


def draws(shot: dict[str, Any]) -> bool:
    """Whether this run (a snapshot or a brief) makes a model that draws: an autoencoder only gives pictures back."""
    return shot["config"].get("objective") != "autoencoder"


def shipped_models() -> list[str]:
    """Names of the pipelines that came with the app."""
    return sorted(path.parent.name for path in guard.SHIPPED.glob("*/model_index.json"))


def default(studio: Studio, run: str) -> str | None:
    """The run on show once it has saved something, else a shipped model, else the first there is."""
    if run:
        return f"run:{run}"
    values = [value for _, value in choices(studio, "en")]
    return next((value for value in values if value.startswith("shipped:")), values[0] if values else None)


def place_of(studio: Studio, source: str | None, other: str | None) -> pathlib.Path | str:
    """Where the source lies: a folder, or a Hub id. Raises Problem: "no_source", "run_missing", "model_missing", "public_off"."""
    kind, _, name = (source or "").partition(":")
    if kind == "run":
        return runs.find(studio.runs_dir, name).path
    if kind == "shipped":
        if name not in shipped_models():
            raise Problem("model_missing", value=name)
        return guard.SHIPPED / name
    if kind != OTHER or not (other or "").strip():
        raise Problem("no_source")
    guard.refuse_in_public(studio)
    return folder_of(studio, other.strip()) or other.strip()


def folder_of(studio: Studio, name: str) -> pathlib.Path | None:
    """As model.places.local, which comes with torch: the folder of a shipped model, a run, or of that path."""
    among = (guard.SHIPPED / name, studio.runs_dir / name, pathlib.Path(name).expanduser())
    return next((path for path in among if name and path.is_dir()), None)


def has_raw(studio: Studio, source: str | None) -> bool:
    """Whether the source holds raw weights beside the averaged ones."""
    kind, _, name = (source or "").partition(":")
    try:
        run = runs.find(studio.runs_dir, name) if kind == "run" else None
    except Problem:
        return False
    return bool(run and run.checkpoints and run.record.get("config", {}).get("use_ema"))


# ---- what they are asked by -----------------------------------------------------------------------------------------
def kind_at(studio: Studio, source: str | None, other: str | None) -> Kind:
    """The kind of what is chosen, as far as this machine knows it; nothing is downloaded."""
    try:
        place = place_of(studio, source, other)
    except Problem:
        return Kind()
    if isinstance(place, str):
        return _kind_on_hub(place)
    if (place / "status.json").is_file() and not runs.Run(place).pipeline.is_dir():  # a run that has saved nothing yet
        config = runs.Run(place).record.get("config", {})
        origin = folder_of(studio, config.get("init_from") or "")
        return kind_of(pipeline_in(origin)) if origin else Kind(config.get("conditioning", "none"), latent=bool(config.get("vae")))
    return kind_of(pipeline_in(place))


def pipeline_in(place: pathlib.Path) -> pathlib.Path:
    """The pipeline's folder: a run keeps it in one of its own."""
    return runs.Run(place).pipeline if (place / "status.json").is_file() else place


def kind_of(folder: pathlib.Path) -> Kind:
    """The kind of the pipeline in ``folder``, from its small files."""
    index, unet = _read(folder / "model_index.json"), _read(folder / "unet" / "config.json")
    latent = any((folder / name).is_dir() for name in VAES)
    own = not isinstance(index.get("_class_name"), str | None)
    names = index.get("id2label")
    if unet.get("_class_name") == "UNet2DConditionModel":
        return Kind("text", latent=latent, own=own)
    if isinstance(names, dict) and set(names) == {str(k) for k in range(len(names))}:
        return Kind("labels", tuple(str(names[str(k)]) for k in range(len(names))), latent, own)
    return Kind("none", latent=latent, own=own)


def _kind_on_hub(name: str) -> Kind:
    """The kind of a Hub id that was downloaded before."""
    try:
        index = try_to_load_from_cache(name, "model_index.json")
    except errors.HFValidationError:
        return Kind()
    if isinstance(index, str):
        return kind_of(pathlib.Path(index).parent)
    return UNKNOWN if index is None and "/" in name else Kind()


def _read(file: pathlib.Path) -> dict[str, Any]:
    """What a JSON file holds; empty where there is none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
