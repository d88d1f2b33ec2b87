"""A training step on a copy: the same as done by hand and as the engine does it, and nothing else is touched."""

import copy
import math
import types

import pytest
import torch
from diffusers import UNet2DModel
from kits import engine as engine_kit
from kits import models as parts_kit

from ddpm_app import diffusion
from ddpm_app.learn.probes.step import Trial, lengths
from ddpm_app.model.unet import build_unet, use_plain_attention
from ddpm_app.train.denoising import denoising_loss
from ddpm_app.train.objective import Batch
from ddpm_app.train.optimizer import lr_lambda
from ddpm_app.train.state import TrainState, make_accelerator


@pytest.fixture
def config():
    return engine_kit.settings("nowhere", learning_rate=1e-2)


def network(config):
    return build_unet(config).eval().requires_grad_(False)


def batch(config, count=4, seed=0):
    draw = torch.Generator().manual_seed(seed)
    x0, eps = (torch.randn((count, 3, 8, 8), generator=draw) for _ in range(2))
    return Batch(x0, eps, diffusion.stratified_timesteps(count, config.num_train_timesteps), {})


def alphas_cumprod(config):
    return diffusion.scheduler(config).alphas_cumprod


def look(trial, at):
    return [found for found in trial.look(at) if found is not None][-1]


def take(trial, at, steps, factor=1.0):
    looks = [look(trial, at)]
    for _ in range(steps):
        trial.update(factor)
        looks.append(look(trial, at))
    return looks


def by_hand(config, unet, at, steps, rate):
    """The tutorial's own lines."""
    mine = copy.deepcopy(unet).train().requires_grad_(True)
    use_plain_attention(mine)
    optimizer = torch.optim.AdamW(
        mine.parameters(), lr=rate, betas=(0.9, config.adam_beta2), weight_decay=config.weight_decay
    )
    losses = []
    for _ in range(steps):
        found = []
        for part in (
            at.part(slice(0, 2)),
            at.part(slice(2, 4)),
        ):  # rounded in the same way: AdamW makes a step even of a rounding error
            found.append(denoising_loss(config, mine, part, alphas_cumprod(config)))
            (found[-1].sum() / 4).backward()
        torch.nn.utils.clip_grad_norm_(mine.parameters(), config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(torch.cat(found).detach().mean()))
    return mine, losses


