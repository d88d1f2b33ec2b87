"""Latents of a picture, scaled and of the wrong size."""

import types

import pytest
import torch
from diffusers import DDPMScheduler
from kits import models as parts_kit

from ddpm_app import diffusion
from ddpm_app.learn.probes.latents import latents, missized
from ddpm_app.model.codec import Vae


def picture():
    return torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(2)) * 2 - 1


def test_the_mean_and_its_scaling_are_the_autoencoders():
    codec, x = Vae(parts_kit.vae()), picture()
    found, posterior = latents(codec, x), codec.vae.encode(x).latent_dist
    assert torch.equal(found.mean, posterior.mode()) and torch.equal(found.scaled, codec.encode(x))
    assert torch.equal(found.scaled, found.mean * codec.vae.config.scaling_factor)
    assert found.spread == pytest.approx(float(posterior.std.mean()))


def test_an_encoder_without_a_distribution():
    codec, x = Vae(parts_kit.taesd()), picture()
    found = latents(codec, x)
    assert (
        found.spread is None
        and torch.equal(found.scaled, codec.encode(x))
        and torch.equal(found.mean, codec.vae.encode(x).latents)
    )


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("times", [1.0, 5.5])
def test_latents_of_any_size_come_back(kind, times):
    """A network that knows the truth gives the latents back at their right size; what it is fed is ``times`` as large."""
    scheduler = DDPMScheduler(prediction_type=kind)
    draw = torch.Generator().manual_seed(3)
    scaled, eps = torch.randn(1, 4, 4, 4, generator=draw), torch.randn(1, 4, 4, 4, generator=draw)
    abar, fed = scheduler.alphas_cumprod[400], []

    def unet(x, t, **condition):
        fed.append((x, int(t), condition))
        return types.SimpleNamespace(sample=diffusion.target(kind, scaled * times, eps, abar))

    found = missized(types.SimpleNamespace(unet=unet, scheduler=scheduler), scaled, times, eps, 400, {"words": 1})
    torch.testing.assert_close(found, scaled, rtol=0, atol=1e-5)
    ((x, t, condition),) = fed
    assert (
        t == 400
        and condition == {"words": 1}
        and torch.equal(x, scheduler.add_noise(scaled * times, eps, torch.tensor([400])))
    )
