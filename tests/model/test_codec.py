"""Pixels and latents: what a model denoises, the way there and back, and latents kept on disk."""

import json
import os

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from kits import models as parts_kit
from kits.problems import expect_problem

from ddpm_app.data import cache
from ddpm_app.data import image_dataset as data
from ddpm_app.errors import Stopped
from ddpm_app.i18n import problem_text
from ddpm_app.model import pipeline, reconstruction, vae
from ddpm_app.model.codec import Pixels, Vae

MAKERS = {"kl": parts_kit.vae, "tiny": parts_kit.taesd}
every_class = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@pytest.fixture(scope="module")
def pictures(tiny):
    return data.load(tiny())


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache that holds no latents yet."""
    monkeypatch.setenv("DDPM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "latents"


def quietly(coding, pictures, flips=True):
    return coding.training_tensors(pictures, flips, lambda *progress: None, lambda: False)


def x(count=3, size=8):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


# ---- pixels ----------------------------------------------------------------------------------------------------------
def test_pixels_are_the_identity(pictures):
    pixels, batch = Pixels(), x()
    assert pixels.encode(batch) is batch and pixels.decode(batch) is batch and pixels.to("cpu") is pixels
    assert pixels.shape(1, 12) == (1, 12, 12) and pixels.clips and pixels.vae is None
    assert quietly(pixels, pictures) is pictures


# ---- the autoencoder -------------------------------------------------------------------------------------------------
def test_latent_is_the_scaled_mean_of_diffusers():
    theirs, batch = parts_kit.vae(scaling_factor=0.37), x()
    ours = Vae(theirs)
    with torch.no_grad():
        wanted = theirs.encode(batch).latent_dist.mode() * 0.37
        assert torch.equal(ours.encode(batch), wanted)
        assert torch.equal(ours.decode(wanted), theirs.decode(wanted / 0.37).sample)


def test_tiny_autoencoder():
    theirs, batch = parts_kit.taesd(), x()
    ours = Vae(theirs)
    with torch.no_grad():
        assert torch.equal(ours.encode(batch), theirs.encode(batch).latents * 0.7)
        assert torch.equal(
            ours.decode(ours.encode(batch)), theirs.decode(theirs.encode(batch).latents * 0.7 / 0.7).sample
        )


@every_class
def test_shape_is_what_comes_out(make):
    ours = Vae(make())
    assert ours.factor == 2 and not ours.clips
    for size in (8, 12):
        latents = ours.encode(x(size=size))
        assert tuple(latents.shape[1:]) == ours.shape(3, size) == (4, size // 2, size // 2)
        assert ours.decode(latents).shape == (3, 3, size, size)


def test_factor_comes_from_the_levels():
    four = parts_kit.vae(
        block_out_channels=(8,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )
    assert Vae(four).factor == 8 and Vae(four).shape(3, 64) == (4, 8, 8)


def test_size_that_the_factor_does_not_divide():
    with expect_problem("vae_factor", "image_size") as caught:
        Vae(parts_kit.vae()).shape(3, 9)
    assert caught.value.values["suggestion"] == 8 and problem_text(caught.value)


@every_class
def test_it_is_frozen_and_draws_no_graph(make):
    theirs = make().train().requires_grad_(True)
    ours = Vae(theirs)
    assert not theirs.training and not any(p.requires_grad for p in theirs.parameters())
    assert not ours.decode(ours.encode(x())).requires_grad


def test_many_pictures_are_decoded_in_parts(monkeypatch):
    ours = Vae(parts_kit.vae())
    sizes, decode = [], ours.vae.decode
    monkeypatch.setattr(ours.vae, "decode", lambda z: sizes.append(len(z)) or decode(z))
    assert len(ours.decode(torch.zeros(40, 4, 4, 4))) == 40 and sizes == [16, 16, 8]


# ---- latents kept on disk --------------------------------------------------------------------------------------------
def spied(ours, monkeypatch):
    """How many pictures each call of encode gets."""
    sizes, encode = [], ours.encode
    monkeypatch.setattr(ours, "encode", lambda batch: sizes.append(len(batch)) or encode(batch))
    return sizes


@every_class
def test_kept_latents_are_those_of_the_pictures(make, pictures, own_cache):
    ours = Vae(make())
    kept, indices = quietly(ours, pictures), np.array([5, 0, 23, 7])
    flips = np.array([True, False, True, True])
    for mirrored in (None, flips, ~flips):
        wanted = ours.encode(pictures.tensors(indices, mirrored))
        torch.testing.assert_close(kept.tensors(indices, mirrored), wanted, rtol=0, atol=1e-6)
    latents, mirror = kept.tensors(indices), kept.tensors(indices, np.ones(4, bool))
    assert not torch.allclose(latents, mirror) and not torch.allclose(latents.flip(-1), mirror), (
        "a mirror image has a latent of its own"
    )
    assert latents.dtype == torch.float32 and torch.equal(kept.tensors([5, 0]), latents[:2])


def test_encoded_once(pictures, own_cache, monkeypatch):
    ours, told = Vae(parts_kit.vae()), []
    sizes = spied(ours, monkeypatch)
    ours.training_tensors(pictures, True, lambda *phase: told.append(phase), lambda: False)
    assert sizes == [16, 8, 16, 8] and told == [("encode", n, 48) for n in (16, 24, 40, 48)]
    again = Vae(parts_kit.vae())
    monkeypatch.setattr(again, "encode", None)
    assert quietly(again, pictures).latents.shape == (2, 24, 4, 4, 4)
    assert len([path for path in own_cache.iterdir() if path.is_dir()]) == 1


def test_without_flips_half_as_many(pictures, own_cache, monkeypatch):
    ours = Vae(parts_kit.vae())
    sizes = spied(ours, monkeypatch)
    kept = quietly(ours, pictures, flips=False)
    assert sizes == [16, 8] and kept.latents.shape == (1, 24, 4, 4, 4)
    torch.testing.assert_close(kept.tensors([3]), quietly(ours, pictures).tensors([3]), rtol=0, atol=1e-6)


def test_other_pictures_or_another_autoencoder_are_encoded_anew(pictures, own_cache, tiny, monkeypatch):
    grown = parts_kit.vae()
    with torch.no_grad():
        next(grown.decoder.parameters()).view(-1)[0] += 1e-3
    others = [Vae(parts_kit.vae(seed=1)), Vae(parts_kit.vae(scaling_factor=0.61)), Vae(grown), Vae(parts_kit.taesd())]
    assert len({found.fingerprint for found in (Vae(parts_kit.vae()), *others)}) == 5
    quietly(Vae(parts_kit.vae()), pictures)
    for other in others:
        sizes = spied(other, monkeypatch)
        quietly(other, pictures)
        assert sum(sizes) == 48
    ours = Vae(parts_kit.vae())
    sizes = spied(ours, monkeypatch)
    quietly(ours, data.load(tiny(resize_mode="crop", image_size=16, block_out_channels=(8, 16))))
    assert sum(sizes) == 48


def test_stopped_while_encoding_leaves_nothing(pictures, own_cache):
    ours, breaths = Vae(parts_kit.vae()), []
    with pytest.raises(Stopped):
        ours.training_tensors(pictures, True, lambda *progress: None, lambda: breaths.append(1) or len(breaths) > 2)
    assert not [path for path in own_cache.iterdir() if path.is_dir()]
    assert quietly(ours, pictures).latents.shape[1] == 24


@pytest.mark.parametrize("left", ["half a file", "whole file, no meta", "nothing"])
def test_what_a_killed_process_left_is_made_anew(pictures, own_cache, monkeypatch, left):
    ours = Vae(parts_kit.vae())
    wanted = np.array(quietly(ours, pictures).latents)
    (entry,) = (path for path in own_cache.iterdir() if path.is_dir())
    (entry / cache.META).unlink()
    if left == "half a file":
        os.truncate(entry / "latents.npy", 500)
    elif left == "nothing":
        (entry / "latents.npy").unlink()
    sizes = spied(ours, monkeypatch)
    assert np.array_equal(quietly(ours, pictures).latents, wanted) and sum(sizes) == 48


def test_the_entry_says_what_it_is(pictures, own_cache):
    quietly(Vae(parts_kit.vae()), pictures)
    (entry,) = (path for path in own_cache.iterdir() if path.is_dir())
    assert "48 latents of 4 x 4 x 4" in json.loads((entry / cache.META).read_text())["what"]
    assert str(entry) in [path for path, _, _ in cache.caches()]


# ---- how well it gives pictures back ---------------------------------------------------------------------------------
def test_psnr(pictures):
    blank, same = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
    assert reconstruction.psnr(blank, blank + 0.2) == pytest.approx(20.0) and reconstruction.psnr(
        blank, blank
    ) == float("inf")
    assert reconstruction.psnr(same, same * 5) == float("inf"), "what is shown is clamped"
    assert (
        reconstruction.dataset_psnr(Pixels(), pictures) == float("inf")
        and 0 < reconstruction.dataset_psnr(Vae(parts_kit.vae()), pictures) < 20
    )


def test_looks_at_pictures_of_its_kind(pictures):
    for held_out, among in ((False, pictures.train), (True, pictures.held_out)):
        originals, back = reconstruction.reconstruct(Pixels(), pictures, held_out)
        assert len(originals) == min(len(among), reconstruction.COUNT) and originals is back
        every = pictures.tensors(among)
        assert all(any(torch.equal(picture, other) for other in every) for picture in originals)


# ---- loading one -----------------------------------------------------------------------------------------------------
def problem_of(code, folder) -> str:
    """The words for why no autoencoder can be loaded from ``folder``."""
    with expect_problem(code, "vae") as caught:
        pipeline.load_vae(str(folder))
    return problem_text(caught.value)


@pytest.mark.parametrize("place", ["vae", "stable-diffusion"])
def test_alone_or_in_a_pipeline(parts, place):
    wanted = parts_kit.vae(seed=0 if place == "vae" else 7)
    loaded = pipeline.load_vae(str(parts / place))
    assert loaded.fingerprint == Vae(wanted).fingerprint and isinstance(loaded.vae, AutoencoderKL)


def test_tiny_autoencoder_from_a_folder(tmp_path):
    parts_kit.taesd().save_pretrained(tmp_path)
    assert pipeline.load_vae(str(tmp_path)).fingerprint == Vae(parts_kit.taesd()).fingerprint


def test_half_precision_is_read_as_float32(tmp_path):
    parts_kit.vae().half().save_pretrained(tmp_path)
    assert {p.dtype for p in pipeline.load_vae(str(tmp_path)).vae.parameters()} == {torch.float32}


def test_shifted_latents_are_refused(tmp_path):
    parts_kit.vae(shift_factor=0.1).save_pretrained(tmp_path)
    assert "shift_factor" in problem_of("model_unreadable", tmp_path)


def test_what_is_no_autoencoder_is_refused(parts, tmp_path):
    assert "UNet2DModel" in problem_of("model_unreadable", parts / "ddpm" / "unet")
    assert problem_of("model_unreadable", tmp_path) and problem_of("model_missing", tmp_path / "nothing")


# ---- latents brought to one scale ------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def uneven():
    """An autoencoder whose latents of ``x(64)`` differ much in mean and spread from channel to channel, and the scaled one."""
    rough = parts_kit.vae(scaling_factor=0.18215)
    with torch.no_grad():
        rough.quant_conv.weight[:4] *= torch.tensor([0.3, 20.0, 3.0, 100.0]).view(-1, 1, 1, 1)
        rough.quant_conv.bias[:4] += torch.tensor([5.0, -3.0, 0.0, 40.0])
        rough.post_quant_conv.weight /= 10
        latents = rough.encode(x(64)).latent_dist.mean
    return rough, latents, vae.scaled(rough, latents)


def test_latents_of_the_data_are_normal(uneven):
    latents = Vae(uneven[2]).encode(x(64))
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(4), rtol=1e-3, atol=0)


@torch.no_grad()
def test_reconstructions_stay_as_they_are(uneven):
    rough, latents, smooth = uneven
    torch.testing.assert_close(
        smooth.decode(smooth.encode(x(8)).latent_dist.mean).sample, rough.decode(latents[:8]).sample, rtol=0, atol=1e-5
    )
    torch.testing.assert_close(
        Vae(smooth).decode(Vae(smooth).encode(x(8))), rough.decode(latents[:8]).sample, rtol=0, atol=1e-5
    )


@torch.no_grad()
def test_the_posterior_is_the_same_distribution(uneven):
    """Mean and spread of each latent, mapped back by the channels' own mean and spread."""
    rough, latents, smooth = uneven
    mean, ratio = latents.mean((0, 2, 3)).view(-1, 1, 1), latents.std((0, 2, 3)).view(-1, 1, 1)
    ratio = ratio / ratio.square().mean().sqrt()
    one, other = rough.encode(x(8)).latent_dist, smooth.encode(x(8)).latent_dist
    torch.testing.assert_close(other.mean * ratio + mean, one.mean, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(other.std * ratio, one.std, rtol=1e-4, atol=1e-5)
    noise = torch.randn(one.mean.shape, generator=torch.Generator().manual_seed(0))
    sampled = rough.decode(one.mean + one.std * noise).sample
    torch.testing.assert_close(smooth.decode(other.mean + other.std * noise).sample, sampled, rtol=0, atol=1e-4)


def test_one_number_is_all_that_a_stock_pipeline_needs(uneven, tmp_path):
    """Saved and loaded by diffusers; latents times and divided by ``scaling_factor``, as Stable Diffusion does it."""
    rough, latents, smooth = uneven
    smooth.save_pretrained(tmp_path)
    theirs = AutoencoderKL.from_pretrained(tmp_path)
    assert not theirs.config.get("shift_factor") and not theirs.config.get("latents_mean")
    with torch.no_grad():
        z = theirs.encode(x(8)).latent_dist.mean * theirs.config.scaling_factor
        back = theirs.decode(z / theirs.config.scaling_factor).sample
        torch.testing.assert_close(back, rough.decode(latents[:8]).sample, rtol=0, atol=1e-5)
    assert abs(float(z.std()) - 1) < 0.2


def test_the_one_given_is_left_alone(uneven):
    rough, latents, _ = uneven
    before = {k: v.clone() for k, v in rough.state_dict().items()}
    vae.scaled(rough, latents)
    assert (
        all(torch.equal(v, before[k]) for k, v in rough.state_dict().items()) and rough.config.scaling_factor == 0.18215
    )


def test_scaled_twice_is_scaled_once(uneven):
    smooth = uneven[2]
    with torch.no_grad():
        again = vae.scaled(smooth, smooth.encode(x(64)).latent_dist.mean)
    torch.testing.assert_close(Vae(again).encode(x(8)), Vae(smooth).encode(x(8)), rtol=0, atol=2e-3)


def test_a_channel_that_never_changes_stays_finite():
    dead = parts_kit.vae()
    with torch.no_grad():
        dead.quant_conv.weight[2] = 0
        latents = dead.encode(x(16)).latent_dist.mean
    assert torch.isfinite(Vae(vae.scaled(dead, latents)).encode(x(4))).all()


# ---- a new one -------------------------------------------------------------------------------------------------------
def test_a_new_autoencoder_is_that_of_the_settings(tiny):
    config = tiny(objective="autoencoder", vae_channels=(8, 16, 24), latent_channels=3, image_size=16)
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    one, other = vae.build_vae(config), vae.build_vae(tiny(**config.to_dict() | dict(seed=1)))
    assert torch.equal(torch.rand(3), wanted), "the global generator is left as it was"
    assert tuple(one.config.block_out_channels) == (8, 16, 24) and one.config.latent_channels == 3
    assert Vae(one).shape(3, 16) == (3, 4, 4) == tuple(Vae(one).encode(x(size=16)).shape[1:])
    assert Vae(one).fingerprint == Vae(vae.build_vae(config)).fingerprint != Vae(other).fingerprint
