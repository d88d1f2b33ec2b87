"""Each browser's session with the stations: turns what it asks into a station's panels, slice by slice, beside a training run.

The protocol between the page (ui/components/stage.js) and the server. The page calls ``ask`` and awaits one answer at a time:

    page    {turn: 7, station, model, t, ...}      a new query: the page has counted ``turn`` up
    server  {more: true, status: "..."}            nothing to show yet, after TURN_SECONDS at most: the page says what goes on
    page    {turn: 7, more: true, ...}             the page waits for the rest of the same query
    server  {more: true, panels: [...], ...}       all panels so far; sent as soon as a slice of work has changed them
    page    {turn: 8, t: 400, ...}                 something was moved: the page shows what turn 7 has brought, the server ends it after its slice
    server  {more: false}                          nothing will follow, until the next query
    page    {turn: 8, t: 66, key_frame: true, ...} all is shown: the page collects what the station shows at some t, to blend between them
    server  {more: true, panels: [...]}            those of its first panels that a hand can move (see learn/key_frames.py); no more follow

Who waits for whom: a query waits while MAX_AT_WORK others are worked on, at most TURN_SECONDS (then the answer is "again": the page sends
the same query once more), and for the slice that its own session has under way. A slice holds the device, so that a training run waits
for no more than one. An answer to a turn that is no longer the newest is {"stale": true}, which the page ignores.
Further keys of an answer: "timesteps", "picture" and "conditioning" beside "panels" (what the model and picture are); "note", a sentence
that stays above the panels; "model", the one that is shown instead of the chosen one; "error", which ends the query.
"""

import contextlib
import dataclasses
import hashlib
import threading
import time
import traceback
from collections.abc import Generator, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, TypedDict, TypeVar

from PIL import Image

from ddpm_app import jobs
from ddpm_app.data import decode
from ddpm_app.device_lock import DEVICE
from ddpm_app.errors import Problem, explain
from ddpm_app.i18n import problem_on_page, t
from ddpm_app.learn import key_frames, stations
from ddpm_app.learn.station import Memory, StationRequest, StationSpec
from ddpm_app.model.describe import saved_version
from ddpm_app.model_choices import ModelChoices

if TYPE_CHECKING:  # they import torch
    from ddpm_app.learn.context import LearnContext
    from ddpm_app.learn.panels import Panel

TURN_SECONDS = 0.25
"""An answer without news goes back after this long, so that the page can say that something is under way."""
MAX_AT_WORK = 2
"""Queries that are worked on at once: training beside them gets every third slice or more, however many viewers there are."""
MAX_SESSIONS, MAX_CONTEXTS, MAX_PICTURES, MAX_MEMORIES = 64, 8, 32, 8
"""How many sessions, contexts, viewers' own pictures, and memories of sessions are kept: a memory may hold a copy of the model."""
IDLE_SECONDS = 600
"""A memory that was not used for so long is dropped."""
DEFAULT_T = 0.4
"""Where t stands at first, as a share of T: half picture, half noise."""
PICTURE_BYTES, PICTURE_SIDE = 4_000_000, 1024
"""Limits of a viewer's own picture; a larger one is scaled down."""


@dataclasses.dataclass(frozen=True)
class Query:
    """What a browser asks. ``client``: a random id of the page; ``visitor``: that of the browser, for the rules of a public page;
    ``t`` below 0: where it stands at first; ``pressed``: the Action clicked just now; ``values``: the station's own controls;
    ``key_frame``: the first panels are wanted, to blend between them and others; ``insists``: the model was chosen at this very station, so
    that it is shown even where it lacks what the station needs."""

    client: str
    visitor: str
    turn: int
    more: bool
    lang: str
    station: str
    model: str
    picture: str
    t: int
    seed: int
    values: Mapping[str, object]
    pressed: str
    key_frame: bool
    insists: bool

    @classmethod
    def parse(cls, data: Mapping[str, object]) -> "Query":
        """From a browser, which may send anything: what makes no sense becomes something that does."""
        values = data.get("values")
        return cls(
            client=_string(data, "client")[:64],
            visitor=_string(data, "visitor"),
            turn=_integer(data.get("turn")),
            more=bool(data.get("more")),
            lang=_string(data, "lang"),
            station=_string(data, "station"),
            model=_string(data, "model"),
            picture=_string(data, "picture"),
            t=_integer(data.get("t")),
            seed=min(max(0, _integer(data.get("seed"))), 2**31),
            values=values if isinstance(values, Mapping) else {},
            pressed=_string(data, "pressed"),
            key_frame=bool(data.get("key_frame")),
            insists=bool(data.get("insists")),
        )


