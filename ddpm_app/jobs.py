"""The one background thread that trains."""

import contextlib
import pathlib
import threading
import traceback
from collections.abc import Iterator
from typing import Unpack

from ddpm_app.config import ConfigValues, TrainConfig, from_dict
from ddpm_app.errors import Problem, Stopped, explain
from ddpm_app.runs import registry
from ddpm_app.runs.records import Coded, Status
from ddpm_app.runs.run import Run
from ddpm_app.status import RunControl, StatusWriter
from ddpm_app.train import events
from ddpm_app.train.events import Event

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

        for event in train(run.config, run, control):
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
    """The page's side: starts and resumes runs in ``runs_dir``, one at a time, in one daemon thread."""

    def __init__(self, runs_dir: str | pathlib.Path):
        self.runs_dir = pathlib.Path(runs_dir)
        self._thread: threading.Thread | None = None

    def start(self, config: TrainConfig, owner: str | None = None) -> Run:
        """Begin a new run. Raises Problem: "busy" while any run of the folder is active, and those of ``runs.create``."""
        with registry.claim(self.runs_dir):
            return self._launch(registry.create(self.runs_dir, config, owner))

    def resume(self, name: str, owner: str | None = None, **longer: float | str | None) -> Run:
        """Go on with a run from its last checkpoint. ``longer``: a new max_train_steps, num_epochs or max_train_minutes.

        Raises Problem: "busy", "run_missing", "run_finished" (nothing is left to do), or a field's own.
        """
        with registry.claim(self.runs_dir):
            return self._launch(prepare_resume(self.runs_dir, name, owner, **longer))

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread, if any, has ended."""
        if self._thread:
            self._thread.join(timeout)

    def _launch(self, run: Run) -> Run:
        self._thread = threading.Thread(target=_drain, args=(run,), name=f"train-{run.name}", daemon=True)
        self._thread.start()
        return run


def _drain(run: Run) -> None:
    with contextlib.suppress(Exception):  # work() has written it into the run's status
        for _ in work(run, RunControl(run)):
            pass


def prepare_resume(runs_dir: pathlib.Path, name: str, owner: str | None = None, **longer: float | str | None) -> Run:
    """Make a run ready to go on. Raises Problem: "run_missing", "run_busy", "run_finished", "run_broken"."""
    run = registry.find(runs_dir, name)
    if run.active:
        raise Problem("run_busy", "output_dir", value=name)
    if longer:
        extend(run, **longer)
    elif run.status["state"] == "finished":
        raise Problem("run_finished", value=name, step=run.status["step"])
    run.begin(owner)
    return run


def extend(run: Run, **longer: float | str | None) -> None:
    """Give a run more steps: a new max_train_steps or num_epochs for the whole run, or max_train_minutes on top."""
    engine()
    from ddpm_app.train.plan import lengthened

    lengths: ConfigValues = {"max_train_steps": None, "max_train_minutes": None}
    config = from_dict(run.config.to_dict() | lengths | longer)
    run.update_record(config=config.to_dict(), plan=lengthened(run, config))
