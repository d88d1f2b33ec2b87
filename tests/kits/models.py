"""Tiny parts with random weights, and the settings of a run of each kind that stands on them."""

import contextlib
import json
import pathlib
import shutil
import string
from collections.abc import Iterator

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDPMPipeline,
    DDPMScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

COLOURS = ("red", "blue", "green")
LONGEST = 12
"""Tokens that the tiny text encoder takes; each letter is one, begin and end are two more."""
LATENT, LABELS = dict(vae="{parts}/vae"), dict(conditioning="labels", label_column="kind")
WORDS = dict(conditioning="text", text_encoder="{parts}/words")
KINDS = {
    "latents": LATENT,
    "labels": LABELS,
    "labels-in-latents": LABELS | LATENT,
    "words": WORDS | LATENT,
    "words-in-pixels": WORDS,
    "autoencoder": dict(objective="autoencoder", vae_channels=(8, 8)),
    "tuned-pixels": dict(init_from="{parts}/ddpm"),
    "tuned-words": dict(init_from="{parts}/stable-diffusion", conditioning="text"),
}
"""The settings of a run of each kind beside the tiny ones; {parts} is the folder that ``fill`` fills."""


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The global generator starts at ``seed`` inside the block and is as it was after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def vae(seed: int = 0, **changes) -> AutoencoderKL:
    """An autoencoder that halves the sides."""
    with seeded(seed):
        shape = dict(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
        )
        rest = dict(norm_num_groups=4, mid_block_add_attention=False, sample_size=8, scaling_factor=0.6)
        return AutoencoderKL(**shape | rest | changes).eval()


def taesd(seed: int = 0) -> AutoencoderTiny:
    """An autoencoder of the other class, which also halves the sides."""
    with seeded(seed):
        widths = dict(encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8))
        return AutoencoderTiny(
            **widths, num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1), scaling_factor=0.7
        ).eval()


def text(seed: int = 0, width: int = 8) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """A tokenizer that spells, and an encoder for it."""
    tokens = [
        *string.ascii_lowercase,
        *(f"{letter}</w>" for letter in string.ascii_lowercase),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    tokenizer = CLIPTokenizer(vocab={token: k for k, token in enumerate(tokens)}, merges=[], model_max_length=LONGEST)
    ends = dict(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    config = CLIPTextConfig(
        vocab_size=len(tokens),
        hidden_size=width,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=LONGEST,
        **ends,
    )
    with seeded(seed):
        return tokenizer, CLIPTextModel(config).eval()


def ddpm() -> DDPMPipeline:
    """An unconditional pipeline of pixels, with a schedule and a target that are not the defaults."""
    with seeded(3):
        unet = UNet2DModel(
            sample_size=8,
            block_out_channels=(8, 16),
            norm_num_groups=4,
            attention_head_dim=8,
            layers_per_block=1,
            down_block_types=("DownBlock2D",) * 2,
            up_block_types=("UpBlock2D",) * 2,
        )
    return DDPMPipeline(
        unet, DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="sample", num_train_timesteps=500)
    )


def stable_diffusion() -> StableDiffusionPipeline:
    """A pipeline as Stable Diffusion 2 has it, down to its scheduler; only smaller."""
    tokenizer, encoder = text(seed=5)
    with seeded(6):
        unet = UNet2DConditionModel(
            sample_size=4,
            in_channels=4,
            out_channels=4,
            layers_per_block=1,
            block_out_channels=(8, 16),
            norm_num_groups=4,
            cross_attention_dim=8,
            attention_head_dim=(1, 2),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        )
    scheduler = PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        set_alpha_to_one=False,
        skip_prk_steps=True,
        steps_offset=1,
        prediction_type="v_prediction",
    )
    return StableDiffusionPipeline(
        vae=vae(seed=7),
        text_encoder=encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def fill(folder: pathlib.Path) -> pathlib.Path:
    """Save the tiny parts as vae, words, ddpm and stable-diffusion in ``folder``."""
    vae().save_pretrained(folder / "vae")
    tokenizer, encoder = text()
    tokenizer.save_pretrained(folder / "words" / "tokenizer")
    encoder.save_pretrained(folder / "words" / "text_encoder")
    ddpm().save_pretrained(folder / "ddpm")
    stable_diffusion().save_pretrained(folder / "stable-diffusion")
    return folder


def tell(drawn: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """The pictures of ``drawn`` in ``folder``, each with a caption and a kind."""
    rows = []
    for k, picture in enumerate(sorted(drawn.iterdir())):
        shutil.copy(picture, folder)
        rows.append({"file_name": picture.name, "caption": f"{COLOURS[k % 3]} bug", "kind": COLOURS[k % 3]})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


def changes(kind: str, pictures: pathlib.Path, parts: pathlib.Path) -> dict:
    """The changes to the tiny settings that make a run of that kind; "pixels" has none."""
    if kind == "pixels":
        return {}
    filled = {
        name: value.format(parts=parts) if isinstance(value, str) else value for name, value in KINDS[kind].items()
    }
    return filled | dict(dataset_name=str(pictures), output_dir=kind)
