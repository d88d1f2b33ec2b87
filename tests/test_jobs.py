import errno
import pathlib
import subprocess
import sys
import threading
import types

import psutil
import pytest
from kits import ROOT
from kits import engine as engine_kit
from kits.engine import NETWORK, until
from kits.problems import problem_of

from ddpm_app import jobs
from ddpm_app import status as status_module
from ddpm_app.config import from_dict
from ddpm_app.device_lock import DEVICE, DeviceLock
from ddpm_app.errors import Problem, Stopped
from ddpm_app.files import read_json
from ddpm_app.i18n import problem_text
from ddpm_app.model import loaded
from ddpm_app.runs import queue, registry
from ddpm_app.runs import run as run_module
from ddpm_app.runs.queue import RunQueue
from ddpm_app.runs.run import NO_REQUESTS, Run
from ddpm_app.status import RunControl, StatusWriter
from ddpm_app.train import events

PLAN = {"total_steps": 4, "total_seconds": 1.0}


def settings(name="one", **values):
    return from_dict(NETWORK | dict(output_dir=name, max_train_steps=4) | values)


@pytest.fixture
def play(monkeypatch):
    """Puts a play in the place of the training: ``play(generator function of (config, run, control))``."""

    def put(train):
        monkeypatch.setitem(sys.modules, "ddpm_app.train.loop", types.SimpleNamespace(train=train))

    return put


def steps(run, control, total=4):
    yield events.Planned(PLAN, False)
    yield events.Started(0, total)
    for step in range(1, total + 1):
        yield events.Stepped(step, total, 1 / step, 1e-3, 0.5, 8)
        if control.stopping():
            yield events.Ended(step, "stopped")
            return
    yield events.Ended(total, "finished")


def test_import_brings_no_torch():
    code = "import sys, ddpm_app.jobs; print([m for m in ('torch', 'diffusers', 'datasets', 'torchvision') if m in sys.modules])"
    home = pathlib.Path(jobs.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True, cwd=home)
    assert done.stdout.strip() == "[]"


# ---- the device lock -------------------------------------------------------------------------------------------------
def queued(lock) -> int:
    return len(lock._queue)


def test_lock_is_handed_on_in_the_order_of_asking():
    lock, order, threads = DeviceLock(), [], []

    def ask(k):
        with lock:
            order.append(k)

    with lock:
        for k in range(6):
            threads.append(threading.Thread(target=ask, args=(k,)))
            threads[-1].start()
            until(lambda k=k: queued(lock) == k + 2)
    for thread in threads:
        thread.join()
    assert order == list(range(6)) and queued(lock) == 0


