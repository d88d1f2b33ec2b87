import dataclasses
import json
import typing

import pytest

from ddpm_app import config as configs
from ddpm_app.config import BUILT_IN, FIELDS, GROUPS, UNETS, TrainConfig, from_dict, from_json
from ddpm_app.errors import Problem
from ddpm_app.i18n import problem_text, text_table

TUTORIAL = dict(
    image_size=128,
    train_batch_size=16,
    eval_batch_size=16,
    num_epochs=50,
    gradient_accumulation_steps=1,
    learning_rate=1e-4,
    lr_warmup_steps=500,
    save_image_epochs=10,
    save_model_epochs=30,
    mixed_precision="fp16",
    output_dir="ddpm-butterflies-128",
    push_to_hub=True,
    hub_model_id="<your-username>/<my-awesome-model>",
    hub_private_repo=None,
    overwrite_output_dir=True,
    seed=0,
    dataset_name="huggan/smithsonian_butterflies_subset",
)

# For each field another value than its default, and what else must be set for it to fit.
OTHER = dict(
    dataset_name=BUILT_IN,
    subset="birds",
    split="test",
    image_column="picture",
    label_column="kind",
    caption_column="words",
    image_size=64,
    resize_mode="pad",
    background="#102030",
    random_flip=False,
    channels=1,
    validation_share=0.25,
    max_train_samples=8,
    unet="medium",
    block_out_channels=(32, 64, 96),
    layers_per_block=3,
    attention_levels=(2, 6),
    attention_head_dim=16,
    norm_num_groups=16,
    dropout=0.125,
    prediction_type="v_prediction",
    beta_schedule="sigmoid",
    num_train_timesteps=500,
    loss_weighting="min_snr",
    snr_gamma=2.5,
    train_batch_size=7,
    num_epochs=3,
    max_train_steps=11,
    max_train_minutes=1.5,
    learning_rate=3e-4,
    lr_scheduler="linear",
    optimizer="muon",
    muon_learning_rate=0.05,
    lr_warmup_steps=0,
    gradient_accumulation_steps=4,
    max_grad_norm=0.5,
    weight_decay=0.0,
    adam_beta2=0.95,
    use_ema=False,
    ema_window=0.3,
    seed=2**32 - 1,
    output_dir="mine 2",
    overwrite_output_dir=False,
    save_image_epochs=1,
    save_model_epochs=2,
    save_image_steps=13,
    checkpointing_steps=17,
    checkpoints_total_limit=None,
    preview_images=4,
    preview_inference_steps=30,
    preview_sampler="ddim",
    eval_batch_size=5,
    push_to_hub=False,
    hub_model_id="me/butterflies",
    hub_private_repo=True,
    hub_push_every_save=True,
    hub_license="apache-2.0",
    mixed_precision="auto",
    device="cpu",
    threads=3,
    objective="autoencoder",
    vae="my vae",
    conditioning="text",
    init_from="me/model",
    trainable=("down", "attention"),
    caption_template="a {label}",
    text_encoder="openai/clip-vit-base-patch32",
    condition_dropout=0.25,
    preview_guidance_scale=7.5,
    vae_channels=(8, 16),
    latent_channels=16,
    kl_weight=0.5,
)

BESIDE = dict(optimizer=dict(mixed_precision="no"))

every_field = pytest.mark.parametrize("name", FIELDS)
annotations = typing.get_type_hints(TrainConfig, include_extras=False)


def typed(value) -> str:
    """A value as a person types it after --field."""
    return "" if value is None else ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def refused(**values) -> Problem:
    with pytest.raises(Problem) as caught:
        from_dict(values)
    assert problem_text(caught.value)  # there are words for it, and all their placeholders are filled
    return caught.value


def limits(name: str) -> list[tuple[str, float]]:
    """(kind, limit) of each of a number's bounds."""
    metadata = TrainConfig.__pydantic_fields__[name].metadata
    return [
        (kind, getattr(m, kind))
        for m in metadata
        for kind in ("ge", "gt", "le", "lt")
        if getattr(m, kind, None) is not None
    ]


