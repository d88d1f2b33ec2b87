"""The calculator agrees with the loop's own batches."""

import types

import numpy as np
import pytest
import torch
from kits import engine as engine_kit

from ddpm_app.learn.probes import epoch
from ddpm_app.train.batches import Batches, steps_per_epoch

CASES = [(24, 4, 1), (25, 4, 1), (25, 4, 2), (26, 4, 3), (3, 8, 1), (7, 1, 4), (1, 1, 1)]


def settings(batch=4, accumulation=1, **changes):
    return engine_kit.settings("nowhere", train_batch_size=batch, gradient_accumulation_steps=accumulation, **changes)


def batches(config, pictures, **more):
    return Batches(config, types.SimpleNamespace(train=np.arange(pictures)), torch.device("cpu"), **more)


@pytest.mark.parametrize("pictures, batch, accumulation", CASES)
def test_the_numbers_are_the_loops(pictures, batch, accumulation):
    config = settings(batch, accumulation, max_train_steps=None, num_epochs=5)
    found, loop = epoch.course(config, pictures), batches(config, pictures)
    sizes = [len(part) for step in range(loop.per_epoch) for part in loop.indices(step)]
    assert (found.steps, found.batches, found.last_batch, found.batch_size) == (
        loop.per_epoch,
        len(sizes),
        sizes[-1],
        sizes[0],
    )
    assert found.total_steps == 5 * steps_per_epoch(config, pictures) and found.epochs == 5
    assert sum(sizes) == pictures


@pytest.mark.parametrize("pictures, batch, accumulation", CASES)
def test_how_often_each_picture_was_seen(pictures, batch, accumulation):
    config = settings(batch, accumulation)
    found, loop = epoch.course(config, pictures), batches(config, pictures)
    counts = np.zeros(pictures, int)
    for step in range(3 * loop.per_epoch):
        least, more = epoch.times_seen(found, step)
        assert counts.min() == least and (counts > least).sum() == more and counts.max() <= least + 1
        counts[np.concatenate(loop.indices(step))] += 1


@pytest.mark.parametrize("number", [0, 3])
def test_an_epoch_is_the_one_that_is_trained(number):
    config, train = settings(4, 2, seed=5), np.arange(10, 35)
    loop = Batches(config, types.SimpleNamespace(train=train), torch.device("cpu"))
    found = epoch.epoch(config, train, number)
    assert [[part.tolist() for part in step] for step in found] == [
        [part.tolist() for part in loop.indices(number * loop.per_epoch + k)] for k in range(loop.per_epoch)
    ]
    assert sorted(np.concatenate([part for step in found for part in step])) == train.tolist()


@pytest.mark.parametrize("pictures, batch, accumulation", CASES)
def test_several_devices_count_as_one(pictures, batch, accumulation):
    config = settings(batch, accumulation)
    found = epoch.course(config, pictures, processes=3)
    ranks = [batches(config, pictures, rank=rank, processes=3) for rank in range(3)]
    assert found.steps == ranks[0].per_epoch == steps_per_epoch(config, pictures, 3)
    together = [{int(i) for loop in ranks for part in loop.indices(step) for i in part} for step in range(found.steps)]
    mine = [
        {int(i) for part in step for i in part} for step in epoch.epoch(config, np.arange(pictures), 0, processes=3)
    ]
    assert all(ours <= theirs for ours, theirs in zip(mine, together, strict=True)) and set().union(*mine) == set(
        range(pictures)
    )


def test_the_length_is_the_plans_or_the_settings():
    assert epoch.course(settings(max_train_steps=77), 24).total_steps == 77
    assert epoch.course(settings(max_train_steps=None, num_epochs=3), 24).total_steps == 18
    assert epoch.course(settings(max_train_steps=77), 24, total_steps=500).total_steps == 500


def test_where_a_run_is():
    found = epoch.course(settings(max_train_steps=20), 24)
    assert [epoch.place(found, step) for step in (0, 5, 6, 19, 20, 99)] == [
        (0, 0),
        (0, 5),
        (1, 0),
        (3, 1),
        (3, 1),
        (3, 1),
    ]
