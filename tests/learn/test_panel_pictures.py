"""Pictures and latents as a person sees them."""

import types

import pytest
import torch

from ddpm_app.learn import panels


@pytest.mark.parametrize("channels, shown", [(1, 1), (2, 1), (3, 3), (4, 3)])
def test_of_latents_three_channels_are_seen_or_one(channels, shown):
    x, pixel, latent = (
        torch.randn(2, channels, 4, 4),
        *(types.SimpleNamespace(codec=types.SimpleNamespace(vae=vae)) for vae in (None, object())),
    )
    assert panels.viewable(pixel, x) is x
    assert torch.equal(panels.viewable(latent, x), x[:, :shown] / 3) and torch.equal(
        panels.viewable(latent, x[0]), x[0, :shown] / 3
    )


def test_larger_pictures_are_shown_as_means():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert panels.shrink(x, 2)[0, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]] and torch.equal(panels.shrink(x, 4), x)
