import pytest

from ddpm_app import presets
from ddpm_app.config import BUILT_IN, BUILT_IN_256, SHIPPED_VAE, SPECIMENS_VAE, TrainConfig, irrelevant_fields
from ddpm_app.errors import Problem
from ddpm_app.model import locate, pipeline

every_preset = pytest.mark.parametrize("name", presets.PRESETS)


NEED_THE_HUB = {"tutorial-128", "stable-diffusion"}
offline = pytest.mark.parametrize("name", sorted(set(presets.PRESETS) - NEED_THE_HUB))


def test_the_presets():
    assert set(presets.PRESETS) == NEED_THE_HUB | {
        "first-butterflies",
        "butterflies-64",
        "latent-128",
        "species-64",
        "words-128",
        "latent-256",
        "autoencoder-128",
        "fine-tune",
        "overfit-8",
        "quick-check",
    }
    assert presets.FIRST in presets.PRESETS


@every_preset
def test_can_be_built(name):
    config = presets.build(name)
    assert config.output_dir in (name, "ddpm-butterflies-128")
    assert sum(v is not None for v in (config.max_train_steps, config.max_train_minutes)) <= 1


@offline
def test_needs_no_network(name):
    config = presets.build(name)
    assert config.dataset_name in (BUILT_IN, BUILT_IN_256) and not config.push_to_hub
    assert all(
        place is None or (locate.SHIPPED / place).is_dir()
        for place in (config.vae, config.init_from, config.text_encoder)
    )
    assert config.conditioning != "text" or (locate.SHIPPED / pipeline.CLIP).is_dir()


@offline
def test_fits_its_parts(name):
    """What train.check and the parts would refuse is refused here."""
    config = presets.build(name)
    if config.objective == "autoencoder":
        assert config.init_from is None or config.image_size % pipeline.load_vae(config.init_from).factor == 0
    elif config.init_from:
        assert pipeline.load(locate.resolve(config.init_from), config.init_from).image_size == config.image_size
    else:
        codec = pipeline.load_vae(config.vae) if config.vae else pipeline.Pixels()
        assert pipeline.denoised_shape(config, codec)[1] == config.image_size // getattr(codec, "factor", 1)


@every_preset
def test_names_nothing_that_changes_nothing(name):
    """A preset is read across like a table: what it sets matters, but for what all quick ones share."""
    assert not (set(presets.PRESETS[name]) - set(presets._QUICK)) & irrelevant_fields(presets.build(name).to_dict()) - {
        "conditioning"
    }


def test_the_promise():
    promised = {
        "first-butterflies": (32, 1),
        "butterflies-64": (64, 5),
        "latent-128": (128, 1),
        "species-64": (64, 3),
        "words-128": (128, 3),
        "latent-256": (256, 5),
    }
    for name, wanted in promised.items():
        config = presets.build(name)
        assert (config.image_size, config.max_train_minutes) == wanted
        assert (config.vae is not None) == (config.image_size >= 128)
    assert presets.build("species-64").conditioning == "labels" and presets.build("words-128").conditioning == "text"
    assert (
        presets.build("fine-tune").init_from == "butterflies-64"
        and presets.build("autoencoder-128").objective == "autoencoder"
    )


def test_overfit_8_sees_eight_pictures_and_measures_others():
    config = presets.build("overfit-8")
    assert config.max_train_samples == config.train_batch_size == 8 and config.validation_share > 0
    assert config.image_size == 32 and config.max_train_minutes <= 3


def test_quick_check_has_a_fixed_length_and_saves_often():
    config = presets.build("quick-check")
    assert config.max_train_steps and config.max_train_minutes is None
    assert (
        config.checkpointing_steps <= config.max_train_steps / 3
        and config.save_image_steps <= config.max_train_steps / 3
    )


def test_tutorial_is_the_tutorial():
    """Only what the tutorial has no name for differs from the defaults, and the defaults are the tutorial's."""
    config, defaults = presets.build("tutorial-128").to_dict(), TrainConfig().to_dict()
    assert {k: v for k, v in config.items() if v != defaults[k]} == {"use_ema": False, "validation_share": 0.0}
    assert (config["unet"], config["beta_schedule"], config["prediction_type"]) == ("tutorial", "linear", "epsilon")
    assert (config["resize_mode"], config["random_flip"], config["channels"]) == ("squash", True, 3)
    assert (config["optimizer"], config["lr_scheduler"], config["max_grad_norm"]) == ("adamw", "cosine", 1.0)
    assert (config["weight_decay"], config["adam_beta2"]) == (1e-2, 0.999)


@every_preset
def test_changes_go_in(name):
    config = presets.build(name, seed=7, learning_rate="3e-4", output_dir="mine")
    assert (config.seed, config.learning_rate, config.output_dir) == (7, 3e-4, "mine")


@pytest.mark.parametrize("name", ["first-butterflies", "butterflies-64"])
def test_steps_replace_minutes(name):
    config = presets.build(name, max_train_steps=12)
    assert (config.max_train_steps, config.max_train_minutes) == (12, None)


def test_minutes_replace_steps():
    config = presets.build("quick-check", max_train_minutes=2)
    assert (config.max_train_steps, config.max_train_minutes) == (None, 2)


@every_preset
def test_epochs_replace_steps_and_minutes(name):
    config = presets.build(name, num_epochs=3)
    assert (config.num_epochs, config.max_train_steps, config.max_train_minutes) == (3, None, None)


def test_steps_win_over_epochs():
    config = presets.build("first-butterflies", num_epochs=3, max_train_steps=5)
    assert (config.num_epochs, config.max_train_steps, config.max_train_minutes) == (3, 5, None)


def test_both_asked_for_is_refused():
    with pytest.raises(Problem, match="steps_and_minutes"):
        presets.build("first-butterflies", max_train_steps=5, max_train_minutes=1)


def test_bad_values():
    with pytest.raises(KeyError):
        presets.build("nonsense")
    with pytest.raises(Problem) as caught:
        presets.build("quick-check", learning_rate="E-4")
    assert caught.value.field == "learning_rate"


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_a_preset_leaves_pictures_that_somebody_chose(preset):
    current = presets.build("latent-128", dataset_name="/my/cats", split="test", seed=5, output_dir="cats").to_dict()
    values = presets.over(preset, current)
    assert {name: values[name] for name in (*presets.OWN, "output_dir")} == {
        name: current[name] for name in (*presets.OWN, "output_dir")
    }
    assert values["image_size"] == presets.build(preset).image_size


def test_a_preset_brings_its_own_pictures_where_nobody_chose_any():
    current = presets.build("latent-128", output_dir="latent-128-3", seed=5).to_dict()
    values = presets.over("latent-256", current)
    assert (values["dataset_name"], values["output_dir"], values["seed"]) == ("butterflies-256", "latent-256", 5)


def test_the_autoencoder_is_that_for_the_pictures_unless_one_is_named():
    vaes = [presets.build("latent-128", dataset_name=name).vae for name in (BUILT_IN, "mine")]
    assert vaes == [SPECIMENS_VAE, SHIPPED_VAE]
    assert presets.build("latent-128", dataset_name="mine", vae=SPECIMENS_VAE).vae == SPECIMENS_VAE
    assert presets.over("words-128", {"dataset_name": "mine"})["vae"] == SHIPPED_VAE
    assert presets.over("latent-256", {"dataset_name": BUILT_IN})["vae"] == SPECIMENS_VAE
    assert presets.build("first-butterflies", dataset_name="mine").vae is None
