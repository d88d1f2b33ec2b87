"""A whole model - UNet, schedule, codec, conditioning - and its folder, which plain diffusers loads.

Without conditions it is a DDPMPipeline, or an LDMPipeline in latents; with words in latents a StableDiffusionPipeline. For what none
of diffusers' pipelines draws (labels; words in pixels) the folder carries its own, ``pipeline.py``, which this module never runs.
"""

import dataclasses
import json
import pathlib
import shutil
import warnings
from typing import Any

import diffusers
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    LDMPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from safetensors import SafetensorError

from ddpm_app import diffusion
from ddpm_app.config import TrainConfig
from ddpm_app.data.image_dataset import ImageDataset
from ddpm_app.errors import Problem
from ddpm_app.i18n import ASSETS
from ddpm_app.model import locate
from ddpm_app.model.codec import Pixels, Vae
from ddpm_app.model.conditioning import Labels, Nothing, Text
from ddpm_app.model.unet import UNet, build_unet

OWN_PIPELINE = ASSETS / "pipelines" / "conditional.py"
CLIP = "butterflies-clip"
"""The text encoder that ships."""


@dataclasses.dataclass(frozen=True)
class Model:
    """What draws pictures. ``scheduler`` holds the noise schedule and prediction type the UNet was trained with."""

    unet: UNet
    scheduler: DDPMScheduler
    codec: Pixels | Vae = dataclasses.field(default_factory=Pixels)
    conditioning: Nothing | Labels | Text = dataclasses.field(default_factory=Nothing)

    @property
    def shape(self) -> tuple[int, int, int]:
        """[C, H, W] of what the UNet denoises."""
        side = self.unet.config.sample_size
        height, width = side if isinstance(side, (list, tuple)) else (side, side)
        return self.unet.config.in_channels, height, width

    @property
    def image_size(self) -> int:
        """Height of a picture, in pixels."""
        return self.shape[1] * getattr(self.codec, "factor", 1)

    def to(self, device: str | torch.device) -> "Model":
        """All parts on ``device``."""
        self.unet.to(device)
        self.codec.to(device)
        self.conditioning.to(device)
        return self


# ---- making one -----------------------------------------------------------------------------------------------------
def make(config: TrainConfig, pictures: ImageDataset, runs_dir: pathlib.Path | None = None) -> Model:
    """The model of a new run, in float32 on the CPU: from ``config.init_from``, or with a UNet that starts from nothing.

    Raises Problem about the field that names a part that can't be had or doesn't fit.
    """
    if config.init_from:
        model = load(locate.resolve(config.init_from, runs_dir, "init_from"), config.init_from, "init_from")
        if model.image_size != config.image_size:
            raise Problem(
                "size_differs", "image_size", other="init_from", value=config.image_size, known=model.image_size
            )
        if pictures.images.shape[-1] != (known := 3 if model.codec.vae else model.shape[0]):
            raise Problem(
                "channels_differ", "channels", other="init_from", value=pictures.images.shape[-1], known=known
            )
        return model
    codec: Pixels | Vae = load_vae(config.vae, runs_dir) if config.vae else Pixels()
    conditioning: Nothing | Labels | Text = Nothing()
    sizes: dict[str, Any] = {}
    if config.conditioning == "labels":
        if not pictures.label_names:
            raise Problem("no_labels", "conditioning", other="label_column", value="labels")
        conditioning = Labels(pictures.label_names)
        sizes["labels"] = conditioning.none + 1
    elif config.conditioning == "text":
        conditioning = load_text(config.text_encoder or CLIP, runs_dir)
        sizes["words"] = conditioning.width
    channels, side, _ = denoised_shape(config, codec)
    unet = build_unet(config, channels=channels, side=side, **sizes)
    return Model(unet, diffusion.scheduler(config, clip_sample=codec.clips), codec, conditioning)


def denoised_shape(config: TrainConfig, codec: Pixels | Vae) -> tuple[int, int, int]:
    """[C, H, W] of what a new UNet denoises. Raises Problem: "vae_factor", "size_depth" (its levels don't divide the sides)."""
    shape = codec.shape(config.channels, config.image_size)
    levels = len(config.unet_shape.block_out_channels)
    if shape[1] % 2 ** (levels - 1):
        divisor = 2 ** (levels - 1) * getattr(codec, "factor", 1)
        raise Problem(
            "size_depth",
            "image_size",
            other="unet",
            value=config.image_size,
            levels=levels,
            divisor=divisor,
            suggestion=max(1, round(config.image_size / divisor)) * divisor,
        )
    return shape