class Answer(TypedDict, total=False):
    """What the browser gets, see the protocol above."""

    more: bool
    again: bool
    stale: bool
    status: str
    note: str
    error: str
    panels: list[dict[str, object]]
    timesteps: int
    picture: str
    conditioning: str
    model: str


@dataclasses.dataclass(eq=False)
class Session:
    """One browser. ``turn``: the newest it asked; ``work``: what is under way for it; ``memory`` belongs to ``station`` and ``context``, and
    ``memory_lost`` says that others needed the room. ``on_page``: fingerprints of the pictures last sent. ``last_used``: when it last asked."""

    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)
    turn: int = 0
    work: Generator[Answer | None] = dataclasses.field(default_factory=lambda: (_ for _ in ()))
    station: str = ""
    context: "LearnContext | None" = None
    memory: Memory = dataclasses.field(default_factory=dict)
    memory_lost: bool = False
    on_page: set[int] = dataclasses.field(default_factory=set)
    last_used: float = 0.0

    def advance(self, turn: int) -> Answer:
        """The next piece of what is under way, for one who holds the lock."""
        end = time.monotonic() + TURN_SECONDS
        for answer in self.work:
            if answer is not None or time.monotonic() > end or self.turn > turn:
                return {"more": True, **(answer or {})}
        return {"more": False}

    def request(self, spec: StationSpec, context: "LearnContext", query: Query) -> StationRequest:
        """The query as the station takes it, with this session's memory; a new one at another station, model or picture."""
        if self.station != spec.id or self.context is not context:
            self.memory_lost = self.memory_lost and self.station == spec.id
            self.station, self.context, self.memory = spec.id, context, {}
        timestep = min(query.t, context.timesteps - 1) if query.t >= 0 else round(DEFAULT_T * context.timesteps)
        values = spec.read(query.values)
        return StationRequest(spec.id, query.lang, timestep, query.seed, values, query.pressed, self.memory)

    def free(self) -> None:
        """Drop the memory, with what is under way; not while somebody waits for it."""
        if self.lock.acquire(blocking=False):
            self.work.close()
            self.memory_lost, self.context, self.memory = bool(self.memory), None, {}
            self.lock.release()


