import types

import numpy as np
import pytest
import torch
from kits.engine import settings

from ddpm_app.data import image_dataset as data
from ddpm_app.train import batches
from ddpm_app.train.batches import Batches

CPU = torch.device("cpu")


def some(count) -> types.SimpleNamespace:
    """Stands in for Pictures: picture k is all k, its left column is -k."""
    images = torch.arange(count).float().reshape(-1, 1, 1, 1).repeat(1, 3, 4, 4)
    images[..., 0] *= -1

    def tensors(indices, flips=None):
        got = images[np.asarray(indices)].clone()
        if flips is not None:
            got[torch.as_tensor(flips)] = got[torch.as_tensor(flips)].flip(-1)
        return got

    return types.SimpleNamespace(train=np.arange(count), tensors=tensors)


def order(count, epochs=1, processes=1, **values) -> list[list[list[int]]]:
    """Per step the picture numbers of each batch, those of all processes together."""
    config = settings("x", **values)
    ranks = [Batches(config, some(count), CPU, rank, processes) for rank in range(processes)]
    steps = []
    for step in range(epochs * ranks[0].per_epoch):
        parts = [b.indices(step) for b in ranks]
        assert len({tuple(map(len, part)) for part in parts}) == 1, "all processes have equally many"
        steps.append([np.stack([part[k] for part in parts], axis=1).flatten().tolist() for k in range(len(parts[0]))])
    return steps


def flat(steps) -> list[int]:
    return [i for step in steps for batch in step for i in batch]


# ---- order -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("count", "size", "accumulate"),
    [
        (24, 4, 1),
        (23, 4, 1),
        (24, 4, 2),
        (25, 4, 3),
        (5, 16, 1),
        (1, 1, 1),
        (7, 3, 5),
    ],
)
def test_every_picture_once_per_epoch(count, size, accumulate):
    steps = order(count, epochs=3, train_batch_size=size, gradient_accumulation_steps=accumulate)
    per_epoch = len(steps) // 3
    for epoch in range(3):
        assert sorted(flat(steps[epoch * per_epoch : (epoch + 1) * per_epoch])) == list(range(count))
    assert all(len(step) <= accumulate and all(1 <= len(batch) <= size for batch in step) for step in steps)
    assert per_epoch == -(-count // (min(size, count) * accumulate))


def test_each_epoch_has_its_own_order():
    steps = order(24, epochs=2)
    assert steps[:6] != steps[6:] and steps == order(24, epochs=2) and steps != order(24, epochs=2, seed=1)
    assert flat(steps[:6]) != list(range(24))


@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_accumulation_keeps_the_order(accumulate):
    """k batches of b are the pictures of one batch of k * b."""
    split = order(24, train_batch_size=2, gradient_accumulation_steps=accumulate)
    whole = order(24, train_batch_size=2 * accumulate)
    assert [flat([step]) for step in split] == [flat([step]) for step in whole]


def test_a_step_can_be_asked_for_in_any_order():
    there = Batches(settings("x"), some(24), CPU)
    forwards = [there.indices(k)[0].tolist() for k in range(40)]
    assert [there.indices(k)[0].tolist() for k in reversed(range(40))] == forwards[::-1]


@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("count", [24, 25, 23, 7])
def test_processes_share_an_epoch(count, processes):
    steps = order(count, processes=processes, train_batch_size=2)
    alone = order(count, train_batch_size=2 * processes)
    seen = flat(steps)
    assert set(seen) == set(range(count)) and len(seen) - count < processes
    assert [flat([s])[: len(flat([t]))] for s, t in zip(steps, alone, strict=True)] == [flat([t]) for t in alone]


def test_only_training_pictures_are_drawn():
    there = some(24)
    there.train = np.array([1, 5, 9, 20])
    assert sorted(Batches(settings("x"), there, CPU).indices(0)[0].tolist()) == [1, 5, 9, 20]


@pytest.mark.parametrize(("asked", "there", "got"), [(16, 100, 16), (16, 16, 16), (16, 5, 5), (1, 5, 1)])
def test_batch_larger_than_the_set(asked, there, got):
    assert batches.batch_size(settings("x", train_batch_size=asked), there) == got


@pytest.mark.parametrize(
    ("pictures", "processes", "accumulate", "steps"),
    [
        (950, 1, 1, 60),
        (950, 2, 1, 30),
        (950, 1, 4, 15),
        (3, 2, 1, 1),
    ],
)
def test_steps_per_epoch(pictures, processes, accumulate, steps):
    config = settings("x", train_batch_size=16, gradient_accumulation_steps=accumulate)
    assert batches.steps_per_epoch(config, pictures, processes) == steps


# ---- what a batch holds ----------------------------------------------------------------------------------------------
def load(step=0, batch=0, rank=0, count=24, **values):
    there = Batches(settings("x", **values), some(count), CPU, rank, 2)
    return there.load(step, batch, np.arange(count))


def test_shapes_and_types():
    x0, eps, t = load()
    assert x0.shape == eps.shape == (24, 3, 4, 4) and t.shape == (24,)
    assert (x0.dtype, eps.dtype, t.dtype) == (torch.float32, torch.float32, torch.int64)


def test_noise_depends_on_seed_step_batch_and_process_alone():
    torch.manual_seed(0)
    one = load(step=3)
    torch.rand(9)
    again = load(step=3)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    others = [load(step=4), load(step=3, batch=1), load(step=3, rank=1), load(step=3, seed=1)]
    for other in others:
        assert not torch.equal(one[1], other[1]) and not torch.equal(one[2], other[2])


def test_timesteps_and_noise_cover_their_range():
    drawn = [load(step=k, count=64, num_train_timesteps=10, preview_inference_steps=2) for k in range(20)]
    t, eps = torch.cat([t for _, _, t in drawn]), torch.cat([eps for _, eps, _ in drawn])
    assert t.unique().tolist() == list(range(10))
    assert abs(eps.mean()) < 0.01 and abs(eps.std() - 1) < 0.01


def test_half_of_the_pictures_are_mirrored():
    flipped = torch.cat([load(step=k)[0][1:, 0, 0, 0] > 0 for k in range(40)])
    assert 0.45 < flipped.float().mean() < 0.55
    x0 = load(step=5)[0]
    assert torch.equal(x0[:, 0, 0, 0].abs(), torch.arange(24.0))
    assert torch.equal(x0[:, 0, 0, 0], -x0[:, 0, 0, 3]), "a picture is mirrored whole"


def test_no_flip():
    assert torch.equal(load(random_flip=False)[0], some(24).tensors(np.arange(24)))


def test_flip_leaves_the_noise_as_it_is():
    assert torch.equal(load()[1], load(random_flip=False)[1])


# ---- with real pictures ----------------------------------------------------------------------------------------------
def test_pictures_reach_the_batch(tiny):
    pictures = data.load(tiny(random_flip=False))
    there = Batches(tiny(random_flip=False), pictures, CPU)
    (indices,) = there.indices(0)
    x0, *_ = there.load(0, 0, indices)
    wanted = torch.from_numpy(np.asarray(pictures.images)[indices]).permute(0, 3, 1, 2).float() / 255 * 2 - 1
    torch.testing.assert_close(x0, wanted, rtol=0, atol=1e-6)
    assert set(indices) <= set(pictures.train.tolist()) and len(pictures.held_out) == 6