def test_one_at_a_time():
    lock, inside, most = DeviceLock(), [], []

    def work(k):
        for _ in range(50):
            with lock:
                inside.append(k)
                most.append(len(inside))
                inside.remove(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1 and len(most) == 200


def test_loop_that_wants_it_back_at_once_starves_nobody():
    """The trainer lets go between steps and asks again at once; a sampler gets every second turn."""
    lock, turns, over = DeviceLock(), [], threading.Event()

    def trainer():
        with lock:
            until(lambda: queued(lock) > 1)
            while not over.is_set():
                turns.append("step")
                lock.__exit__()
                lock.__enter__()

    thread = threading.Thread(target=trainer)
    thread.start()
    for _ in lock.slices(iter(range(20))):
        turns.append("frame")
    over.set()
    thread.join()
    between = "".join("s" if turn == "step" else "f" for turn in turns)
    assert turns.count("frame") == 20 and "f" in between[:6]
    assert max(map(len, between.rstrip("s").split("f"))) <= 3, between


def test_slices_hold_it_only_while_a_frame_is_made():
    lock, held = DeviceLock(), []

    def frames():
        for k in range(3):
            held.append(queued(lock))
            yield k

    for _ in lock.slices(frames()):
        assert queued(lock) == 0
    assert held == [1, 1, 1]


def test_lock_is_free_after_a_failure():
    lock = DeviceLock()

    def frames():
        yield 1
        raise ValueError

    with pytest.raises(ValueError):
        list(lock.slices(frames()))
    slices = lock.slices(iter(range(9)))
    next(slices)
    slices.close()
    with lock:
        assert queued(lock) == 1


# ---- control ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def run(runs_dir):
    return registry.create(runs_dir, settings())


def test_control_sees_requests(run):
    control = RunControl(run)
    assert not control.stopping() and control.requests() == NO_REQUESTS
    for k in range(1, 6):
        run.request("sample", stop=k % 2 == 0)
        assert control.requests()["sample"] == k and control.stopping() == (k % 2 == 0)


def test_requests_are_read_only_when_they_changed(run, monkeypatch):
    control, reads = RunControl(run), []
    read = read_json
    monkeypatch.setattr(run_module, "read_json", lambda path: reads.append(path.name) or read(path))
    for _ in range(20):
        control.requests()
    assert reads == ["control.json"]


def test_missing_control_file_means_no_requests(run):
    (run.path / "control.json").unlink()
    control = RunControl(run)
    assert not control.stopping() and control.requests()["sample"] == 0 and not control.requests()["pause"]


def test_progress_is_written_about_once_per_second(run, monkeypatch):
    clock, written = [100.0], []
    monkeypatch.setattr(status_module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(Run, "update_status", lambda self, **news: written.append((news["phase"], news["done"])))
    control = RunControl(run)
    for k in range(30):
        control.progress("decode", k, 30)
        clock[0] += 0.25
    assert written == [("decode", k) for k in (0, 4, 8, 12, 16, 20, 24, 28)]
    control.progress("rehearsal")
    assert written[-1] == ("rehearsal", 0), "a new phase is written at once"


def test_yielding_the_device_lets_others_in(run):
    control, seen = RunControl(run), []

    def ask():
        with DEVICE:
            seen.append("other")

    with control.device():
        thread = threading.Thread(target=ask)
        thread.start()
        until(lambda: queued(DEVICE) == 2)
        assert seen == []
        control.yield_device()
        assert seen == ["other"] and queued(DEVICE) == 1
        thread.join()
    assert queued(DEVICE) == 0


def test_waiting_lets_others_in(run, monkeypatch):
    control = RunControl(run)
    free = []
    monkeypatch.setattr(status_module.time, "sleep", lambda seconds: free.append(queued(DEVICE)))
    with control.device():
        control.wait()
        assert free == [0] and queued(DEVICE) == 1


# ---- status ----------------------------------------------------------------------------------------------------------
def follow(run, *told):
    meter, control = StatusWriter(run), RunControl(run)
    for event in told:
        meter.follow(event, control)
    return run.status


def test_meter_follows_a_run(run):
    assert follow(run, events.Planned(PLAN, False))["state"] == "preparing"
    status = follow(run, events.Planned(PLAN, True))
    assert (status["state"], status["total_steps"], status["estimate_seconds"]) == ("waiting", 4, 1.0)
    status = follow(run, events.Started(2, 4))
    assert (status["state"], status["phase"], status["step"], status["total_steps"]) == ("training", "training", 2, 4)
    status = follow(run, events.Ended(4, "finished"))
    assert (status["state"], status["phase"], status["step"], status["eta_seconds"]) == ("finished", None, 4, 0)
    assert follow(run, events.Published("https://there"))["published"] == "https://there"


def test_meter_keeps_notices(run):
    status = follow(run, events.Notice("fp16_off", {"device": "cpu"}), events.Notice("batch_reduced", {"value": 9}))
    assert status["notices"] == [
        {"code": "fp16_off", "values": {"device": "cpu"}},
        {"code": "batch_reduced", "values": {"value": 9}},
    ]


def test_speed_and_remaining_time(run, monkeypatch):
    clock = [50.0]
    monkeypatch.setattr(status_module.time, "monotonic", lambda: clock[0])
    meter, control = StatusWriter(run), RunControl(run)
    for step in range(1, 101):
        meter.follow(events.Stepped(step, 400, 0.5, 1e-3, 1.0, 8), control)
        clock[0] += 0.5 if step < 40 else 0.25
    status = run.status
    assert (status["loss"], status["learning_rate"]) == (0.5, 1e-3) and status["step"] > 95
    assert status["images_per_second"] == pytest.approx(32), "of the last 50 steps"
    assert status["eta_seconds"] == pytest.approx(0.25 * (400 - status["step"]))


def test_first_and_last_step_are_told_at_once(run):
    status = follow(run, events.Stepped(1, 9, 0.5, 1e-3, 1.0, 8))
    assert status["step"] == 1 and status["images_per_second"] == 0
    assert follow(run, *(events.Stepped(k, 9, 0.5, 1e-3, 1.0, 8) for k in range(1, 10)))["step"] == 9


def test_log(run, tmp_path):
    follow(
        run,
        events.Started(0, 4),
        events.Validated(0, 0.5, None, ()),
        events.Validated(0, 0.5, 0.25, ()),
        events.Sampled(4, tmp_path / "a.png"),
        events.Saved(4, tmp_path / "step-4"),
        events.RolledBack(2, 4, 0.5),
        events.Ended(4, "finished"),
    )
    lines = [line.split(" ", 1)[1] for line in run.log_tail()]
    assert (
        len(lines) == 7
        and "held-out 0.25" in lines[2]
        and "a.png" in lines[3]
        and "rate x 0.5" in lines[5]
        and "finished" in lines[6]
    )


# ---- work ------------------------------------------------------------------------------------------------------------
def test_work_tells_to_the_end(run, play):
    play(lambda config, run, control: steps(run, control))
    assert [e.step for e in jobs.work(run, RunControl(run)) if isinstance(e, events.Stepped)] == [1, 2, 3, 4]
    assert (run.status["state"], run.status["step"], run.status["error"]) == ("finished", 4, None)


def test_stopped_before_the_loop(run, play):
    def train(config, run, control):
        yield events.Notice("fp16_off", {"device": "cpu"})
        raise Stopped

    play(train)
    assert list(jobs.work(run, RunControl(run)))[-1] == events.Ended(0, "stopped")
    assert run.status["state"] == "stopped" and not run.active


@pytest.mark.parametrize(
    ("error", "code", "field"),
    [
        (Problem("diverged", "learning_rate", value=1e-3, step=7), "diverged", "learning_rate"),
        (ValueError("odd"), "crash", None),
        (MemoryError(), "out_of_memory", "train_batch_size"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            "out_of_memory",
            "train_batch_size",
        ),
        (OSError(28, "No space left on device"), "save_failed", None),
        (SystemExit(3), "crash", None),
    ],
)
def test_failure_is_in_the_status(run, play, error, code, field):
    def train(config, run, control):
        yield events.Started(0, 4)
        raise error

    play(train)
    with pytest.raises(type(error)):
        list(jobs.work(run, RunControl(run)))
    status = run.status
    assert (status["state"], status["error"]["code"], status["error"]["field"]) == ("failed", code, field)
    assert "Traceback" in status["traceback"] and type(error).__name__ in status["traceback"]
    assert problem_text(Problem(status["error"]["code"], status["error"]["field"], **status["error"]["values"]))


def test_libraries_that_do_not_load(run, monkeypatch):
    """A broken torch must not leave a run that prepares for ever."""
    monkeypatch.setitem(sys.modules, "ddpm_app.train.loop", None)
    with pytest.raises(ImportError):
        list(jobs.work(run, RunControl(run)))
    assert (run.status["state"], run.status["error"]["code"]) == ("failed", "crash")


def test_damaged_settings(run, play):
    play(lambda config, run, control: steps(run, control))
    run.update_record(config={"image_size": 3})
    with pytest.raises(Problem):
        list(jobs.work(run, RunControl(run)))
    assert (run.status["state"], run.status["error"]["field"]) == ("failed", "image_size")


def test_no_room_for_last_words(run, play, monkeypatch):
    """The disk is so full that not even the failure can be written: the run must not look busy for ever."""

    def train(config, run, control):
        yield events.Started(0, 4)
        monkeypatch.setattr(run_module, "write_atomic", full)
        raise OSError(28, "No space left on device")

    def full(path, content):
        raise OSError(28, "No space left on device")

    play(train)
    with pytest.raises(OSError):
        list(jobs.work(run, RunControl(run)))
    assert run.status["state"] == "interrupted" and not run.active


def test_interrupted_by_ctrl_c(run, play):
    def train(config, run, control):
        yield events.Started(0, 4)
        raise KeyboardInterrupt

    play(train)
    with pytest.raises(KeyboardInterrupt):
        list(jobs.work(run, RunControl(run)))
    assert run.status["state"] == "interrupted"


def test_left_in_the_middle(run, play):
    play(lambda config, run, control: steps(run, control))
    it = jobs.work(run, RunControl(run))
    next(it), next(it)
    it.close()
    assert run.status["state"] == "interrupted"


# ---- one job at a time -----------------------------------------------------------------------------------------------
@pytest.fixture
def gate(play):
    """Plays that wait, each before its third step, until ``gate.set()``."""
    opened = threading.Event()

    def train(config, run, control):
        for event in steps(run, control):
            if isinstance(event, events.Stepped) and event.step == 3:
                until(lambda: opened.is_set() or control.stopping())
            yield event

    play(train)
    yield opened
    opened.set()


def test_job_runs_in_the_background(runs_dir, gate):
    mine = jobs.Jobs(runs_dir)
    run = mine.start(settings())
    assert run.active and mine._thread.daemon
    until(lambda: run.status.get("step") == 1)
    gate.set()
    mine.join(60)
    assert run.status["state"] == "finished"


def test_one_at_a_time_whoever_asks(runs_dir, gate):
    mine, other = jobs.Jobs(runs_dir), jobs.Jobs(runs_dir)
    run = mine.start(settings())
    for asked in (mine, other):
        assert problem_of("busy", asked.start, settings("two")).values["value"] == "one"
    assert problem_of("busy", mine.resume, "one").values["value"] == "one"
    assert [r.name for r in registry.list_runs(runs_dir)] == ["one"], "no folder for what was refused"
    run.request(stop=True)
    mine.join(60)
    assert run.status["state"] == "stopped"
    gate.set()
    other.start(settings("two"))
    other.join(60)
    assert registry.find(runs_dir, "two").status["state"] == "finished"


def test_two_clicks_at_once_start_one(runs_dir, gate):
    mine, start, outcome = jobs.Jobs(runs_dir), threading.Barrier(4), []

    def click(k):
        start.wait()
        try:
            outcome.append(mine.start(settings(f"run {k}")).name)
        except Problem as problem:
            outcome.append(problem.code)

    clicks = [threading.Thread(target=click, args=(k,)) for k in range(4)]
    for thread in clicks:
        thread.start()
    for thread in clicks:
        thread.join()
    assert outcome.count("busy") == 3 and len(registry.list_runs(runs_dir)) == 1
    gate.set()
    mine.join(60)


def test_failure_does_not_end_the_program(runs_dir, play):
    def train(config, run, control):
        yield events.Started(0, 4)
        raise ValueError("odd")

    play(train)
    mine = jobs.Jobs(runs_dir)
    run = mine.start(settings())
    mine.join(60)
    assert run.status["state"] == "failed" and "odd" in run.status["error"]["values"]["reason"]
    play(lambda config, run, control: steps(run, control))
    assert mine.resume("one").name == "one"
    mine.join(60)
    assert (run.status["state"], run.status["error"]) == ("finished", None)
    problem_of("run_finished", mine.resume, "one")


def test_owner_is_kept(runs_dir, gate):
    mine = jobs.Jobs(runs_dir)
    run = mine.start(settings(), owner="visitor 7")
    assert run.requests["owner"] == "visitor 7"
    run.request("sample", stop=True)
    assert run.requests["owner"] == "visitor 7"
    mine.join(60)
    mine.resume("one", owner="visitor 8")
    assert run.requests["owner"] == "visitor 8" and not run.requests["stop"]
    gate.set()
    mine.join(60)


def test_run_of_another_process_blocks_too(runs_dir, play):
    play(lambda config, run, control: steps(run, control))
    theirs = registry.create(runs_dir, settings("theirs"))
    with subprocess.Popen(["sleep", "60"]) as process:
        theirs.update_status(state="training", pid=process.pid, born=psutil.Process(process.pid).create_time())
        problem_of("busy", jobs.Jobs(runs_dir).start, settings())
        process.kill()
    mine = jobs.Jobs(runs_dir)
    mine.start(settings())
    mine.join(60)


# ---- in turn -----------------------------------------------------------------------------------------------------------
def states(runs_dir):
    return [run.status.get("state") for run in registry.list_runs(runs_dir)]


def test_runs_that_wait_begin_in_turn_whatever_becomes_of_the_one_before(runs_dir, gate):
    mine = jobs.Jobs(runs_dir)
    first = mine.start(settings())
    assert [
        mine.wait_turn(settings("two"), "you"),
        mine.wait_turn(settings("one")),
        mine.wait_turn(settings("one")),
    ] == [1, 2, 3]
    assert [each["config"]["output_dir"] for each in mine.queue.waiting()] == ["two", "one-2", "one-3"]
    mine.queue.remove(mine.queue.waiting()[2]["id"])
    assert not (runs_dir / "two").exists(), "no folder before its turn"
    first.request(stop=True)
    gate.set()
    until(lambda: states(runs_dir) == ["finished", "finished", "stopped"])
    second = registry.find(runs_dir, "two")
    assert second.requests["owner"] == "you" and second.requests["go"]
    assert registry.find(runs_dir, "one-2").record["created"] > second.record["created"]
    assert not mine.queue.waiting()


def test_nobody_goes_past_those_who_wait_and_a_new_server_goes_on_with_them(runs_dir, gate):
    gate.set()
    jobs.Jobs(runs_dir).queue.add(settings("two"))
    mine = jobs.Jobs(runs_dir)
    assert problem_of("busy", mine.start, settings()).values["value"] == "two"
    mine.take_turns()
    until(lambda: states(runs_dir) == ["finished"])
    mine.start(settings())
    mine.join(60)


def test_a_run_that_can_not_begin_is_marked_and_passed_by(runs_dir, gate):
    gate.set()
    mine = jobs.Jobs(runs_dir)
    waits = RunQueue(runs_dir)
    waits.add(settings("bad"))
    with waits._changed() as waiting:
        waiting[0]["config"]["image_size"] = -5
    mine.wait_turn(settings("two"))
    until(lambda: states(runs_dir) == ["finished"])
    assert [each["problem"]["field"] for each in waits.waiting()] == ["image_size"]


def test_a_run_that_waits_is_begun_from_any_folder(runs_dir, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    mine = jobs.Jobs(runs_dir)
    monkeypatch.setattr(mine, "take_turns", lambda: None)
    mine.wait_turn(settings(dataset_name="mine"))
    assert mine.queue.next()["config"]["dataset_name"] == str(tmp_path / "mine")


def test_a_full_disk_keeps_what_waits_and_leaves_nothing_behind(runs_dir, gate, monkeypatch):
    gate.set()
    monkeypatch.setattr(jobs, "BEGIN_SECONDS", 0.01)
    mine, turns = jobs.Jobs(runs_dir), []

    def fail(*values, **news):
        turns.append(sorted(path.name for path in runs_dir.glob("[!.]*")))
        raise OSError(errno.ENOSPC, "No space left on device")

    for target, name in ((Run, "update_record"), (Run, "begin"), (queue, "write_atomic")):
        turns.clear()
        mine.queue.add(settings(name))
        with monkeypatch.context() as patch:
            patch.setattr(target, name, fail)
            mine.take_turns()
            until(lambda: len(turns) > 2)  # it tries again
        until(lambda: not mine.queue.waiting() and mine._turns is None)
        mine.join(60)
        assert all(names == turns[0] for names in turns) and set(states(runs_dir)) == {"finished"}
    assert len(states(runs_dir)) == 3


def test_an_unforeseen_error_is_marked_and_the_next_begins(runs_dir, gate, monkeypatch):
    gate.set()
    mine, create = jobs.Jobs(runs_dir), registry.create
    mine.queue.add(settings("bad"))

    def crash(runs_dir, config, owner):
        if config.output_dir == "bad":
            raise ValueError("odd")
        return create(runs_dir, config, owner)

    monkeypatch.setattr(registry, "create", crash)
    mine.wait_turn(settings("two"))
    until(lambda: states(runs_dir) == ["finished"])
    assert [each["problem"]["code"] for each in mine.queue.waiting()] == ["crash"]


def test_the_queue_waits_for_a_run_of_another_process(runs_dir, gate, monkeypatch):
    gate.set()
    monkeypatch.setattr(jobs, "BEGIN_SECONDS", 0.01)
    theirs = registry.create(runs_dir, settings("theirs"))
    mine = jobs.Jobs(runs_dir)
    with subprocess.Popen(["sleep", "60"]) as process:
        theirs.update_status(state="training", pid=process.pid, born=psutil.Process(process.pid).create_time())
        mine.wait_turn(settings())
        assert mine.queue.next() and not (runs_dir / "one").exists()
        process.kill()
    until(lambda: "finished" in states(runs_dir))


# ---- the real loop under the real job --------------------------------------------------------------------------------
@pytest.mark.usefixtures("no_rehearsal")
def test_pause_and_stop_as_the_page_does(runs_dir, tiny, undisturbed):
    mine = jobs.Jobs(runs_dir)
    run = mine.start(tiny(max_train_steps=2000))
    until(lambda: run.read_metrics()[0][-1:] and run.read_metrics()[0][-1]["step"] >= 3)
    run.request(pause=True)
    until(lambda: run.status["state"] == "paused")
    rows = len(run.read_metrics()[0])
    with DEVICE:  # a paused run leaves the device to others
        assert run.active and len(run.read_metrics()[0]) == rows
    run.request(pause=False)
    until(lambda: run.status["state"] == "training")
    run.request(stop=True)
    mine.join(120)
    assert run.status["state"] == "stopped" and run.checkpoints[-1].name == f"step-{run.status['step']:07}"


@pytest.mark.parametrize(
    ("field", "typed", "place"),
    [
        ("dataset_name", "pictures", "{here}/pictures"),
        ("dataset_name", "./pictures", "{here}/pictures"),
        ("dataset_name", "'pictures'", "{here}/pictures"),
        ("dataset_name", "~/pictures", "{here}/pictures"),
        ("dataset_name", "butterflies", "butterflies"),
        ("dataset_name", "some/body", "some/body"),
        ("vae", "coder", "{here}/coder"),
        ("vae", "pictures-vae", "pictures-vae"),
        ("init_from", "earlier", "earlier"),
        ("init_from", "runs/earlier", "{here}/runs/earlier"),
        ("init_from", "some/body", "some/body"),
        ("text_encoder", "../words", "{here}/../words"),
        ("text_encoder", None, None),
    ],
)
def test_places_on_this_machine_are_stored_absolute(tmp_path, monkeypatch, field, typed, place):
    """What a name means doesn't depend on the folder from which the run is resumed; names of runs, shipped and Hub ones stay."""
    here = tmp_path / "here"
    for folder in ("pictures", "butterflies", "coder", "pictures-vae", "runs/earlier", "../words"):
        (here / folder).mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("USERPROFILE", str(here))
    run = jobs.create(pathlib.Path("runs"), settings(**{field: typed}))
    assert getattr(run.config, field) == (place and place.format(here=here))


@pytest.mark.usefixtures("no_rehearsal")
def test_sampling_from_a_run_that_trains(runs_dir, tiny, undisturbed):
    """Another thread draws from the snapshot, frame by frame between the steps; the run ends as if nobody had."""
    from ddpm_app import sample

    mine = jobs.Jobs(runs_dir)
    run = mine.start(tiny())
    until(lambda: run.pipeline.is_dir())
    model = loaded.load_model(run.path)
    request = sample.Request(num_images=2, num_inference_steps=8, sampler="ddpm")
    drawn = [done for _, done in DEVICE.slices(sample.draw(model, request))]
    mine.join(120)
    assert len(drawn) == 8 and len(drawn[-1]) == 2
    assert run.status["state"] == "finished" and engine_kit.outcome(run) == engine_kit.outcome(undisturbed)


def test_engine_can_be_imported_from_two_threads_at_once():
    code = """
import threading
from ddpm_app import jobs
from ddpm_app import status as status_module
failed = []
def use():
    try:
        jobs.engine()
        from ddpm_app.sample import DDPMScheduler
        DDPMScheduler()
    except BaseException as error:
        failed.append(error)
threads = [threading.Thread(target=use) for _ in range(3)]
[t.start() for t in threads], [t.join() for t in threads]
assert not failed, failed
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