class LearnSessions:
    """The sessions of all browsers, one object per app. ``warm`` is set once torch is imported."""

    def __init__(self, models: ModelChoices, warm: threading.Event):
        self.models, self.access, self.warm = models, models.access, warm
        self._sessions: dict[str, Session] = {}
        self._contexts: dict[tuple[str, object, str], LearnContext] = {}
        self._pictures: dict[str, Image.Image] = {}
        self._opening, self._at_work = threading.Lock(), threading.Semaphore(MAX_AT_WORK)

    # ---- what the browser calls -------------------------------------------------------------------------------------
    def ask(self, data: Mapping[str, object]) -> Answer:
        """The answer to a new query, or, with "more", what came since the last answer."""
        query = Query.parse(data)
        session = self._session(query.client)
        session.turn = max(query.turn, session.turn)
        if not self._at_work.acquire(timeout=TURN_SECONDS):
            return {"more": True, "again": True, "status": t("ui.learn.waiting", query.lang)}
        try:
            with session.lock:
                if query.turn < session.turn:
                    return {"stale": True}
                if not query.more:
                    session.work.close()
                    session.work = self._work(session, query)
                return session.advance(query.turn)
        finally:
            self._at_work.release()
            self._free_memories()

    def add_picture(self, data: bytes) -> str:
        """Remember a viewer's own picture; returns the key to ask for it by. Raises Problem("picture_unfit")."""
        try:
            picture = decode.read(data[:PICTURE_BYTES])
        except decode.UnusableImage as unfit:
            raise Problem("picture_unfit", name="", reason=unfit.reason) from unfit
        picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
        key = "own:" + hashlib.blake2b(data, digest_size=8).hexdigest()
        _remember(self._pictures, key, picture, MAX_PICTURES)
        return key

    # ---- the work ---------------------------------------------------------------------------------------------------
    def _work(self, session: Session, query: Query) -> Generator[Answer | None]:
        """What the browser gets, piece by piece; problems in words."""
        try:
            spec = stations.SPECS[query.station]
            if not self.warm.is_set():
                yield {"status": t("ui.learn.warming", query.lang)}
            context = self.context(query.model, query.picture, query.visitor)
            if not query.insists and not _has(context, spec.needs):
                context = self.context(f"shipped:{spec.model}", query.picture, query.visitor)
                yield {
                    "note": t(f"ui.learn.needs_{spec.needs}", query.lang, model=spec.model),
                    "model": f"shipped:{spec.model}",
                }
            if spec.whole:
                yield {"status": t("ui.learn.decoding", query.lang)}
                _ = context.pictures
            request = session.request(spec, context, query)
            if session.memory_lost:
                session.memory_lost = False
                yield {"note": t("ui.learn.forgotten", query.lang)}
            for panels in _slices(spec, context, request):
                yield None if panels is None else _answer(panels, context, session.on_page, query.key_frame)
                if panels is not None and query.key_frame:
                    return
        except Exception as error:
            if not isinstance(error, Problem):
                traceback.print_exc()
            yield {"error": problem_on_page(self.access.redact(explain(error)), query.lang)}

    def context(self, model: str, picture: str, visitor: str = "") -> "LearnContext":
        """A model ("shipped:NAME", "run:NAME") with a picture (its number, the key of a viewer's own, or "" for the first that is
        offered). Raises Problem."""
        jobs.engine()
        from ddpm_app.learn.context import open_context
        from ddpm_app.model.loaded import is_loaded

        location = self.models.location(model, "")
        self.access.require_pictures(location, visitor)
        key = str(location), saved_version(location), picture
        if context := self._contexts.get(key):
            return context
        with self._opening:  # the page asks for panels and thumbnails at once
            if key not in self._contexts:
                context = open_context(location, picture, self._pictures.get(picture))
                contexts = {old: c for old, c in self._contexts.items() if is_loaded(c.model)}
                _remember(contexts, key, context, MAX_CONTEXTS)
                self._contexts = contexts
            return self._contexts[key]

    # ---- who is there -----------------------------------------------------------------------------------------------
    def _session(self, client: str) -> Session:
        session = self._sessions.get(client) or Session()
        session.last_used = time.monotonic()
        _remember(self._sessions, client, session, MAX_SESSIONS)
        return session

    def _free_memories(self) -> None:
        """Free those of the sessions that asked longest ago."""
        holders = [session for session in list(self._sessions.values()) if session.memory]
        for session in holders[:-MAX_MEMORIES]:
            session.free()
        for session in holders[-MAX_MEMORIES:]:
            if time.monotonic() - session.last_used > IDLE_SECONDS:
                session.free()


def _slices(spec: StationSpec, context: "LearnContext", request: StationRequest) -> "Iterator[list[Panel] | None]":
    """The turns of a station's generator, each with the device held where it needs that."""
    turns = stations.load(spec.id)(context, request)
    while True:
        with DEVICE if spec.network else contextlib.nullcontext():
            try:
                panels = next(turns)
            except StopIteration:
                return
        yield panels


def _has(context: "LearnContext", need: str) -> bool:
    """Whether a model has what a station needs (see StationSpec)."""
    codec, conditioning = context.model.codec, context.model.conditioning
    return {"": True, "latents": codec.vae is not None, "condition": conditioning.kind != "none"}[need]


def _answer(panels: "list[Panel]", context: "LearnContext", on_page: set[int], key_frame: bool) -> Answer:
    """With all panels, or, of a key frame, with what moves; ``on_page`` is brought up to what the page has then."""
    records = [dataclasses.asdict(panel) for panel in panels]
    if key_frame:
        records = key_frames.lighten(records, on_page)
    else:
        on_page.clear()
        on_page |= key_frames.fingerprints(records)
    return {
        "panels": records,
        "timesteps": context.timesteps,
        "picture": context.key,
        "conditioning": context.model.conditioning.kind,
    }


def _string(data: Mapping[str, object], name: str) -> str:
    return str(data.get(name) or "")


def _integer(value: object) -> int:
    try:
        return int(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return 0


_K = TypeVar("_K")
_V = TypeVar("_V")


def _remember(cache: MutableMapping[_K, _V], key: _K, value: _V, most: int) -> None:
    """Put ``value`` last, and drop the first beyond ``most``."""
    cache.pop(key, None)
    cache[key] = value
    while len(cache) > most:
        cache.pop(next(iter(cache)))
