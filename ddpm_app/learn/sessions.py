"""Who looks at what: turns what a browser asks into a station's panels, slice by slice, beside a training run.

A viewer has one station at work. A slice runs while the device is held, so that training waits for no more than that; whatever a
viewer asks next ends what is under way after its slice.
"""

import contextlib
import dataclasses
import hashlib
import threading
import time
import traceback
from collections.abc import Generator, Iterator
from typing import Any

from PIL import Image

from ddpm_app import jobs
from ddpm_app.data import decode
from ddpm_app.device_lock import DEVICE
from ddpm_app.errors import Problem, explain
from ddpm_app.i18n import problem_text, t
from ddpm_app.learn import context as benches
from ddpm_app.learn import stations
from ddpm_app.learn.context import LearnContext
from ddpm_app.learn.station import Panel, Station, StationRequest
from ddpm_app.model.describe import saved_version
from ddpm_app.model_choices import ModelChoices

TURN_SECONDS = 0.25
"""An answer without news goes back after this long, so that the page can say that something is under way."""
AT_WORK = 2
"""Questions that are worked on at once: training beside them gets every third slice or more, however many viewers there are."""
VIEWERS, BENCHES, OWN, MEMORIES = 64, 8, 32, 8
"""How many viewers, benches, pictures of viewers, and memories of viewers at a station are kept: one may hold a copy of the model."""
IDLE_SECONDS = 600
"""A memory that was not used for so long is forgotten."""
DEFAULT_T = 0.4
"""Where t stands at first, as a share of T: half picture, half noise."""
OWN_BYTES, OWN_SIDE = 4_000_000, 1024


@dataclasses.dataclass(eq=False)
class Session:
    """One browser: ``turn`` counts what it asked; ``work`` is under way for it; ``memory`` belongs to ``station`` and ``bench``, and was
    ``forgotten`` where others needed the room. ``used``: when it last asked."""

    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)
    turn: int = 0
    work: Generator[dict[str, Any] | None] = dataclasses.field(default_factory=lambda: (_ for _ in ()))
    station: str = ""
    bench: LearnContext | None = None
    memory: dict[str, Any] = dataclasses.field(default_factory=dict)
    forgotten: bool = False
    used: float = 0.0

    def forget(self) -> None:
        """Let go of what is kept, with what is under way; not while somebody waits for it."""
        if self.lock.acquire(blocking=False):
            self.work.close()
            self.forgotten, self.bench, self.memory = bool(self.memory), None, {}
            self.lock.release()


