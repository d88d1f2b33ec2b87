"""What is learnt: the autoencoder's loss, diffusion in latents and by label, and that learning happens."""

import colorsys

import numpy as np
import pytest
import torch
from kits import models as parts_kit
from kits.engine import losses, new, objective, rows, train
from PIL import Image
from torch.distributions import Normal, kl_divergence

from ddpm_app import diffusion, sample
from ddpm_app.data.preprocess import to_display
from ddpm_app.i18n import t
from ddpm_app.model import loaded, pipeline
from ddpm_app.model.unet import count_parameters, freeze, learning
from ddpm_app.train import autoencoding, events
from ddpm_app.train.batches import Batches
from ddpm_app.train.denoising import unknown_words
from ddpm_app.train.estimate import estimate
from ddpm_app.train.rehearse import rehearse

pytestmark = pytest.mark.usefixtures("no_rehearsal")


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def loader(it) -> Batches:
    return Batches(it.config, it.pictures, it.device, training_tensors=it.training_tensors)


# ---- the autoencoder -------------------------------------------------------------------------------------------------
def test_reconstruction_loss_by_hand():
    x = torch.zeros(2, 1, 2, 3)
    y = torch.tensor([[[[0.0, 0.0, 3.0], [0.0, 0.0, 0.0]]], [[[0.5] * 3] * 2]])
    first = 3 / 6 + 3 / 4 + 3 / 3  # the pixels, the neighbours across (2 x 2 pairs), those down (1 x 3 pairs)
    assert autoencoding.reconstruction_losses(x, y).tolist() == pytest.approx([first, 0.5])
    assert torch.equal(autoencoding.reconstruction_losses(y, y), torch.zeros(2))
    assert torch.equal(autoencoding.reconstruction_losses(x, y), autoencoding.reconstruction_losses(y, x))


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_the_loss_by_hand(tiny_of, weight):
    """Decoded is a sample of the posterior; KL is torch's own, per number of the latent."""
    it = objective(tiny_of("autoencoder", kl_weight=weight))
    x, eps = it.pictures.tensors(it.pictures.train[:3]), noise(3, 4, 4, 4)
    with torch.no_grad():
        got = it.losses(it.training_module(it.module), autoencoding.PictureBatch(x, eps))
        posterior = it.module.encode(x).latent_dist
        y = it.module.decode(posterior.mean + posterior.std * eps).sample
        kl = kl_divergence(Normal(posterior.mean, posterior.std), Normal(0.0, 1.0)).mean((1, 2, 3))
        torch.testing.assert_close(got, autoencoding.reconstruction_losses(x, y) + weight * kl)


def test_the_first_step_is_that_of_its_batch(trained):
    run = trained("autoencoder")
    it = objective(run.config)
    batches = loader(it)
    (indices,) = batches.indices(0)
    with torch.no_grad():
        wanted = it.losses(it.training_module(it.module), it.batch(batches, 0, 0, indices)).mean()
    assert losses(run)[0] == pytest.approx(float(wanted), rel=1e-4)


def test_noise_of_a_latent_depends_on_its_key_alone(tiny_of):
    it = objective(tiny_of("autoencoder"))
    indices = it.pictures.train[:4]
    batch = it.batch(loader(it), 3, 0, indices)
    torch.rand(3)
    assert torch.equal(batch.noise, it.batch(loader(it), 3, 0, indices).noise)
    assert batch.noise.shape == (4, 4, 4, 4) and batch.x.shape == (4, 3, 8, 8)
    for step, number in ((4, 0), (3, 1)):
        assert not torch.equal(batch.noise, it.batch(loader(it), step, number, indices).noise)


