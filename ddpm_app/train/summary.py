"""What a run with given settings is made of, counted before anything is downloaded or built: networks without weights, on torch's
meta device."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterable
from typing import Any

import diffusers
import torch
from torch import nn
from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel

from ddpm_app.config import FIELDS, TrainConfig, irrelevant_fields
from ddpm_app.data.image_source import ImageSource
from ddpm_app.errors import Problem
from ddpm_app.model import locate
from ddpm_app.model.codec import Pixels, Vae
from ddpm_app.model.conditioning import Text, text_choices
from ddpm_app.model.meta import build_on_meta, local_folder, part_config
from ddpm_app.model.pipeline import CLIP, Model, denoised_shape
from ddpm_app.model.unet import count_parameters, freeze, learning, sections
from ddpm_app.train.optimizer import make_optimizers

SHAPED_BY = (
    *(info.name for info in FIELDS.values() if info.group in ("kind", "model", "autoencoder")),
    *("image_size", "channels", "text_encoder", "optimizer", "mixed_precision", "use_ema"),
    *("train_batch_size", "gradient_accumulation_steps"),
)
"""The settings that decide what the parts are, and what a step of training costs."""
KINDS = {
    "vae": ("Autoencoder", "vae", "vqvae"),
    "init_from": ("UNet2D", "unet"),
    "text_encoder": ("CLIPText", "text_encoder"),
}
"""How the class of what a setting names begins, and the folders of a pipeline that hold it."""


@dataclasses.dataclass(frozen=True)
class NetworkPart:
    """A network, or its copies: parameters, those of them that learn, and bytes of weights, gradients and optimiser state."""

    name: str
    kind: str
    parameters: int
    learning: int
    weights: int
    gradients: int
    optimizer: int


@dataclasses.dataclass(frozen=True)
class ModelSummary:
    """All parts, the one that is trained first, and its sections: name to (parameters, those that learn). ``latents``: shape
    [C, H, W] of what the autoencoder makes, ``factor`` by which sides shrink, ``scale`` (None: measured when it is saved), all None
    for pixels. ``problem``: what stands in the way of training with these settings."""

    parts: tuple[NetworkPart, ...]
    sections: dict[str, tuple[int, int]]
    latents: tuple[int, int, int] | None
    factor: int | None
    scale: float | None
    problem: Problem | None


@dataclasses.dataclass(frozen=True)
class TruncatedCaptions:
    """``cut`` of ``count`` texts are longer than ``longest`` tokens, begin and end among them."""

    cut: int
    count: int
    longest: int


# ---- what a summary depends on ---------------------------------------------------------------------------------------
def shape_settings(config: TrainConfig) -> TrainConfig:
    """The config with only the settings of ``SHAPED_BY``, so that others change no key of a cache."""
    return TrainConfig(**{name: getattr(config, name) for name in SHAPED_BY})


def saved_at(config: TrainConfig, runs_dir: pathlib.Path) -> tuple[int, ...]:
    """Changes when a model that the config names is saved anew, or comes to this machine."""
    times = []
    for source in (config.vae, config.init_from, config.text_encoder):
        try:
            times.append(local_folder(source, runs_dir).stat().st_mtime_ns if source else 0)
        except (OSError, ValueError):
            times.append(-1)
    return tuple(times)


# ---- the networks ----------------------------------------------------------------------------------------------------
def summarize(config: TrainConfig, labels: int, runs_dir: pathlib.Path) -> ModelSummary | None:
    """What a run with these settings is made of, counted without weights. None where a part isn't on this machine yet.
    ``labels``: number of the data's labels."""
    return _summarize(shape_settings(config), labels, runs_dir, saved_at(config, runs_dir))


@functools.lru_cache(maxsize=32)
def _summarize(
    config: TrainConfig, labels: int, runs_dir: pathlib.Path, saved_at: tuple[int, ...]
) -> ModelSummary | None:
    built, frozen = build_on_meta(config, 1, labels, runs_dir), _frozen_networks(config, runs_dir)
    if built is None or frozen is None:
        return None
    network, _ = built
    if config.objective == "diffusion" and not type(network).__name__.startswith("UNet2D"):
        return None
    freeze(network, config.trainable)
    trained = _trained_part(config, network)
    copies = NetworkPart("copies", "", 0, 0, trained.weights * (1 + config.use_ema), 0, 0)
    counts = {name: (_count(p), _count(p, learning=True)) for name, p in sections(network).items()}
    own_vae = config.objective == "autoencoder"
    vae = network if own_vae else frozen.get("vae")
    codec: Pixels | Vae = Pixels() if vae is None else Vae(vae)
    problem = _size_problem(config, network, codec)
    latents = None
    if codec.vae is not None and (problem is None or problem.code != "vae_factor"):
        latents = codec.shape(3, config.image_size)
    return ModelSummary(
        (trained, copies, *(_frozen_part(name, part) for name, part in frozen.items())),
        counts,
        latents,
        codec.factor if codec.vae else None,
        None if own_vae else getattr(codec, "scale", None),
        problem,
    )


def _size_problem(config: TrainConfig, network: nn.Module, codec: Pixels | Vae) -> Problem | None:
    """The Problem that training would raise about the size of the pictures."""
    try:
        if config.objective == "autoencoder":
            codec.shape(3, config.image_size)
        elif config.init_from:
            codec.shape(config.channels, config.image_size)
            size = Model(network, diffusers.DDPMScheduler(), codec).image_size
            if size != config.image_size:
                raise Problem("size_differs", "image_size", other="init_from", value=config.image_size, known=size)
        else:
            denoised_shape(config, codec)
    except Problem as problem:
        return problem
    return None