class LearnSessions:
    """One per studio."""

    def __init__(self, models: ModelChoices, warm: threading.Event):
        self.models, self.access, self.warm = models, models.access, warm
        self._viewers: dict[str, Session] = {}
        self._benches: dict[tuple, LearnContext] = {}
        self._own: dict[str, Image.Image] = {}
        self._making, self._free = threading.Lock(), threading.Semaphore(AT_WORK)

    # ---- what the browser calls -------------------------------------------------------------------------------------
    def ask(self, query: dict[str, Any]) -> dict[str, Any]:
        """The answer to a new question, or with "more" what came since the last answer: "panels", "status", "note", "error", "more", "stale"
        where the viewer has asked something else since, or "again" where others are at work. ``query``: "client", "visitor", "turn",
        "lang", "station", "model", "picture", "t", "seed", "values", "pressed"."""
        viewer, turn = self._viewer(str(query.get("client"))[:64]), _whole(query.get("turn"))
        viewer.turn = max(turn, viewer.turn)
        if not self._free.acquire(timeout=TURN_SECONDS):
            return {"more": True, "again": True, "status": t("ui.learn.waiting", str(query.get("lang")))}
        try:
            with viewer.lock:
                if turn < viewer.turn:
                    return {"stale": True}
                if not query.get("more"):
                    viewer.work.close()
                    viewer.work = self._work(viewer, query)
                return self._advance(viewer, turn)
        finally:
            self._free.release()
            self._tidy()

    def _advance(self, viewer: Session, turn: int) -> dict[str, Any]:
        end = time.monotonic() + TURN_SECONDS
        for news in viewer.work:
            if news is not None or time.monotonic() > end or viewer.turn > turn:
                return {"more": True, **(news or {})}
        return {"more": False}

    def keep(self, data: bytes) -> str:
        """Remember a viewer's own picture; the key to ask for it by. Raises Problem("picture_unfit")."""
        try:
            picture = decode.read(data[:OWN_BYTES])
        except decode.UnusableImage as unfit:
            raise Problem("picture_unfit", name="", reason=unfit.reason) from unfit
        picture.thumbnail((OWN_SIDE, OWN_SIDE))
        key = "own:" + hashlib.blake2b(data, digest_size=8).hexdigest()
        _put(self._own, key, picture, OWN)
        return key

    # ---- the work ---------------------------------------------------------------------------------------------------
    def _work(self, viewer: Session, query: dict[str, Any]) -> Generator[dict[str, Any] | None]:
        """What the browser gets, piece by piece; problems in words."""
        lang = str(query.get("lang"))
        try:
            station = stations.station(str(query.get("station")))
            if not self.warm.is_set():
                yield {"status": t("ui.learn.warming", lang)}
            bench = self.bench(str(query.get("model")), str(query.get("picture")), str(query.get("visitor")))
            if station.whole:
                yield {"status": t("ui.learn.decoding", lang)}
                _ = bench.pictures
            asked = self._asked(viewer, station, bench, query)
            if viewer.forgotten:
                viewer.forgotten = False
                yield {"note": t("ui.learn.forgotten", lang)}
            for panels in self._slices(station, bench, asked):
                yield None if panels is None else {"panels": panels, **bench.told}
        except Exception as error:
            if not isinstance(error, Problem):
                traceback.print_exc()
            yield {"error": problem_text(self.access.redact(explain(error)), lang)}

    def _slices(self, station: Station, bench: LearnContext, asked: StationRequest) -> Iterator[list[Panel] | None]:
        shown, end = station.show(bench, asked), object()
        while True:
            with DEVICE if station.network else contextlib.nullcontext():
                panels = next(shown, end)
            if panels is end:
                return
            yield panels

    def _asked(self, viewer: Session, station: Station, bench: LearnContext, query: dict[str, Any]) -> StationRequest:
        if viewer.station != station.id or viewer.bench is not bench:
            viewer.forgotten = viewer.forgotten and viewer.station == station.id
            viewer.station, viewer.bench, viewer.memory = station.id, bench, {}
        wished = _whole(query.get("t"))
        timestep = min(wished, bench.timesteps - 1) if wished >= 0 else round(DEFAULT_T * bench.timesteps)
        given = query.get("values")
        values = station.read(given if isinstance(given, dict) else {})
        seed = min(max(0, _whole(query.get("seed"))), 2**31)
        return StationRequest(
            station.id, str(query.get("lang")), timestep, seed, values, str(query.get("pressed") or ""), viewer.memory
        )

    def bench(self, model: str, picture: str, visitor: str = "") -> LearnContext:
        """The bench of a model ("shipped:NAME", "run:NAME") and a picture (its number, the key of a viewer's own, or "" for the first
        that is offered). Raises Problem."""
        jobs.engine()
        place = self.models.location(model, "")
        self.access.require_pictures(place, visitor)
        version = saved_version(place)
        key = (str(place), version, picture)
        if found := self._benches.get(key):
            return found
        from ddpm_app.model import loaded

        with self._making:  # the page asks for panels and thumbnails at once
            if key not in self._benches:
                made = self._made(place, picture)
                kept = {old: bench for old, bench in self._benches.items() if loaded.is_loaded(bench.model)}
                _put(kept, key, made, BENCHES)
                self._benches = kept
            return self._benches[key]

    def _made(self, place: Any, picture: str) -> LearnContext:
        from ddpm_app.model import loaded

        model = loaded.load(place, "ema")
        config, run = benches.settings(model, place)
        source, own = benches.open_source(config), self._own.get(picture)
        if own is not None:
            return LearnContext(model, config, run, place, source, own, None, picture)
        if picture.startswith("own:"):
            raise Problem("own_forgotten")
        index = min(max(0, _whole(picture)), len(source) - 1) if picture else benches.offered(source, 0)[0]
        return LearnContext(model, config, run, place, source, source.picture(index), index, str(index))

    def _viewer(self, client: str) -> Session:
        viewer = self._viewers.get(client) or Session()
        viewer.used = time.monotonic()
        _put(self._viewers, client, viewer, VIEWERS)
        return viewer

    def _tidy(self) -> None:
        """Forget what the viewers that asked longest ago keep."""
        keeping = [viewer for viewer in list(self._viewers.values()) if viewer.memory]
        for viewer in keeping[:-MEMORIES]:
            viewer.forget()
        for viewer in keeping[-MEMORIES:]:
            if time.monotonic() - viewer.used > IDLE_SECONDS:
                viewer.forget()


def _whole(value: Any) -> int:
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return 0


def _put(kept: dict, key: Any, value: Any, most: int) -> None:
    """Keep ``value``, and of the older ones no more than ``most`` in all."""
    kept.pop(key, None)
    kept[key] = value
    while len(kept) > most:
        kept.pop(next(iter(kept)))
