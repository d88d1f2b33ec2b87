"""The one background thread that trains, and the lock by which training and sampling share the device."""

import collections
import contextlib
import errno
import pathlib
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

from ddpm_app import runs
from ddpm_app.config import TrainConfig, from_dict
from ddpm_app.problems import Problem, Stopped
from ddpm_app.runs import Run
from ddpm_app.train import events
from ddpm_app.train.events import Event

POLL_SECONDS = 0.1
HEARTBEAT_SECONDS = 1.0


class DeviceLock:
    """A lock that is handed on in the order of asking, so that the loop, which wants it back at once, can't starve others."""

    def __init__(self):
        self._queue: collections.deque[object] = collections.deque()
        self._changed = threading.Condition()

    def __enter__(self) -> "DeviceLock":
        me = object()
        with self._changed:
            self._queue.append(me)
            self._changed.wait_for(lambda: self._queue[0] is me)
        return self

    def __exit__(self, *_: Any) -> None:
        with self._changed:
            self._queue.popleft()
            self._changed.notify_all()

    def slices(self, frames: Iterator) -> Iterator:
        """The same frames, each made while holding the lock: how sampling takes its turns beside training."""
        end = object()
        while True:
            with self:
                frame = next(frames, end)
            if frame is end:
                return
            yield frame


DEVICE = DeviceLock()
"""The lock of this process's device."""


class RunControl:
    """A run's control.json and status.json as train.events.Control, with the device lock let go between slices."""

    def __init__(self, run: Run):
        self.run = run
        self._seen: tuple[int, int] | None = None
        self._wishes: dict[str, Any] = runs.NO_WISHES
        self._told = 0.0
        self._state: str | None = None

    def wishes(self) -> dict[str, Any]:
        with contextlib.suppress(FileNotFoundError):
            stat = (self.run.path / "control.json").stat()
            if (stat.st_mtime_ns, stat.st_ino) != self._seen:  # a replaced file has another inode
                self._seen = (stat.st_mtime_ns, stat.st_ino)
                self._wishes = self.run.wishes
        return self._wishes

    def stopping(self) -> bool:
        return bool(self.wishes().get("stop"))

    def progress(self, phase: str, done: int = 0, total: int | None = None) -> None:
        state = {"state": "paused"} if phase == "paused" else {}
        self.tell(force=done == 0 and phase != "paused", phase=phase, done=done, total=total, **state)

    def device(self) -> DeviceLock:
        return DEVICE

    def breathe(self) -> None:
        DEVICE.__exit__()
        DEVICE.__enter__()

    def wait(self) -> None:
        DEVICE.__exit__()
        time.sleep(POLL_SECONDS)
        DEVICE.__enter__()
        self.tell()

    def tell(self, force: bool = False, **news: Any) -> None:
        """Put news into status.json, about once per second, at once with ``force`` or another state than told last."""
        state = news.get("state", self._state)
        if force or state != self._state or time.monotonic() - self._told >= HEARTBEAT_SECONDS:
            self._told, self._state = time.monotonic(), state
            self.run.tell(**news)


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
    meter = Meter(run)
    try:
        engine()
        from ddpm_app.train.loop import train

        for event in train(run.config, run, control):
            meter.follow(event, control)
            yield event
    except Stopped:
        run.tell(state="stopped", phase=None)
        yield events.Ended(run.status["step"], "stopped")
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, GeneratorExit)):
            _last_words(run, state="interrupted")
        else:
            problem = explain(error)
            told = {"code": problem.code, "field": problem.field, "values": problem.values}
            _last_words(run, state="failed", error=told, traceback=traceback.format_exc())
        raise


