import math

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr

from ddpm_app import diffusion
from ddpm_app.config import TrainConfig, from_dict
from ddpm_app.errors import Problem
from ddpm_app.i18n import problem_text
from ddpm_app.train.check import REFUSE_ALPHA_BAR, WARN_ALPHA_BAR, check

TYPES = ("epsilon", "v_prediction", "sample")
SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid")
every_type = pytest.mark.parametrize("kind", TYPES)
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES)


def draw(timesteps=1000, schedule="linear", count=16, dtype=torch.float32):
    """(x0, eps, timesteps, abar, the diffusers scheduler)."""
    key = torch.Generator().manual_seed(3)
    x0, eps = (
        (torch.rand(count, 3, 4, 4, generator=key) * 2 - 1).to(dtype),
        torch.randn(count, 3, 4, 4, generator=key).to(dtype),
    )
    t = torch.linspace(0, timesteps - 1, count).long()
    theirs = DDPMScheduler(num_train_timesteps=timesteps, beta_schedule=schedule)
    return x0, eps, t, theirs.alphas_cumprod[t], theirs


# ---- against diffusers -----------------------------------------------------------------------------------------------
@every_schedule
def test_add_noise_is_diffusers(schedule):
    x0, eps, t, abar, theirs = draw(schedule=schedule)
    assert torch.equal(diffusion.add_noise(x0, eps, abar), theirs.add_noise(x0, eps, t))


@every_schedule
def test_velocity_is_diffusers(schedule):
    x0, eps, t, abar, theirs = draw(schedule=schedule)
    assert torch.equal(diffusion.target("v_prediction", x0, eps, abar), theirs.get_velocity(x0, eps, t))


@every_schedule
@every_type
def test_x0_from_is_diffusers(schedule, kind):
    x0, eps, t, abar, _ = draw(schedule=schedule)
    theirs = DDPMScheduler(beta_schedule=schedule, prediction_type=kind, clip_sample=False)
    x_t, output = diffusion.add_noise(x0, eps, abar), torch.randn(x0.shape, generator=torch.Generator().manual_seed(1))
    ours = diffusion.x0_from(kind, output, x_t, abar)
    for k in range(1, len(t)):
        told = theirs.step(
            output[k : k + 1], int(t[k]), x_t[k : k + 1], generator=torch.Generator().manual_seed(0)
        ).pred_original_sample
        assert torch.equal(ours[k : k + 1], told)


@every_schedule
def test_schedule_is_diffusers(schedule):
    config = TrainConfig(beta_schedule=schedule, num_train_timesteps=600, prediction_type="sample")
    ours, theirs = diffusion.scheduler(config), DDPMScheduler(num_train_timesteps=600, beta_schedule=schedule)
    assert torch.equal(ours.alphas_cumprod, theirs.alphas_cumprod)
    assert ours.config.prediction_type == "sample" and ours.config.clip_sample
    assert not diffusion.scheduler(config, clip_sample=False).config.clip_sample


def test_tutorial_schedule():
    ours, theirs = diffusion.scheduler(TrainConfig()), DDPMScheduler(num_train_timesteps=1000)
    assert {k: v for k, v in ours.config.items() if k[0] != "_"} == {
        k: v for k, v in theirs.config.items() if k[0] != "_"
    }


# ---- closed forms ----------------------------------------------------------------------------------------------------
def test_linear_schedule_by_hand():
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    torch.testing.assert_close(
        diffusion.scheduler(TrainConfig()).alphas_cumprod.double(), (1 - betas).cumprod(0), rtol=1e-4, atol=1e-9
    )