NUMBERS = [name for name, info in FIELDS.items() if info.kind in ("int", "float")]
BOUNDS = [(name, *limit) for name in NUMBERS for limit in limits(name)]
CHOICES = [name for name, info in FIELDS.items() if info.kind == "choice"]
STRINGS = [name for name, info in FIELDS.items() if info.kind == "str"]


# ---- what the form, the terminal and the README are made from --------------------------------------------------------
def test_fields_are_fields():
    """The tutorial's class has no annotations, so there TrainingConfig(image_size=64) is a TypeError."""
    assert TrainConfig(image_size=64).image_size == 64
    assert [f.name for f in dataclasses.fields(TrainConfig)] == list(FIELDS)
    assert set(OTHER) == set(FIELDS)


@pytest.mark.parametrize("name", TUTORIAL)
def test_tutorial_defaults(name):
    value = getattr(TrainConfig(), name)
    assert value == TUTORIAL[name] and type(value) is type(TUTORIAL[name])


@every_field
def test_described(name):
    info = FIELDS[name]
    assert info.kind in ("bool", "int", "float", "str", "ints", "choice", "choices")
    assert info.group in GROUPS
    assert len(info.help) > 10 and info.help.endswith(".") and "\n" not in info.help
    assert info.default == getattr(TrainConfig(), name)
    assert (info.default is None) <= info.optional
    assert text_table()[f"field.{name}"] == info.help


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_bounded_on_both_sides(name):
    info = FIELDS[name]
    assert info.minimum is not None and info.maximum is not None
    assert info.default is None or info.minimum <= info.default <= info.maximum


def test_every_group_is_used():
    assert {info.group for info in FIELDS.values()} == set(GROUPS)


@every_field
def test_kind_is_the_annotation(name):
    kinds = {"bool": bool, "int": int, "float": float, "str": str}
    values = [v for v in (OTHER[name], getattr(TrainConfig(), name)) if v is not None]
    if FIELDS[name].kind in kinds:
        assert all(type(v) is kinds[FIELDS[name].kind] for v in values)
    elif FIELDS[name].kind == "choice":
        assert all(v in FIELDS[name].choices for v in values)
    elif FIELDS[name].kind == "choices":
        assert all(isinstance(v, tuple) and set(v) <= set(FIELDS[name].choices) for v in values)
    else:
        assert all(isinstance(v, tuple) for v in values)


# ---- round trips -----------------------------------------------------------------------------------------------------
@every_field
def test_other_values_differ(name):
    assert OTHER[name] != FIELDS[name].default


@every_field
def test_survives_json(name):
    config = from_dict({name: OTHER[name]} | BESIDE.get(name, {}))
    back = from_json(config.to_json())
    assert back == config
    assert getattr(back, name) == OTHER[name] and type(getattr(back, name)) is type(OTHER[name])


@every_field
def test_survives_the_terminal(name):
    value = getattr(from_dict({name: typed(OTHER[name])} | BESIDE.get(name, {})), name)
    assert value == OTHER[name] and type(value) is type(OTHER[name])


@every_field
def test_default_survives_the_terminal(name):
    value = FIELDS[name].default
    back = getattr(from_dict({name: typed(value)}), name)
    assert back == value and type(back) is type(value)


@pytest.mark.parametrize("name", [name for name, info in FIELDS.items() if info.optional])
@pytest.mark.parametrize("word", ["", "none", "None", " "])
def test_nothing_is_none(name, word):
    assert getattr(from_dict({name: word}), name) is None