def test_validation_of_an_autoencoder(trained, tiny_of):
    run = trained("autoencoder")
    it = objective(run.config)
    measured = it.measure(it.module.eval(), 0)
    for kind, among in (("train_loss", it.pictures.train), ("held_out_loss", it.pictures.held_out)):
        x = it.pictures.tensors(among[np.linspace(0, len(among) - 1, min(16, len(among))).round().astype(int)])
        with torch.no_grad():
            wanted = autoencoding.reconstruction_losses(
                x, it.module.decode(it.module.encode(x).latent_dist.mean).sample
            ).mean()
        assert getattr(measured, kind) == pytest.approx(float(wanted), rel=1e-5)
    first = rows(run, "validation")[0]
    assert (first["train_loss"], first["held_out_loss"], first["bands"]) == (
        pytest.approx(measured.train_loss, rel=1e-4),
        pytest.approx(measured.held_out_loss, rel=1e-4),
        [],
    )
    assert objective(tiny_of("autoencoder", validation_share=0.0)).measure(it.module, 0).held_out_loss is None


@pytest.mark.parametrize(("share", "size"), [(0.25, 16), (0.25, 1), (0.0, 3)])
def test_preview_of_an_autoencoder_is_pairs(tiny_of, share, size):
    """Original, reconstruction, original, ... of held-out pictures, or of training pictures where there are no others."""
    it = objective(tiny_of("autoencoder", validation_share=share, eval_batch_size=size, preview_images=3))
    *slices, images = it.preview(it.module.eval())
    among = it.pictures.held_out if share else it.pictures.train
    chosen = among[np.linspace(0, len(among) - 1, 3).round().astype(int)]
    assert slices == [None] * -(-3 // size) and len(images) == 6
    x = it.pictures.tensors(chosen)
    with torch.no_grad():
        y = it.module.decode(it.module.encode(x).latent_dist.mean).sample
    for k in range(3):
        assert np.array_equal(np.asarray(images[2 * k]), to_display(x)[k])
        assert np.abs(np.asarray(images[2 * k + 1]).astype(int) - to_display(y)[k]).max() <= 1


def test_saved_latents_have_unit_variance(trained):
    """Measured on the training pictures; held-out ones are near."""
    run = trained("autoencoder")
    codec, pictures = pipeline.load_vae(str(run.path)), objective(run.config).pictures
    z = codec.encode(pictures.tensors(pictures.train))
    assert float(z.std()) == pytest.approx(1, abs=0.02) and float(z.mean().abs()) < 0.01
    torch.testing.assert_close(z.std((0, 2, 3)), torch.ones(4), rtol=0.02, atol=0)


def test_grey_pictures_and_odd_sizes_are_refused_before(tiny_of):
    it = objective(tiny_of("autoencoder", image_size=12))
    assert it.latent == (4, 6, 6)


# ---- conditions and latents reach the loss ---------------------------------------------------------------------------
def test_the_first_loss_of_labels_in_latents_by_hand(trained):
    run, vae = trained("labels-in-latents"), parts_kit.vae()
    config, it = run.config, objective(run.config)
    batches = Batches(config, it.pictures, it.device)
    (indices,) = batches.indices(0)
    flipped = batches.pictures_of(0, 0, indices)
    with torch.no_grad():
        x0 = vae.encode(flipped).latent_dist.mean * 0.6
        key = diffusion.generator(config.seed, "noise", 0, 0, 0)
        eps, t = torch.randn(x0.shape, generator=key), torch.randint(0, 1000, (len(indices),), generator=key)
        labels = torch.tensor(
            [
                3 if gone else it.pictures.labels[i]
                for i, gone in zip(indices, batches.dropped(0, 0, len(indices)), strict=True)
            ]
        )
        a = pipeline.DDPMScheduler().alphas_cumprod[t].view(-1, 1, 1, 1)
        loss = (it.module(a.sqrt() * x0 + (1 - a).sqrt() * eps, t, labels).sample - eps).square().mean()
    assert losses(run)[0] == pytest.approx(float(loss), rel=1e-4)


def test_validation_drops_nothing(tiny_of):
    """Each picture is measured with its own label, whatever share is left out in training."""
    seen = []
    it = objective(tiny_of("labels", condition_dropout=1.0))
    it.module.register_forward_pre_hook(
        lambda module, args, named: seen.append(named["class_labels"]), with_kwargs=True
    )
    it.measure(it.module.eval(), 0)
    asked = torch.cat(seen)
    assert len(asked) == 32 and 3 not in asked
    with torch.no_grad():
        it.losses(it.module, it.batch(loader(it), 0, 0, it.pictures.train[:4]))
    assert seen[-1].tolist() == [3] * 4


@pytest.mark.parametrize("kind", ["pixels", "labels-in-latents", "words", "autoencoder"])
def test_validation_does_not_depend_on_the_batch(tiny_of, kind):
    whole, parts = (objective(tiny_of(kind, eval_batch_size=size)) for size in (16, 5))
    one, other = whole.measure(whole.module.eval(), 0), parts.measure(parts.module.eval(), 0)
    assert other.train_loss == pytest.approx(one.train_loss, rel=1e-5) and other.held_out_loss == pytest.approx(
        one.held_out_loss, rel=1e-5
    )
    assert other.bands == pytest.approx(one.bands, rel=1e-4)


# ---- what is said of the fit -----------------------------------------------------------------------------------------
def test_cut_texts_and_unfit_autoencoders_are_said(runs_dir, tiny_of):
    run = new(runs_dir, tiny_of("words", caption_template="a very long tale of a {caption}", max_train_steps=1))
    told = {event.code: event for event in train(run) if isinstance(event, events.Notice)}
    assert (
        told["texts_cut"].values == {"count": 24, "longest": parts_kit.LONGEST}
        and float(told["vae_unfit"].values["psnr"]) < 20
    )
    assert all(t(f"notice.{code}", **event.values) for code, event in told.items())
    assert "24" in t("notice.texts_cut", **told["texts_cut"].values)


def test_unknown_words_are_counted_and_the_most_frequent_named(runs_dir, tiny_of):
    run = new(runs_dir, tiny_of("words", caption_template="no 5: {caption}s 5 or 6", max_train_steps=1))
    told = {event.code: event for event in train(run) if isinstance(event, events.Notice)}
    assert told["words_unknown"].values == {"count": 24, "total": 24, "different": 2, "words": "5 (24), 6 (24)"}
    notice = unknown_words([[], ["Bee", "bee"], ["bee", *"abcdefghij"], []])
    assert notice.values | {"words": ""} == {"count": 2, "total": 4, "different": 11, "words": ""}
    assert notice.values["words"].startswith("bee (2), a (1), ") and notice.values["words"].count("(") == 8
    assert "bee (2)" in t("notice.words_unknown", **notice.values)


def test_what_fits_is_not_spoken_of(tiny_of, monkeypatch):
    monkeypatch.setattr("ddpm_app.train.denoising.UNFIT_PSNR", 0)
    for kind in ("pixels", "latents", "words", "autoencoder"):
        assert list(objective(tiny_of(kind)).notices()) == []


# ---- what it costs, measured -----------------------------------------------------------------------------------------
REHEARSE = rehearse  # before a fixture stands in for it


@pytest.mark.parametrize("kind", ["pixels", *parts_kit.KINDS])
def test_a_rehearsal_tells_the_memory_of_a_step_on_a_cpu_too(tiny_of, kind):
    it = objective(tiny_of(kind))
    found = REHEARSE(it.config, it, it.pictures, lambda: False)
    assert found["memory_bytes"] > 16 * found["parameters"] and found["parameters"] == count_parameters(it.module)


# ---- what it costs, before it begins ---------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["pixels", *parts_kit.KINDS])
def test_estimate_counts_the_network_that_is_trained(trained, tiny_of, kind):
    run = trained(kind)
    config = run.config
    it = objective(config)
    labels = len(it.pictures.label_names or ())
    found = estimate(config, len(it.pictures.train), labels)
    assert found["parameters"] == found["trainable"] == count_parameters(it.module)
    assert (
        found["steps_per_epoch"] == run.plan["steps_per_epoch"]
        and found["flops"] > 0
        and found["memory_bytes"] > 16 * found["parameters"]
    )
    some = estimate(
        tiny_of(kind, trainable=("decoder",) if kind == "autoencoder" else ("mid",)), len(it.pictures.train), labels
    )
    freeze(it.module, ("decoder",) if kind == "autoencoder" else ("mid",))
    assert some["trainable"] == sum(p.numel() for p in learning(it.module)) < some["parameters"] == found["parameters"]
    assert some["memory_bytes"] < found["memory_bytes"]


@pytest.mark.parametrize(
    "changes",
    [
        dict(vae="someone/nowhere"),
        dict(init_from="someone/nowhere"),
        dict(conditioning="text", text_encoder="nothing"),
        dict(objective="autoencoder", init_from="nothing"),
        dict(vae="{parts}/ddpm/unet"),
        dict(init_from="{parts}/vae"),
        dict(conditioning="text", text_encoder="{parts}/vae"),
    ],
)
def test_no_estimate_of_what_is_not_here(tiny, parts, changes):
    asked = {name: value.format(parts=parts) for name, value in changes.items()}
    assert estimate(tiny(**asked), 18) is None


def test_estimate_of_a_run_by_its_name(trained, tiny_of):
    runs_dir = trained("latents").path.parent
    for changes in (
        dict(vae="autoencoder"),
        dict(init_from="latents"),
        dict(objective="autoencoder", init_from="autoencoder"),
    ):
        assert estimate(tiny_of("pixels", **changes), 18, runs_dir=runs_dir)["parameters"] > 0
        assert estimate(tiny_of("pixels", **changes), 18) is None


# ---- learning --------------------------------------------------------------------------------------------------------
LONG = dict(
    checkpointing_steps=1000,
    save_image_steps=1000,
    lr_warmup_steps=5,
    learning_rate=5e-3,
    beta_schedule="squaredcos_cap_v2",
)


def validations(run) -> list[events.Validated]:
    return [event for event in train(run) if isinstance(event, events.Validated)]


def test_an_autoencoder_learns(runs_dir, tiny_of):
    measured = validations(new(runs_dir, tiny_of("autoencoder", max_train_steps=60, **LONG)))
    assert (
        measured[-1].held_out_loss < measured[0].held_out_loss * 0.7
        and measured[-1].train_loss < measured[0].train_loss * 0.7
    )


def test_a_latent_run_learns(runs_dir, tiny_of):
    measured = validations(new(runs_dir, tiny_of("latents", prediction_type="sample", max_train_steps=60, **LONG)))
    assert (
        measured[-1].train_loss < measured[0].train_loss * 0.6
        and measured[-1].held_out_loss < measured[0].held_out_loss * 0.8
    )


HUES = {"red": 0.0, "green": 1 / 3, "blue": 2 / 3}


@pytest.fixture(scope="module")
def coloured(tmp_path_factory):
    """Plain pictures in folders named by their colour."""
    folder = tmp_path_factory.mktemp("coloured")
    for name, hue in HUES.items():
        (folder / name).mkdir()
        for k in range(4):
            Image.new("RGB", (8, 8), tuple(round(255 * v) for v in colorsys.hsv_to_rgb(hue, 1, 0.7 + 0.1 * k))).save(
                folder / name / f"{k}.png"
            )
    return folder


@pytest.mark.parametrize(
    "changes", [dict(conditioning="labels"), dict(conditioning="text", caption_template="a {label} butterfly")], ids=str
)
def test_what_is_asked_for_is_learnt(runs_dir, tiny, coloured, changes):
    """The colour that a label, or a text that the shipped text encoder reads, asks for is drawn."""
    config = tiny(
        dataset_name=str(coloured),
        prediction_type="sample",
        max_train_steps=150,
        train_batch_size=12,
        validation_share=0.0,
        random_flip=False,
        optimizer="muon",
        **changes | LONG,
    )
    run = new(runs_dir, config)
    train(run)
    it = loaded.load_model(run.path)
    names = ("blue", "green", "red")
    texts = tuple(f"a {name} butterfly" for name in names)
    request = sample.Request(num_images=9, num_inference_steps=10, prompt=texts, labels=(0, 1, 2), guidance_scale=2.0)
    *_, last = sample.sample(it, request)
    drawn = last.x.mean((2, 3))  # [9, 3]: red, green, blue
    right = [int(colour.argmax()) == "rgb".index(names[k % 3][0]) for k, colour in enumerate(drawn)]
    assert sum(right) >= 8, drawn
