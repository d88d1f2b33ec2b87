"""Going on from a model: its parts, its schedule and its target replace the settings, and only what may learn does."""

import json
import shutil

import pytest
import torch
from diffusers import DDIMScheduler
from kits import models as parts_kit
from kits.engine import losses, new, objective, train
from kits.problems import problem_of
from PIL import Image
from safetensors.torch import load_file

from ddpm_app import sample
from ddpm_app.data import image_dataset as data
from ddpm_app.errors import Problem
from ddpm_app.files import read_json
from ddpm_app.i18n import problem_text
from ddpm_app.model import loaded, pipeline
from ddpm_app.train import events
from ddpm_app.train.batches import Batches

pytestmark = pytest.mark.usefixtures("no_rehearsal")

WEIGHTS = "diffusion_pytorch_model.safetensors"


# ---- Stable Diffusion ------------------------------------------------------------------------------------------------
def test_it_starts_from_the_models_own_weights(trained, parts, runs_dir, tiny_of):
    run = new(runs_dir, tiny_of("tuned-words", max_train_steps=1))
    train(run)
    first = load_file(run.checkpoints[0] / "unet" / WEIGHTS)
    theirs = load_file(parts / "stable-diffusion" / "unet" / WEIGHTS)
    assert set(first) == set(theirs) and all(torch.equal(first[name], theirs[name]) for name in first)
    last = load_file(trained("tuned-words").checkpoints[-1] / "unet" / WEIGHTS)
    assert any(not torch.equal(last[name], theirs[name]) for name in last)


def test_autoencoder_and_text_encoder_are_unchanged(trained, parts):
    for part, file in (("vae", WEIGHTS), ("text_encoder", "model.safetensors")):
        theirs, ours = (
            load_file(parts / "stable-diffusion" / part / file),
            load_file(trained("tuned-words").pipeline / part / file),
        )
        assert set(ours) == set(theirs) and all(torch.equal(ours[name], theirs[name]) for name in theirs)
    ours, theirs = (
        pipeline.load_text(str(folder)) for folder in (trained("tuned-words").pipeline, parts / "stable-diffusion")
    )
    assert ours.tokenizer.get_vocab() == theirs.tokenizer.get_vocab() and torch.equal(
        ours.tokens(["red bug"]), theirs.tokens(["red bug"])
    )


def test_schedule_and_target_are_the_models(trained, parts):
    """Whatever the settings say: they would spoil what it has learnt."""
    config, stock = trained("tuned-words").config, parts_kit.stable_diffusion().scheduler
    assert (config.prediction_type, config.beta_schedule) == ("epsilon", "linear")
    it = objective(config)
    assert it.config.prediction_type == "v_prediction" and it.model.scheduler.config.prediction_type == "v_prediction"
    torch.testing.assert_close(it.alphas_cumprod, stock.alphas_cumprod, rtol=0, atol=0)
    assert torch.equal(loaded.load_model(trained("tuned-words").path).scheduler.alphas_cumprod, it.alphas_cumprod)


def test_latents_are_never_clipped(parts, tiny_of):
    """A scheduler's own default is to clip; Stable Diffusion's doesn't say that it mustn't."""
    assert "clip_sample" not in read_json(parts / "stable-diffusion" / "scheduler" / "scheduler_config.json")
    models = [
        loaded.load_model(parts / "stable-diffusion"),
        *(objective(tiny_of(kind)).model for kind in ("latents", "tuned-words", "words")),
    ]
    for model in models:
        for name in ("ddpm", "ddim"):
            assert not sample.make_sampler(name, model.scheduler).config.clip_sample
    assert sample.make_sampler("ddim", objective(tiny_of("pixels")).model.scheduler).config.clip_sample


def test_the_first_loss_by_hand(trained):
    """In latents of the model's own autoencoder, with the texts of its own encoder, against its own target."""
    run = trained("tuned-words")
    stock, config, pictures = parts_kit.stable_diffusion(), run.config, data.load(run.config)
    it = objective(config)
    batches = Batches(it.config, pictures, torch.device("cpu"))
    (indices,) = batches.indices(0)
    _, _, t = batches.load(0, 0, indices)
    with torch.no_grad():
        x0 = stock.vae.encode(batches.pictures_of(0, 0, indices)).latent_dist.mean * stock.vae.config.scaling_factor
        key = pipeline.diffusion.generator(config.seed, "noise", 0, 0, 0)
        eps, t = torch.randn(x0.shape, generator=key), torch.randint(0, 1000, (len(indices),), generator=key)
        dropped = batches.dropped(0, 0, len(indices))
        texts = ["" if gone else pictures.captions[i] for i, gone in zip(indices, dropped, strict=True)]
        ids = stock.tokenizer(
            texts, padding="max_length", max_length=parts_kit.LONGEST, truncation=True, return_tensors="pt"
        ).input_ids
        a = stock.scheduler.alphas_cumprod[t].view(-1, 1, 1, 1)
        output = stock.unet(a.sqrt() * x0 + (1 - a).sqrt() * eps, t, stock.text_encoder(ids)[0]).sample
        loss = (output - (a.sqrt() * eps - (1 - a).sqrt() * x0)).square().mean()
    assert losses(run)[0] == pytest.approx(float(loss), rel=1e-4)


