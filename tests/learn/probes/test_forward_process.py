"""The forward process in numbers, against closed forms and diffusers."""

import math

import pytest
import torch
from diffusers import DDPMScheduler

from ddpm_app.learn.probes import forward_process


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"])
@pytest.mark.parametrize("timesteps", [50, 1000])
def test_levels_are_those_of_the_schedule(name, timesteps):
    abar = forward_process.schedule(name, timesteps)
    assert torch.equal(abar, DDPMScheduler(timesteps, beta_schedule=name).alphas_cumprod)
    found = forward_process.levels(abar)
    assert torch.allclose(found.signal**2 + found.noise**2, torch.ones(timesteps, dtype=torch.float64))
    k = timesteps // 3
    assert math.isclose(float(found.log_snr[k]), math.log(float(abar[k].double() / (1 - abar[k].double()))))


def test_noised_pictures_are_those_of_diffusers():
    abar = forward_process.schedule("linear", 1000)
    x0, eps = torch.rand(1, 3, 4, 4) * 2 - 1, torch.randn(1, 3, 4, 4)
    times, mixed = forward_process.strip(x0, eps, abar, 5)
    assert times == [0, 250, 500, 749, 999]
    wanted = DDPMScheduler(1000).add_noise(x0.expand(5, -1, -1, -1), eps.expand(5, -1, -1, -1), torch.tensor(times))
    assert torch.allclose(mixed, wanted, atol=1e-6)


@pytest.mark.parametrize("timesteps, left, shows", [(1000, 0.0064, False), (200, 0.36, True), (50, 0.78, True)])
def test_a_short_linear_schedule_leaves_the_picture(timesteps, left, shows):
    found = forward_process.levels(forward_process.schedule("linear", timesteps))
    assert found.left == pytest.approx(left, rel=0.05) and found.shows == shows


def test_a_models_own_schedule_keeps_its_betas_at_another_length():
    trained = DDPMScheduler(1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    wanted = DDPMScheduler(200, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").alphas_cumprod
    assert torch.equal(forward_process.stretched(trained, 200), wanted)
    assert torch.equal(forward_process.stretched(trained, 1000), trained.alphas_cumprod)
