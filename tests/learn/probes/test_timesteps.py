"""Loss by timestep: averaged, it is the loop's own validation loss."""

import functools
import math

import pytest
import torch
from kits.learn import context

from ddpm_app.learn.probes import timesteps
from ddpm_app.train.denoising import denoising_loss
from ddpm_app.train.evaluate import BANDS, FixedNoiseEvaluator


def evaluator_of(at, **options):
    training_tensors, conditions = (
        type("", (), {"tensors": staticmethod(at.clean)}),
        type("", (), {"arguments": staticmethod(at.conditions)}),
    )
    loss = functools.partial(denoising_loss, at.config, alphas_cumprod=at.model.scheduler.alphas_cumprod)
    return FixedNoiseEvaluator(
        at.config, at.pictures, training_tensors, conditions, loss, torch.device("cpu"), **options
    )


@pytest.mark.parametrize("kind", ["pixels", "latents", "labels", "words"])
@pytest.mark.parametrize("size", [16, 5])
def test_little_by_little_as_at_once(told, parts, kind, size):
    at = context(kind, told, parts, eval_batch_size=size)
    evaluator = evaluator_of(at)
    wanted = evaluator.measure(at.model.unet, 0)
    for which, loss in (("train", wanted.train_loss), ("held_out", wanted.held_out_loss)):
        seen = [found.clone() for found in timesteps.losses(evaluator, which, at.model.unet)]
        assert float(seen[-1].mean()) == pytest.approx(loss, rel=1e-5)
        if which == "train":
            assert timesteps.bands(seen[-1]) == pytest.approx(list(wanted.bands), rel=1e-5)


def test_the_first_turn_spans_all_timesteps(context_of):
    at = context_of("pixels")
    seen = [found.clone() for found in timesteps.losses(evaluator_of(at), "train", at.model.unet)]
    known = [(~found.isnan()).nonzero().flatten().tolist() for found in seen]
    assert (
        [len(k) for k in known] == [4, 8, 12, 16]
        and known[0] == [0, 4, 8, 12]
        and known[1] == [0, 2, 4, 6, 8, 10, 12, 14]
    )
    assert sum(map(math.isfinite, timesteps.bands(seen[0]))) == 4 and all(map(math.isfinite, timesteps.bands(seen[1])))


def test_more_pictures(context_of):
    at = context_of("pixels")
    evaluator = evaluator_of(at, count=64)
    found = list(timesteps.losses(evaluator, "train", at.model.unet))[-1]
    assert found.shape == (64,) and found.isfinite().all() and len(timesteps.bands(found)) == BANDS
    assert float(found.mean()) == pytest.approx(evaluator.measure(at.model.unet, 0).train_loss, rel=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 16])
def test_scattered(count):
    order = timesteps.scattered(count)
    assert sorted(order) == list(range(count)) and (count != 4 or order == [0, 2, 1, 3])


def test_nothing_is_disturbed(context_of):
    at = context_of("pixels")
    before, state = {k: v.clone() for k, v in at.model.unet.state_dict().items()}, torch.get_rng_state()
    list(timesteps.losses(evaluator_of(at), "train", at.model.unet))
    assert all(torch.equal(v, before[k]) for k, v in at.model.unet.state_dict().items()) and not at.model.unet.training
    assert torch.equal(torch.get_rng_state(), state)
