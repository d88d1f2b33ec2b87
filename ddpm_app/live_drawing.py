"""Drawings on the first view: the words model draws one picture from noise, and every step of it goes out as one strip."""

import contextlib
import itertools
import random
import threading
from collections.abc import Mapping
from typing import TypedDict

from ddpm_app import jobs
from ddpm_app.access import AccessPolicy
from ddpm_app.device_lock import DEVICE
from ddpm_app.errors import as_problem
from ddpm_app.i18n import problem_on_page
from ddpm_app.images import data_uri, rows_grid
from ddpm_app.model import locate
from ddpm_app.model_choices import EXAMPLE_PROMPTS, WORDS_MODEL
from ddpm_app.runs.monitor import RunMonitor

STEPS = 20
MAX_PROMPT = 300
"""Characters of a prompt that are read."""
SEEDS = 2**32


class LiveDrawing(TypedDict, total=False):
    """``strip``: the picture after each of ``steps`` steps, side by side in one data URI; ``unknown``: words of the prompt that the model
    doesn't know. Or why there is none: ``later`` (ask again soon), ``training`` (a run is at work), ``error`` in words."""

    strip: str
    steps: int
    prompt: str
    seed: int
    unknown: list[str]
    later: bool
    training: bool
    error: str


class LiveDrawings:
    """One drawing at a time for all viewers together, and none that nobody requested while a run is at work. One lies ready for the next view
    that opens, so that it needn't wait."""

    def __init__(self, monitor: RunMonitor, access: AccessPolicy, warm: threading.Event):
        self._monitor, self._access, self._warm = monitor, access, warm
        self._drawing = threading.Lock()
        self._ready: LiveDrawing | None = None

    def draw(self, query: Mapping[str, object]) -> LiveDrawing:
        """The picture of ``prompt`` from ``seed``. ``idle``: nobody requested it, the view draws by itself, and takes the one that lies ready."""
        if query.get("idle"):
            if self._monitor.snapshot("").get("active"):
                return {"training": True}
            drawing, self._ready = self._ready, None
            if drawing:
                self.prepare()
                return drawing
        if not self._warm.is_set() or not self._drawing.acquire(blocking=False):
            return {"later": True}
        try:
            return self._draw(str(query.get("prompt", ""))[:MAX_PROMPT], _number(query.get("seed")) % SEEDS)
        except Exception as error:
            return {"error": problem_on_page(self._access.redact(as_problem(error)), str(query.get("lang", "en")))}
        finally:
            self._drawing.release()

    def prepare(self) -> None:
        """Draw the one that lies ready, in a thread of its own. Python waits for it when it ends: torch can't be left in the middle of a step."""
        threading.Thread(target=self._prepare, name="live-drawing", daemon=False).start()

    def _prepare(self) -> None:
        """From an example's prompt. Where it fails, the view that opens says why."""
        if self._ready or self._monitor.snapshot("").get("active") or not self._drawing.acquire(blocking=False):
            return
        try:
            with contextlib.suppress(Exception):
                self._ready = self._draw(random.choice(EXAMPLE_PROMPTS), random.randrange(SEEDS))
        finally:
            self._drawing.release()

    def _draw(self, prompt: str, seed: int) -> LiveDrawing:
        jobs.engine()
        from ddpm_app import sample
        from ddpm_app.data.preprocess import to_images
        from ddpm_app.model import loaded

        model = loaded.load(locate.SHIPPED / WORDS_MODEL, "ema")
        request = sample.Request(num_images=1, num_inference_steps=STEPS, seed=seed, prompt=(prompt,))
        states = itertools.takewhile(lambda _: threading.main_thread().is_alive(), sample.sample(model, request))
        frames = (to_images(model.codec.decode(state.x))[0] for state in states)
        images = list(DEVICE.slices(frames))
        return {
            "strip": data_uri(rows_grid([images], gap=0).convert("RGB"), small=True),
            "steps": len(images),
            "prompt": prompt,
            "seed": seed,
            "unknown": model.conditioning.unknown_words([prompt])[0] if model.conditioning.kind == "text" else [],
        }


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0
