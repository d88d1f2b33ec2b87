import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import filelock
import psutil
import pytest
from kits.engine import NETWORK
from kits.problems import problem_of

from ddpm_app.config import TrainConfig, from_dict
from ddpm_app.errors import Problem
from ddpm_app.runs import registry
from ddpm_app.runs.run import ACTIVE, NO_REQUESTS, QUIET_SECONDS, STATES, Run


def settings(name="one", **values) -> TrainConfig:
    return from_dict(NETWORK | dict(output_dir=name) | values)


def made(runs_dir, name="one", state="stopped", **news) -> Run:
    run = registry.create(runs_dir, settings(name))
    run.update_status(state=state, **news)
    return run


def files(folder: pathlib.Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


# ---- a young run -----------------------------------------------------------------------------------------------------
def test_new_run_is_whole_before_anything_heavy(runs_dir):
    code = (
        "import pathlib, sys; from ddpm_app.runs import registry; from ddpm_app.config import TrainConfig\n"
        f"run = registry.create(pathlib.Path({str(runs_dir)!r}), TrainConfig())\n"
        "print([m for m in ('torch', 'torchvision', 'diffusers', 'datasets', 'accelerate', 'transformers') if m in sys.modules])"
    )
    home = pathlib.Path(registry.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True, cwd=home)
    assert done.stdout.strip() == "[]"
    run = registry.find(runs_dir, "ddpm-butterflies-128")
    assert run.config == TrainConfig() and run.status["state"] == "interrupted", "its process is gone"


def test_record_names_the_libraries(runs_dir):
    run = made(runs_dir)
    assert set(run.record["libraries"]) == {*registry.LIBRARIES, "python"} and run.record["libraries"]["torch"]
    assert run.config == settings() and run.plan is None
    run.update_record(plan={"total_steps": 3}, data={"fingerprint": "x"})
    assert run.plan == {"total_steps": 3} and run.record["data"] == {"fingerprint": "x"} and run.config == settings()


def test_reading_a_young_folder_never_fails(tmp_path):
    run = Run(tmp_path / "nothing")
    assert run.status["state"] == "interrupted" and not run.active and run.plan is None
    assert run.read_metrics() == ([], 0, -1) and run.requests == NO_REQUESTS
    assert run.samples == run.checkpoints == run.log_tail() == []
    problem_of("run_broken", lambda: run.config)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe\x00", b"null", b'{"config": {}}'])
def test_damaged_config(runs_dir, damage):
    run = made(runs_dir)
    (run.path / "config.json").write_bytes(damage)
    problem_of("run_broken", lambda: run.config)
    assert [r.name for r in registry.list_runs(runs_dir)] == ["one"]


def test_log(runs_dir):
    run = made(runs_dir)
    for k in range(30):
        run.log(f"line {k} ä")
    assert [line.split(" ", 1)[1] for line in run.log_tail(3)] == ["line 27 ä", "line 28 ä", "line 29 ä"]


def test_disk_bytes(runs_dir):
    run = made(runs_dir)
    before = run.disk_bytes()
    run.save_sample(3, b"x" * 1000)
    assert run.disk_bytes() == before + 1000


# ---- is somebody at work? --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("state", ACTIVE)
def test_own_process_is_alive(runs_dir, state):
    run = made(runs_dir, state=state)
    assert run.active and run.status["state"] == state and registry.active_run(runs_dir) == run


@pytest.mark.parametrize("state", sorted(set(STATES) - set(ACTIVE)))
def test_state_of_rest(runs_dir, state):
    run = made(runs_dir, state=state)
    assert not run.active and run.status["state"] == state and registry.active_run(runs_dir) is None


@pytest.fixture
def other():
    """A process that only waits."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def born(pid) -> float:
    return psutil.Process(pid).create_time()


def test_other_process(runs_dir, other):
    run = made(runs_dir, state="training", pid=other.pid, born=born(other.pid))
    assert run.active
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    assert run.status["state"] == "interrupted", "killed and not yet waited for: a zombie works on nothing"
    other.wait()
    assert run.status["state"] == "interrupted"


def test_reused_pid(runs_dir, other):
    run = made(runs_dir, state="training", pid=other.pid, born=born(other.pid) - 5)
    assert run.status["state"] == "interrupted"


@pytest.mark.parametrize("status", [dict(pid="x"), dict(born=None), dict(pid=-1), dict(pid=2**22 + 1)])
def test_nonsense_in_the_status(runs_dir, status):
    assert made(runs_dir, state="training", **status).status["state"] == "interrupted"


@pytest.mark.parametrize(("age", "active"), [(0, True), (QUIET_SECONDS - 5, True), (QUIET_SECONDS + 5, False)])
def test_other_host(runs_dir, age, active):
    run = made(runs_dir, state="training", host="elsewhere", heartbeat=time.time() - age, pid=1, born=0)
    assert run.active == active


def test_begin_voids_old_wishes_and_errors(runs_dir):
    run = made(runs_dir, state="failed", error={"code": "x"}, traceback="t")
    run.request("sample", stop=True, pause=True)
    run.begin(owner="me")
    assert run.requests == NO_REQUESTS | {"owner": "me"}
    assert (run.status["state"], run.status["error"], run.status["traceback"]) == ("preparing", None, None)


# ---- wishes ----------------------------------------------------------------------------------------------------------
def test_wishes(runs_dir):
    run = made(runs_dir)
    run.request(pause=True)
    run.request("sample")
    run.request("sample", "save", pause=False, stop=True)
    assert run.requests == NO_REQUESTS | {"sample": 2, "save": 1, "stop": True, "pause": False}


def test_no_wish_of_many_is_lost(runs_dir):
    """Several pages ask at once."""
    run = made(runs_dir)
    start = threading.Barrier(4)

    def ask(kind):
        start.wait()
        for _ in range(15):
            run.request(kind)

    threads = [threading.Thread(target=ask, args=(kind,)) for kind in ("sample", "save", "sample", "save")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (run.requests["sample"], run.requests["save"]) == (30, 30)


# ---- metrics ---------------------------------------------------------------------------------------------------------
def steps(rows) -> list[int]:
    return [row["step"] for row in rows]


def write(run, *numbers):
    writer = run.open_metrics(-1)
    for k in numbers:
        writer.add(k, kind="step", loss=k / 2)
    writer.close()


def test_rows_come_back(runs_dir):
    run = made(runs_dir)
    write(run, 1, 2)
    rows, offset, generation = run.read_metrics()
    assert rows == [{"step": 1, "kind": "step", "loss": 0.5}, {"step": 2, "kind": "step", "loss": 1.0}]
    assert offset == run.metrics_path.stat().st_size and generation == 0
    assert run.read_metrics(offset, generation) == ([], offset, generation)


def test_rows_since_the_last_look(runs_dir):
    run = made(runs_dir)
    writer = run.open_metrics(0)
    offset, generation, seen = 0, -1, []
    for k in range(1, 30):
        writer.add(k)
        if k % 7 == 0:
            rows, offset, generation = run.read_metrics(offset, generation)
            seen += steps(rows)
    writer.close()
    seen += steps(run.read_metrics(offset, generation)[0])
    assert seen == list(range(1, 30))


def test_unfinished_line_waits(runs_dir):
    run = made(runs_dir)
    write(run, 1)
    with open(run.metrics_path, "ab") as file:
        file.write(b'{"step": 2, "ki')
        file.flush()
        rows, offset, generation = run.read_metrics()
        assert steps(rows) == [1]
        file.write(b'nd": "step"}\n')
    assert steps(run.read_metrics(offset, generation)[0]) == [2]


@pytest.mark.parametrize("limit", [60, 100, 1000])
def test_in_portions(runs_dir, limit):
    run = made(runs_dir)
    write(run, *range(50))
    offset, generation, seen = 0, -1, []
    while True:
        rows, offset, generation = run.read_metrics(offset, generation, limit)
        if not rows:
            break
        seen += steps(rows)
    assert seen == list(range(50))


def test_pruning_makes_a_new_generation(runs_dir):
    run = made(runs_dir)
    write(run, *range(1, 10))
    _, offset, generation = run.read_metrics()
    run.open_metrics(6).close()
    rows, later, newer = run.read_metrics(offset, generation)
    assert (steps(rows), newer) == ([1, 2, 3, 4, 5, 6], generation + 1), "an old offset means nothing in a new file"
    run.open_metrics(6).close()
    assert run.read_metrics(later, newer) == ([], later, newer), "nothing to prune, same generation"


def test_torn_line_is_cut_off(runs_dir):
    run = made(runs_dir)
    write(run, 1, 2)
    with open(run.metrics_path, "ab") as file:
        file.write(b'{"step": 3, "lo')
    writer = run.open_metrics(2)
    writer.add(3)
    writer.close()
    rows, _, generation = run.read_metrics()
    assert steps(rows) == [1, 2, 3] and generation == 1


def test_reading_while_another_writes_and_prunes(runs_dir):
    """A page reads on; meanwhile a run goes forward and is resumed several times. It ends with exactly the file's rows."""
    run, over = made(runs_dir), threading.Event()

    def work():
        step = 0
        for to in (40, 30, 70, 50, 90):
            writer = run.open_metrics(min(step, to))
            step = min(step, to)
            while step < to + 10:
                step += 1
                writer.add(step, loss=0.5, filling="x" * (step % 40))
            writer.close()
        over.set()

    thread = threading.Thread(target=work)
    thread.start()
    shown, offset, generation = [], 0, -1
    while True:
        last = over.is_set()
        rows, offset, now = run.read_metrics(offset, generation)
        shown = (shown if now == generation else []) + steps(rows)
        generation = now
        assert shown == list(range(1, len(shown) + 1))
        if last:
            break
    thread.join()
    assert shown == list(range(1, 101))


# ---- pictures and checkpoints ----------------------------------------------------------------------------------------
def fill(folder):
    (folder / "weights").write_text(folder.name)


def test_checkpoints(runs_dir):
    run = made(runs_dir)
    for step in (0, 20, 100, 1000):
        run.save_checkpoint(step, fill, 2)
    assert [p.name for p in run.checkpoints] == ["step-0000100", "step-0001000"]
    run.save_checkpoint(2000, fill, None)
    assert len(run.checkpoints) == 3
    assert run.save_checkpoint(2000, lambda folder: pytest.fail("written twice"), 1) == run.checkpoints[-1]


def test_old_checkpoints_are_removed_last(runs_dir):
    run = made(runs_dir)
    run.save_checkpoint(1, fill, 1)

    def broken(folder):
        fill(folder)
        assert [p.name for p in run.checkpoints] == ["step-0000001"]
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError):
        run.save_checkpoint(2, broken, 1)
    assert [p.name for p in run.checkpoints] == ["step-0000001"]
    assert files(run.path / "checkpoints") == ["step-0000001", "step-0000001/weights"]


