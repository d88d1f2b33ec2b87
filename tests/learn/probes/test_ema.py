"""The weight of each past step in the average: against diffusers' EMAModel on one number, and in closed form."""

import math

import pytest
import torch

from ddpm_app.learn.probes.ema import MOST, decays, difference, half, weights
from ddpm_app.model.ema import make_ema

every_window = pytest.mark.parametrize("window", [0.01, 0.1, 0.5, 1.0])


class Scalar(torch.nn.Module):
    def __init__(self, value=0.0):
        super().__init__()
        self.value = torch.nn.Parameter(torch.tensor(value, dtype=torch.float64))


@every_window
@pytest.mark.parametrize("steps", [1, 2, 40])
def test_weights_are_those_of_diffusers(window, steps):
    """A network of one number that is 1 at step k and 0 otherwise: its average is the weight of step k."""
    measured = []
    for k in range(steps):
        net = Scalar(5.0)  # what was there before the first step must not matter
        ema = make_ema(net, window)
        for step in range(steps):
            net.value.data.fill_(float(step == k))
            ema.step(net.parameters())
        measured.append(float(ema.shadow_params[0]))
    torch.testing.assert_close(
        weights(window, steps), torch.tensor(measured, dtype=torch.float64), rtol=1e-9, atol=1e-12
    )


@every_window
def test_decays_are_those_of_diffusers(window):
    ema, found = make_ema(Scalar(), window), decays(window, 200_000)
    for n in (1, 2, 3, 100, 99_000, 200_000):
        assert float(found[n - 1]) == pytest.approx(ema.get_decay(n), rel=1e-12)
    assert found.max() <= MOST


@every_window
def test_weights_sum_to_one_and_follow_a_power(window):
    steps, power = 3000, 1 / window - 1
    found = weights(window, steps)
    assert len(found) == steps and float(found.sum()) == pytest.approx(1, abs=1e-12) and (found >= 0).all()
    closed = [
        math.lgamma(k + power) - math.lgamma(k) - (math.lgamma(steps + power + 1) - math.lgamma(steps))
        for k in (1500, 2900, 3000)
    ]
    assert [float(found[k - 1]) for k in (1500, 2900, 3000)] == pytest.approx(
        [(power + 1) * math.exp(value) for value in closed], rel=1e-9
    )


@pytest.mark.parametrize("window", [0.05, 0.1, 0.5, 1.0])
def test_half_of_the_weight_is_where_it_is_told(window):
    steps = 20_000
    last = round(half(window) * steps)
    assert float(weights(window, steps)[steps - last :].sum()) == pytest.approx(0.5, abs=0.01)


def test_the_difference_of_two_networks():
    assert difference(Scalar(3.0), Scalar(3.0)) == 0
    assert difference(Scalar(1.0), Scalar(4.0)) == pytest.approx(0.75)


def test_going_on_averages_the_weights_of_all_its_steps(tiny_of):
    from ddpm_app.learn.probes import ema
    from ddpm_app.learn.probes.forward_process import schedule
    from ddpm_app.learn.probes.step import Trial
    from ddpm_app.model.unet import build_unet
    from ddpm_app.train.objective import Batch

    config = tiny_of("pixels")
    unet, alphas_cumprod, draw = build_unet(config).eval(), schedule("linear", 1000), torch.Generator().manual_seed(0)
    drawn = torch.randn(3, 2, 2, 3, 8, 8, generator=draw)
    batches = [Batch(x0, eps, torch.tensor([100, 700]), {}) for x0, eps in drawn]
    trial, seen = Trial(config, unet, alphas_cumprod), []
    for batch in batches:
        list(trial.look(batch))
        trial.update(1.0)
        seen.append([p.detach().clone() for p in trial.network.parameters()])
    mean, raw = [turn for turn in ema.go_on(config, unet, alphas_cumprod, batches) if turn][-1]
    for k, (p, q) in enumerate(zip(mean.parameters(), raw.parameters(), strict=True)):
        assert torch.equal(q, seen[-1][k])
        assert torch.allclose(p, torch.stack([weights[k] for weights in seen]).mean(0), atol=1e-6)
