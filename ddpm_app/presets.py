"""Named settings, to be read across like a table. Fields not named here keep TrainConfig's default."""

import re
from typing import Any

from ddpm_app.config import BUILT_IN, BUILT_IN_256, SHIPPED_VAE, SPECIMENS_VAE, ConfigValues, TrainConfig, from_dict

# fmt: off
_QUICK: ConfigValues = dict(
    dataset_name=BUILT_IN, unet="small", prediction_type="sample", beta_schedule="squaredcos_cap_v2", optimizer="muon", learning_rate=1e-3,
    lr_warmup_steps=15, preview_inference_steps=12, save_image_epochs=None, mixed_precision="auto", push_to_hub=False,
)

_LATENT = _QUICK | dict(vae=SPECIMENS_VAE, unet="latent", preview_inference_steps=20, save_model_epochs=4)

PRESETS: dict[str, ConfigValues] = {
    "latent-128": _LATENT | dict(image_size=128, max_train_minutes=1),
    "first-butterflies": _QUICK | dict(image_size=32, max_train_minutes=1, save_model_epochs=2),
    "butterflies-64": _QUICK | dict(image_size=64, max_train_minutes=5, save_model_epochs=2),
    "species-64": _QUICK | dict(image_size=64, conditioning="labels", max_train_minutes=3, save_model_epochs=2),
    "words-128": _LATENT | dict(image_size=128, conditioning="text", max_train_minutes=3),
    "latent-256": _LATENT | dict(dataset_name=BUILT_IN_256, image_size=256, max_train_minutes=5),
    "autoencoder-128": _QUICK | dict(objective="autoencoder", init_from=SHIPPED_VAE, image_size=128, train_batch_size=8, learning_rate=5e-4,
                                     max_train_minutes=5, save_model_epochs=4),
    "fine-tune": _QUICK | dict(init_from="butterflies-64", image_size=64, optimizer="adamw", learning_rate=1e-4, max_train_minutes=2,
                               save_model_epochs=2),
    "overfit-8": _QUICK | dict(image_size=32, max_train_samples=8, random_flip=False, train_batch_size=8, max_train_minutes=3, preview_images=8,
                               save_model_epochs=200),
    "quick-check": _QUICK | dict(image_size=16, unet="tiny", max_train_steps=60, save_image_steps=20, checkpointing_steps=20, preview_images=8),
    "stable-diffusion": dict(
        dataset_name="lambdalabs/naruto-blip-captions", init_from="stable-diffusion-v1-5/stable-diffusion-v1-5", image_size=512, resize_mode="crop",
        conditioning="text", train_batch_size=1, gradient_accumulation_steps=4, learning_rate=1e-5, lr_scheduler="constant_with_warmup",
        lr_warmup_steps=0, max_train_steps=15_000, save_image_steps=500, checkpointing_steps=500, preview_images=4, eval_batch_size=4,
        preview_guidance_scale=7.5, push_to_hub=False,
    ),
    "tutorial-128": dict(output_dir="ddpm-butterflies-128", mixed_precision="fp16", use_ema=False, validation_share=0.0),
}
# fmt: on
FIRST = "latent-128"
"""The preset the page opens on."""
FEWEST_STEPS = 150
"""A run from nothing that is shorter than this draws noise."""


def build(preset: str, **changes: Any) -> TrainConfig:
    """The settings of a preset with ``changes`` put in, see ``changed``; for other pictures than the built-in ones with the autoencoder for
    pictures of any kind. Raises KeyError for an unknown preset."""
    values = {"output_dir": preset} | PRESETS[preset]
    if values.get("vae") == SPECIMENS_VAE and is_own(changes):
        values["vae"] = SHIPPED_VAE
    return changed(values, **changes)


def is_own(values: ConfigValues) -> bool:
    """Whether settings name pictures that aren't built in."""
    return values.get("dataset_name") not in (BUILT_IN, BUILT_IN_256, None, "")


OWN = ("dataset_name", "subset", "split", "image_column", "label_column", "caption_column", "background", "seed")
"""Settings that say whose pictures, and which draw of chance: a preset that is chosen afterwards leaves them."""


def is_preset_name(name: str) -> bool:
    """Whether a run's name is a preset's, numbered or not: nobody chose it."""
    return re.fullmatch(f"({'|'.join(map(re.escape, PRESETS))})(-\\d+)?", name) is not None


def over(preset: str, current: ConfigValues) -> ConfigValues:
    """The settings of a preset for a form that holds ``current``: pictures that aren't built in, the seed, and a name that is no preset's
    stay as they are."""
    staying = OWN if is_own(current) else ("seed",)
    values = build(preset, **({"dataset_name": current["dataset_name"]} if is_own(current) else {})).to_dict()
    if not is_preset_name(str(current.get("output_dir", preset))):
        staying += ("output_dir",)
    return values | {name: current[name] for name in staying if name in current}


def changed(values: ConfigValues, **changes: Any) -> TrainConfig:
    """Settings from ``values`` with ``changes`` put in. One way of saying how long replaces the other one of ``values``.

    Raises Problem for a value that can't be.
    """
    values = values | changes
    for length, other in (("max_train_steps", "max_train_minutes"), ("max_train_minutes", "max_train_steps")):
        if changes.get(length) is not None and other not in changes:
            values[other] = None
    if changes.get("num_epochs") is not None and not {"max_train_steps", "max_train_minutes"} & changes.keys():
        values |= {"max_train_steps": None, "max_train_minutes": None}
    return from_dict(values)
