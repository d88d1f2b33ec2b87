import pytest
import torch
from diffusers import UNet2DModel
from diffusers.models.attention_processor import AttnProcessor2_0

from ddpm_app import presets
from ddpm_app.config import UNETS, TrainConfig, from_dict
from ddpm_app.model.ema import make_ema
from ddpm_app.model.unet import build_unet, count_parameters, use_plain_attention


def small(**values) -> TrainConfig:
    return from_dict(
        dict(image_size=8, unet="tiny", block_out_channels=(8, 16), norm_num_groups=4, attention_head_dim=8) | values
    )


def weights(unet) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in unet.parameters()])


# ---- the network -----------------------------------------------------------------------------------------------------
def test_same_seed_same_weights():
    one = weights(build_unet(small()))
    torch.rand(7)
    assert torch.equal(one, weights(build_unet(small())))
    assert not torch.equal(one, weights(build_unet(small(seed=1))))


def test_global_generator_is_left_as_it_was():
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    build_unet(small())
    assert torch.equal(torch.rand(3), wanted)


def test_tutorial_unet():
    """The network of the diffusers tutorial, written as it stands there."""
    ours = build_unet(presets.build("tutorial-128"))
    with torch.device("meta"):
        theirs = UNet2DModel(
            sample_size=128,
            in_channels=3,
            out_channels=3,
            layers_per_block=2,
            block_out_channels=(128, 128, 256, 256, 512, 512),
            down_block_types=(
                "DownBlock2D",
                "DownBlock2D",
                "DownBlock2D",
                "DownBlock2D",
                "AttnDownBlock2D",
                "DownBlock2D",
            ),
            up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"),
        )
    assert {k: v for k, v in ours.config.items() if k[0] != "_"} == {
        k: v for k, v in theirs.config.items() if k[0] != "_"
    }
    assert count_parameters(ours) == count_parameters(theirs) == 113_673_219
    assert [(k, v.shape) for k, v in ours.state_dict().items()] == [
        (k, v.shape) for k, v in theirs.state_dict().items()
    ]


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("name", UNETS)
def test_every_named_size_is_a_network(name, channels):
    with torch.device("meta"):
        unet = build_unet(TrainConfig(unet=name, image_size=64, channels=channels))
        out = unet(torch.zeros(2, channels, 64, 64), torch.zeros(2, dtype=torch.long)).sample
    assert out.shape == (2, channels, 64, 64)
    assert tuple(unet.config.block_out_channels) == UNETS[name].block_out_channels


def test_explicit_values_reach_the_network():
    config = small(
        block_out_channels=(8, 16, 24),
        layers_per_block=2,
        attention_levels=(2,),
        attention_head_dim=4,
        dropout=0.25,
        channels=1,
    )
    unet = build_unet(config)
    assert tuple(unet.config.down_block_types) == ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D")
    assert tuple(unet.config.up_block_types) == ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D")
    assert (unet.config.layers_per_block, unet.config.attention_head_dim, unet.config.norm_num_groups) == (2, 4, 4)
    assert (unet.config.dropout, unet.config.in_channels, unet.config.out_channels, unet.config.sample_size) == (
        0.25,
        1,
        1,
        8,
    )
    assert any(isinstance(m, torch.nn.Dropout) and m.p == 0.25 for m in unet.modules())


def test_plain_attention_equals_the_fused():
    unet = build_unet(small(attention_levels=(1, 2)))
    x, t = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 700])
    processors = [m.processor for m in unet.modules() if hasattr(m, "processor")]
    assert processors and all(isinstance(p, AttnProcessor2_0) for p in processors)
    fused = unet(x, t).sample
    use_plain_attention(unet)
    assert not any(isinstance(m.processor, AttnProcessor2_0) for m in unet.modules() if hasattr(m, "processor"))
    torch.testing.assert_close(unet(x, t).sample, fused, rtol=1e-4, atol=1e-5)


# ---- the moving average ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("window", [0.1, 0.5, 1.0])
def test_average_decays_as_documented(window):
    unet = torch.nn.Linear(1, 1, bias=False)
    ema = make_ema(unet, window)
    average = unet.weight.item()
    for step in range(50):
        with torch.no_grad():
            unet.weight.fill_(step**0.5)
        ema.step(unet.parameters())
        decay = 1 - 1 / (1 + window * step)
        average = decay * average + (1 - decay) * step**0.5
        assert float(ema.shadow_params[0]) == pytest.approx(average, rel=1e-5)


def test_average_forgets_the_start():
    """A fixed decay of 0.9999 would still be 74% first weights after 3,000 steps, the whole tutorial."""
    unet = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        unet.weight.fill_(1.0)
    ema = make_ema(unet, 0.1)
    with torch.no_grad():
        unet.weight.fill_(0.0)
    for _ in range(3000):
        ema.step(unet.parameters())
    assert float(ema.shadow_params[0]) == 0.0
    assert ema.cur_decay_value == pytest.approx(1 - 1 / (1 + 0.1 * 2999))
