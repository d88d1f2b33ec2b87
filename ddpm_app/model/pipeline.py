"""A whole model - UNet, schedule, codec, conditioning - and its folder, which plain diffusers loads.

Without conditions it is a DDPMPipeline, or an LDMPipeline in latents; with text in latents a StableDiffusionPipeline. For what none
of diffusers' pipelines draws (labels; text in pixels) the folder carries its own, ``pipeline.py``, which this module never runs.
"""

import contextlib
import dataclasses
import json
import pathlib
import shutil
import warnings
from collections.abc import Iterator
from typing import Any, Literal

import diffusers
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    LDMPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from safetensors import SafetensorError
from transformers import AutoTokenizer, CLIPTextModel
from transformers.utils import logging as transformers_logging

from ddpm_app import diffusion
from ddpm_app.config import TrainConfig, nearest_multiple
from ddpm_app.data.image_dataset import ImageDataset
from ddpm_app.errors import Problem
from ddpm_app.files import read_json
from ddpm_app.i18n import ASSETS
from ddpm_app.model import locate
from ddpm_app.model.building import BUILDING
from ddpm_app.model.codec import Codec, Pixels, Vae
from ddpm_app.model.conditioning import Conditioning, Labels, Nothing, Text
from ddpm_app.model.describe import AVERAGE, VAES, ModelInfo, describe_folder, is_autoencoder, part_folder
from ddpm_app.model.ema import load_average
from ddpm_app.model.unet import UNet, build_unet

OWN_PIPELINE = ASSETS / "pipelines" / "conditional.py"
CLIP = "butterflies-clip"
"""The text encoder that ships."""


@dataclasses.dataclass(frozen=True)
class Model:
    """What draws pictures. ``scheduler`` holds the noise schedule and prediction type the UNet was trained with. ``name`` and
    ``weights``: what a drawn picture says of where it comes from."""

    unet: UNet
    scheduler: DDPMScheduler
    codec: Codec = dataclasses.field(default_factory=Pixels)
    conditioning: Conditioning = dataclasses.field(default_factory=Nothing)
    name: str = ""
    weights: Literal["ema", "raw"] = "ema"

    @property
    def shape(self) -> tuple[int, int, int]:
        """[C, H, W] of what the UNet denoises."""
        side = self.unet.config.sample_size
        height, width = side if isinstance(side, (list, tuple)) else (side, side)
        return self.unet.config.in_channels, height, width

    @property
    def image_size(self) -> int:
        """Height of a picture, in pixels."""
        return self.shape[1] * self.codec.factor

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
        checkpoint = locate.checkpoint(config.init_from, runs_dir, "init_from")
        folder = locate.resolve(config.init_from, runs_dir, "init_from")
        model = load(folder, config.init_from, "init_from", checkpoint)
        if model.image_size != config.image_size:
            raise Problem(
                "size_differs", "image_size", other="init_from", value=config.image_size, known=model.image_size
            )
        channels = 3 if model.codec.vae else model.shape[0]
        if pictures.images.shape[-1] != channels:
            raise Problem(
                "channels_differ", "channels", other="init_from", value=pictures.images.shape[-1], known=channels
            )
        return model
    codec = load_vae(config.vae, runs_dir) if config.vae else Pixels()
    conditioning: Conditioning = Nothing()
    sizes: dict[str, int] = {}
    if config.conditioning == "labels":
        if not pictures.label_names:
            raise Problem("no_labels", "conditioning", other="label_column", value="labels")
        conditioning = Labels(pictures.label_names)
        sizes = {"labels": conditioning.none + 1}
    elif config.conditioning == "text":
        conditioning = load_text(config.text_encoder or CLIP, runs_dir)
        sizes = {"words": conditioning.width}
    channels, side, _ = denoised_shape(config, codec)
    unet = build_unet(config, channels=channels, side=side, **sizes)
    return Model(unet, diffusion.scheduler(config, clip_sample=codec.clips), codec, conditioning)