def _frozen_networks(config: TrainConfig, runs_dir: pathlib.Path) -> dict[str, Any] | None:
    """The networks beside the trained one, on the meta device; None where one isn't on this machine."""
    networks: dict[str, Any] = {}
    if config.objective == "autoencoder":
        return networks
    try:
        if source := config.init_from or config.vae:
            vae_settings = part_config(source, runs_dir, "vae", "vqvae")
            if "latent_channels" in vae_settings:
                with torch.device("meta"):
                    networks["vae"] = getattr(diffusers, vae_settings["_class_name"]).from_config(vae_settings)
        if (settings := _text_settings(config, runs_dir)) is not None:
            networks["text_encoder"] = _text_encoder(settings)
    except (OSError, KeyError, TypeError, ValueError, AttributeError):
        return None
    return networks


def _text_settings(config: TrainConfig, runs_dir: pathlib.Path) -> dict[str, Any] | None:
    """config.json of the text encoder of the config's model; None where it has none. Raises ValueError where it isn't on this machine."""
    if config.init_from:
        settings = part_config(config.init_from, runs_dir, "text_encoder")
        return settings if "hidden_size" in settings else None
    return part_config(config.text_encoder or CLIP, runs_dir, "text_encoder") if config.conditioning == "text" else None


def _text_encoder(settings: dict[str, Any]) -> CLIPTextModel:
    """The text encoder of that config.json, on the meta device."""
    with torch.device("meta"):
        return CLIPTextModel(CLIPTextConfig.from_dict(settings))


def _count(parameters: Iterable[nn.Parameter], learning: bool = False) -> int:
    return sum(p.numel() for p in parameters if p.requires_grad or not learning)


def _frozen_part(name: str, network: nn.Module) -> NetworkPart:
    count = count_parameters(network)
    return NetworkPart(name, type(network).__name__, count, 0, 4 * count, 0, 0)


def _trained_part(config: TrainConfig, network: nn.Module) -> NetworkPart:
    """The part that learns. The optimiser shows itself what it stores, in a step that computes nothing."""
    count, learns = count_parameters(network), _count(network.parameters(), learning=True)
    for parameter in learning(network):
        parameter.grad = torch.empty_like(parameter)
    state_bytes = 0
    for optimizer in make_optimizers(config, learning(network), fused=False):
        optimizer.step()
        values = [value for state in optimizer.state.values() for value in state.values()]
        state_bytes += sum(value.nbytes for value in values if torch.is_tensor(value))
    name = "vae" if config.objective == "autoencoder" else "unet"
    return NetworkPart(name, type(network).__name__, count, learns, 4 * count, 4 * learns, state_bytes)


# ---- what can't be counted -------------------------------------------------------------------------------------------
def unusable_model(config: TrainConfig, runs_dir: pathlib.Path) -> Problem | None:
    """Why what the config names can't be counted, where no download would help."""
    for name in KINDS.keys() - irrelevant_fields(config.to_dict()):
        value = getattr(config, name)
        if value is None or locate.find_local(value, runs_dir) is None and locate.HUB_ID.fullmatch(value):
            continue
        kind, *folders = KINDS["vae" if config.objective == "autoencoder" else name]
        try:
            locate.resolve(value, runs_dir, name)
        except Problem as problem:
            return problem
        settings = part_config(value, runs_dir, *folders)
        class_name = settings.get("_class_name") or "".join(settings.get("architectures", []))
        if name == "init_from" and class_name.startswith("Autoencoder"):
            if config.objective == "diffusion":
                return Problem("model_is_autoencoder", name, value=value)
            if class_name != "AutoencoderKL":
                return Problem("vae_kind", name, value=value, kind=class_name)
        if not class_name.startswith(kind):
            return Problem("model_unreadable", name, value=value, reason=class_name or "config.json")
    return None


# ---- the captions ----------------------------------------------------------------------------------------------------
CACHED = 32
"""Answers of ``truncated_captions`` that are cached."""
_truncated: dict[tuple, TruncatedCaptions] = {}


def truncated_captions(config: TrainConfig, source: ImageSource, runs_dir: pathlib.Path) -> TruncatedCaptions | None:
    """The texts of ``source`` as the config's text encoder sees them. None where the model has no text encoder, or it isn't on this
    machine. Raises Problem: "no_captions", "no_labels"."""
    try:
        settings = _text_settings(config, runs_dir)
    except ValueError:
        return None
    if settings is None:
        return None
    columns = config.caption_template, config.caption_column, config.label_column
    key = (source.fingerprint, *columns, config.text_encoder, config.init_from, saved_at(config, runs_dir))
    if key not in _truncated:
        texts = [text for choices in text_choices(config, source) for text in choices]
        conditioning = _tokenizer(config, settings, runs_dir)
        if len(_truncated) >= CACHED:
            _truncated.clear()
        _truncated[key] = TruncatedCaptions(len(conditioning.cut(texts)), len(texts), conditioning.longest)
    return _truncated[key]


def _tokenizer(config: TrainConfig, settings: dict[str, Any], runs_dir: pathlib.Path) -> Text:
    """The model's tokenizer, with an encoder that has no weights."""
    folder = local_folder(config.init_from or config.text_encoder or CLIP, runs_dir)
    part = folder / "tokenizer"
    return Text(AutoTokenizer.from_pretrained(part if part.is_dir() else folder), _text_encoder(settings))
