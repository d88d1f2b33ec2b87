"""Every setting of a training run, once: type, default, bounds, group and help. The form, the terminal, the messages,
the JSON file and the README's table are all made from ``TrainConfig``."""

import dataclasses
import json
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pydantic
from PIL import ImageColor
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo as PydanticField
from pydantic_core import ErrorDetails

from ddpm_app.errors import Problem

ConfigValues = dict[str, Any]
"""Field names with values: as they were typed, as the JSON file holds them, or as TrainConfig keeps them."""

BUILT_IN = "butterflies"
"""The ``dataset_name`` of the specimens that ship with the app."""

BUILT_IN_256 = "butterflies-256"
"""Specimens of the same kinds at 256 px, drawn when they are first asked for."""

SHIPPED_VAE, SPECIMENS_VAE = "pictures-vae", "butterflies-vae"
"""The autoencoders that ship with the app: for pictures of any kind, and a smaller one that gives the built-in specimens back better."""

PLACEHOLDER_HUB_ID = "<your-username>/<my-awesome-model>"
FORMAT_VERSION = 1
MAX_NAME_BYTES = 255 - 32
"""Of a run's name: what file systems take, less what the trash and a further run of that name add."""
GROUPS = ("kind", "data", "conditioning", "model", "autoencoder", "diffusion", "training", "saving", "hub", "machine")


def setting(default: Any, group: str, help: str, advanced: bool = False, **bounds) -> Any:
    """A field of TrainConfig: pydantic's Field with the group, the help line and whether the form folds it away."""
    return Field(default, description=help, json_schema_extra={"group": group, "advanced": advanced}, **bounds)


def _place(text: object) -> object:
    """A path without what file managers and shells put around it: blanks, quotes, file://."""
    if not isinstance(text, str):
        return text
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    return url2pathname(urlsplit(text).path) if text.lower().startswith("file://") else text


def _colour(text: str) -> str:
    """A colour as Pillow reads it. Raises ValueError."""
    ImageColor.getrgb(text)
    return text