def denoised_shape(config: TrainConfig, codec: Codec) -> tuple[int, int, int]:
    """[C, H, W] of what a new UNet denoises. Raises Problem: "vae_factor", "size_depth" (its levels don't divide the sides)."""
    shape = codec.shape(config.channels, config.image_size)
    levels = len(config.unet_shape.block_out_channels)
    if shape[1] % 2 ** (levels - 1):
        divisor = 2 ** (levels - 1) * codec.factor
        raise Problem(
            "size_depth",
            "image_size",
            other="unet",
            value=config.image_size,
            levels=levels,
            divisor=divisor,
            suggestion=nearest_multiple(config.image_size, divisor),
        )
    return shape


def load_vae(source: str, runs_dir: pathlib.Path | None = None, field: str = "vae") -> Vae:
    """The autoencoder of that place: its own folder, or that of a pipeline with one. Raises Problem about ``field``: "vae_checkpoint"
    (only what a run saves as its pipeline has latents of one scale; to go on from, a checkpoint will do), "model_unreadable"."""
    checkpoint = locate.checkpoint(source, runs_dir, field)
    if checkpoint and field == "vae":
        raise Problem("vae_checkpoint", field, value=source, run=checkpoint.absolute().parent.parent.name)
    with reading_errors(source, field):
        vae = _vae(checkpoint or locate.resolve(source, runs_dir, field))
        if checkpoint and (checkpoint / AVERAGE).is_file():
            load_average(checkpoint, vae.parameters())
        return Vae(vae)


def load_text(source: str, runs_dir: pathlib.Path | None = None) -> Text:
    """The text encoder and tokenizer of that place: a folder with both, or that of a pipeline. Raises Problem about ``text_encoder``."""
    with reading_errors(source, "text_encoder"):
        return _text(locate.resolve(source, runs_dir, "text_encoder"))


# ---- reading a folder -----------------------------------------------------------------------------------------------
def load(
    folder: pathlib.Path,
    source: str,
    field: str | None = None,
    checkpoint: pathlib.Path | None = None,
    weights: Literal["ema", "raw"] = "ema",
) -> Model:
    """The model in a pipeline's folder, in eval mode and float32. ``checkpoint``: the folder of a run's checkpoint, whose UNet is taken
    instead, with the averaged ``weights`` where the run keeps an average or with the raw ones.

    Reads safetensors only, and never runs code from the folder. Raises Problem about ``field``: "model_unreadable",
    "model_is_autoencoder".
    """
    if is_autoencoder(folder):
        raise Problem("model_is_autoencoder", field, value=source)
    info = describe_folder(folder)
    with reading_errors(source, field):
        unet_class = UNet2DConditionModel if info.conditioning == "text" else UNet2DModel
        with BUILDING:
            network = unet_class.from_pretrained(part_folder(checkpoint or folder, "unet"), use_safetensors=True)
        if checkpoint and weights == "ema" and (checkpoint / AVERAGE).is_file():
            load_average(checkpoint, network.parameters())
        codec = Vae(_vae(folder)) if info.latent else Pixels()
        scheduler = DDPMScheduler.from_pretrained(
            part_folder(folder, "scheduler"), **({} if codec.clips else {"clip_sample": False})
        )
        conditioning = _conditioning(folder, info)
        _check_unet(network.config, codec, conditioning)
        name = locate.display_name((checkpoint or folder).absolute())
        network.float().eval().requires_grad_(False)
        return Model(network, scheduler, codec, conditioning, name, weights)


def _conditioning(folder: pathlib.Path, info: ModelInfo) -> Conditioning:
    if info.conditioning == "text":
        return _text(folder)
    return Labels(info.labels) if info.conditioning == "labels" else Nothing()


def _check_unet(unet: dict[str, Any], codec: Codec, conditioning: Conditioning) -> None:
    """Raises ValueError where a UNet with the config ``unet`` takes what it can't be given by this codec and conditioning."""
    channels = unet["in_channels"]
    if isinstance(codec, Vae) and channels != codec.channels:
        raise ValueError(f"its UNet takes {channels} channels and not the {codec.channels} of its latents")
    if channels != unet["out_channels"]:
        raise ValueError(f"its UNet takes {channels} channels and not the {unet['out_channels']} that it gives")
    if unet.get("num_class_embeds") and conditioning.kind != "labels":
        raise ValueError("its labels have no names (id2label in model_index.json)")
    for name in ("class_embed_type", "addition_embed_type", "encoder_hid_dim_type"):
        if unet.get(name):
            raise ValueError(f"its UNet wants more than a text or a label ({name})")


