"""A run in the terminal: progress on stderr, Ctrl-C that saves, the question before a long run."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Unpack

from tqdm import tqdm

from ddpm_app import jobs
from ddpm_app.errors import Problem
from ddpm_app.i18n import format_duration, t
from ddpm_app.runs.records import Plan, Requests, Status
from ddpm_app.runs.run import Run
from ddpm_app.status import RunControl
from ddpm_app.train import events
from ddpm_app.train.events import Event

LINE_SECONDS = 10
"""Seconds between two lines of progress where stderr is no terminal."""
WITHIN = ("preview", "saving", "publishing", "paused")
"""Phases that come and go inside the training: they don't get a bar of their own."""


class Screen:
    """Progress as a bar where stderr is a terminal, else as a line now and then."""

    def __init__(self) -> None:
        self._bars = sys.stderr.isatty()
        self._bar: tqdm | None = None
        self._phase = ""
        self._printed_at = 0.0

    def line(self, words: str) -> None:
        """One line above the bar."""
        if self._bar is not None:
            self._bar.clear()
        print(words, file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the bar; what follows starts on a line of its own."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def progress(self, phase: str, done: int = 0, total: int | None = None, figures: str = "") -> None:
        """``done`` of ``total`` (None: unknown) of a phase; ``figures`` are further values to show."""
        if self._bars:
            self._draw(phase, done, total, figures)
            return
        is_due = phase != self._phase or time.monotonic() - self._printed_at >= LINE_SECONDS or done == total
        if is_due and phase not in WITHIN:
            self._printed_at, self._phase = time.monotonic(), phase
            count = f" {done}/{total}" if total else f" {done}" if done else ""
            self.line(f"{t(f'cli.phase_{phase}')}{count}{figures and ', '}{figures}")

    def _draw(self, phase: str, done: int, total: int | None, figures: str) -> None:
        if phase not in WITHIN and phase != self._phase:
            self.close()
            self._phase = phase
            self._bar = tqdm(total=total, initial=done, dynamic_ncols=True, file=sys.stderr)
        if self._bar is None:
            return
        self._bar.set_description_str(t(f"cli.phase_{phase}"), refresh=phase in WITHIN)
        if phase not in WITHIN:
            self._bar.total = total
            self._bar.set_postfix_str(figures, refresh=False)
            self._bar.update(done - self._bar.n)

    def show(self, event: Event) -> None:
        """What an event says, in words."""
        match event:
            case events.Notice():
                self.line(t(f"notice.{event.code}", **event.values))
            case events.Planned(plan=plan):
                duration = format_duration(plan["total_seconds"])
                self.line(t("cli.planned", steps=plan["total_steps"], time=duration, device=plan["device"]))
            case events.Settled(plan=plan):
                self.line(t("cli.settled", steps=plan["total_steps"], time=format_duration(plan["total_seconds"])))
            case events.Started(step=step, total=total):
                if step:
                    self.line(t("cli.goes_on", step=step))
                self.progress("training", step, total)
            case events.Stepped():
                self.progress("training", event.step, event.total, t("cli.loss", loss=f"{event.loss:.4f}"))
            case events.RolledBack():
                self.line(t("cli.rolled_back", step=event.step, failed=event.failed_step, factor=event.factor))
            case events.Published():
                self.line(t("cli.published", url=event.url))


class TerminalControl(RunControl):
    """A run's control that also shows the phases and turns Ctrl-C and SIGTERM into a request to stop."""

    def __init__(self, run: Run, screen: Screen):
        super().__init__(run)
        self.screen = screen
        self.caught = 0
        """The signal that asked to stop, or 0."""
        self._passed_on = False

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Within the block the first Ctrl-C or SIGTERM asks the run to stop with everything saved, a second Ctrl-C ends at once."""
        before = {number: signal.signal(number, self._catch) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _catch(self, number: int, _frame: FrameType | None) -> None:
        if number == self.caught == signal.SIGINT:
            raise KeyboardInterrupt
        self.caught = self.caught or number
        # not print(), which must not be entered twice: a signal may come inside it
        os.write(2, f"\n{t('cli.stopping')}\n".encode())

    def requests(self) -> Requests:
        # not in the handler, which may interrupt a request that is being written
        if self.caught and not self._passed_on:
            self._passed_on = True
            self.run.request(stop=True)
        return super().requests()

    def progress(self, phase: str, done: int = 0, total: int | None = None) -> None:
        super().progress(phase, done, total)
        self.screen.progress(phase, done, total)


class SilentControl(RunControl):
    """The control of a further process of a run, which works along and leaves the status to the first."""

    def update_status(self, force: bool = False, **news: Unpack[Status]) -> None:
        pass


def _ask(run: Run) -> None:
    """Wait for y or anything else on stdin without holding the run up: the page may answer too."""
    print(t("cli.ask"), end="", file=sys.stderr, flush=True)

    def read() -> None:  # not input(): a thread that sits in it when the program ends brings the interpreter down
        answer = os.read(sys.stdin.fileno(), 100).decode(errors="replace").strip().lower()
        if run.status["state"] == "waiting":  # else the page has answered meanwhile
            run.request(**{"go" if answer in ("y", "yes") else "stop": True})

    threading.Thread(target=read, name="answer", daemon=True).start()


def follow(run: Run) -> int:
    """Train as a further process of a run; signals are the first one's business."""
    from ddpm_app.train.loop import train

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    for _ in train(run.working_config, run, SilentControl(run)):
        pass
    return 0


def drive(run: Run, yes: bool) -> int:
    """Work a run to its end, showing what happens, and return the exit status. Raises Problem."""
    screen = Screen()
    control = TerminalControl(run, screen)
    refusal = None
    with control.signals():
        try:
            for event in jobs.work(run, control):
                screen.show(event)
                if isinstance(event, events.Planned) and event.long:
                    refusal = _consent(run, event.plan, yes, screen)
        except Problem:
            raise
        except Exception as error:  # its traceback is in the run's status
            raise Problem("crash", reason=f"{type(error).__name__}: {error}") from error
        finally:
            screen.close()
    if refusal:
        raise refusal
    state, step = run.status["state"], run.status["step"]
    if state == "finished":
        print(t("cli.finished", name=run.name, step=step, path=run.pipeline))
    else:
        print(t("cli.stopped", name=run.name, step=step))
    return 128 + control.caught if control.caught else 0


def _consent(run: Run, plan: Plan, yes: bool, screen: Screen) -> Problem | None:
    """Ask whether a long run may begin. Without a terminal nobody can answer: the run is stopped and the reason returned."""
    problem = Problem("no_consent", time=format_duration(plan["total_seconds"]), device=plan["device"])
    if yes:
        run.request(go=True)
    elif sys.stdin is not None and sys.stdin.isatty():
        screen.close()
        _ask(run)
    else:
        run.request(stop=True)
        return problem
    return None