def test_long_runs_keep_their_order(runs_dir):
    run = made(runs_dir)
    for step in (9_999_999, 10_000_000):
        run.save_checkpoint(step, fill, None)
        run.save_sample(step, b"png")
    assert run.checkpoints[-1].name == "step-10000000" and run.samples[-1].name == "step-10000000.png"


def test_forget_after(runs_dir):
    run = made(runs_dir)
    for step in (1, 2, 3):
        run.save_checkpoint(step, fill, None)
        run.save_sample(step, b"png")
    run.prune_after(2)
    assert [p.name for p in run.checkpoints] == ["step-0000001", "step-0000002"]
    assert [p.name for p in run.samples] == ["step-0000001.png", "step-0000002.png"]


# ---- the folder of runs ----------------------------------------------------------------------------------------------
def test_list_is_newest_first(runs_dir):
    for age, name in enumerate(("new", "middle", "old")):
        run = made(runs_dir, name)
        run.update_status(heartbeat=1000.0 - age)
    (runs_dir / "no run").mkdir()
    registry.discard(made(runs_dir, "gone"))
    assert [r.name for r in registry.list_runs(runs_dir)] == ["new", "middle", "old"]
    assert registry.list_runs(runs_dir / "nowhere") == []


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../one", "one/../one", "/etc", "one/", "./one", ".trash", "nothing", "one\0"]
)
def test_names_that_escape_or_are_not_there(runs_dir, name):
    made(runs_dir)
    assert problem_of("run_missing", registry.find, runs_dir, name).values["known"] == "one"
    assert registry.find(runs_dir, "one").name == "one"