def _vae(folder: pathlib.Path) -> AutoencoderKL | AutoencoderTiny:
    folder = part_folder(folder, *VAES)
    name = read_json(folder / "config.json").get("_class_name")
    if name not in ("AutoencoderKL", "AutoencoderTiny"):
        raise ValueError(f"{name or 'no autoencoder'} (AutoencoderKL and AutoencoderTiny are known)")
    with BUILDING:
        vae = getattr(diffusers, name).from_pretrained(folder, use_safetensors=True).float()
    if vae.config.get("shift_factor"):
        raise ValueError("its latents are shifted (shift_factor), which diffusers' latent pipelines do not undo")
    return vae


def _text(folder: pathlib.Path) -> Text:
    transformers_logging.disable_progress_bar()  # one per file of a megabyte, into the terminal's own
    part = part_folder(folder, "text_encoder")
    with BUILDING:
        # the dtype is torch's default for as long as it loads, in all threads
        encoder = CLIPTextModel.from_pretrained(part, dtype=torch.float32, use_safetensors=True)
    folder = part_folder(folder, "tokenizer")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise ValueError("its tokenizer has no vocabulary")  # transformers would make up one of three words
    return Text(AutoTokenizer.from_pretrained(folder, trust_remote_code=False), encoder)


@contextlib.contextmanager
def reading_errors(source: str, field: str | None) -> Iterator[None]:
    """Turns what a library raises over an unreadable folder into Problem("model_unreadable") about ``field``."""
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, SafetensorError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise Problem("model_unreadable", field, value=source, reason=reason) from error


# ---- writing one ----------------------------------------------------------------------------------------------------
def save(model: Model, folder: pathlib.Path) -> None:
    """Write ``model`` as a diffusers pipeline."""
    vae, conditioning = model.codec.vae, model.conditioning
    if conditioning.kind == "none" and vae is None:
        DDPMPipeline(model.unet, model.scheduler).save_pretrained(folder)
    elif conditioning.kind == "none":
        LDMPipeline(vqvae=vae, unet=model.unet, scheduler=stock_scheduler(model.scheduler)).save_pretrained(folder)
    elif conditioning.kind == "text" and vae is not None:
        _save_stable_diffusion(model, vae, conditioning, folder)
    else:
        _save_own(model, folder)
    remove_origins(folder)


def remove_origins(folder: pathlib.Path) -> None:
    """Take out of a saved model's settings where its parts came from: that is nobody's business."""
    for file in folder.rglob("*.json"):
        if "_name_or_path" in (values := read_json(file)):
            values.pop("_name_or_path")
            file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


SCHEDULE = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
    "timestep_spacing",
    "prediction_type",
)
"""Settings of a scheduler that say what the network was trained with, and at which timesteps it is asked."""


def stock_scheduler(trained: DDPMScheduler, clips: bool = False) -> DDIMScheduler:
    """DDIM with the schedule that ``trained`` has, with the settings that StableDiffusionPipeline would otherwise rewrite. ``clips``: its
    samples may be clipped, as pictures may and latents mustn't."""
    schedule = {name: trained.config[name] for name in SCHEDULE}
    if schedule["beta_schedule"] == "sigmoid":  # DDIM doesn't know it by name
        schedule |= {"beta_schedule": "linear", "trained_betas": trained.betas.tolist()}
    # DDIM's own setting, which a DDPM scheduler made from one carries along
    final = trained.config.get("set_alpha_to_one", False)
    clip_sample = clips and trained.config.clip_sample
    return DDIMScheduler(**schedule, clip_sample=clip_sample, set_alpha_to_one=final, steps_offset=1)


def _save_stable_diffusion(
    model: Model, vae: AutoencoderKL | AutoencoderTiny, text: Text, folder: pathlib.Path
) -> None:
    with warnings.catch_warnings():  # it warns that nothing checks the pictures
        warnings.simplefilter("ignore")
        StableDiffusionPipeline(
            vae=vae,
            text_encoder=text.encoder,
            tokenizer=text.tokenizer,
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
