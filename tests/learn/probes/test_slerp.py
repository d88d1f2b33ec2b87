"""The arc between two noises against closed forms, and blends of labels and texts."""

import math

import pytest
import torch

from ddpm_app.learn.probes import slerp as ways

U = torch.linspace(0, 1, 9)


def noise(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def between(a, b, u=U):
    return ways.slerp(a.expand(len(u), *a.shape), b.expand(len(u), *b.shape), u)


def test_the_ends_are_exact():
    a, b = noise(0, 3, 8, 8), noise(1, 3, 8, 8)
    way = between(a, b)
    assert way.shape == (9, 3, 8, 8) and way.dtype == torch.float32
    assert torch.allclose(way[0], a, atol=1e-7) and torch.allclose(way[-1], b, atol=1e-7)


def test_against_the_quarter_circle():
    way = between(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    wanted = torch.stack([(U * math.pi / 2).cos(), (U * math.pi / 2).sin()], 1)
    assert torch.allclose(way, wanted, atol=1e-7)


def test_lengths_go_evenly_and_angles_too():
    a, b = noise(0, 4, 16, 16), 3 * noise(1, 4, 16, 16)
    way = between(a, b).flatten(1).double()
    wanted = torch.lerp(a.norm().double(), b.norm().double(), U.double())
    assert torch.allclose(way.norm(dim=1), wanted, rtol=1e-6)
    turned = [torch.nn.functional.cosine_similarity(x, y, dim=0).acos() for x, y in zip(way, way[1:], strict=False)]
    assert torch.allclose(torch.stack(turned), turned[0], rtol=1e-4)


def test_each_pair_of_a_batch_has_its_own_angle():
    a, b, u = noise(0, 5, 3, 4, 4), noise(1, 5, 3, 4, 4), torch.tensor([0.0, 0.1, 0.5, 0.7, 1.0])
    alone = torch.cat([ways.slerp(a[k : k + 1], b[k : k + 1], u[k : k + 1]) for k in range(5)])
    assert torch.allclose(ways.slerp(a, b, u), alone, atol=1e-7)


def test_parallel_pairs_go_straight():
    a = noise(0, 2, 2)
    assert torch.allclose(between(a, a), a.expand(9, 2, 2), atol=1e-7)
    assert torch.allclose(between(a, 3 * a), a * (1 + 2 * U)[:, None, None], atol=1e-6)
    almost = between(a, a + 1e-6 * noise(1, 2, 2))
    assert almost.isfinite().all() and torch.allclose(almost, a.expand(9, 2, 2), atol=1e-5)


def test_from_nothing_and_opposite():
    a = noise(0, 2, 2)
    assert torch.allclose(between(torch.zeros(2, 2), a)[-1], a, atol=1e-7)
    with pytest.raises(ValueError, match="opposite"):
        between(a, -a)


def test_the_straight_line_is_shorter():
    a, b = noise(0, 3, 64, 64), noise(1, 3, 64, 64)
    line = ways.lerp(a.expand(9, 3, 64, 64), b.expand(9, 3, 64, 64), U)
    assert torch.equal(line[0], a) and torch.equal(line[-1], b)
    lengths = line.flatten(1).norm(dim=1) / math.sqrt(a.numel())
    assert torch.allclose(lengths, (U**2 + (1 - U) ** 2).sqrt(), atol=0.02)
    arc = between(a, b).flatten(1).norm(dim=1) / math.sqrt(a.numel())
    assert torch.allclose(arc, torch.ones(9), atol=0.02)


@pytest.mark.parametrize("kind", ["labels", "labels-in-latents"])
def test_labels_are_blended_in_the_embedding(context_of, kind):
    model = context_of(kind).model
    before = {name: value.clone() for name, value in model.unet.state_dict().items()}
    ends = [model.conditioning.conditional(1, (), (k,)) for k in (0, 2)]
    twin, asked, blank = ways.blended(
        model.unet, *ends, model.conditioning.unconditional(1), torch.tensor([0.0, 0.5, 1.0])
    )
    x, t = noise(0, 1, *model.shape), torch.tensor(300)
    with torch.no_grad():
        got = twin(x.expand(3, -1, -1, -1), t, **asked).sample
        for k, end in ((0, ends[0]), (2, ends[1])):
            assert torch.allclose(got[k], model.unet(x, t, **end).sample[0], atol=1e-6)
        none = twin(x.expand(3, -1, -1, -1), t, **blank).sample
        assert torch.allclose(none[2], model.unet(x, t, **model.conditioning.unconditional(1)).sample[0], atol=1e-6)
        halfway = torch.nn.Embedding.from_pretrained(model.unet.class_embedding.weight[[0, 2]].mean(0, keepdim=True))
        model.unet.class_embedding, kept = halfway, model.unet.class_embedding
        try:
            assert torch.allclose(got[1], model.unet(x, t, class_labels=torch.tensor([0])).sample[0], atol=1e-6)
        finally:
            model.unet.class_embedding = kept
    assert all(torch.equal(value, before[name]) for name, value in model.unet.state_dict().items())
    assert (
        model.unet.class_embedding is kept and twin.class_embedding is not kept and twin.conv_in is model.unet.conv_in
    )


def test_texts_are_blended_in_the_embedding(context_of):
    model = context_of("words").model
    ends = [model.conditioning.conditional(1, (text,), ()) for text in ("red bug", "blue bug")]
    unet, asked, blank = ways.blended(
        model.unet, *ends, model.conditioning.unconditional(1), torch.tensor([0.0, 0.25, 1.0])
    )
    assert torch.equal(blank["encoder_hidden_states"], model.conditioning.unconditional(3)["encoder_hidden_states"])
    first, second = (end["encoder_hidden_states"][0] for end in ends)
    assert unet is model.unet and torch.equal(asked["encoder_hidden_states"][0], first)
    assert torch.allclose(asked["encoder_hidden_states"][1], 0.75 * first + 0.25 * second, atol=1e-6)