def test_all_fields_at_once_survive_json():
    values = OTHER | dict(
        max_train_minutes=None, attention_levels=(2, 3), norm_num_groups=8, trainable=("encoder", "decoder")
    )
    config = from_dict(values)
    assert from_json(config.to_json()) == config
    assert config.to_dict() == {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
    assert from_dict(config.to_dict()) == config


@pytest.mark.parametrize("text", ["64,128", "64 128", "(64, 128)", "[64, 128]", "64, 128,"])
def test_ways_to_type_channels(text):
    assert from_dict(dict(block_out_channels=text)).block_out_channels == (64, 128)


# ---- values that can't be --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "kind", "limit"), BOUNDS)
def test_bound(name, kind, limit):
    outside = {"ge": limit - 1, "gt": limit, "le": limit + 1, "lt": limit}[kind]
    problem = refused(**{name: outside})
    code = {"ge": "greater_than_equal", "gt": "greater_than", "le": "less_than_equal", "lt": "less_than"}[kind]
    assert (problem.field, problem.code, problem.values["value"], problem.values["limit"]) == (
        name,
        code,
        outside,
        limit,
    )
    assert name in problem_text(problem)


@pytest.mark.parametrize(("name", "kind", "limit"), BOUNDS)
def test_value_at_the_bound(name, kind, limit):
    inside = (
        limit
        if kind in ("ge", "le")
        else limit + (1 if kind == "gt" else -1) * (1e-3 if FIELDS[name].kind == "float" else 1)
    )
    misfits = ("size_depth", "head_channels", "groups_channels", "preview_steps")
    assert name not in {p.field for p in configs.config_problems({name: inside}) if p.code not in misfits}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["E-4", "abc", "1,5", "0x10", "--", "nan", "inf", [], {}, "1e999"])
def test_not_a_number(name, value):
    problem = refused(**{name: value})
    assert problem.field == name and problem.values["value"] == value
    assert name in problem_text(problem)


@pytest.mark.parametrize("name", [name for name in NUMBERS if not FIELDS[name].optional])
@pytest.mark.parametrize("value", ["", None])
def test_number_is_needed(name, value):
    assert refused(**{name: value}).field == name


@pytest.mark.parametrize("name", [name for name in NUMBERS if FIELDS[name].kind == "int"])
def test_half_is_not_whole(name):
    assert refused(**{name: 2.5}).field == name


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("value", ["nonsense", 7, None])
def test_not_a_choice(name, value):
    problem = refused(**{name: value})
    assert (problem.field, problem.code) == (name, "literal_error")
    assert all(str(choice) in problem_text(problem) for choice in FIELDS[name].choices)


@pytest.mark.parametrize("name", [name for name, info in FIELDS.items() if info.kind == "bool"])
@pytest.mark.parametrize("value", ["maybe", 7, []])
def test_neither_true_nor_false(name, value):
    assert refused(**{name: value}).field == name


@pytest.mark.parametrize("name", STRINGS)
@pytest.mark.parametrize("value", [7, ["a"], {"a": 1}])
def test_not_a_text(name, value):
    assert refused(**{name: value}).field == name


@pytest.mark.parametrize("name", ["dataset_name", "split", "output_dir"])
def test_text_is_needed(name):
    problem = refused(**{name: ""})
    assert (problem.field, problem.code) == (name, "dataset_empty" if name == "dataset_name" else "string_too_short")


def test_name_of_a_run_too_long():
    assert (problem := refused(output_dir="x" * 101)).code == "string_too_long" and problem.values["limit"] == 100


@pytest.mark.parametrize("value", ["64,x", "64;128", "1.5", {}])
@pytest.mark.parametrize("name", ["block_out_channels", "attention_levels", "vae_channels"])
def test_not_a_list_of_numbers(name, value):
    assert refused(**{name: value}).field == name


def test_too_many_levels():
    assert refused(block_out_channels=(8,) * 9).field == "block_out_channels"
    assert refused(objective="autoencoder", vae_channels=(8,) * 7).field == "vae_channels"


@pytest.mark.parametrize("value", ["nonsense", "down,nonsense", ("down", "nonsense"), 7, None, "", (), [3]])
def test_not_some_of_the_sections(value):
    assert refused(trainable=value).field == "trainable"


@pytest.mark.parametrize("text", ["down,attention", "down attention", "(down, attention)", "down, attention,"])
def test_ways_to_type_sections(text):
    assert from_dict(dict(trainable=text)).trainable == ("down", "attention")


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/x",
        "a/b",
        "a\\b",
        ".hidden",
        "..",
        "-x",
        "c:",
        "a*b",
        "a?b",
        'a"b',
        "a<b",
        "a>b",
        "a|b",
        " a",
        "a ",
        "a\n",
        "a\0b",
    ],
)
def test_name_of_a_run_stays_inside(name):
    problem = refused(output_dir=name)
    assert (problem.field, problem.code) == ("output_dir", "run_name")


@pytest.mark.parametrize("name", ["run", "Run 2", "schmetterlinge-ä", "蝴蝶", "a.b", "x" * 100])
def test_name_of_a_run(name):
    assert from_dict(dict(output_dir=name)).output_dir == name


