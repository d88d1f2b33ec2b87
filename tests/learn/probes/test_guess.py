"""eps, x0 and v of one guess: against closed forms, diffusers' schedulers and each other, to the ends of the schedule."""

import itertools
import math
import types

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from ddpm_app import diffusion
from ddpm_app.learn.probes.guess import KINDS, coefficients, convert, guess, rms

every_kind = pytest.mark.parametrize("kind", KINDS)


def batch():
    draw = torch.Generator().manual_seed(4)
    return torch.rand(2, 3, 4, 4, generator=draw) * 2 - 1, torch.randn(2, 3, 4, 4, generator=draw)


@every_kind
@pytest.mark.parametrize("abar", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_the_truth_said_in_one_way_is_the_truth_in_all(kind, abar):
    x0, eps = batch()
    level = torch.tensor(abar)
    x_t = diffusion.add_noise(x0, eps, level)
    found = convert(diffusion.target(kind, x0, eps, level), kind, x_t, float(level))
    for name in KINDS:
        torch.testing.assert_close(found[name], diffusion.target(name, x0, eps, level), rtol=0, atol=2e-4)


@every_kind
def test_a_wrong_guess_still_explains_x_t(kind):
    x0, eps = batch()
    level = torch.tensor(0.3)
    x_t = diffusion.add_noise(x0, eps, level)
    found = convert(torch.full_like(x0, 0.7), kind, x_t, 0.3)
    torch.testing.assert_close(diffusion.add_noise(found["sample"], found["epsilon"], level), x_t, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        diffusion.target("v_prediction", found["sample"], found["epsilon"], level),
        found["v_prediction"],
        rtol=0,
        atol=1e-5,
    )


@every_kind
@pytest.mark.parametrize("t", [1, 250, 700, 980])
def test_x0_is_that_of_diffusers(kind, t):
    x_t, output = batch()
    theirs = DDPMScheduler(prediction_type=kind, clip_sample=False)
    told = theirs.step(output, t, x_t, generator=torch.Generator().manual_seed(0)).pred_original_sample
    torch.testing.assert_close(
        convert(output, kind, x_t, float(theirs.alphas_cumprod[t]))["sample"], told, rtol=1e-4, atol=1e-5
    )


@every_kind
def test_eps_is_what_diffusers_walks_on_with(kind):
    """DDIM without fresh noise: the next x is sqrt(abar') x0 + sqrt(1 - abar') eps."""
    x_t, output = batch()
    theirs = DDIMScheduler(prediction_type=kind, clip_sample=False)
    theirs.set_timesteps(10)
    found = convert(output, kind, x_t, float(theirs.alphas_cumprod[500]))
    after = diffusion.add_noise(found["sample"], found["epsilon"], theirs.alphas_cumprod[400])
    torch.testing.assert_close(after, theirs.step(output, 500, x_t).prev_sample, rtol=1e-4, atol=1e-5)


@every_kind
def test_an_error_grows_as_told(kind):
    x_t, output = batch()
    for name, (_, factor) in coefficients(kind, 0.2).items():
        one, two = (convert(said, kind, x_t, 0.2)[name] for said in (output, output + 0.01))
        torch.testing.assert_close(two - one, torch.full_like(one, 0.01 * factor), rtol=0, atol=1e-5)
    r, s = math.sqrt(0.2), math.sqrt(0.8)
    assert coefficients("sample", 0.2)["epsilon"][1] == pytest.approx(-r / s) and coefficients("epsilon", 0.2)[
        "sample"
    ][1] == pytest.approx(-s / r)


def test_what_x_t_does_not_hold_nobody_tells():
    x_t, output = batch()
    assert (
        convert(output, "epsilon", x_t, 0.0)["sample"].isnan().all()
        and convert(output, "sample", x_t, 1.0)["epsilon"].isnan().all()
    )
    for kind, abar in itertools.product(KINDS, (0.0, 1.0)):
        assert torch.equal(convert(output, kind, x_t, abar)[kind], output)
    v = {abar: convert(output, "v_prediction", x_t, abar) for abar in (0.0, 1.0)}
    assert torch.equal(v[0.0]["sample"], -output) and torch.equal(v[0.0]["epsilon"], x_t)
    assert torch.equal(v[1.0]["sample"], x_t) and torch.equal(v[1.0]["epsilon"], output)


def test_near_the_ends_the_arithmetic_loses_no_digit():
    """At the last timestep of the cosine schedule differences of large numbers in float32 would be off by thousandths."""
    x0, eps = batch()
    abar = 2.4e-9
    x_t = diffusion.add_noise(x0, eps, torch.tensor(abar))
    exact = (x_t.double() - math.sqrt(1 - abar) * eps.double()) / math.sqrt(abar)
    assert rms(convert(eps, "epsilon", x_t, abar)["sample"] - exact) < 1e-6


@every_kind
def test_a_guess_is_the_models_own(kind):
    x0, eps = batch()
    scheduler, asked = DDPMScheduler(prediction_type=kind), []

    def unet(x, t, **condition):
        asked.append((int(t), condition))
        return types.SimpleNamespace(sample=0.5 * x)

    found = guess(types.SimpleNamespace(unet=unet, scheduler=scheduler), x0, eps, 300, {"label": 2})
    assert asked == [(300, {"label": 2})]
    assert torch.equal(found.x_t, scheduler.add_noise(x0, eps, torch.tensor([300])))
    assert torch.equal(found.prediction[kind], 0.5 * found.x_t)
    assert found.error(kind) == pytest.approx(
        float(torch.nn.functional.mse_loss(0.5 * found.x_t, found.target[kind]).sqrt())
    )
    torch.testing.assert_close(found.target["v_prediction"], scheduler.get_velocity(x0, eps, torch.tensor([300])))