def test_free_name(runs_dir):
    assert registry.free_name(runs_dir, "one") == "one"
    made(runs_dir)
    assert registry.free_name(runs_dir, "one") == "one-2"
    made(runs_dir, "one-2")
    assert registry.free_name(runs_dir, "one") == registry.free_name(runs_dir, "one-2") == "one-3"
    made(runs_dir, "butterflies-64")
    assert registry.free_name(runs_dir, "butterflies-64") == "butterflies-64-2"
    assert registry.free_name(runs_dir, "ddpm-128") == "ddpm-128"


def test_second_run_of_a_name_moves_the_first_to_the_trash(runs_dir):
    first = made(runs_dir)
    first.save_checkpoint(7, fill, None)
    second = registry.create(runs_dir, settings())
    assert second.checkpoints == [] and [len(r.checkpoints) for r in registry.trash(runs_dir)] == [1]
    second.update_status(state="stopped")
    back = registry.restore(runs_dir, registry.trash(runs_dir)[0].name)
    assert back.name == "one-2" and [p.name for p in back.checkpoints] == ["step-0000007"]


def test_without_overwriting(runs_dir):
    run = made(runs_dir)
    problem = problem_of("run_exists", registry.create, runs_dir, settings(overwrite_output_dir=False))
    assert (problem.field, problem.values["free"]) == ("output_dir", "one-2")
    assert run.status["state"] == "stopped" and registry.trash(runs_dir) == []


