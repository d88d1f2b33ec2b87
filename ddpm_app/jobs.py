"""The one background thread that trains."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Unpack

from ddpm_app import presets
from ddpm_app.config import BUILT_IN, BUILT_IN_256, ConfigValues, TrainConfig, from_dict
from ddpm_app.errors import Problem, Stopped, as_problem, explain
from ddpm_app.model import locate
from ddpm_app.runs import registry
from ddpm_app.runs.queue import MOST_WAITING, RunQueue, WaitingRun
from ddpm_app.runs.records import Coded, Status
from ddpm_app.runs.run import Run
from ddpm_app.status import RunControl, StatusWriter
from ddpm_app.train import events
from ddpm_app.train.events import Event

LENGTHS = ("max_train_steps", "num_epochs", "max_train_minutes")
"""Settings with which a run can be made longer."""
BEGIN_SECONDS = 1.0
"""Between two looks whether a run of another process has ended."""
_IMPORTING = threading.Lock()


def engine() -> None:
    """Import torch, diffusers and what stands on them. To be called before any of it is imported in a thread: diffusers puts
    another object in its own place while it is imported, and a second thread that comes by meanwhile keeps the empty one."""
    with _IMPORTING:
        import ddpm_app.sample
        import ddpm_app.train.loop  # noqa: F401


def work(run: Run, control: RunControl) -> Iterator[Event]:
    """Train a run to its end and keep its status true. The thread, the terminal and the tests drain this.

    Problems and crashes end in status.json (state "failed", the problem's code and values, the traceback) and are raised.
    """
    status = StatusWriter(run)
    try:
        engine()
        from ddpm_app.train.loop import train

        for event in train(run.working_config, run, control):
            status.follow(event, control)
            yield event
    except Stopped:
        run.update_status(state="stopped", phase=None)
        yield events.Ended(run.status["step"], "stopped")
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, GeneratorExit)):
            _last_words(run, phase=None, state="interrupted")
        else:
            problem = explain(error)
            run_error: Coded = {"code": problem.code, "field": problem.field, "values": problem.values}
            _last_words(run, phase=None, state="failed", error=run_error, traceback=traceback.format_exc())
        raise


def _last_words(run: Run, **news: Unpack[Status]) -> None:
    try:
        run.update_status(**news)
    except OSError:  # no room even for that; a run without a status reads as interrupted and not as busy for ever
        (run.path / "status.json").unlink(missing_ok=True)


class Jobs:
    """The page's side: starts and resumes runs in ``runs_dir``, one at a time, in one daemon thread, and begins those in ``queue`` in their
    turn. ``most_minutes``: the longest that a run may become where too few steps for a picture fit into its minutes."""

    def __init__(self, runs_dir: str | pathlib.Path, most_minutes: float | None = None):
        self.runs_dir = pathlib.Path(runs_dir)
        self.most_minutes = most_minutes
        self.queue = RunQueue(self.runs_dir)
        self._thread: threading.Thread | None = None
        self._turns: threading.Thread | None = None
        self._changing_turns = threading.Lock()

    def start(self, config: TrainConfig, owner: str | None = None) -> Run:
        """Begin a new run. Raises Problem: "busy" while any run of the folder is active or waits, and those of ``runs.create``."""
        with registry.claim(self.runs_dir):
            if first := self.queue.next():
                raise Problem("busy", value=first["config"]["output_dir"])
            return self._launch(create(self.runs_dir, config, owner))

    def resume(self, name: str, owner: str | None = None, **longer: float | str | None) -> Run:
        """Go on with a run from its last checkpoint. ``longer``: a new max_train_steps, num_epochs or max_train_minutes.

        Raises Problem: "busy", those of ``prepare_resume``, or a field's own.
        """
        with registry.claim(self.runs_dir):
            return self._launch(prepare_resume(self.runs_dir, name, owner, None, **longer))

    def wait_turn(self, config: TrainConfig, owner: str | None = None, most_per_owner: int = MOST_WAITING) -> int:
        """Begin a new run when those at work and in the queue have ended. Returns its place in the queue; raises as RunQueue.add."""
        others = [each["config"]["output_dir"] for each in self.queue.waiting()]
        name = registry.free_name(self.runs_dir, config.output_dir, others)
        config = with_places(self.runs_dir, dataclasses.replace(config, output_dir=name))
        place = self.queue.add(config, owner, most_per_owner)
        self.take_turns()
        return place

    def take_turns(self) -> None:
        """See to it, in a daemon thread, that the runs in the queue begin one after another, those of an earlier server too."""
        with self._changing_turns:
            if self._turns is None and self.queue.next():
                self._turns = threading.Thread(target=self._take_turns, name="queue", daemon=True)
                self._turns.start()

    def _take_turns(self) -> None:
        while True:
            with self._changing_turns:
                if not self.queue.next():
                    self._turns = None
                    return
            self.join()
            if not self._begin_next():
                time.sleep(BEGIN_SECONDS)

    def _begin_next(self) -> bool:
        """Begin the first that can; whether the queue may be looked at again at once."""
        try:
            with registry.claim(self.runs_dir):
                if first := self.queue.next():
                    self._begin(first)
                return True
        except Problem:  # another run is at work, or nothing can be written: later
            return False

    def _begin(self, waiting: WaitingRun) -> None:
        try:
            config = from_dict(waiting["config"])
            name = registry.free_name(self.runs_dir, config.output_dir)
            run = registry.create(self.runs_dir, dataclasses.replace(config, output_dir=name), waiting["owner"])
        except Exception as error:
            problem = as_problem(error)
            if problem.code != "runs_dir":  # else there may be room later
                self.queue.mark(waiting["id"], problem)
            raise problem from error
        try:
            self.queue.remove(waiting["id"])
        except Problem:  # it would begin twice
            shutil.rmtree(run.path, ignore_errors=True)
            raise
        run.request(go=True)  # nobody may be there to agree to a long one
        self._launch(run)

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread, if any, has ended."""
        if self._thread:
            self._thread.join(timeout)

    def _launch(self, run: Run) -> Run:
        run.request(most_minutes=self.most_minutes)
        self._thread = threading.Thread(target=_drain, args=(run,), name=f"train-{run.name}", daemon=True)
        self._thread.start()
        return run


def _drain(run: Run) -> None:
    with contextlib.suppress(Exception):  # work() has written it into the run's status
        for _ in work(run, RunControl(run)):
            pass


def create(runs_dir: pathlib.Path, config: TrainConfig, owner: str | None = None) -> Run:
    """As registry.create, with the settings of ``with_places``."""
    return registry.create(runs_dir, with_places(runs_dir, config), owner)


def with_places(runs_dir: pathlib.Path, config: TrainConfig) -> TrainConfig:
    """The settings with absolute paths for what lies on this machine outside ``runs_dir``: the run can be begun and resumed from any folder."""
    places: ConfigValues = {"dataset_name": local_place(config.dataset_name)}
    for field in ("vae", "init_from", "text_encoder"):
        source = getattr(config, field)
        local = locate.find_local(source, runs_dir) if source else None
        if local and local not in (locate.SHIPPED / source, runs_dir / source):
            places[field] = str(local.absolute())
    return dataclasses.replace(config, **places)


def local_place(dataset_name: str) -> str:
    """The absolute path of a folder or file on this machine, which may be typed in quotes; the name of a built-in or Hub data set as it is."""
    path = os.path.abspath(os.path.expanduser(dataset_name.strip().strip("'\"")))
    return path if dataset_name not in (BUILT_IN, BUILT_IN_256) and os.path.exists(path) else dataset_name


def prepare_resume(
    runs_dir: pathlib.Path,
    name: str,
    owner: str | None = None,
    dataset_name: str | None = None,
    **longer: float | str | None,
) -> Run:
    """Make a run ready to go on. ``dataset_name``: where its pictures lie now, to be proved before the first step.

    Raises Problem: "run_missing", "run_busy", "run_finished", "run_broken", "pictures_moved" (they lie no more where they did)."""
    run = registry.find(runs_dir, name)
    if run.active:
        raise Problem("run_busy", "output_dir", value=name)
    if not longer and run.status["state"] == "finished":
        raise Problem("run_finished", value=name, step=run.status["step"])
    _require_pictures(run, dataset_name)
    if longer:
        extend(run, **longer)
    run.begin(owner, dataset_name)
    return run


def _require_pictures(run: Run, dataset_name: str | None) -> None:
    """Raises Problem("pictures_moved") where a run's folder of pictures is gone and no other place is named."""
    place = local_place(run.config.dataset_name)
    is_local = os.path.isabs(place) or run.record.get("data", {}).get("kind") == "folder"
    if is_local and dataset_name is None and not os.path.exists(place):
        raise Problem("pictures_moved", "dataset_name", value=place, command=registry.resume_command(run))


def check_changes(run: Run, changes: ConfigValues) -> None:
    """Raises Problem("resume_setting") where ``changes`` hold another value than the settings that a run began with, its length and the
    place of its pictures aside, or the Problem of a value that can't be: a run that goes on is the same run."""
    config = run.config
    new = presets.changed(config.to_dict(), **changes)
    for name in [name for name in changes if name not in (*LENGTHS, "dataset_name")]:
        value, now = getattr(new, name), getattr(config, name)
        if value != now:
            command = registry.continue_command(run, **changes)
            raise Problem("resume_setting", name, value=value, now=now, command=command)


def extend(run: Run, **longer: float | str | None) -> None:
    """Give a run more steps: a new max_train_steps or num_epochs for the whole run, or max_train_minutes on top."""
    engine()
    from ddpm_app.train.plan import lengthened

    lengths: ConfigValues = {"max_train_steps": None, "max_train_minutes": None}
    config = from_dict(run.config.to_dict() | lengths | longer)
    run.update_record(config=config.to_dict(), plan=lengthened(run, config))