def test_steps_are_those_of_adamw(config):
    unet, at = network(config), batch(config)
    mine, losses = by_hand(config, unet, at, 3, 0.5e-2)
    trial = Trial(config, unet, alphas_cumprod(config))
    looks = take(trial, at, 3, factor=0.5)
    assert [found.loss for found in looks[:3]] == pytest.approx(losses, rel=1e-5)
    assert [found.step for found in looks] == [0, 1, 2, 3]
    for ours, theirs in zip(trial.network.parameters(), mine.parameters(), strict=True):
        # AdamW enlarges rounding errors: its steps here are of 5e-3
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "changes", [{}, {"optimizer": "muon", "block_out_channels": (16, 32), "muon_learning_rate": 0.05}]
)
def test_a_step_is_that_of_the_engine(changes, monkeypatch):
    """The loop's own state object, from the same gradient: weights and their average."""
    config = engine_kit.settings("nowhere", lr_warmup_steps=0, lr_scheduler="constant_with_warmup", **changes)
    unet, at = network(config), batch(config)
    objective = types.SimpleNamespace(module=copy.deepcopy(unet), training_module=lambda module: module)
    state = TrainState(config, objective, lr_lambda(config, 10), make_accelerator("no", "cpu"))
    trial = Trial(config, unet, alphas_cumprod(config))
    assert len(trial.optimizers) == len(state.optimizers) == (2 if changes else 1)
    take(trial, at, 2)
    for _ in range(2):
        for some in (slice(0, 2), slice(2, 4)):
            part = at.part(some)
            (denoising_loss(config, state.network, part, alphas_cumprod(config)).sum() / 4).backward()
        torch.nn.utils.clip_grad_norm_(state.module.parameters(), config.max_grad_norm)
        state.update()
    assert all(torch.equal(a, b) for a, b in zip(trial.network.parameters(), state.module.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(trial.ema.shadow_params, state.ema.shadow_params, strict=True))


def test_gradient_lengths_are_autograds(config):
    unet, at = network(config), batch(config)
    found = look(Trial(config, unet, alphas_cumprod(config)), at)
    mine = copy.deepcopy(unet).requires_grad_(True)
    loss = denoising_loss(config, mine, at, alphas_cumprod(config)).mean()
    gradients = dict(
        zip(dict(mine.named_parameters()), torch.autograd.grad(loss, list(mine.parameters())), strict=True)
    )
    up = torch.cat([g.flatten() for name, g in gradients.items() if name.startswith("up_blocks.1.")])
    time = torch.cat([g.flatten() for name, g in gradients.items() if name.startswith("time_embedding.")])
    assert found.norms["up.1"] == pytest.approx(float(up.norm()), rel=1e-4)
    assert found.norms["time"] == pytest.approx(float(time.norm()), rel=1e-4)
    assert found.norm == pytest.approx(float(torch.cat([g.flatten() for g in gradients.values()]).norm()), rel=1e-4)
    with torch.no_grad():
        x_t = diffusion.add_noise(at.x0, at.noise, alphas_cumprod(config)[at.timesteps])
        torch.testing.assert_close(found.output, unet(x_t, at.timesteps).sample, rtol=1e-4, atol=1e-5)


def test_what_moved_is_measured(config):
    unet, at = network(config), batch(config)
    trial = Trial(config, unet, alphas_cumprod(config))
    take(trial, at, 2)
    before = [p.detach().clone() for p in trial.network.parameters()]
    trial.update(1.0)
    last = math.sqrt(
        sum(float((p.detach() - b).square().sum()) for p, b in zip(trial.network.parameters(), before, strict=True))
    )
    whole = math.sqrt(
        sum(
            float((p.detach() - b).square().sum())
            for p, b in zip(trial.network.parameters(), unet.parameters(), strict=True)
        )
    )
    length = math.sqrt(sum(float(p.detach().square().sum()) for p in trial.network.parameters()))
    assert math.hypot(*trial.changes.values()) == pytest.approx(last, rel=1e-4)
    assert math.hypot(*trial.moved().values()) == pytest.approx(whole, rel=1e-4)
    assert math.hypot(*trial.lengths().values()) == pytest.approx(length, rel=1e-4)
    behind = math.sqrt(
        sum(
            float((e - p.detach()).square().sum())
            for e, p in zip(trial.ema.shadow_params, trial.network.parameters(), strict=True)
        )
    )
    assert trial.distance() == pytest.approx(behind / length, rel=1e-4)


def test_the_averaged_loss_is_that_of_the_average(config):
    unet, at = network(config), batch(config)
    trial = Trial(config, unet, alphas_cumprod(config))
    take(trial, at, 3)
    averaged = copy.deepcopy(unet)
    trial.ema.copy_to(averaged.parameters())
    with torch.no_grad():
        expected = float(denoising_loss(config, averaged, at, alphas_cumprod(config)).mean())
    found = [loss for loss in trial.averaged_loss(at) if loss is not None]
    assert found == [pytest.approx(expected, rel=1e-5)] and found[0] != look(trial, at).loss


def test_the_original_and_the_global_generator_are_left_alone(config):
    unet, at = network(config), batch(config)
    weights, state = copy.deepcopy(unet.state_dict()), torch.random.get_rng_state()
    take(Trial(config, unet, alphas_cumprod(config)), at, 2)
    assert all(torch.equal(value, weights[name]) for name, value in unet.state_dict().items())
    assert not unet.training and not any(p.requires_grad or p.grad is not None for p in unet.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_steps_with_dropout_can_be_repeated():
    config = engine_kit.settings("nowhere", dropout=0.3)
    unet, at = network(config), batch(config)
    runs = []
    for k in range(2):
        torch.manual_seed(k)
        runs.append([found.loss for found in take(Trial(config, unet, alphas_cumprod(config)), at, 2)])
    assert runs[0] == runs[1] and len(set(runs[0])) == 3


def test_a_look_that_was_given_up_leaves_no_gradient(config):
    unet, at = network(config), batch(config)
    trial, other = (Trial(config, unet, alphas_cumprod(config)) for _ in range(2))
    half = trial.look(at)
    assert next(half) is None
    half.close()
    assert look(trial, at).norms == look(other, at).norms


def test_a_frozen_block_has_no_gradient_and_stays():
    config = engine_kit.settings("nowhere", trainable=("up",))
    unet, at = network(config), batch(config)
    trial = Trial(config, unet, alphas_cumprod(config))
    found = take(trial, at, 1)[-1]
    assert {name for name, norm in found.norms.items() if norm is not None} == {"up.0", "up.1"} == set(trial.changes)
    assert all((length > 0) == (name in trial.changes) for name, length in trial.moved().items())


def test_lengths_are_grouped_by_block():
    with parts_kit.seeded(0):
        unet = UNet2DModel(
            sample_size=8,
            block_out_channels=(8, 16),
            norm_num_groups=4,
            layers_per_block=1,
            down_block_types=("DownBlock2D",) * 2,
            up_block_types=("UpBlock2D",) * 2,
        )
    measured = lengths((name, torch.ones(4)) for name in ("conv_in.weight", "mid_block.a", "mid_block.b"))
    assert measured == {"conv_in": 2.0, "mid": math.sqrt(8)} and {"conv_in", "time", "mid"} <= set(
        lengths(unet.named_parameters())
    )