def test_going_on_from_a_run_by_its_name(trained, tiny_of):
    """A run that was itself tuned: the same parts again."""
    run = trained("tuned-words")
    config = tiny_of("tuned-words", init_from=run.name, output_dir="again")
    it = objective(config, run.path.parent)
    wanted = load_file(run.pipeline / "unet" / WEIGHTS)
    assert all(torch.equal(value, wanted[name]) for name, value in it.module.state_dict().items())
    assert it.config.prediction_type == "v_prediction" and it.model.conditioning.kind == "text"


# ---- a schedule that ends in pure noise ------------------------------------------------------------------------------
TERMINAL = dict(rescale_betas_zero_snr=True, timestep_spacing="trailing", num_train_timesteps=20)


@pytest.fixture
def terminal(trained, tmp_path):
    """Makes the pipeline of a run of a kind with such a schedule."""

    def make(kind, prediction_type):
        folder = tmp_path / "terminal"
        shutil.copytree(trained(kind).pipeline, folder)
        file = folder / "scheduler" / "scheduler_config.json"
        file.write_text(json.dumps(read_json(file) | TERMINAL | {"prediction_type": prediction_type}))
        return folder

    return make


@pytest.mark.parametrize(
    ("kind", "target", "weighting"),
    [
        ("pixels", "v_prediction", "none"),
        ("words", "v_prediction", "min_snr"),
        ("labels", "sample", "min_snr"),
        ("labels", "epsilon", "none"),
    ],
)
def test_it_is_trained_with_and_saved(terminal, runs_dir, tiny_of, kind, target, weighting):
    base = terminal(kind, target)
    changes = dict(init_from=str(base), output_dir="on", loss_weighting=weighting, train_batch_size=8)
    run = new(runs_dir, tiny_of(kind, **changes, checkpointing_steps=12, save_image_steps=12, preview_sampler="ddim"))
    told = train(run)
    assert told[-1] == events.Ended(12, "finished") and not [e for e in told if isinstance(e, events.RolledBack)]
    assert [e.code for e in told if isinstance(e, events.Notice)].count("zero_snr") == (target == "epsilon")
    before, after = (DDIMScheduler.from_pretrained(folder, subfolder="scheduler") for folder in (base, run.pipeline))
    assert torch.equal(before.alphas_cumprod, after.alphas_cumprod) and after.alphas_cumprod[-1] == 0
    for name in (*TERMINAL, "prediction_type", "clip_sample", "set_alpha_to_one"):
        assert before.config[name] == after.config[name], name


def test_a_weight_that_it_does_not_define_is_refused_at_the_start(terminal, runs_dir, tiny_of):
    changes = dict(init_from=str(terminal("words", "epsilon")), loss_weighting="min_snr")
    run = new(runs_dir, tiny_of("words", **changes))
    assert "none" in problem_text(problem_of("zero_snr_weight", train, run, field="loss_weighting"))
    assert run.plan is None and not run.checkpoints


# ---- pixels ----------------------------------------------------------------------------------------------------------
def test_a_ddpm_pipeline(trained, parts):
    run = trained("tuned-pixels")
    it = loaded.load_model(run.path)
    assert (
        it.scheduler.config.prediction_type,
        it.scheduler.config.beta_schedule,
        it.scheduler.config.num_train_timesteps,
    ) == ("sample", "squaredcos_cap_v2", 500)
    theirs, ours = load_file(parts / "ddpm" / "unet" / WEIGHTS), load_file(run.pipeline / "unet" / WEIGHTS)
    assert set(ours) == set(theirs) and 0 < max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 0.1
    assert it.conditioning.kind == "none"


def test_timesteps_of_a_shorter_schedule_are_the_models(tiny_of):
    """The settings name 1,000 levels, the model knows 500: none beyond may be drawn."""
    it = objective(tiny_of("tuned-pixels", train_batch_size=18))
    batches = Batches(it.config, it.pictures, torch.device("cpu"))
    drawn = torch.cat([batches.load(step, 0, batches.indices(step)[0])[2] for step in range(60)])
    assert 480 < drawn.max() < 500 and len(it.alphas_cumprod) == 500


