"""What modes and gradients change and what they don't."""

import copy

import pytest
import torch
from kits import engine as engine_kit
from kits import models as parts_kit
from torch import nn

from ddpm_app import diffusion
from ddpm_app.learn.probes import train_eval
from ddpm_app.learn.probes.train_eval import PassInput
from ddpm_app.model.unet import build_unet, sections
from ddpm_app.train.denoising import denoising_loss
from ddpm_app.train.objective import Batch


@pytest.fixture(scope="module")
def config():
    return engine_kit.settings("nowhere")


@pytest.fixture(scope="module")
def unet(config):
    return build_unet(config).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def given():
    return PassInput(torch.randn((1, 3, 8, 8), generator=torch.Generator().manual_seed(0)), 300, {})


def pair(network, given, training):
    return [train_eval.output(network, given, training, 0, turn) for turn in range(2)]


def test_without_dropout_the_modes_agree(unet, given):
    network = train_eval.copied(unet)
    one, two, three, four = (*pair(network, given, True), *pair(network, given, False))
    assert torch.equal(one, two) and torch.equal(one, three) and torch.equal(three, four)


def test_dropout_acts_in_train_mode_only(unet, given):
    network = train_eval.copied(unet, dropout=0.3)
    assert train_eval.layers(network)[1] == 0.3 and train_eval.layers(unet)[1] == 0
    one, two = pair(network, given, True)
    three, four = pair(network, given, False)
    assert not torch.equal(one, two) and torch.equal(three, four)
    with torch.no_grad():
        assert torch.equal(three, unet(given.x, given.t).sample)
    torch.manual_seed(5)
    assert torch.equal(one, pair(network, given, True)[0])


def test_layers_are_counted():
    network = nn.Sequential(
        nn.Dropout(0.2),
        nn.Dropout(0.1),
        nn.BatchNorm2d(4),
        nn.GroupNorm(2, 4),
        nn.GroupNorm(2, 4),
        nn.LayerNorm(4),
        nn.ReLU(),
    )
    found, share = train_eval.layers(network)
    assert found == {"Dropout": 2, "BatchNorm": 1, "GroupNorm": 2, "LayerNorm": 1} and share == 0.2


class Known(nn.Module):
    """y = v relu(w x): the graph keeps x for w's gradient, relu's output twice, for its own and v's, and v, which is a weight."""

    def __init__(self):
        super().__init__()
        self.w, self.v = (nn.Parameter(torch.tensor(2.0)) for _ in range(2))

    def forward(self, x, t):
        import types

        return types.SimpleNamespace(sample=torch.relu(x * self.w) * self.v)


def test_what_is_kept_is_counted_once_and_without_weights(given):
    size = given.x.numel() * 4
    assert train_eval.activation_bytes(Known(), given, True, True) == 2 * size
    assert train_eval.activation_bytes(Known().requires_grad_(False), given, True, True) == 0
    assert train_eval.activation_bytes(Known(), given, True, False) == 0


def test_memory_follows_gradients_and_not_the_mode(unet, given):
    network = train_eval.copied(unet)
    kept = {
        (training, on): train_eval.activation_bytes(network, given, training, on)
        for training in (True, False)
        for on in (True, False)
    }
    assert kept[True, True] == kept[False, True] > 50 * given.x.numel() * 4
    assert kept[True, False] == kept[False, False] == 0
    assert train_eval.activation_bytes(network.requires_grad_(False), given, True, True) == 0


def test_only_what_has_gradients_goes_back(unet, given):
    network = train_eval.copied(unet)
    forward, backward = train_eval.seconds(network, given, False, True)
    assert forward > 0 and backward > 0 and all(p.grad is None for p in network.parameters())
    assert train_eval.seconds(network, given, True, False)[1] is None
    assert train_eval.seconds(network.requires_grad_(False), given, True, True)[1] is None


def found(config, unet, training, trainable):
    draw = torch.Generator().manual_seed(1)
    x0, eps = (torch.randn((1, 3, 8, 8), generator=draw) for _ in range(2))
    batch, alphas_cumprod = Batch(x0, eps, torch.tensor([300]), {}), diffusion.scheduler(config).alphas_cumprod
    return train_eval.gradients(config, unet, batch, alphas_cumprod, training, trainable), (batch, alphas_cumprod)


def test_eval_freezes_nothing(config, unet):
    by_mode = [found(config, unet, training, ("all",))[0] for training in (True, False)]
    assert by_mode[0] == by_mode[1]
    assert all(norm > 0 and count for count, norm in by_mode[0].values())


def test_frozen_sections_get_no_gradient(config, unet):
    frozen, (batch, alphas_cumprod) = found(config, unet, True, ("up",))
    assert {name for name, (_, norm) in frozen.items() if norm is not None} == {"up"}
    assert {name for name, (count, _) in frozen.items() if count} == {"up"}
    mine = copy.deepcopy(unet).requires_grad_(True)
    denoising_loss(config, mine, batch, alphas_cumprod).mean().backward()
    by_hand = torch.cat([p.grad.flatten() for p in sections(mine)["up"]]).norm()
    assert frozen["up"] == (sum(p.numel() for p in sections(mine)["up"]), pytest.approx(float(by_hand), rel=1e-4))


def test_nothing_that_learns_is_no_error(config):
    with parts_kit.seeded(2):
        bare = nn.Module()
        bare.forward = None
        bare.conv_in = nn.Conv2d(3, 3, 1)
    frozen, _ = found(config, bare, True, ("attention",))
    assert all(norm is None and count == 0 for count, norm in frozen.values())


def test_the_snapshot_and_the_global_generator_are_left_alone(config, unet, given):
    weights, state = copy.deepcopy(unet.state_dict()), torch.random.get_rng_state()
    pair(train_eval.copied(unet, 0.5), given, True)
    train_eval.activation_bytes(train_eval.copied(unet, 0.5), given, True, True)
    found(config, unet, True, ("mid",))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not unet.training and not any(p.requires_grad or p.grad is not None for p in unet.parameters())
    assert (
        all(torch.equal(value, weights[name]) for name, value in unet.state_dict().items())
        and train_eval.layers(unet)[1] == 0
    )