def load_vae(source: str, runs_dir: pathlib.Path | None = None, field: str = "vae") -> Vae:
    """The autoencoder of that place: its own folder, or that of a pipeline with one. Raises Problem about ``field``."""
    with _told(source, field):
        return Vae(_vae(locate.resolve(source, runs_dir, field)))


def load_text(source: str, runs_dir: pathlib.Path | None = None) -> Text:
    """The text encoder and tokenizer of that place: a folder with both, or that of a pipeline. Raises Problem about ``text_encoder``."""
    with _told(source, "text_encoder"):
        return _text(locate.resolve(source, runs_dir, "text_encoder"))


# ---- reading a folder -----------------------------------------------------------------------------------------------
def load(folder: pathlib.Path, source: str, field: str | None = None, unet: pathlib.Path | None = None) -> Model:
    """The model in a pipeline's folder, in eval mode and float32. ``unet``: a folder whose UNet is taken instead.

    Reads safetensors only, and never runs code from the folder. Raises Problem about ``field``: "model_unreadable",
    "model_is_autoencoder".
    """
    index = read_json(folder / "model_index.json")
    if not index and "latent_channels" in read_json(folder / "config.json"):
        raise Problem("model_is_autoencoder", field, value=source)
    with _told(source, field):
        place = unet or folder
        words = read_json(place / "unet" / "config.json").get("_class_name") == "UNet2DConditionModel"
        network = (UNet2DConditionModel if words else UNet2DModel).from_pretrained(
            place, use_safetensors=True, **_part(place, "unet")
        )
        codec = Vae(_vae(folder)) if any((folder / name).is_dir() for name in ("vae", "vqvae")) else Pixels()
        scheduler = DDPMScheduler.from_pretrained(
            folder, **_part(folder, "scheduler"), **({} if codec.clips else {"clip_sample": False})
        )
        conditioning: Nothing | Labels | Text = Nothing()
        if words:
            conditioning = _text(folder)
        elif names := index.get("id2label"):
            conditioning = Labels(tuple(names[str(k)] for k in range(len(names))))
        _check_wants(network.config, codec, conditioning)
        return Model(network.float().eval().requires_grad_(False), scheduler, codec, conditioning)


def _check_wants(unet: Any, codec: Pixels | Vae, conditioning: Nothing | Labels | Text) -> None:
    """Raises ValueError where a UNet with the settings ``unet`` wants what it can't be given here."""
    if unet.in_channels != unet.out_channels or codec.vae is not None and unet.in_channels != codec.channels:
        there = f"{codec.channels} of its latents" if codec.vae is not None else f"{unet.out_channels} that it gives"
        raise ValueError(f"its UNet takes {unet.in_channels} channels and not the {there}")
    if unet.get("num_class_embeds") and conditioning.kind != "labels":
        raise ValueError("its labels have no names (id2label in model_index.json)")
    if further := next(
        (name for name in ("class_embed_type", "addition_embed_type", "encoder_hid_dim_type") if unet.get(name)), None
    ):
        raise ValueError(f"its UNet wants more than a text or a label ({further})")


def _part(folder: pathlib.Path, *names: str) -> dict[str, str]:
    """Where a part of a pipeline lies: in a folder of its own, or, in the oldest pipelines, among the others."""
    return next(({"subfolder": name} for name in names if (folder / name).is_dir()), {})


def _vae(folder: pathlib.Path) -> AutoencoderKL | AutoencoderTiny:
    part = _part(folder, "vae", "vqvae")
    name = read_json(folder / part.get("subfolder", "") / "config.json").get("_class_name")
    if name not in ("AutoencoderKL", "AutoencoderTiny"):
        raise ValueError(f"{name or 'no autoencoder'} (AutoencoderKL and AutoencoderTiny are known)")
    vae = getattr(diffusers, name).from_pretrained(folder, use_safetensors=True, **part).float()
    if vae.config.get("shift_factor"):
        raise ValueError("its latents are shifted (shift_factor), which diffusers' latent pipelines do not undo")
    return vae