# ---- pairs that can't be ---------------------------------------------------------------------------------------------
def refused_pair(code: str, field: str, other: str, **values) -> Problem:
    problem = refused(**values)
    assert (problem.code, problem.field, problem.values["other"]) == (code, field, other)
    assert field in problem_text(problem) and other in problem_text(problem)
    return problem


def test_size_and_depth():
    problem = refused_pair("size_depth", "image_size", "unet", image_size=100)
    assert problem.values["divisor"] == 32 and problem.values["suggestion"] == 96
    refused_pair("size_depth", "image_size", "block_out_channels", image_size=30, block_out_channels=(32, 64, 64))


@pytest.mark.parametrize("unet", UNETS)
def test_suggested_size_works(unet):
    divisor = 2 ** (len(UNETS[unet].block_out_channels) - 1)
    for size in (8, 9, *range(30, 70), 127):
        found = [p for p in configs.config_problems(dict(unet=unet, image_size=size)) if p.code == "size_depth"]
        assert bool(found) == bool(size % divisor)
        for problem in found:
            assert TrainConfig(unet=unet, image_size=problem.values["suggestion"])


def test_groups_and_channels():
    refused_pair("groups_channels", "unet", "norm_num_groups", norm_num_groups=48)
    refused_pair("groups_channels", "block_out_channels", "norm_num_groups", block_out_channels=(30, 64))
    assert refused(block_out_channels=(0, 64)).code == "groups_channels"


@pytest.mark.parametrize("level", [7, 8, -1, -6])
def test_attention_at_a_level_that_is_not_there(level):
    assert (
        refused_pair("attention_level", "attention_levels", "unet", attention_levels=(level,)).values["value"] == level
    )


def test_heads_and_channels():
    refused_pair("head_channels", "attention_head_dim", "unet", attention_head_dim=48)
    values = dict(block_out_channels=(64, 96), attention_levels=(2,), attention_head_dim=64)
    refused_pair("head_channels", "attention_head_dim", "block_out_channels", **values)


def test_heads_and_the_middle():
    """The middle of the UNet attends even where no level does; fewer channels than a head has would be no head at all."""
    refused_pair(
        "head_channels",
        "attention_head_dim",
        "block_out_channels",
        unet="tiny",
        block_out_channels=(8, 16),
        norm_num_groups=4,
    )


def test_steps_and_minutes():
    refused_pair("steps_and_minutes", "max_train_steps", "max_train_minutes", max_train_steps=10, max_train_minutes=1)


def test_muon_and_fp16():
    refused_pair("muon_fp16", "optimizer", "mixed_precision", optimizer="muon")


def test_preview_steps():
    refused_pair(
        "preview_steps",
        "preview_inference_steps",
        "num_train_timesteps",
        preview_inference_steps=500,
        num_train_timesteps=400,
    )


UNET_SECTIONS, SIDES = ("ends", "down", "mid", "up", "attention"), ("encoder", "decoder")


@pytest.mark.parametrize(
    ("objective", "mine", "others"), [("diffusion", UNET_SECTIONS, SIDES), ("autoencoder", SIDES, UNET_SECTIONS)]
)
def test_sections_of_the_other_objective(objective, mine, others):
    assert {*mine, *others, "all"} == set(FIELDS["trainable"].choices)
    assert from_dict(dict(objective=objective, trainable=("all", *mine))).trainable == ("all", *mine)
    for section in others:
        problem = refused_pair(
            "trainable_kind", "trainable", "objective", objective=objective, trainable=(mine[0], section)
        )
        assert problem.values["value"] == section and all(known in problem_text(problem) for known in ("all", *mine))


@pytest.mark.parametrize(
    ("values", "other"), [(dict(vae="pictures-vae"), "vae"), (dict(objective="autoencoder"), "objective")]
)
def test_autoencoders_take_colour(values, other):
    refused_pair("vae_grey", "channels", other, channels=1, **values)
    assert from_dict(dict(channels=1, init_from="me/model")).channels == 1