def test_run_being_trained_is_left_alone(runs_dir):
    run = made(runs_dir, state="training")
    problem_of("run_busy", registry.create, runs_dir, settings())
    problem_of("run_busy", registry.discard, run)
    problem_of("run_busy", registry.rename, run, "two")
    assert run.active


def test_runs_dir_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    assert problem_of("runs_dir", registry.create, tmp_path / "file", settings()).values["value"] == str(
        tmp_path / "file"
    )


def test_rename(runs_dir):
    run = made(runs_dir)
    run.save_checkpoint(7, fill, None)
    two = registry.rename(run, "two")
    assert (
        registry.list_runs(runs_dir) == [two]
        and two.name == two.config.output_dir == "two"
        and len(two.checkpoints) == 1
    )
    made(runs_dir)
    assert problem_of("run_exists", registry.rename, two, "one").values["free"] == "one-2"
    for name in ("../x", "", "a/b", ".trash"):
        with pytest.raises(Problem):
            registry.rename(two, name)
    assert {r.name for r in registry.list_runs(runs_dir)} == {"one", "two"}


# ---- trash -----------------------------------------------------------------------------------------------------------
def test_trash(runs_dir):
    for _ in range(2):
        registry.discard(made(runs_dir))
    registry.discard(made(runs_dir, "a~b"))
    assert [r.name.rpartition("~")[0] for r in registry.trash(runs_dir)] == [
        "a~b",
        "one",
        "one",
    ] and registry.list_runs(runs_dir) == []
    assert registry.restore(runs_dir, registry.trash(runs_dir)[0].name).name == "a~b"
    assert registry.restore(runs_dir, registry.trash(runs_dir)[0].name).name == "one"
    assert registry.restore(runs_dir, registry.trash(runs_dir)[0].name).name == "one-2"
    assert registry.trash(runs_dir) == [] and len(registry.list_runs(runs_dir)) == 3


@pytest.mark.parametrize("name", ["", "one", "../one", "..", "nothing~1"])
def test_restore_of_what_is_not_there(runs_dir, name):
    made(runs_dir)
    registry.discard(made(runs_dir, "two"))
    problem_of("run_missing", registry.restore, runs_dir, name)


def test_empty_trash(runs_dir):
    kept, gone = made(runs_dir, "kept"), made(runs_dir, "gone")
    size = gone.disk_bytes()
    registry.discard(gone)
    assert registry.empty_trash(runs_dir) == size
    assert registry.trash(runs_dir) == [] and registry.list_runs(runs_dir) == [kept]
    assert registry.empty_trash(runs_dir) == 0


def test_files_are_utf8_json(runs_dir):
    run = registry.create(runs_dir, settings("schmetterlinge-ä", dataset_name="蝴蝶"))
    assert json.loads((run.path / "config.json").read_text(encoding="utf-8"))["config"]["dataset_name"] == "蝴蝶"
    assert run.config.dataset_name == "蝴蝶"


def test_two_that_start_at_once_take_turns(runs_dir, tiny):
    with registry.claim(runs_dir):
        with pytest.raises(filelock.Timeout):
            filelock.FileLock(runs_dir / ".start.lock").acquire(timeout=0)
        registry.create(runs_dir, tiny())
    with pytest.raises(Problem, match="busy"), registry.claim(runs_dir):
        pass
    filelock.FileLock(runs_dir / ".start.lock").acquire(timeout=0).lock.release()
