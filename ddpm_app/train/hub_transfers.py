"""Downloads before a run and uploads after it, each in a thread of its own, so that whoever stops the run needn't wait for them."""

import concurrent.futures
import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from ddpm_app import hub
from ddpm_app.config import PLACEHOLDER_HUB_ID, TrainConfig, irrelevant_fields
from ddpm_app.errors import Problem, Stopped
from ddpm_app.model import locate
from ddpm_app.runs.run import Run
from ddpm_app.train import events
from ddpm_app.train.events import Control, Event

POLL_SECONDS = 0.5
RIGHTS_SECONDS = 8
HINDRANCES = ("hub_placeholder", "not_logged_in", "hub_login", "token_reads", "namespace_closed")
"""Codes of what doesn't go away by itself until the run ends."""
T = TypeVar("T")


def fetch_models(config: TrainConfig, run: Run, control: Control) -> None:
    """Bring models that only the Hub has to this machine, before the device is taken. Raises Problem, and Stopped without waiting for the rest."""
    for name in sorted({"vae", "init_from", "text_encoder"} - irrelevant_fields(config.to_dict())):
        source = getattr(config, name)
        runs_dir = run.path.parent
        if not source or locate.checkpoint(source, runs_dir, name) or locate.find_local(source, runs_dir):
            continue
        download = _in_background(functools.partial(locate.download, source, name), "fetch")
        while not download.done():
            control.progress("download")
            if control.stopping():
                raise Stopped
            concurrent.futures.wait([download], POLL_SECONDS)
        download.result()


def check_rights(config: TrainConfig) -> Iterator[Event]:
    """Say before the first step what will hinder the publishing at the end; it stops nothing. Where the Hub is silent for RIGHTS_SECONDS, or
    can't be reached, nothing is said: till the end that may change."""
    if not config.push_to_hub or config.hub_model_id == PLACEHOLDER_HUB_ID:  # of the placeholder `check` speaks
        return
    hindrance = hub.ready(config)
    if hindrance is None:
        answer = _in_background(functools.partial(hub.missing_right, config), "rights")
        with contextlib.suppress(concurrent.futures.TimeoutError):
            error = answer.exception(RIGHTS_SECONDS)
            hindrance = error if isinstance(error, Problem) else None if error else answer.result()
    if hindrance and hindrance.code in HINDRANCES:
        yield events.Notice(hindrance.code, hindrance.values)


def publish(config: TrainConfig, run: Run, control: Control) -> Iterator[Event]:
    """Push the pipeline to the Hub; what hinders it is said and stops nothing."""
    if hindrance := hub.ready(config):
        yield events.Notice(hindrance.code, hindrance.values)
        return
    control.progress("publishing")
    upload = _in_background(functools.partial(hub.publish, run), "publish")
    while not upload.done():
        if control.stopping():
            yield events.Notice("hub_given_up")
            return
        control.wait()
    match upload.exception():
        case None:
            yield events.Published(upload.result())
        case Problem() as problem:
            yield events.Notice(problem.code, problem.values)
        case error:  # whatever it is, the run itself is well
            yield events.Notice("hub_refused", {"reason": f"{type(error).__name__}: {error}"})


def _in_background(call: Callable[[], T], name: str) -> concurrent.futures.Future[T]:
    """Call in a daemon thread: an executor's threads would be waited for when the process ends."""
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def work() -> None:
        try:
            future.set_result(call())
        except Exception as error:  # raised again by the one who waits
            future.set_exception(error)

    threading.Thread(target=work, name=name, daemon=True).start()
    return future
