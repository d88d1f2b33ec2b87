"""What a forward pass through a UNet shows: shapes, parameters, skip connections and activations as they are."""

import pytest
import torch
from diffusers import UNet2DConditionModel, UNet2DModel
from diffusers.models.embeddings import get_timestep_embedding
from kits import models as parts_kit

from ddpm_app.learn.probes import blocks
from ddpm_app.model.unet import count_parameters


def plain(layers=1, labels=None):
    with parts_kit.seeded(1):
        return UNet2DModel(
            sample_size=16,
            block_out_channels=(8, 16, 32),
            norm_num_groups=4,
            attention_head_dim=8,
            layers_per_block=layers,
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
            num_class_embeds=labels,
            up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        ).eval()


def wordy():
    with parts_kit.seeded(1):
        return UNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            layers_per_block=1,
            block_out_channels=(8, 16),
            norm_num_groups=4,
            cross_attention_dim=8,
            attention_head_dim=(1, 2),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        ).eval()


def traced(unet, side=16, t=300, **condition):
    x = torch.randn((2, unet.config.in_channels, side, side), generator=torch.Generator().manual_seed(0))
    return x, {block.name: block for block in blocks.trace(unet, x, t, condition)}


def test_shapes_halve_on_the_way_down_and_double_on_the_way_up():
    _, found = traced(plain())
    assert list(found) == ["conv_in", "time", "down.0", "down.1", "down.2", "mid", "up.0", "up.1", "up.2", "out"]
    shapes = [
        (8, 16, 16),
        (32,),
        (8, 8, 8),
        (16, 4, 4),
        (32, 4, 4),
        (32, 4, 4),
        (32, 8, 8),
        (16, 16, 16),
        (8, 16, 16),
        (3, 16, 16),
    ]
    assert [block.shape for block in found.values()] == shapes
    assert found["down.1"].kind == "AttnDownBlock2D" and found["out"].kind == "GroupNorm + Conv2d"


@pytest.mark.parametrize(
    "make, condition",
    [
        (plain, {}),
        (lambda: plain(2, labels=3), {"class_labels": torch.tensor([0, 2])}),
        (wordy, {"encoder_hidden_states": torch.zeros(2, 5, 8)}),
    ],
)
def test_the_blocks_hold_every_parameter_once(make, condition):
    unet = make()
    _, found = traced(unet, **condition)
    assert sum(block.parameters for block in found.values()) == count_parameters(unet)
    by_name = {}
    for name, parameter in unet.named_parameters():
        by_name[blocks.block_of(name)] = by_name.get(blocks.block_of(name), 0) + parameter.numel()
    assert by_name == {name: block.parameters for name, block in found.items() if block.parameters}


@pytest.mark.parametrize("layers", [1, 2])
def test_skips_are_the_tensors_handed_over(layers):
    """The way up takes them in the opposite order: last made, first used. Its first convolution is as wide as both together."""
    unet = plain(layers)
    _, found = traced(unet)
    made = [("conv_in", (8, 16, 16))]
    for k, (width, side) in enumerate([(8, 16), (16, 8), (32, 4)]):
        made += [(f"down.{k}", (width, side, side))] * layers + (
            [(f"down.{k}", (width, side // 2, side // 2))] if k < 2 else []
        )
    used = [(skip.source, skip.shape) for name in ("up.0", "up.1", "up.2") for skip in found[name].skips]
    assert used == made[::-1]
    below = found["mid"].shape[0]
    for k in range(3):
        for skip, layer in zip(found[f"up.{k}"].skips, unet.up_blocks[k].resnets, strict=True):
            assert layer.conv1.in_channels == below + skip.shape[0]
            below = layer.conv1.out_channels
    assert not any(block.skips for name, block in found.items() if not name.startswith("up."))


def test_skips_of_a_model_with_words():
    _, found = traced(wordy(), 8, encoder_hidden_states=torch.zeros(2, 5, 8))
    assert [skip.source for skip in found["up.0"].skips] == ["down.1", "down.0"]
    assert [skip.source for skip in found["up.1"].skips] == ["down.0", "conv_in"]


def test_attention_is_counted_where_it_is():
    _, found = traced(plain())
    assert {name: b.attention for name, b in found.items() if any(b.attention)} == {
        "down.1": (1, 0),
        "mid": (1, 0),
        "up.1": (2, 0),
    }
    _, found = traced(wordy(), 8, encoder_hidden_states=torch.zeros(2, 5, 8))
    assert {name: b.attention for name, b in found.items() if any(b.attention)} == {
        "down.1": (1, 1),
        "mid": (1, 1),
        "up.0": (2, 2),
    }


def test_activations_are_those_of_the_pass():
    unet = plain()
    x, found = traced(unet)
    with torch.no_grad():
        stem = unet.conv_in(x)
        temb = unet.time_embedding(unet.time_proj(torch.tensor([300, 300])))
        down, _ = unet.down_blocks[0](stem, temb)
        out = unet(x, 300).sample
    assert (
        torch.equal(found["conv_in"].maps, stem[0])
        and torch.equal(found["down.0"].maps, down[0])
        and torch.equal(found["out"].maps, out[0])
    )
    assert found["down.0"].size == pytest.approx(float(down[0].abs().mean()))
    assert found["time"].maps is None and found["time"].size == pytest.approx(float(temb[0].abs().mean()))
    assert len(found["mid"].maps) == blocks.MAPS


def test_a_trace_leaves_nothing_behind():
    unet = plain()
    before = {name: p.clone() for name, p in unet.named_parameters()}
    state = torch.random.get_rng_state()
    with pytest.raises(TypeError):
        traced(unet, nonsense=1)
    traced(unet)
    assert not any(module._forward_hooks for module in unet.modules())
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in unet.named_parameters())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_embedding_is_sinusoidal():
    unet = plain()
    t = torch.tensor([0, 1, 250, 999])
    waves, learned = blocks.embedding(unet, t)
    assert torch.equal(waves, get_timestep_embedding(t, 8, flip_sin_to_cos=True, downscale_freq_shift=0))
    by_hand = t[:, None] * 10_000 ** (-torch.arange(4) / 4)
    torch.testing.assert_close(waves, torch.cat([by_hand.cos(), by_hand.sin()], dim=1), atol=1e-4, rtol=0)
    assert learned.shape == (4, 32) and torch.equal(learned, unet.time_embedding(waves))
