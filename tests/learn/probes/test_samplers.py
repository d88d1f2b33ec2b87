"""Walking back: each step against diffusers' schedulers and against the papers' formulas."""

import itertools
import types

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from kits import engine as engine_kit

from ddpm_app import diffusion, sample
from ddpm_app.config import from_dict
from ddpm_app.learn.probes import samplers
from ddpm_app.learn.probes.guess import convert, rms
from ddpm_app.model import conditioning
from ddpm_app.model.codec import Pixels
from ddpm_app.model.unet import build_unet

KINDS = ("epsilon", "sample", "v_prediction")
every_kind = pytest.mark.parametrize("kind", KINDS)
STEPS = 6


def tiny(kind, clip=True):
    config = from_dict(engine_kit.NETWORK | dict(prediction_type=kind, beta_schedule="squaredcos_cap_v2"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        unet = build_unet(config).eval().requires_grad_(False)
    return types.SimpleNamespace(unet=unet, scheduler=diffusion.scheduler(config, clip_sample=clip), codec=Pixels())


def noise():
    return torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(5))


def walked(it, eta=0.0, seed=0, steps=STEPS):
    """The frames of all samplers, step by step."""
    turns = list(samplers.walks(it, it.unet, noise(), steps, eta, seed))
    assert [name for name, _ in turns] == list(samplers.SAMPLERS) * steps
    return [dict(turns[k : k + 3]) for k in range(0, len(turns), 3)]


# ---- against diffusers' schedulers -----------------------------------------------------------------------------------
@every_kind
@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_ddpm_and_ddim_are_diffusers_step_by_step(kind, eta):
    it = tiny(kind)
    frames = walked(it, eta)
    for name, cls, more in (("ddpm", DDPMScheduler, {}), ("ddim", DDIMScheduler, {"eta": eta})):
        theirs, x, draw = cls.from_config(it.scheduler.config), noise(), [diffusion.generator(0, "walk")]
        theirs.set_timesteps(STEPS)
        for t, frame in zip(theirs.timesteps, frames, strict=True):
            told = theirs.step(it.unet(x, t).sample, t, x, generator=draw, **more)
            x = told.prev_sample
            assert (
                frame[name].timestep == t
                and torch.equal(frame[name].x, x)
                and torch.equal(frame[name].x0, told.pred_original_sample)
            )


@every_kind
def test_dpmpp_is_diffusers_step_by_step(kind):
    it = tiny(kind)
    theirs, x = DPMSolverMultistepScheduler.from_config(it.scheduler.config), noise()
    theirs.set_timesteps(timesteps=[k * 1000 // (STEPS + 1) for k in range(STEPS, 0, -1)])
    for t, frames in zip(theirs.timesteps, walked(it), strict=True):
        output, frame = it.unet(x, t).sample, frames["dpmpp_2m"]
        x0 = theirs.convert_model_output(output, sample=x) if theirs.step_index is not None else frame.x0
        x = theirs.step(output, t, x).prev_sample
        assert frame.timestep == t and torch.equal(frame.x, x)
        torch.testing.assert_close(frame.x0, x0, rtol=1e-3, atol=1e-4)


# ---- against the papers ----------------------------------------------------------------------------------------------
@every_kind
def test_ddim_by_hand(kind):
    """arXiv 2010.02502, eq. 12, with sigma 0."""
    it = tiny(kind, clip=False)
    abar, x, frames = it.scheduler.alphas_cumprod, noise(), [f["ddim"] for f in walked(it)]
    for frame, after in itertools.zip_longest(frames, frames[1:]):
        t = frame.timestep
        found = convert(it.unet(x, t).sample, kind, x, float(abar[t]))
        a = abar[after.timestep] if after else torch.tensor(1.0)
        torch.testing.assert_close(frame.x0, found["sample"], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(
            frame.x, a.sqrt() * found["sample"] + (1 - a).sqrt() * found["epsilon"], rtol=1e-3, atol=1e-4
        )
        x = frame.x


@every_kind
def test_dpmpp_by_hand(kind):
    """arXiv 2211.01095, algorithm 2: x <- sigma/sigma' x - alpha (exp(-h) - 1) D, D from the last two guesses; the last step is of
    first order to sigma 0, where x is the guess itself."""
    it = tiny(kind)
    abar, x, frames = it.scheduler.alphas_cumprod.double(), noise().double(), [f["dpmpp_2m"] for f in walked(it)]
    ways = [((a := abar[f.timestep]).sqrt(), (1 - a).sqrt()) for f in frames]
    lam = [torch.log(alpha / sigma) for alpha, sigma in ways]
    guesses = []
    for k, frame in enumerate(frames):
        guesses.append(
            convert(it.unet(x.float(), frame.timestep).sample, kind, x, float(abar[frame.timestep]))["sample"].double()
        )
        torch.testing.assert_close(frame.x0.double(), guesses[-1], rtol=1e-2, atol=1e-3)
        if k + 1 == len(frames):
            x = guesses[-1]
        else:
            h, d = lam[k + 1] - lam[k], guesses[-1]
            if k:
                d = d + (d - guesses[-2]) * h / (2 * (lam[k] - lam[k - 1]))
            (alpha, sigma), (_, before) = ways[k + 1], ways[k]
            x = sigma / before * x - alpha * torch.expm1(-h) * d
        torch.testing.assert_close(frame.x.double(), x, rtol=1e-2, atol=1e-3)


# ---- what is random, and what is measured ----------------------------------------------------------------------------
def test_only_what_should_be_random_is():
    it = tiny("sample")
    before = torch.random.get_rng_state()
    first, again, other, noisy = (walked(it, *given)[-1] for given in ((0.0, 0), (0.0, 0), (0.0, 1), (1.0, 1)))
    assert all(torch.equal(first[name].x, again[name].x) for name in samplers.SAMPLERS)
    assert [torch.equal(first[name].x, other[name].x) for name in samplers.SAMPLERS] == [False, True, True]
    assert [torch.equal(other[name].x, noisy[name].x) for name in samplers.SAMPLERS] == [True, False, True]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_is_asked_reaches_the_network():
    told = []
    unet = types.SimpleNamespace(device="cpu")
    it = types.SimpleNamespace(unet=unet, conditioning=conditioning.Labels(("red", "blue")))
    found = samplers.network(it, {"class_labels": torch.tensor([1])}, 3.0)
    found.unet = lambda x, t, class_labels: (
        told.append(class_labels) or types.SimpleNamespace(sample=x + class_labels.reshape(-1, 1, 1, 1))
    )
    assert torch.equal(
        found(torch.zeros(1, 3, 2, 2), torch.tensor(5)).sample, torch.full((1, 3, 2, 2), 2 + 3.0 * (1 - 2))
    )
    assert torch.equal(told[0], torch.tensor([2, 1]))


def test_few_steps_are_measured_against_many():
    it = tiny("sample")
    turns = list(samplers.measure(it, it.unet, noise(), few=(2, 4), many=8))
    assert len(turns) == 2 * (8 + 2 + 4)  # a slice is one pass
    found = [turn for turn in turns if turn]
    assert [(m.sampler, m.steps) for m in found] == [
        (name, steps) for name in ("dpmpp_2m", "ddim") for steps in (8, 2, 4)
    ]
    for name in ("dpmpp_2m", "ddim"):
        many, two, four = (m for m in found if m.sampler == name)
        last = list(sample.denoise(it.unet, noise(), sample.make_sampler(name, it.scheduler), 4))[-1].x[0].clamp(-1, 1)
        assert torch.equal(four.picture, last) and many.distance == 0 and two.seconds > 0
        assert four.distance == pytest.approx(rms(last - many.picture)) and two.distance > four.distance > 0


def test_a_pause_between_two_steps_is_not_counted(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(samplers.time, "perf_counter", lambda: float(next(clock)))
    it = tiny("sample")
    for turn in samplers.measure(it, it.unet, noise(), few=(3,), many=4):
        next(clock)
        if turn:
            assert turn.seconds == turn.steps  # each step lies between two looks at the clock