def test_cosine_schedule_by_hand():
    f = [math.cos((k / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for k in range(1001)]
    ours = diffusion.scheduler(TrainConfig(beta_schedule="squaredcos_cap_v2")).alphas_cumprod
    torch.testing.assert_close(
        ours[:990].double(), torch.tensor(f[1:991], dtype=torch.float64) / f[0], rtol=1e-4, atol=1e-7
    )


def test_noise_at_both_ends():
    x0, eps, *_ = draw()
    ones = torch.ones(len(x0))
    assert torch.equal(diffusion.add_noise(x0, eps, ones), x0)
    assert torch.equal(diffusion.add_noise(x0, eps, 0 * ones), eps)
    half = diffusion.add_noise(x0, eps, 0.36 * ones)
    torch.testing.assert_close(half, 0.6 * x0 + 0.8 * eps)


def test_each_picture_has_its_own_level():
    x0, eps, _, abar, _ = draw()
    together = diffusion.add_noise(x0, eps, abar)
    for k in range(len(x0)):
        assert torch.equal(together[k], diffusion.add_noise(x0[k : k + 1], eps[k : k + 1], abar[k : k + 1])[0])


def test_targets():
    x0, eps, _, abar, _ = draw()
    a = abar.view(-1, 1, 1, 1)
    assert torch.equal(diffusion.target("epsilon", x0, eps, abar), eps)
    assert torch.equal(diffusion.target("sample", x0, eps, abar), x0)
    assert torch.equal(diffusion.target("v_prediction", x0, eps, abar), a**0.5 * eps - (1 - a) ** 0.5 * x0)


@every_schedule
@every_type
def test_perfect_output_gives_x0(schedule, kind):
    """In float64, as dividing by a tiny alpha-bar costs epsilon its digits."""
    x0, eps, _, abar, _ = draw(schedule=schedule, dtype=torch.float64)
    abar = abar.double()
    x_t = diffusion.add_noise(x0, eps, abar)
    back = diffusion.x0_from(kind, diffusion.target(kind, x0, eps, abar), x_t, abar)
    torch.testing.assert_close(back, x0, rtol=0, atol=1e-9)


@every_type
def test_half_precision_pictures_are_noised_in_float32(kind):
    x0, eps, _, abar, _ = draw()
    assert diffusion.add_noise(x0.bfloat16(), eps.bfloat16(), abar).dtype == torch.float32
    levels = diffusion.scheduler(TrainConfig()).alphas_cumprod
    assert (
        len(
            {
                float(x)
                for x in diffusion.add_noise(torch.ones(1000, 1, 1, 1), torch.zeros(1000, 1, 1, 1), levels).flatten()
            }
        )
        == 1000
    )


# ---- loss weights ----------------------------------------------------------------------------------------------------
def test_snr_is_diffusers():
    *_, t, abar, theirs = draw()
    torch.testing.assert_close(diffusion.snr(abar), compute_snr(theirs, t))


@every_type
def test_no_weights(kind):
    *_, abar, _ = draw()
    assert torch.equal(diffusion.loss_weight("none", kind, abar, 5.0), torch.ones(len(abar)))


@pytest.mark.parametrize("gamma", [1.0, 5.0, 20.0])
@every_type
def test_min_snr_by_hand(kind, gamma):
    *_, abar, _ = draw()
    got = diffusion.loss_weight("min_snr", kind, abar, gamma)
    for weight, a in zip(got.tolist(), abar.double().tolist(), strict=True):
        ratio = a / (1 - a)
        wanted = {
            "epsilon": min(ratio, gamma) / ratio,
            "sample": min(ratio, gamma),
            "v_prediction": min(ratio, gamma) / (ratio + 1),
        }[kind]
        assert weight == pytest.approx(wanted, rel=1e-4)


def test_min_snr_weighs_the_same_error_alike():
    """The x0 errors that the three kinds of output mean weigh the same (arXiv 2303.09556, section 3.4)."""
    x0, eps, _, abar, _ = draw(dtype=torch.float64)
    abar = abar.double().clamp(1e-3, 1 - 1e-3)
    x_t, guess = diffusion.add_noise(x0, eps, abar), x0 + 0.1
    a = abar.view(-1, 1, 1, 1)
    outputs = {
        "sample": guess,
        "epsilon": (x_t - a**0.5 * guess) / (1 - a) ** 0.5,
        "v_prediction": (a**0.5 * x_t - guess) / (1 - a) ** 0.5,
    }
    losses = []
    for kind, output in outputs.items():
        error = (output - diffusion.target(kind, x0, eps, abar)).square().mean(dim=(1, 2, 3))
        losses.append(error * diffusion.loss_weight("min_snr", kind, abar, 5.0))
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(losses[0], losses[2])


@pytest.mark.parametrize("timesteps", [10, 300, 1000, 10000])
@every_schedule
@every_type
def test_weights_are_finite_at_every_timestep(schedule, kind, timesteps):
    abar = diffusion.scheduler(
        TrainConfig(beta_schedule=schedule, num_train_timesteps=timesteps, preview_inference_steps=5)
    ).alphas_cumprod
    weights = diffusion.loss_weight("min_snr", kind, abar, 5.0)
    assert torch.isfinite(weights).all() and (weights >= 0).all()


# ---- random numbers by key -------------------------------------------------------------------------------------------
def test_generator_depends_on_its_key_alone():
    def first(*key):
        return torch.rand(4, generator=diffusion.generator(*key)).tolist()

    torch.rand(5)
    assert first(0, "noise", 3) == first(0, "noise", 3)
    keys = [
        (0, "noise", 3),
        (1, "noise", 3),
        (0, "flip", 3),
        (0, "noise", 4),
        (0, "noise", 3, 0),
        (0, "noise"),
        (0, "noise", 0, 3),
    ]
    assert len({tuple(first(*key)) for key in keys}) == len(keys)


def test_generator_is_the_same_in_every_process():
    """blake2b and not hash(), which differs from process to process. The number was made once and must stay."""
    assert diffusion.generator(0, "order", 0).initial_seed() == 4819849257279361181


@pytest.mark.parametrize(("count", "timesteps"), [(32, 1000), (8, 1000), (32, 10), (1, 1000), (10, 10)])
def test_stratified_timesteps(count, timesteps):
    got = diffusion.stratified_timesteps(count, timesteps)
    assert got.dtype == torch.int64 and len(got) == count
    assert [int(x) for x in got] == [int((k + 0.5) * timesteps / count) for k in range(count)]
    assert 0 <= got.min() and got.max() < timesteps


# ---- is x_T noise? ---------------------------------------------------------------------------------------------------
def test_terminal_abar_of_the_tutorial():
    assert diffusion.terminal_alpha_bar(TrainConfig()) == pytest.approx(4.036e-5, rel=1e-3)


@pytest.mark.parametrize("timesteps", [50, 100, 200])
def test_schedule_that_never_reaches_noise_is_refused(timesteps):
    config = TrainConfig(num_train_timesteps=timesteps)
    assert diffusion.terminal_alpha_bar(config) > REFUSE_ALPHA_BAR == 0.1
    with pytest.raises(Problem) as caught:
        check(config)
    assert (caught.value.code, caught.value.field) == ("terminal_abar", "num_train_timesteps")
    assert "num_train_timesteps" in problem_text(caught.value) and "beta_schedule" in problem_text(caught.value)


@pytest.mark.parametrize("timesteps", [250, 300, 400])
def test_schedule_that_hardly_reaches_noise_is_warned_of(timesteps):
    config = TrainConfig(num_train_timesteps=timesteps, push_to_hub=False, device="cpu", mixed_precision="no")
    assert WARN_ALPHA_BAR == 0.01 < diffusion.terminal_alpha_bar(config) < REFUSE_ALPHA_BAR
    assert [notice.code for notice in check(config)] == ["terminal_abar"]


@pytest.mark.parametrize(
    "values", [{}, dict(num_train_timesteps=600), dict(beta_schedule="squaredcos_cap_v2", num_train_timesteps=50)]
)
def test_schedule_that_reaches_noise(values):
    config = from_dict(dict(push_to_hub=False, device="cpu", mixed_precision="no") | values)
    assert diffusion.terminal_alpha_bar(config) < WARN_ALPHA_BAR and check(config) == []