def _text(folder: pathlib.Path) -> Text:
    from transformers import AutoTokenizer, CLIPTextModel
    from transformers.utils import logging

    logging.disable_progress_bar()  # one per file of a megabyte, into the terminal's own
    encoder = CLIPTextModel.from_pretrained(folder, use_safetensors=True, **_part(folder, "text_encoder")).float()
    part = _part(folder, "tokenizer")
    if not any((folder / part.get("subfolder", "") / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise ValueError("its tokenizer has no vocabulary")  # transformers would make up one of three words
    return Text(AutoTokenizer.from_pretrained(folder, trust_remote_code=False, **part), encoder)


def read_json(file: pathlib.Path) -> dict[str, Any]:
    """What a JSON file holds; empty where there is none."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


class _told:
    """Turns what a library says of an unreadable folder into a Problem about ``field``."""

    def __init__(self, source: str, field: str | None):
        self.source, self.field = source, field

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, (OSError, ValueError, TypeError, KeyError, SafetensorError, RuntimeError)):
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise Problem("model_unreadable", self.field, value=self.source, reason=reason) from error


# ---- writing one ----------------------------------------------------------------------------------------------------
def save(model: Model, folder: pathlib.Path) -> None:
    """Write ``model`` as a diffusers pipeline."""
    vae, conditioning = model.codec.vae, model.conditioning
    if conditioning.kind == "none" and vae is None:
        DDPMPipeline(model.unet, model.scheduler).save_pretrained(folder)
    elif conditioning.kind == "none":
        LDMPipeline(vqvae=vae, unet=model.unet, scheduler=stock_scheduler(model.scheduler)).save_pretrained(folder)
    elif conditioning.kind == "text" and vae is not None:
        _save_stable_diffusion(model, folder)
    else:
        _save_own(model, folder)
    forget_places(folder)


def forget_places(folder: pathlib.Path) -> None:
    """Take out of a saved model where its parts came from: that is nobody's business."""
    for file in folder.rglob("*.json"):
        if "_name_or_path" in (values := read_json(file)):
            values.pop("_name_or_path")
            file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def stock_scheduler(trained: DDPMScheduler, clip_sample: bool = False) -> DDIMScheduler:
    """DDIM with the schedule that ``trained`` has, with the settings that StableDiffusionPipeline would otherwise rewrite."""
    schedule = {
        k: trained.config[k]
        for k in ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type", "trained_betas")
    }
    if schedule["beta_schedule"] == "sigmoid":  # DDIM doesn't know it by name
        schedule |= {"beta_schedule": "linear", "trained_betas": trained.betas.tolist()}
    return DDIMScheduler(**schedule, clip_sample=clip_sample, set_alpha_to_one=False, steps_offset=1)


def _save_stable_diffusion(model: Model, folder: pathlib.Path) -> None:
    from diffusers import StableDiffusionPipeline

    with warnings.catch_warnings():  # it warns that nothing checks the pictures
        warnings.simplefilter("ignore")
        StableDiffusionPipeline(
            vae=model.codec.vae,
            text_encoder=model.conditioning.encoder,
            tokenizer=model.conditioning.tokenizer,
            unet=model.unet,
            scheduler=stock_scheduler(model.scheduler),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).save_pretrained(folder)


def _save_own(model: Model, folder: pathlib.Path) -> None:
    """The parts, each as diffusers or transformers keeps it, and the pipeline that draws with them."""
    conditioning, vae = model.conditioning, model.codec.vae
    parts: dict[str, Any] = {"unet": model.unet, "scheduler": stock_scheduler(model.scheduler, model.codec.clips)}
    if vae is not None:
        parts["vae"] = vae
    if conditioning.kind == "text":
        parts |= {"text_encoder": conditioning.encoder, "tokenizer": conditioning.tokenizer}
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    index: dict[str, Any] = {
        "_class_name": ["pipeline", "ConditionalPipeline"],
        "_diffusers_version": diffusers.__version__,
    }
    for name in ("unet", "scheduler", "vae", "text_encoder", "tokenizer"):
        part = parts.get(name)
        index[name] = [None, None] if part is None else [type(part).__module__.split(".")[0], type(part).__name__]
    if conditioning.kind == "labels":
        index["id2label"] = {str(k): name for k, name in enumerate(conditioning.names)}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(OWN_PIPELINE, folder / "pipeline.py")
