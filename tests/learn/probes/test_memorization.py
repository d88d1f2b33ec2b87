"""Nearest pictures against brute force and planted copies, and the verdict against hand-made distances."""

import pytest
import torch

from ddpm_app.data import image_dataset as data
from ddpm_app.learn.probes import memorization
from ddpm_app.presets import build


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) / 3


@pytest.fixture(scope="module")
def specimens():
    """Built-in specimens at 32 px: (training, held out), float [N, 3, 32, 32]."""
    found = data.load(build("first-butterflies"))
    return found.tensors(found.train[:200]), found.tensors(found.held_out[:60])


@pytest.mark.parametrize("side", [8, 32, 64])
def test_against_brute_force(side):
    queries, pictures = noise(5, 3, side, side), noise(40, 3, side, side, seed=1)
    index, distance = memorization.nearest(queries, pictures)
    small = [torch.nn.functional.adaptive_avg_pool2d(x, min(side, 16)) for x in (queries, queries.flip(-1), pictures)]
    for k in range(5):
        apart = torch.minimum(*((small[way][k] - small[2]).square().mean(dim=(1, 2, 3)).sqrt() for way in (0, 1)))
        assert index[k] == apart.argmin() and float(distance[k]) == pytest.approx(float(apart.min()), rel=1e-5)


def test_in_parts_as_in_one():
    queries, pictures = noise(6, 3, 16, 16), noise(50, 3, 16, 16, seed=1)
    whole = memorization.nearest(queries, pictures)
    seen = list(memorization.search(queries, pictures.split(7)))
    assert len(seen) == 8 and all(
        (later[1] <= earlier[1]).all() for earlier, later in zip(seen, seen[1:], strict=False)
    )
    assert torch.equal(seen[-1][0], whole[0]) and torch.allclose(seen[-1][1], whole[1])


def test_the_unit_is_that_of_pixels():
    black, white = -torch.ones(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    assert memorization.nearest(black, white)[1].tolist() == [2.0]


def test_planted_copies_are_found_and_called_copies(specimens):
    train, unseen = specimens
    usual = memorization.nearest(unseen, train)[1]
    ways = {
        "copied": train[:20],
        "mirrored": train[20:40].flip(-1),
        "noised": (train[40:60] + 0.05 * 3 * noise(20, 3, 32, 32)).clamp(-1, 1),
    }
    for first, (way, planted) in zip((0, 20, 40), ways.items(), strict=True):
        index, distance = memorization.nearest(planted, train)
        assert index.tolist() == list(range(first, first + 20)), way
        found = memorization.verdict(distance, usual)
        assert found.kind == "memorised" and all(found.copies), way
        assert way == "noised" or distance.max() == 0


def test_unseen_pictures_are_no_copies(specimens):
    train, unseen = specimens
    distance = memorization.nearest(unseen, train)[1]
    found = memorization.verdict(distance[:30], distance[30:])
    assert (found.kind, any(found.copies), found.unseen_copies) == ("no", False, 0)


def test_a_picture_is_not_its_own_neighbour(specimens):
    train = specimens[0][:50]
    doubled = torch.cat([train, train[:1]])
    own = [0, 7, 30]
    index, distance = list(memorization.search(doubled[own], doubled.split(20), own))[-1]
    assert index[0] == 50 and distance[0] == 0  # its double counts
    assert not (index == torch.tensor(own)).any() and (distance[1:] > 0.01).all()


def test_nothing_but_itself():
    one = noise(1, 3, 8, 8)
    assert next(memorization.search(one, [one], [0]))[1].tolist() == [torch.inf]


@pytest.mark.parametrize(("near", "kind"), [(0, "no"), (1, "some"), (3, "some"), (4, "memorised"), (8, "memorised")])
def test_the_verdict(near, kind):
    generated = torch.tensor([0.0999] * near + [0.1001] * (8 - near))
    found = memorization.verdict(generated, torch.tensor([0.05, 0.25, 0.25, 0.25, 0.9]))
    assert (found.kind, sum(found.copies), found.unseen_copies) == (kind, near, 1)
    assert (found.limit, found.usual) == (pytest.approx(0.1), pytest.approx(0.25)) and found.generated == pytest.approx(
        0.1, abs=2e-4
    )