def test_size_and_levels_of_an_autoencoder():
    problem = refused_pair("size_depth", "image_size", "vae_channels", objective="autoencoder", image_size=100)
    assert (problem.values["divisor"], problem.values["suggestion"]) == (8, 96)
    assert from_dict(dict(objective="autoencoder", image_size=24)).image_size == 24, (
        "no matter what the UNet would need"
    )
    for widths in ((8, 12), (0, 8), (7,)):
        problem = refused(objective="autoencoder", vae_channels=widths)
        assert (problem.code, problem.field) == ("vae_width", "vae_channels") and "multiples of 8" in problem_text(
            problem
        )


def test_size_in_latents_is_checked_with_the_autoencoder():
    """Only it knows its factor: see test_pipeline."""
    assert from_dict(dict(image_size=100, vae="pictures-vae")).image_size == 100


@pytest.mark.parametrize(
    "template", ["{colour}", "{", "}", "{0}", "{}", "{caption.x}", "{caption[0]}", "{label!z}", "{caption:d}"]
)
def test_caption_template(template):
    problem = refused(conditioning="text", caption_template=template)
    assert (problem.code, problem.field) == ("caption_template", "caption_template") and "{caption}" in problem_text(
        problem
    )


# ---- settings that change nothing ------------------------------------------------------------------------------------
OF_CONDITIONING = {"caption_template", "text_encoder", "condition_dropout", "preview_guidance_scale"}
OF_THE_UNET = {
    "unet",
    "block_out_channels",
    "layers_per_block",
    "attention_levels",
    "attention_head_dim",
    "norm_num_groups",
    "dropout",
}
OF_THE_SCHEDULE, OF_THE_VAE = (
    {"prediction_type", "beta_schedule", "num_train_timesteps"},
    {"vae_channels", "latent_channels", "kl_weight"},
)


@pytest.mark.parametrize(
    ("answers", "wanted"),
    [
        (dict(), OF_CONDITIONING | OF_THE_VAE | {"label_column", "caption_column"}),
        (dict(vae="pictures-vae"), OF_CONDITIONING | OF_THE_VAE | {"label_column", "caption_column"}),
        (dict(conditioning="labels"), OF_THE_VAE | {"caption_template", "text_encoder", "caption_column"}),
        (dict(conditioning="text"), OF_THE_VAE),
        (
            dict(init_from="me/model"),
            OF_THE_UNET | OF_THE_SCHEDULE | OF_THE_VAE | {"vae", "conditioning", "text_encoder"},
        ),
        (
            dict(objective="autoencoder"),
            OF_CONDITIONING
            | OF_THE_UNET
            | OF_THE_SCHEDULE
            | {
                "vae",
                "conditioning",
                "label_column",
                "caption_column",
                "loss_weighting",
                "snr_gamma",
                "preview_inference_steps",
                "preview_sampler",
            },
        ),
    ],
)
def test_idle(answers, wanted):
    found = configs.irrelevant_fields(TrainConfig().to_dict() | answers)
    assert found == wanted | {"muon_learning_rate"} and found < set(FIELDS)
    assert "muon_learning_rate" not in configs.irrelevant_fields(answers | {"optimizer": "muon"})


def test_idle_of_an_autoencoder_that_goes_on():
    fresh, on = (
        configs.irrelevant_fields(dict(objective="autoencoder", **more)) for more in ({}, dict(init_from="me/vae"))
    )
    assert on - fresh == {"vae_channels", "latent_channels"} and "kl_weight" not in on


@pytest.mark.parametrize(
    "values",
    [
        dict(caption_template="{"),
        dict(conditioning="labels", caption_template="{"),
        dict(objective="autoencoder", preview_inference_steps=30, num_train_timesteps=20),
        dict(objective="autoencoder", caption_template="{"),
        dict(objective="autoencoder", norm_num_groups=48),
        dict(init_from="me/model", norm_num_groups=48, image_size=100),
        dict(init_from="me/model", preview_inference_steps=30, num_train_timesteps=20),
    ],
)
def test_what_changes_nothing_stands_in_nobodys_way(values):
    """The form hides it: one would be told of a field that isn't there."""
    assert from_dict(values)
    assert configs.config_problems(values | dict(objective="diffusion", init_from=None, conditioning="text"))


