"""What a run at work writes into its status.json: events become state, step, speed, remaining time, notices and log lines."""

import collections
import contextlib
import time
from typing import Unpack

from ddpm_app.device_lock import DEVICE, DeviceLock
from ddpm_app.runs.records import Coded, Requests, Status
from ddpm_app.runs.run import NO_REQUESTS, Run
from ddpm_app.train import events
from ddpm_app.train.events import Event

HEARTBEAT_SECONDS = 1.0
POLL_SECONDS = 0.1


class RunControl:
    """A run's control.json and status.json as train.events.Control, with the device lock let go between slices."""

    def __init__(self, run: Run):
        self.run = run
        self._requests = NO_REQUESTS
        self._requests_stamp: tuple[int, int] | None = None
        self._state: str | None = None
        self._written_at = 0.0

    def requests(self) -> Requests:
        with contextlib.suppress(FileNotFoundError):
            info = (self.run.path / "control.json").stat()
            stamp = info.st_mtime_ns, info.st_ino  # a replaced file has another inode
            if stamp != self._requests_stamp:
                self._requests_stamp, self._requests = stamp, self.run.requests
        return self._requests

    def stopping(self) -> bool:
        return bool(self.requests().get("stop"))

    def progress(self, phase: str, done: int = 0, total: int | None = None) -> None:
        news: Status = {"phase": phase, "done": done, "total": total}
        if phase == "paused":
            news["state"] = "paused"
        self.update_status(force=done == 0 and phase != "paused", **news)

    def device(self) -> DeviceLock:
        return DEVICE

    def yield_device(self) -> None:
        DEVICE.__exit__()
        DEVICE.__enter__()

    def wait(self) -> None:
        DEVICE.__exit__()
        time.sleep(POLL_SECONDS)
        DEVICE.__enter__()
        self.update_status()

    def update_status(self, force: bool = False, **news: Unpack[Status]) -> None:
        """Put news into status.json, about once per second, at once with ``force`` or another state than the last."""
        state = news.get("state", self._state)
        if force or state != self._state or time.monotonic() - self._written_at >= HEARTBEAT_SECONDS:
            self._written_at, self._state = time.monotonic(), state
            self.run.update_status(**news)


class StatusWriter:
    """Turns events into status.json: counts, speed, remaining time, notices, log lines."""

    def __init__(self, run: Run):
        self.run = run
        self.notices: list[Coded] = []
        self.window: collections.deque[tuple[float, int]] = collections.deque(maxlen=50)
        """Times and pictures of the last steps."""

    def follow(self, event: Event, control: RunControl) -> None:
        match event:
            case events.Notice():
                notice: Coded = {"code": event.code, "values": event.values}
                if notice not in self.notices:
                    self.notices.append(notice)
                    self.run.update_status(notices=self.notices)
                self.run.log(f"notice {event.code} {event.values}")
            case events.Planned(plan=plan):
                self.run.update_status(
                    state="waiting" if event.long else "preparing",
                    total_steps=plan["total_steps"],
                    estimate_seconds=plan["total_seconds"],
                )
                self.run.log(f"planned {plan['total_steps']} steps, about {plan['total_seconds']:.0f} s")
            case events.Settled(plan=plan):
                # what was said of the first plan may hold no more
                self.notices = [notice for notice in self.notices if notice["code"] not in ("extended", "too_short")]
                self.run.update_status(
                    total_steps=plan["total_steps"], estimate_seconds=plan["total_seconds"], notices=self.notices
                )
                self.run.log(f"settled for {plan['total_steps']} steps, about {plan['total_seconds']:.0f} s")
            case events.Started():
                self.run.update_status(
                    state="training", phase="training", step=event.step, total_steps=event.total, done=None, total=None
                )
                self.run.log(f"training from step {event.step} to {event.total}")
            case events.Stepped():
                self._stepped(event, control)
            case events.Validated():
                held_out = "" if event.held_out_loss is None else f", held-out {event.held_out_loss:.4f}"
                self.run.log(f"step {event.step}: loss on fixed noise {event.train_loss:.4f}{held_out}")
            case events.Sampled() | events.Saved():
                self.run.log(f"step {event.step}: {type(event).__name__.lower()} {event.path.name}")
            case events.RolledBack():
                self.run.log(
                    f"step {event.failed_step}: the loss is not a number; back to {event.step}, rate x {event.factor}"
                )
            case events.Published():
                self.run.update_status(published=event.url)
                self.run.log(f"published at {event.url}")
            case events.Ended():
                self.run.update_status(state=event.state, phase=None, step=event.step, eta_seconds=0)
                self.run.log(f"{event.state} at step {event.step}")

    def _stepped(self, event: events.Stepped, control: RunControl) -> None:
        self.window.append((time.monotonic(), event.images))
        seconds = self.window[-1][0] - self.window[0][0]
        rate = sum(images for _, images in list(self.window)[1:]) / seconds if seconds else 0.0
        per_step = seconds / (len(self.window) - 1) if len(self.window) > 1 else 0.0
        last = event.step == event.total
        control.update_status(
            last,
            state="training",
            phase="training",
            step=event.step,
            total_steps=event.total,
            loss=event.loss,
            learning_rate=event.learning_rate,
            images_per_second=rate,
            eta_seconds=per_step * (event.total - event.step),
        )
