"""The queue of runs: its order, its owners, its limits, and that it is a file."""

import concurrent.futures
import shutil

import pytest

from ddpm_app import presets
from ddpm_app.config import from_dict
from ddpm_app.errors import Problem
from ddpm_app.runs import queue, registry
from ddpm_app.runs.queue import RunQueue, seconds_ahead


def settings(name="one", **changes):
    return presets.build("quick-check", output_dir=name, **changes)


def names(runs):
    return [each["config"]["output_dir"] for each in runs.waiting()]


def test_the_first_to_come_is_the_next_and_settings_come_back_as_they_were(runs_dir):
    runs = RunQueue(runs_dir)
    assert runs.next() is None and runs.waiting() == []
    assert [runs.add(settings(name), name[0]) for name in ("one", "two", "three")] == [1, 2, 3]
    again = RunQueue(runs_dir)  # as another process finds it
    assert names(again) == ["one", "two", "three"] and again.next()["owner"] == "o"
    assert from_dict(again.next()["config"]) == settings()


def test_a_run_moves_up_goes_out_and_is_passed_by_where_it_can_not_begin(runs_dir):
    runs = RunQueue(runs_dir)
    for name in ("one", "two", "three"):
        runs.add(settings(name))
    one, two, three = (each["id"] for each in runs.waiting())
    runs.move_up(three)
    runs.move_up(one)  # is the first already
    assert names(runs) == ["one", "three", "two"]
    runs.mark(one, Problem("run_name", "output_dir", value="?"))
    assert runs.next()["id"] == three and runs.waiting()[0]["problem"]["field"] == "output_dir"
    runs.remove(three)
    runs.remove(three)  # has begun meanwhile
    assert names(runs) == ["one", "two"] and runs.next()["id"] == two


def test_limits_of_all_and_of_one(runs_dir, monkeypatch):
    runs = RunQueue(runs_dir)
    runs.add(settings(), "me", 1)
    with pytest.raises(Problem, match="queue_yours"):
        runs.add(settings(), "me", 1)
    runs.add(settings(), "you", 1)
    monkeypatch.setattr(queue, "MOST_WAITING", 2)
    with pytest.raises(Problem, match="queue_full"):
        runs.add(settings(), "somebody", 1)
    assert len(runs.waiting()) == 2


def test_many_at_once_lose_nothing(runs_dir):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        places = list(pool.map(lambda k: RunQueue(runs_dir).add(settings(f"run-{k}")), range(16)))
    assert sorted(places) == list(range(1, 17)) and len(set(names(RunQueue(runs_dir)))) == 16


def test_no_room_is_a_problem_of_the_folder(tmp_path):
    place = tmp_path / "file"
    place.write_text("")
    with pytest.raises(Problem, match="runs_dir"):
        RunQueue(place).add(settings())
    assert not list(tmp_path.glob("file/*"))
    shutil.rmtree(tmp_path)


def test_waiting_time_is_the_sum_of_what_is_known(runs_dir):
    runs = RunQueue(runs_dir)
    runs.add(settings(max_train_minutes=2))
    assert seconds_ahead(30, []) == 30 and seconds_ahead(30, runs.waiting()) == 150
    assert seconds_ahead(None, runs.waiting()) is None
    runs.add(settings(max_train_minutes=None))
    assert seconds_ahead(30, runs.waiting()) is None


def test_pictures_of_a_run_that_waits_are_in_use(runs_dir, tmp_path):
    (tmp_path / "mine").mkdir()
    RunQueue(runs_dir).add(settings(dataset_name=str(tmp_path / "mine")))
    assert registry.data_places(runs_dir) == {(tmp_path / "mine").resolve(): ["one"]}