def test_the_shipped_model(tiny, parts):
    found = pipeline.make(tiny(init_from="butterflies-64", image_size=64, unet="tiny"), data.load(tiny(image_size=64)))
    assert found.image_size == 64 and found.conditioning.kind == "none"


# ---- labels ----------------------------------------------------------------------------------------------------------
def test_a_label_model_on_the_same_labels(trained, runs_dir, tiny_of):
    first = trained("labels")
    run = new(runs_dir, tiny_of("labels", init_from=str(first.path), max_train_steps=2))
    assert train(run)[-1] == events.Ended(2, "finished")
    assert loaded.load_model(run.path).conditioning.names == ("blue", "green", "red")


def test_a_label_model_on_other_labels_or_none(trained, tiny, tiny_of, told, tmp_path):
    init = dict(init_from=str(trained("labels").path))
    other = tmp_path / "other"
    for k, picture in enumerate(sorted(told.glob("*.png"))):
        place = other / ("moth", "bee")[k % 2]
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, place)
    problem = problem_of("labels_differ", objective, tiny(dataset_name=str(other), **init), field="init_from")
    assert "blue, green, red" in problem_text(problem) and "bee, moth" in problem_text(problem)
    bare = problem_of("no_labels", objective, tiny(**init), field="conditioning")
    assert "label_column" in problem_text(bare)


# ---- words -----------------------------------------------------------------------------------------------------------
def test_a_word_model_without_captions(trained, tiny, parts):
    init = dict(init_from=str(parts / "stable-diffusion"))
    problem = problem_of("no_captions", objective, tiny(**init), field="caption_template")
    assert "caption_column" in problem_text(problem)
    assert objective(tiny(**init, caption_template="a bug")).conditions.texts == ["a bug"] * 24


# ---- an autoencoder --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("place", ["vae", "stable-diffusion"])
def test_an_autoencoder_goes_on(parts, tiny_of, place):
    it = objective(tiny_of("autoencoder", init_from=str(parts / place)))
    theirs = parts_kit.vae(seed=0 if place == "vae" else 7).state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in it.module.state_dict().items())


def test_one_whose_encoder_is_frozen_keeps_its_latents(parts, runs_dir, tiny_of):
    """Models that were trained on them fit on; with the encoder trained the scale is measured anew."""
    for trainable, same in ((("decoder",), True), (("all",), False)):
        run = new(
            runs_dir,
            tiny_of(
                "autoencoder",
                init_from=str(parts / "vae"),
                trainable=trainable,
                max_train_steps=2,
                learning_rate=1e-2,
                output_dir=trainable[0],
            ),
        )
        train(run)
        theirs, ours = (pipeline.load_vae(str(folder)) for folder in (parts / "vae", run.path))
        x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
        assert torch.equal(ours.encode(x), theirs.encode(x)) == same == (ours.scale == theirs.scale)
        assert not torch.allclose(ours.decode(ours.encode(x)), theirs.decode(theirs.encode(x)), atol=1e-4)


def test_what_can_not_go_on(tmp_path, parts, tiny_of):
    parts_kit.taesd().save_pretrained(tmp_path)
    problem = problem_of("vae_kind", objective, tiny_of("autoencoder", init_from=str(tmp_path)), field="init_from")
    assert "AutoencoderTiny" in problem_text(problem)
    problem_of("model_unreadable", objective, tiny_of("autoencoder", init_from=str(parts / "ddpm")), field="init_from")
    odd = problem_of(
        "vae_factor", objective, tiny_of("autoencoder", init_from=str(parts / "vae"), image_size=9), field="image_size"
    )
    assert odd.values["suggestion"] == 8


# ---- the parts of a run go away --------------------------------------------------------------------------------------
def test_a_run_whose_parts_are_gone_says_so_when_it_goes_on(parts, runs_dir, tiny_of, tmp_path):
    shutil.copytree(parts / "words", tmp_path / "words")
    run = new(runs_dir, tiny_of("words", text_encoder=str(tmp_path / "words")))
    train(run, act=lambda event, hand: hand.request(stop=getattr(event, "step", 0) >= 2))
    shutil.rmtree(tmp_path / "words")
    with pytest.raises(Problem) as caught:
        train(run)
    assert (caught.value.code, caught.value.field) == ("model_missing", "text_encoder")
    shutil.copytree(parts / "words", tmp_path / "words")
    assert train(run)[-1] == events.Ended(12, "finished")


def test_previews_of_words_ask_for_texts_of_held_out_pictures(trained):
    run = trained("tuned-words")
    it = objective(run.config)
    assert it.preview_texts() == tuple(dict.fromkeys(it.pictures.captions[i] for i in it.pictures.held_out))[:2]
    with Image.open(run.samples[-1]) as sheet:
        assert sheet.size == (18, 8)
