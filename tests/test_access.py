"""What strangers may do on a public page, and everybody at home."""

import pytest
from kits.fabricated_runs import make_run

from ddpm_app import access, presets
from ddpm_app.access import CAPS, AccessPolicy
from ddpm_app.errors import Problem
from ddpm_app.runs import registry


@pytest.fixture
def public(runs_dir):
    return AccessPolicy(runs_dir, public=True)


@pytest.fixture
def home(runs_dir):
    return AccessPolicy(runs_dir)


def refused(policy, visitor="me", **changes):
    with pytest.raises(Problem) as caught:
        policy.check_config(presets.build("first-butterflies", **changes), visitor)
    return caught.value.code, caught.value.field


@pytest.mark.parametrize(
    "name", ["first-butterflies", "butterflies-64", "latent-128", "species-64", "words-128", "fine-tune"]
)
def test_small_presets_run_in_public(public, name):
    assert public.check_config(presets.build(name), "me") == presets.build(name)


@pytest.mark.parametrize(
    "name", [name for name in CAPS if name not in ("num_train_timesteps", "threads", "image_size")]
)
def test_every_cap_holds(public, name):
    most = CAPS[name]
    assert refused(public, **{name: most + 1}) == ("public_cap", name)


def test_size_length_width_and_hub_are_capped(public):
    assert refused(public, image_size=128) == ("public_cap", "image_size")
    assert refused(public, num_epochs=1) == ("public_needs", "max_train_minutes")
    assert refused(public, max_train_steps=60) == ("public_needs", "max_train_minutes")  # each may take long
    assert refused(public, checkpoints_total_limit=None) == ("public_needs", "checkpoints_total_limit")
    assert refused(public, unet="medium", block_out_channels=[512, 512], norm_num_groups=32) == (
        "public_cap",
        "block_out_channels",
    )
    assert refused(public, push_to_hub=True) == ("public_hub", "push_to_hub")


def test_latents_and_autoencoders_may_be_larger(public):
    for light in ({"vae": "pictures-vae", "unet": "latent"}, {"objective": "autoencoder"}):
        config = presets.build("first-butterflies", image_size=access.LATENT_SIZE, **light)
        assert public.check_config(config, "me") == config
        assert refused(public, image_size=access.LATENT_SIZE + 32, **light) == ("public_cap", "image_size")
        assert refused(public, max_train_minutes=CAPS["max_train_minutes"] + 1, **light) == (
            "public_cap",
            "max_train_minutes",
        )
        assert refused(public, num_epochs=1, **light) == ("public_needs", "max_train_minutes")
    wide = {"objective": "autoencoder", "vae_channels": (16, 2 * access.MAX_VAE_CHANNELS)}
    assert refused(public, **wide) == ("public_cap", "vae_channels")
    # the model to go on from decides, not the idle autoencoder beside it
    assert refused(public, image_size=128, init_from="butterflies-64", vae="pictures-vae") == (
        "public_cap",
        "image_size",
    )


@pytest.mark.parametrize("field", ["vae", "init_from", "text_encoder"])
@pytest.mark.parametrize(
    "value", ["somebody/something", "/etc", "../models/pictures-vae", ".", "a-run", "assets/models/pictures-vae"]
)
def test_only_models_that_ship_in_public(public, home, runs_dir, field, value):
    make_run(runs_dir, "a-run", steps=0)
    assert refused(public, **{field: value}) == ("public_model", field)
    home.check_config(presets.build("first-butterflies", **{field: value}), "me")


@pytest.mark.parametrize("name", ["huggan/smithsonian_butterflies_subset", "/etc", "../secret", ".", "upload-123"])
def test_no_path_and_no_hub_in_public(public, name):
    assert refused(public, dataset_name=name) == ("public_data", "dataset_name")


def test_own_uploads_by_name_only(public):
    folder = public.uploads_folder("me") / "upload-123"
    folder.mkdir(parents=True)
    config = presets.build("first-butterflies", dataset_name="upload-123")
    assert public.check_data(config, "me").dataset_name == str(folder)
    assert refused(public, visitor="you", dataset_name="upload-123") == ("public_data", "dataset_name")
    coder = {
        "objective": "autoencoder",
        "dataset_name": "upload-123",
    }  # its previews would show the upload to everybody
    assert refused(public, **coder) == ("public_autoencoder", "objective")
    assert refused(public, dataset_name=str(folder)) == ("public_data", "dataset_name")
    assert folder.is_relative_to(public.runs_dir)


@pytest.mark.parametrize("visitor", ["../../x", "/etc", ""])
def test_a_visitor_s_id_never_leaves_the_uploads(public, visitor):
    assert public.uploads_folder(visitor).parent == public.runs_dir / ".uploads"


def test_only_who_started_may_stop(public, home, runs_dir):
    run = registry.create(runs_dir, presets.build("quick-check"), owner="me")
    assert public.may_stop(run, "me") and home.may_stop(run, "you")
    assert not public.may_stop(run, "you") and not public.may_stop(run, "")
    with pytest.raises(Problem, match="not_yours"):
        public.require_owner(run, "you")
    nobody_s = registry.create(runs_dir, presets.build("quick-check", output_dir="from-terminal"))
    assert not public.may_stop(nobody_s, "") and not public.may_stop(nobody_s, "me")


def test_switched_off_in_public(public, home):
    home.refuse_in_public()
    with pytest.raises(Problem, match="public_off"):
        public.refuse_in_public()
    with pytest.raises(Problem, match="public_cap"):
        public.check_sampling(access.MAX_IMAGES + 1, 20)
    public.check_sampling(access.MAX_IMAGES, access.MAX_STEPS)


def test_no_great_pictures_are_decoded_in_public(public, home):
    great = presets.build("first-butterflies", image_size=1024)
    with pytest.raises(Problem, match="public_cap"):
        public.check_data(great, "me")
    assert home.check_data(great, "me") == great


def test_an_error_tells_strangers_no_paths(public, home):
    error = {
        "code": "folder_missing",
        "field": "dataset_name",
        "values": {"value": "/srv/my runs/.uploads/ab/upload-1"},
    }
    snapshot = {"error": error, "traceback": "/srv"}
    assert home.redact_snapshot(snapshot) == snapshot
    assert "/srv" not in str(public.redact_snapshot(snapshot)) and "upload-1" in str(public.redact_snapshot(snapshot))
    problem = Problem(
        "crash", reason="OSError: no such file: '/srv/a/b.png', see https://a.example/b/c of huggan/butterflies"
    )
    assert (
        public.redact(problem).values["reason"]
        == "OSError: no such file: 'b.png', see https://a.example/b/c of huggan/butterflies"
    )
    assert home.redact(problem) is problem


def test_at_home_everything_goes(home):
    config = presets.build("tutorial-128", dataset_name="/somewhere")
    assert home.check_config(config, "") == config
    assert home.uploads_folder("me") == home.uploads_folder("you")