def _empty_is_none(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() in ("", "none") else value


def _split_commas(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = value.strip("()[] ")
    return None if _empty_is_none(text) is None else [part for part in text.replace(" ", ",").split(",") if part]


def _digits_to_int(value: object) -> object:
    return int(value) if isinstance(value, str) and value.strip().isdigit() else value


Maybe = BeforeValidator(_empty_is_none)
MaybeStr = Annotated[str | None, Maybe]
MaybeInt = Annotated[int | None, Maybe]
MaybeFloat = Annotated[float | None, Maybe]
MaybeBool = Annotated[bool | None, Maybe]
MaybeInts = Annotated[tuple[int, ...] | None, BeforeValidator(_split_commas)]
Section = Literal["all", "ends", "down", "mid", "up", "attention", "encoder", "decoder"]
Sections = Annotated[tuple[Section, ...], BeforeValidator(_split_commas)]


class UNetShape(NamedTuple):
    """The size of a UNet: channels per level from the finest down, ResNet layers per level, levels (counted from 1)
    with attention, channels per attention head, groups of GroupNorm."""

    block_out_channels: tuple[int, ...]
    layers_per_block: int
    attention_levels: tuple[int, ...]
    attention_head_dim: int
    norm_num_groups: int


UNETS = {
    "tiny": UNetShape((32, 64, 64), 1, (), 32, 8),
    "small": UNetShape((32, 64, 128, 128), 1, (), 64, 16),
    "medium": UNetShape((64, 128, 192, 256), 2, (4,), 64, 32),
    "latent": UNetShape((48, 96, 112), 1, (3,), 56, 16),
    "tutorial": UNetShape((128, 128, 256, 256, 512, 512), 2, (5,), 8, 32),
}


@pydantic.dataclasses.dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class TrainConfig:
    """The settings of one run. Defaults of the tutorial's own fields are the tutorial's.

    Raises Problem (with ``field``, ``code`` and values) when a value is out of bounds or two don't fit each other.
    """

    # A setting is one line, to be read across.
    # fmt: off
    # kind
    objective: Literal["diffusion", "autoencoder"] = setting("diffusion", "kind", "What is trained: a diffusion model, or the autoencoder (VAE) whose latents one can be trained on.")
    vae: MaybeStr = setting(None, "kind", "Autoencoder whose latents are learnt: pictures-vae or butterflies-vae (built in), an autoencoder run, a folder, or a Hub id; empty learns pixels.")
    conditioning: Literal["none", "labels", "text"] = setting("none", "kind", "What the pictures are asked for by: nothing, labels, or words (text).")
    init_from: MaybeStr = setting(None, "kind", "Model to go on from: butterflies-64 (built in), a run, a folder, or a Hub id; its parts and schedule replace the settings. Empty starts from nothing.")
    trainable: Sections = setting(("all",), "kind", "Parts that learn, the rest is frozen: all, or any of ends, down, mid, up, attention (UNet), encoder, decoder (autoencoder).", min_length=1)
    # data
    dataset_name: Annotated[str, BeforeValidator(_place)] = setting("huggan/smithsonian_butterflies_subset", "data", "Pictures to learn from: butterflies (built in), a Hub id, a folder, or a zip.", min_length=1)
    subset: MaybeStr = setting(None, "data", "Subset (configuration) of a Hub data set; empty takes its default.", advanced=True)
    split: str = setting("train", "data", "Split of a Hub data set to train on.", advanced=True, min_length=1)
    image_column: MaybeStr = setting(None, "data", "Column that holds the pictures; empty finds it by its type.", advanced=True)
    label_column: MaybeStr = setting(None, "data", "Column that holds the labels; empty finds it by its type or takes the folders; folder takes the folders alone.", advanced=True)
    caption_column: MaybeStr = setting(None, "data", "Column that holds the captions; empty finds it by its name or takes the texts beside the pictures; file_name makes them of the files' names.", advanced=True)
    image_size: int = setting(128, "data", "Side of the square pictures, in pixels. Time per step grows with its square.", ge=8, le=1024)
    resize_mode: Literal["squash", "crop", "pad"] = setting("squash", "data", "How a picture becomes square: squash (as the tutorial), crop the centre, or pad with the background.")
    background: Annotated[str, AfterValidator(_colour)] = setting("white", "data", "Ground under transparent pictures and around those that are padded: a colour's name, or #rrggbb.", advanced=True)
    random_flip: bool = setting(True, "data", "Mirror half of the pictures at random.")
    channels: Annotated[Literal[3, 1], BeforeValidator(_digits_to_int)] = setting(3, "data", "3 for colour, 1 for greyscale.", advanced=True)
    validation_share: float = setting(0.05, "data", "Share of the pictures kept out of training, so that overfitting shows.", ge=0, le=0.5, advanced=True)
    max_train_samples: MaybeInt = setting(None, "data", "Learn from so many of the training pictures only, chosen by the seed; empty takes all.", ge=1, le=100_000_000, advanced=True)
    # conditioning
    caption_template: str = setting("{caption}", "conditioning", "Text of each picture: {caption} and {label} stand for its own; without them all share this text. Empty is the empty prompt.", max_length=1000)
    text_encoder: MaybeStr = setting(None, "conditioning", "Frozen CLIP text encoder and tokenizer: a folder or a Hub id such as openai/clip-vit-base-patch32; empty takes the built-in butterflies-clip.")
    condition_dropout: float = setting(0.1, "conditioning", "Share of labels or texts left out in training, so that guidance works.", ge=0, le=1)
    preview_guidance_scale: float = setting(3.0, "conditioning", "Guidance of the previews: 1 follows label or text plainly, more exaggerates it.", ge=0, le=100)
    # model
    unet: Literal["tiny", "small", "medium", "latent", "tutorial"] = setting("tutorial", "model", "Named size of the UNet; the explicit values below replace its parts.")
    block_out_channels: MaybeInts = setting(None, "model", "Channels of each level, finest first, such as 64,128,192; empty takes the named size's.", advanced=True, min_length=1, max_length=8)
    layers_per_block: MaybeInt = setting(None, "model", "ResNet layers per level; empty takes the named size's.", advanced=True, ge=1, le=8)
    attention_levels: MaybeInts = setting(None, "model", "Levels with self-attention, counted from 1, such as 3,4; 0 for none; empty takes the named size's.", advanced=True)
    attention_head_dim: MaybeInt = setting(None, "model", "Channels per attention head; empty takes the named size's.", advanced=True, ge=1, le=512)
    norm_num_groups: MaybeInt = setting(None, "model", "Groups of GroupNorm, a divisor of every channel count; empty takes the named size's.", advanced=True, ge=1, le=256)
    dropout: float = setting(0.0, "model", "Share of activations dropped while training.", ge=0, lt=1, advanced=True)
    # autoencoder
    vae_channels: Annotated[tuple[int, ...], BeforeValidator(_split_commas)] = setting((16, 32, 64, 64), "autoencoder", "Channels of each level, finest first; each level after the first halves the picture's side.", min_length=1, max_length=6)
    latent_channels: int = setting(4, "autoencoder", "Channels of a latent.", ge=1, le=64)
    kl_weight: float = setting(1e-4, "autoencoder", "Weight of the KL term, which keeps latents near a normal distribution; too much of it washes out colours.", ge=0, le=1)
    # diffusion
    prediction_type: Literal["epsilon", "v_prediction", "sample"] = setting("epsilon", "diffusion", "What the UNet guesses: the noise, the velocity, or the clean picture (sample).")
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"] = setting("linear", "diffusion", "How the noise grows with the timestep.")
    num_train_timesteps: int = setting(1000, "diffusion", "Number of noise levels T.", ge=10, le=10000, advanced=True)
    loss_weighting: Literal["none", "min_snr"] = setting("none", "diffusion", "Weight of each timestep in the loss.", advanced=True)
    snr_gamma: float = setting(5.0, "diffusion", "Cap of the signal-to-noise ratio for min_snr.", gt=0, le=100, advanced=True)
    # training
    train_batch_size: int = setting(16, "training", "Pictures per step and device.", ge=1, le=4096)
    num_epochs: int = setting(50, "training", "Times that every picture is seen, unless steps or minutes are given.", ge=1, le=1000000)
    max_train_steps: MaybeInt = setting(None, "training", "Number of steps; replaces num_epochs.", ge=1, le=100_000_000)
    max_train_minutes: MaybeFloat = setting(None, "training", "Minutes of training; a rehearsal turns them into steps on this machine. Replaces num_epochs.", gt=0, le=100_000)
    optimizer: Literal["adamw", "muon"] = setting("adamw", "training", "adamw as the tutorial, or muon for the convolutions (and adamw for the rest): far fewer steps from scratch.")
    learning_rate: float = setting(1e-4, "training", "Peak learning rate of AdamW; with the optimizer muon that of all but the convolutions.", gt=0, le=1)
    muon_learning_rate: float = setting(0.02, "training", "Peak learning rate of Muon: that of the convolutions.", gt=0, le=1)
    lr_scheduler: Literal["cosine", "linear", "constant_with_warmup"] = setting("cosine", "training", "Course of the learning rate after the warm-up.", advanced=True)
    lr_warmup_steps: int = setting(500, "training", "Steps over which the learning rate rises from 0.", ge=0, le=1_000_000)
    gradient_accumulation_steps: int = setting(1, "training", "Batches whose gradients are averaged into one step.", ge=1, le=1024, advanced=True)
    max_grad_norm: float = setting(1.0, "training", "Gradients longer than this are scaled down to it.", gt=0, le=1000, advanced=True)
    weight_decay: float = setting(1e-2, "training", "Weight decay of AdamW.", ge=0, le=1, advanced=True)
    adam_beta2: float = setting(0.999, "training", "Memory of AdamW's second moment.", ge=0.5, lt=1, advanced=True)
    use_ema: bool = setting(True, "training", "Keep an average of the weights and sample from it.", advanced=True)
    ema_window: float = setting(0.1, "training", "Length of the average as a share of the steps so far.", gt=0, le=1, advanced=True)
    seed: int = setting(0, "training", "Seed of the weights, the order, the noise and the flips.", ge=0, lt=2**32, advanced=True)
    # saving
    output_dir: str = setting("ddpm-butterflies-128", "saving", "Name of the run, a folder inside the runs folder.", min_length=1, max_length=100)
    overwrite_output_dir: bool = setting(True, "saving", "A run of that name moves to the trash; off refuses instead.", advanced=True)
    save_image_epochs: MaybeInt = setting(10, "saving", "Epochs between preview pictures; empty draws them by time: the first after 4 seconds of training, then more and more rarely, at most 15 % of the time.", ge=1, le=1_000_000)
    save_model_epochs: int = setting(30, "saving", "Epochs between checkpoints.", ge=1, le=1_000_000)
    save_image_steps: MaybeInt = setting(None, "saving", "Steps between preview pictures; replaces save_image_epochs.", advanced=True, ge=1, le=100_000_000)
    checkpointing_steps: MaybeInt = setting(None, "saving", "Steps between checkpoints; replaces save_model_epochs.", advanced=True, ge=1, le=100_000_000)
    checkpoints_total_limit: MaybeInt = setting(2, "saving", "Checkpoints kept; empty keeps all.", advanced=True, ge=1, le=10_000)
    preview_images: int = setting(16, "saving", "Preview pictures, drawn from the same noise every time.", advanced=True, ge=1, le=64)
    preview_inference_steps: int = setting(20, "saving", "Sampling steps of a preview.", advanced=True, ge=1, le=1000)
    preview_sampler: Literal["dpmpp_2m", "ddim", "ddpm"] = setting("dpmpp_2m", "saving", "Sampler of the previews; ddpm is the tutorial's and wants about 1000 steps.", advanced=True)
    eval_batch_size: int = setting(16, "saving", "Pictures sampled or validated at once.", advanced=True, ge=1, le=4096)
    # hub
    push_to_hub: bool = setting(True, "hub", "Publish the pipeline on the Hugging Face Hub when the run ends.")
    hub_model_id: str = setting(PLACEHOLDER_HUB_ID, "hub", "Repository to publish to, as user/name. Nothing is published under the placeholder.")
    hub_private_repo: MaybeBool = setting(None, "hub", "Make the repository private; empty follows your organisation's default.", advanced=True)
    hub_push_every_save: bool = setting(False, "hub", "Publish at every checkpoint too, not only at the end.", advanced=True)
    hub_license: str = setting("", "hub", "Licence named in the model card, such as apache-2.0.", advanced=True)
    # machine
    mixed_precision: Literal["auto", "no", "fp16", "bf16"] = setting("fp16", "machine", "Number format of the network's arithmetic; auto measures what pays here.")
    device: str = setting("auto", "machine", "Where to train; cuda:1 is the second GPU.", advanced=True, pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$", examples=["auto", "cpu", "cuda", "cuda:1", "mps"])
    threads: int = setting(0, "machine", "CPU threads of torch; 0 takes one per core.", advanced=True, ge=0, le=1024)
    # fmt: on

    def __post_init__(self) -> None:
        irrelevant = irrelevant_fields(dataclasses.asdict(self))
        if problems := [problem for problem in _cross_field_errors(self) if problem.field not in irrelevant]:
            problems[0].also = tuple(problems[1:])
            raise problems[0]

    @property
    def unet_shape(self) -> UNetShape:
        """The UNet's size: the named size with the explicit values put in."""
        named = UNETS[self.unet]
        levels = named.attention_levels
        if self.block_out_channels is not None:
            levels = tuple(n for n in levels if n <= len(self.block_out_channels))
        if self.attention_levels is not None:
            levels = tuple(n for n in self.attention_levels if n != 0)
        return UNetShape(
            self.block_out_channels or named.block_out_channels,
            self.layers_per_block or named.layers_per_block,
            levels,
            self.attention_head_dim or named.attention_head_dim,
            self.norm_num_groups or named.norm_num_groups,
        )

    def to_dict(self) -> ConfigValues:
        """Plain values, tuples as lists: what JSON can hold."""
        values = dataclasses.asdict(self).items()
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values}

    def to_json(self) -> str:
        """The settings as a JSON text that ``from_json`` reads back equal."""
        return json.dumps({"version": FORMAT_VERSION, **self.to_dict()}, indent=2) + "\n"


@dataclasses.dataclass(frozen=True)
class FieldInfo:
    """A field as the form, the terminal and the README describe it. ``kind`` is "bool", "int", "float", "str", "ints",
    "choice" or "choices" (any of ``choices``; of a "str" they are the usual values); ``minimum`` and ``maximum`` are None
    where there is no bound."""

    name: str
    kind: str
    default: Any
    optional: bool
    choices: tuple[str | int, ...]
    minimum: float | None
    maximum: float | None
    help: str
    group: str
    advanced: bool


def _describe(name: str, info: PydanticField) -> FieldInfo:
    union = typing.get_args(info.annotation)
    optional = type(None) in union
    value_type: Any = next((kind for kind in union if kind is not type(None)), None) if optional else info.annotation
    is_tuple = typing.get_origin(value_type) is tuple
    item_type = typing.get_args(value_type)[0] if is_tuple else value_type
    is_choice = typing.get_origin(item_type) is Literal
    kind = ("choices" if is_tuple else "choice") if is_choice else "ints" if is_tuple else value_type.__name__
    bounds = {
        bound: getattr(rule, bound)
        for rule in info.metadata
        for bound in ("ge", "gt", "le", "lt")
        if getattr(rule, bound, None) is not None
    }
    return FieldInfo(
        name,
        kind,
        info.default,
        optional,
        typing.get_args(item_type) if is_choice else tuple(info.examples or ()),
        bounds.get("ge", bounds.get("gt")),
        bounds.get("le", bounds.get("lt")),
        info.description or "",
        **typing.cast(dict[str, Any], info.json_schema_extra),
    )


FIELDS: dict[str, FieldInfo] = {
    name: _describe(name, info)
    for name, info in TrainConfig.__pydantic_fields__.items()  # type: ignore[attr-defined]
}
UNET_FIELDS = (
    "unet",
    "block_out_channels",
    "layers_per_block",
    "attention_levels",
    "attention_head_dim",
    "norm_num_groups",
    "dropout",
)
SCHEDULE_FIELDS = ("prediction_type", "beta_schedule", "num_train_timesteps")
AUTOENCODER_SECTIONS = ("encoder", "decoder")
"""The values of ``trainable`` that name parts of an autoencoder; but for "all", the others name parts of a UNet."""
VAE_NORM_GROUPS = 8


def irrelevant_fields(values: Mapping[str, object]) -> set[str]:
    """Fields that change nothing, given ``objective``, ``conditioning``, ``init_from`` and ``optimizer`` in ``values``."""
    return _irrelevant_kinds(values) | ({"muon_learning_rate"} if values.get("optimizer") == "adamw" else set())


def _irrelevant_kinds(values: Mapping[str, object]) -> set[str]:
    groups = {group: {field.name for field in FIELDS.values() if field.group == group} for group in GROUPS}
    if values.get("objective") == "autoencoder":
        return {
            "vae",
            "conditioning",
            "label_column",
            "caption_column",
            "preview_inference_steps",
            "preview_sampler",
            *groups["conditioning"],
            *groups["model"],
            *groups["diffusion"],
            *(groups["autoencoder"] - {"kl_weight"} if values.get("init_from") else ()),
        }
    if values.get("init_from"):
        return {"vae", "conditioning", "text_encoder", *UNET_FIELDS, *SCHEDULE_FIELDS, *groups["autoencoder"]}
    unused = {
        "none": {*groups["conditioning"], "label_column", "caption_column"},
        "labels": {"caption_template", "text_encoder", "caption_column"},
    }
    return groups["autoencoder"] | unused.get(str(values.get("conditioning")), set())


def _cross_field_errors(config: TrainConfig) -> Iterator[Problem]:
    """Pairs of values that can't work together, each as a Problem that names both fields."""
    autoencoder = config.objective == "autoencoder"
    if not config.init_from:
        yield from _vae_errors(config) if autoencoder else _unet_errors(config)
    sections = ("all", *AUTOENCODER_SECTIONS) if autoencoder else ("all", "ends", "down", "mid", "up", "attention")
    for section in config.trainable:
        if section not in sections:
            yield Problem(
                "trainable_kind",
                "trainable",
                other="objective",
                value=section,
                objective=config.objective,
                known=", ".join(sections),
            )
    if (config.vae or autoencoder) and not config.init_from and config.channels != 3:
        yield Problem("vae_grey", "channels", other="objective" if autoencoder else "vae", value=config.channels)
    try:
        config.caption_template.format(caption="", label="")
    except (KeyError, IndexError, ValueError, AttributeError):
        yield Problem("caption_template", "caption_template", value=config.caption_template)
    if config.optimizer == "muon" and config.mixed_precision == "fp16":
        yield Problem("muon_fp16", "optimizer", other="mixed_precision", value="muon")
    if config.max_train_steps is not None and config.max_train_minutes is not None:
        yield Problem(
            "steps_and_minutes",
            "max_train_steps",
            other="max_train_minutes",
            value=config.max_train_steps,
            minutes=config.max_train_minutes,
        )
    # a model to go on from brings its own timesteps
    if config.preview_inference_steps > config.num_train_timesteps and not config.init_from:
        yield Problem(
            "preview_steps",
            "preview_inference_steps",
            other="num_train_timesteps",
            value=config.preview_inference_steps,
            timesteps=config.num_train_timesteps,
        )
    name = config.output_dir
    if name != name.strip() or name.startswith((".", "-")) or any(c in '/\\:*?"<>|' or ord(c) < 32 for c in name):
        yield Problem("run_name", "output_dir", value=name)
    elif (size := len(name.encode(errors="surrogatepass"))) > MAX_NAME_BYTES:
        yield Problem("run_name_bytes", "output_dir", value=name, bytes=size, limit=MAX_NAME_BYTES)


def _vae_errors(config: TrainConfig) -> Iterator[Problem]:
    levels = len(config.vae_channels)
    if config.image_size % 2 ** (levels - 1):
        yield _indivisible(config, "vae_channels", 2 ** (levels - 1), levels)
    for channels in config.vae_channels:
        if channels < 1 or channels % VAE_NORM_GROUPS:
            yield Problem("vae_width", "vae_channels", value=channels, groups=VAE_NORM_GROUPS)
            break


def _indivisible(config: TrainConfig, other: str, divisor: int, levels: int) -> Problem:
    suggestion = nearest_multiple(config.image_size, divisor)
    return Problem(
        "size_depth",
        "image_size",
        other=other,
        value=config.image_size,
        levels=levels,
        divisor=divisor,
        suggestion=suggestion,
    )


def _unet_errors(config: TrainConfig) -> Iterator[Problem]:
    shape = config.unet_shape
    channels_field = "block_out_channels" if config.block_out_channels else "unet"
    levels = len(shape.block_out_channels)
    if not config.vae and config.image_size % 2 ** (levels - 1):  # with an autoencoder train.check knows the size
        yield _indivisible(config, channels_field, 2 ** (levels - 1), levels)
    for channels in shape.block_out_channels:
        if channels < 1 or channels % shape.norm_num_groups:
            yield Problem(
                "groups_channels", channels_field, other="norm_num_groups", value=channels, groups=shape.norm_num_groups
            )
            break
    # the middle of every UNet attends, at the last level's width
    for level in dict.fromkeys((*shape.attention_levels, levels)):
        if not 1 <= level <= levels:
            yield Problem("attention_level", "attention_levels", other=channels_field, value=level, levels=levels)
        elif shape.block_out_channels[level - 1] % shape.attention_head_dim:
            yield Problem(
                "head_channels",
                "attention_head_dim",
                other=channels_field,
                value=shape.attention_head_dim,
                channels=shape.block_out_channels[level - 1],
            )


PYDANTIC_CODES = {
    "int_parsing",
    "int_type",
    "int_from_float",
    "float_parsing",
    "float_type",
    "bool_parsing",
    "bool_type",
    "literal_error",
    "greater_than",
    "greater_than_equal",
    "less_than",
    "less_than_equal",
    "too_short",
    "string_too_short",
    "string_too_long",
    "finite_number",
}
"""pydantic's error types that have words of their own; any other is a "bad_value"."""
LIMITS = ("ge", "gt", "le", "lt", "expected", "min_length", "max_length")


def parse(values: ConfigValues) -> TrainConfig | list[Problem]:
    """A TrainConfig from ``values`` (a missing field takes its default), or all that is wrong with them.

    Codes are pydantic's own error types, "bad_value", "unknown_field", and those of pairs that can't work together.
    """
    try:
        return TrainConfig(**values)
    except pydantic.ValidationError as error:
        return [_from_pydantic(details, values) for details in error.errors()]
    except Problem as first:
        return [first, *first.also]


def _from_pydantic(error: ErrorDetails, values: ConfigValues) -> Problem:
    field, code = str(error["loc"][0]), error["type"]
    if code == "unexpected_keyword_argument":
        return Problem("unknown_field", field, value=values.get(field))
    if code == "string_pattern_mismatch":
        return Problem(
            "literal_error", field, value=values.get(field), limit=", ".join(map(str, FIELDS[field].choices))
        )
    if field == "dataset_name" and code == "string_too_short":
        return Problem("dataset_empty", field)
    limit = next((value for name, value in error.get("ctx", {}).items() if name in LIMITS), "")
    return Problem(code if code in PYDANTIC_CODES else "bad_value", field, value=values.get(field), limit=limit)


def config_problems(values: ConfigValues) -> list[Problem]:
    """All that is wrong with ``values``, see ``parse``."""
    result = parse(values)
    return result if isinstance(result, list) else []


def from_dict(values: ConfigValues) -> TrainConfig:
    """A TrainConfig from plain values. Raises the first Problem."""
    result = parse(values)
    if isinstance(result, list):
        raise result[0]
    return result


def from_json(text: str | bytes) -> TrainConfig:
    """Read what ``to_json`` wrote, or the settings in a run's config.json; of bytes also what an editor saved with a byte order mark (UTF-8,
    UTF-16). Raises Problem: "not_json", "newer_version" (a later app wrote it), or a field's own."""
    try:
        values = json.loads(text)
        values = values.get("config", values)
        version = values.pop("version", FORMAT_VERSION)
    except (ValueError, AttributeError, TypeError) as error:
        raise Problem("not_json", reason=str(error)) from error
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise Problem("newer_version", "version", value=version, known=FORMAT_VERSION)
    return from_dict(values)


def nearest_multiple(size: int, divisor: int) -> int:
    """The multiple of ``divisor`` nearest to ``size``, at least one time ``divisor``: a size that divides."""
    return max(1, round(size / divisor)) * divisor