# ---- whole files -----------------------------------------------------------------------------------------------------
def test_all_problems_at_once():
    found = configs.config_problems(dict(image_size=4, learning_rate="E-4", colour="red"))
    told = {p.field: p.code for p in found}
    assert told == {"image_size": "greater_than_equal", "learning_rate": "float_parsing", "colour": "unknown_field"}
    found = configs.config_problems(dict(image_size=100, norm_num_groups=48, output_dir="a/b"))
    assert [p.code for p in found] == ["size_depth", "groups_channels", "run_name"]
    assert configs.config_problems({}) == []


def test_unknown_field_is_named():
    problem = refused(image_sise=64)
    assert (problem.code, problem.field) == ("unknown_field", "image_sise") and "image_sise" in problem_text(problem)
    with pytest.raises(Problem, match="unknown_field"):
        from_json('{"version": 1, "image_sise": 64}')


@pytest.mark.parametrize("version", [configs.FORMAT_VERSION + 1, 99, "2", None, 1.5])
def test_newer_version_is_named(version):
    with pytest.raises(Problem) as caught:
        from_json(json.dumps({"version": version, "of_the_future": 1}))
    assert (caught.value.code, caught.value.field, caught.value.values["value"]) == (
        "newer_version",
        "version",
        version,
    )
    assert str(version) in problem_text(caught.value)


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("\u8774" * 74, True),
        ("\u8774" * 75, False),
        ("\u00e9" * 100, True),
        ("\U0001f98b" * 56, False),
        ("x" * 100, True),
    ],
)
def test_a_runs_name_is_measured_in_bytes(name, fits):
    """The trash and a further run of that name add to it; a file system takes 255 bytes."""
    if fits:
        longest = f"{from_dict(dict(output_dir=name)).output_dir}-1000~20261231-235959-999999"
        assert len(longest.encode()) <= 255
    else:
        problem = refused(output_dir=name)
        assert (problem.code, problem.field) == ("run_name_bytes", "output_dir")
        assert str(len(name.encode())) in problem_text(problem)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"a"', "null", "image_size: 64"])
def test_not_json(text):
    with pytest.raises(Problem) as caught:
        from_json(text)
    assert caught.value.code == "not_json" and problem_text(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_file_as_an_editor_saved_it(encoding):
    text = TrainConfig(output_dir="\u8774\u8776").to_json().replace("\\u8774", "\u8774")
    assert from_json(text.encode(encoding)) == TrainConfig(output_dir="\u8774\u8776")
    assert refused_file(b"\xff\xfe\xff").code == refused_file("\u8774".encode("gbk")).code == "not_json"


def refused_file(content) -> Problem:
    with pytest.raises(Problem) as caught:
        from_json(content)
    assert problem_text(caught.value)
    return caught.value


def test_file_with_a_part_of_the_fields():
    assert from_json('{"image_size": 64}') == TrainConfig(image_size=64)


def test_file_names_its_version():
    assert json.loads(TrainConfig().to_json())["version"] == configs.FORMAT_VERSION


@every_field
def test_frozen(name):
    config = TrainConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, name, OTHER[name])


# ---- the UNet's size -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("unet", UNETS)
def test_named_size(unet):
    assert TrainConfig(unet=unet).unet_shape == UNETS[unet]


@pytest.mark.parametrize("unet", UNETS)
def test_explicit_values_replace_parts(unet):
    base = dict(unet=unet, image_size=128)
    assert from_dict(base | dict(layers_per_block=3)).unet_shape == UNETS[unet]._replace(layers_per_block=3)
    assert from_dict(base | dict(attention_levels="0")).unet_shape == UNETS[unet]._replace(attention_levels=())
    assert from_dict(base | dict(attention_head_dim=1)).unet_shape == UNETS[unet]._replace(attention_head_dim=1)
    assert from_dict(base | dict(norm_num_groups=4)).unet_shape == UNETS[unet]._replace(norm_num_groups=4)
    width = UNETS[unet].block_out_channels[-1]
    fewer = from_dict(base | dict(block_out_channels=f"{width},{width}")).unet_shape
    levels = tuple(level for level in UNETS[unet].attention_levels if level <= 2)
    assert fewer == UNETS[unet]._replace(block_out_channels=(width, width), attention_levels=levels)