def explain(error: BaseException) -> Problem:
    """The Problem behind whatever ended a run: itself, "save_failed" for a full disk, "out_of_memory", or "crash"."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Problem("save_failed", reason=error.strerror)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error):  # torch's ways
        return Problem("out_of_memory", "train_batch_size")
    return Problem("crash", reason=f"{type(error).__name__}: {error}")


def _last_words(run: Run, **news: Any) -> None:
    try:
        run.tell(phase=None, **news)
    except OSError:  # no room even for that; a run without a status reads as interrupted and not as busy for ever
        (run.path / "status.json").unlink(missing_ok=True)


class Meter:
    """Turns events into status.json: counts, speed, remaining time, notices, log lines."""

    def __init__(self, run: Run):
        self.run = run
        self.notices: list[dict[str, Any]] = []
        self.window: collections.deque[tuple[float, int]] = collections.deque(maxlen=50)

    def follow(self, event: Event, control: RunControl) -> None:
        match event:
            case events.Notice():
                said = {"code": event.code, "values": event.values}
                if said not in self.notices:
                    self.notices.append(said)
                    self.run.tell(notices=self.notices)
                self.run.log(f"notice {event.code} {event.values}")
            case events.Planned(plan=plan):
                self.run.tell(state="waiting" if event.long else "preparing", total_steps=plan["total_steps"], estimate_seconds=plan["total_seconds"])
                self.run.log(f"planned {plan['total_steps']} steps, about {plan['total_seconds']:.0f} s")
            case events.Started():
                self.run.tell(state="training", phase="training", step=event.step, total_steps=event.total, done=None, total=None)
                self.run.log(f"training from step {event.step} to {event.total}")
            case events.Stepped():
                self._stepped(event, control)
            case events.Validated():
                held_out = "" if event.held_out_loss is None else f", held-out {event.held_out_loss:.4f}"
                self.run.log(f"step {event.step}: loss on fixed noise {event.train_loss:.4f}{held_out}")
            case events.Sampled() | events.Saved():
                self.run.log(f"step {event.step}: {type(event).__name__.lower()} {event.path.name}")
            case events.RolledBack():
                self.run.log(f"step {event.failed_step}: the loss is not a number; back to {event.step}, rate x {event.factor}")
            case events.Published():
                self.run.tell(published=event.url)
                self.run.log(f"published at {event.url}")
            case events.Ended():
                self.run.tell(state=event.state, phase=None, step=event.step, eta_seconds=0)
                self.run.log(f"{event.state} at step {event.step}")

    def _stepped(self, event: events.Stepped, control: RunControl) -> None:
        self.window.append((time.monotonic(), event.images))
        seconds = self.window[-1][0] - self.window[0][0]
        rate = sum(images for _, images in list(self.window)[1:]) / seconds if seconds else 0.0
        per_step = seconds / (len(self.window) - 1) if len(self.window) > 1 else 0.0
        last = event.step == event.total
        control.tell(last, state="training", phase="training", step=event.step, total_steps=event.total, loss=event.loss,
                     learning_rate=event.learning_rate, images_per_second=rate, eta_seconds=per_step * (event.total - event.step))


class Jobs:
    """The page's side: starts and resumes runs in ``runs_dir``, one at a time, in one daemon thread."""

    def __init__(self, runs_dir: str | pathlib.Path):
        self.runs_dir = pathlib.Path(runs_dir)
        self._thread: threading.Thread | None = None

    def start(self, config: TrainConfig, owner: str | None = None) -> Run:
        """Begin a new run. Raises Problem: "busy" while any run of the folder is active, and those of ``runs.create``."""
        with runs.claim(self.runs_dir):
            return self._launch(runs.create(self.runs_dir, config, owner))

    def resume(self, name: str, owner: str | None = None, **longer: Any) -> Run:
        """Go on with a run from its last checkpoint. ``longer``: a new max_train_steps, num_epochs or max_train_minutes.

        Raises Problem: "busy", "run_missing", "run_finished" (nothing is left to do), or a field's own.
        """
        with runs.claim(self.runs_dir):
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


def prepare_resume(runs_dir: pathlib.Path, name: str, owner: str | None = None, **longer: Any) -> Run:
    """Make a run ready to go on. Raises Problem: "run_missing", "run_busy", "run_finished", "run_broken"."""
    run = runs.find(runs_dir, name)
    if run.active:
        raise Problem("run_busy", "output_dir", value=name)
    if longer:
        extend(run, **longer)
    elif run.status["state"] == "finished":
        raise Problem("run_finished", value=name, step=run.status["step"])
    run.begin(owner)
    return run


def extend(run: Run, **longer: Any) -> None:
    """Give a run more steps: a new max_train_steps or num_epochs for the whole run, or max_train_minutes on top."""
    engine()
    from ddpm_app.train.plan import lengthened

    lengths = {"max_train_steps": None, "max_train_minutes": None}
    config = from_dict(run.config.to_dict() | lengths | longer)
    plan = lengthened(run, config)
    run.note(config=config.to_dict(), plan=plan)
