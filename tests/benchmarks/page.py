"""What the page costs: time and memory to the first page, bytes of a tick, and how much viewers slow a training down.

`python tests/benchmarks/page.py` starts the real app and talks to it over HTTP as a browser does. `--write` keeps the table in
tests/benchmarks/page.md. About 8 minutes on two idle cores; run nothing else meanwhile. Figures only: a slow machine fails nothing.
"""

import argparse
import asyncio
import contextlib
import importlib.metadata
import json
import os
import pathlib
import platform
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import httpx  # noqa: E402
import psutil  # noqa: E402
from kits import fabricated_runs  # noqa: E402

from ddpm_app.runs import registry  # noqa: E402
from ddpm_app.runs.metrics import MetricsWriter, last_row  # noqa: E402
from ddpm_app.runs.run import Run  # noqa: E402

SKIP = {"__type__": "update"}
STAYS = (None, SKIP, {"props": SKIP, **SKIP})
"""What gradio sends for an output that stays as it is: a state, a component, a gr.HTML."""
PREVIEWS, OTHERS, ROWS_PER_TICK = 200, 24, 30
"""Of the fabricated runs: preview pictures of a long one, finished runs beside it, training steps between two ticks."""
TRAINED = dict(
    max_train_steps="1000000", max_train_minutes="", save_image_epochs="1000000", save_model_epochs="1000000"
)
"""No pictures or checkpoints within the turns that are compared, and a run that outlasts them: it is stopped."""
HTTP: dict[str, Any] = dict(trust_env=False, timeout=120)


@contextlib.contextmanager
def serve(folder: pathlib.Path) -> Iterator[tuple[str, float, int]]:
    """The app on a free port: its address, seconds from its start to the first page served, resident bytes then."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url, began = f"http://127.0.0.1:{port}", time.perf_counter()
    command = [sys.executable, "app.py", "--port", str(port), "--runs_dir", str(folder)]
    app = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        page = None
        while page is None:
            with contextlib.suppress(httpx.TransportError):
                page = httpx.get(url, **HTTP).raise_for_status()
            if app.poll() is not None:
                raise SystemExit("the app ended before it served a page")
            time.sleep(0.01)
        yield url, time.perf_counter() - began, psutil.Process(app.pid).memory_info().rss
    finally:
        app.terminate()
        app.wait(60)


class Answer(NamedTuple):
    """Of one call: bytes sent to the viewer with headers; the same if something gzipped the stream; whether it had news; seconds."""

    sent: int
    packed: int
    news: bool
    seconds: float


class Viewer:
    """A browser with the page open: the values of its components, and a session at the server."""

    def __init__(self, client: httpx.AsyncClient, config: dict[str, Any]):
        self.client, self.config, self.session, self.api = client, config, secrets.token_hex(6), config["api_prefix"]
        props = {part["id"]: part["props"] for part in config["components"]}
        self.values = {key: prop.get("value", prop.get("default_value")) for key, prop in props.items()}
        self.ids = {prop["elem_id"]: key for key, prop in props.items() if prop.get("elem_id")}
        self.timer = next(part["id"] for part in config["components"] if part["type"] == "timer")

    @property
    def seconds_between_ticks(self) -> float:
        """As the page's timer has it: the server may slow it down."""
        return self.values[self.timer]

    async def call(self, event: str, elem_id: str = "", into: str = "") -> Answer:
        """Set off the last listener of that event (of that component, that fills the component ``into``) as gradio's page does: join the
        queue and read the stream, or, for the timer's, ask the feed's function; put what comes into the components."""
        listeners = [
            (d, *target)
            for d in self.config["dependencies"]
            if d["backend_fn"] or event == "tick"
            for target in d["targets"]
        ]
        d, trigger, _ = next(
            listener
            for listener in reversed(listeners)
            if listener[2] == event
            and listener[1] == self.ids.get(elem_id, listener[1])
            and (not into or self.ids[into] in listener[0]["outputs"])
        )
        query = {
            "data": [self.values[key] for key in d["inputs"]],
            "session_hash": self.session,
        }
        if event == "tick":
            path, of_event = "component_server", {"component_id": self.ids["feed"], "fn_name": "poll"}
        else:
            path, of_event = "queue/join", {"fn_index": d["id"], "trigger_id": trigger}
        began = time.perf_counter()
        answers = [(await self.client.post(f"{self.api}/{path}", json=query | of_event)).raise_for_status()]
        if event != "tick":
            stream = await self.client.get(f"{self.api}/queue/data", params={"session_hash": self.session})
            lines = stream.raise_for_status().content.split(b"\n")
            messages = [json.loads(line[5:]) for line in lines if line.startswith(b"data:")]
            done = next(message for message in messages if message["msg"] == "process_completed")
            if not done["success"]:
                raise SystemExit(f"the page's {d['api_name']} failed: {done['output']}")
            news, answers = done["output"]["data"], [*answers, stream]
        else:
            news = answers[0].json()
        seconds = time.perf_counter() - began
        old = [self.values[key] for key in d["outputs"]]
        for key, value in zip(d["outputs"], news, strict=True):
            update = value if isinstance(value, dict) and value.get("__type__") == "update" else {"value": value}
            self.values[key] = update.get("value", self.values[key])
        headers = sum(len(name) + len(value) + 4 for answer in answers for name, value in answer.headers.raw)
        return Answer(
            headers + sum(answer.num_bytes_downloaded for answer in answers),
            headers + sum(len(zlib.compress(answer.content)) for answer in answers),
            any(new not in (*STAYS, before) for new, before in zip(news, old, strict=True)),
            seconds,
        )

    async def tick(self) -> Answer:
        """One second of the page: the tick, and the parts it calls stale."""
        first = await self.call("tick")
        if "stale" not in self.values[self.ids["feed"]]:
            return first
        rest = await self.call("click", "feed")
        return Answer(*(a + b for a, b in zip(first, rest, strict=True)))


@contextlib.asynccontextmanager
async def viewer(url: str) -> AsyncIterator[Viewer]:
    """Open the page; its session is kept alive as a browser does."""
    async with httpx.AsyncClient(base_url=url, **HTTP) as client:
        visitor = Viewer(client, (await client.get("/config")).json())
        async with client.stream("GET", f"{visitor.api}/heartbeat/{visitor.session}"):
            await visitor.call("then", into="feed")
            yield visitor


@contextlib.asynccontextmanager
async def audience(url: str, count: int) -> AsyncIterator[list[Answer]]:
    """``count`` viewers that tick as the page does until the block ends, and their answers so far."""
    answers: list[Answer] = []

    async def watch(start: float) -> None:
        await asyncio.sleep(start)
        async with viewer(url) as visitor:
            while True:
                due = time.perf_counter() + visitor.seconds_between_ticks
                answers.append(await visitor.tick())
                await asyncio.sleep(due - time.perf_counter())

    watching = [asyncio.create_task(watch(k / count)) for k in range(count)]
    try:
        yield answers
    finally:
        for task in watching:
            task.cancel()
        for end in await asyncio.gather(*watching, return_exceptions=True):
            if not isinstance(end, asyncio.CancelledError):  # a viewer that gave up would flatter the figures
                raise end


def started(count: int) -> list[str]:
    """Time and memory to the first page."""
    times, sizes = [], []
    for _ in range(count):
        with tempfile.TemporaryDirectory() as folder, serve(pathlib.Path(folder)) as (_, seconds, rss):
            times.append(seconds)
            sizes.append(rss / 1e6)
    every, seconds, size = (
        ", ".join(f"{time:.2f}" for time in times),
        statistics.median(times),
        statistics.median(sizes),
    )
    return [
        row(f"`python app.py` to the first page served, median of {every}", f"{seconds:.2f} s", "2.5 s", seconds < 2.5),
        row("resident memory then", f"{size:.0f} MB", "300 MB", size < 300),
    ]


async def ticked(steps: int, count: int) -> list[str]:
    """Bytes of a tick for a run of so many steps: once nothing changes, and while it trains."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for k in range(OTHERS):
            fabricated_runs.make_run(folder, f"butterflies-of-march-{k}", 20, previews=2)
        run = fabricated_runs.make_run(folder, steps=steps, total=2 * steps, previews=2)
        picture = run.samples[-1].read_bytes()
        for k in range(min(PREVIEWS, steps // ROWS_PER_TICK)):
            run.save_sample(steps * k // PREVIEWS, picture)
        with serve(folder) as (url, _, _):
            async with viewer(url) as visitor:
                for _ in range(90):  # a long run's curves are read over some seconds
                    await asyncio.sleep(1)
                    if not (await visitor.tick()).news:
                        break
                answers: dict[str, list[Answer]] = {"nothing new": [], "training": []}
                for k in range(2 * count):
                    if k >= count:
                        train_a_second(run, steps + ROWS_PER_TICK * (k - count), picture if k % 3 == 0 else None)
                    await asyncio.sleep(1)
                    answers["training" if k >= count else "nothing new"].append(await visitor.tick())
    return [tick_row(f"run of {steps:,} steps, {when}", ticks) for when, ticks in answers.items()]


def train_a_second(run: Run, step: int, picture: bytes | None) -> None:
    """Change the files of a run as a second of training does, with a new preview where a picture is given."""
    writer = MetricsWriter(run.metrics_path)
    for at in range(1, ROWS_PER_TICK + 1):
        writer.add(
            step + at, kind="step", loss=0.02 + 0.001 * (at % 7), lr=3.2e-4, grad_norm=0.3, seconds=(step + at) * 0.03
        )
    writer.close()
    if picture:
        run.save_sample(step, picture)
        run.log(f"step {step}: sampled step-{step:07}.png")
    fabricated_runs.at_work(
        run, step=step + ROWS_PER_TICK, loss=0.02, images_per_second=130 + step % 7, eta_seconds=step % 1000
    )


def tick_row(what: str, answers: list[Answer]) -> str:
    """Usual and greatest bytes; the bar is for the greatest."""
    usual, most, packed = (
        statistics.median(a.sent for a in answers),
        max(a.sent for a in answers),
        max(a.packed for a in answers),
    )
    measured = f"{usual / 1e3:.1f} kB, at most {most / 1e3:.1f} kB ({packed / 1e3:.1f} kB behind a proxy that gzips)"
    return row(
        f"a tick, {what} (news in {sum(a.news for a in answers)} of {len(answers)})", measured, "15 kB", most < 15e3
    )


async def trained(threads: int, viewers: int, seconds: float, rounds: int) -> list[str]:
    """Steps per second of one run, in turns without viewers and with them."""
    alone, watched, answers, own = [], [], [], 0.0
    with tempfile.TemporaryDirectory() as name, serve(pathlib.Path(name)) as (url, _, _):
        async with viewer(url) as visitor:
            visitor.values |= {
                visitor.ids[f"field-{field}"]: value for field, value in (TRAINED | {"threads": str(threads)}).items()
            }
            await visitor.call("click", "button-start")
        run = next(iter(registry.list_runs(pathlib.Path(name))), None) or sys.exit("Start started nothing")
        run.request(go=True)
        while last_row(run.metrics_path).get("step", 0) < 20:
            await asyncio.sleep(0.2)
            if not run.active:
                raise SystemExit(f"the run ended: {run.status.get('error')}")
        for _ in range(rounds):
            await asyncio.sleep(2)
            alone.append(await speed(run, seconds))
            async with audience(url, viewers) as ticks:
                await asyncio.sleep(4)  # until all have loaded the page
                before, spent = len(ticks), time.process_time()
                watched.append(await speed(run, seconds))
                answers += ticks[before:]
                own += time.process_time() - spent
        run.request(stop=True)
        while run.active:
            await asyncio.sleep(0.2)
    slower, length = 1 - statistics.mean(watched) / statistics.mean(alone), seconds * rounds
    turns = ", ".join(f"{a:.2f} / {b:.2f}" for a, b in zip(alone, watched, strict=True))
    wait = statistics.median(a.seconds for a in answers) * 1e3 if answers else float("nan")
    load = f"{len(answers) / length:.1f} ticks/s of {wait:.0f} ms; the viewers' own work: {own / length:.0%} of a core"
    what = f"training on {threads} threads, steps/s alone / with {viewers} viewers: {turns} ({load})"
    return [row(what, f"{slower:.1%} slower", "10%", slower < 0.1)]


async def speed(run: Run, seconds: float) -> float:
    """Steps per second over the next ``seconds``, by the training loop's own clock."""
    first = last_row(run.metrics_path)
    await asyncio.sleep(seconds)
    last = last_row(run.metrics_path)
    return (last["step"] - first["step"]) / max(last["seconds"] - first["seconds"], 1e-9)


def row(what: str, measured: str, bar: str, holds: bool) -> str:
    """A row of the table, printed at once."""
    line = f"| {what} | {measured} | {bar} | {'yes' if holds else '**no**'} |"
    print(line, flush=True)
    return line


def machine() -> str:
    """Cores, processor and library versions."""
    cpu = platform.processor()
    with contextlib.suppress(OSError, StopIteration):
        cpu = next(line.split(": ")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("gradio", "torch", "diffusers", "httpx")
    )
    return f"{len(os.sched_getaffinity(0))} cores of {cpu}, python {platform.python_version()}, {versions}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=3, help="starts of the app; 0 leaves this part out")
    parser.add_argument(
        "--steps", default="100,1000000", help='lengths of the runs whose ticks are counted; "" for none'
    )
    parser.add_argument("--ticks", type=int, default=12, help="ticks of each kind")
    parser.add_argument("--threads", default="1,2", help='training threads, one run for each; "" for none')
    parser.add_argument("--viewers", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=20, help="length of a turn without or with viewers")
    parser.add_argument("--rounds", type=int, default=3, help="turns of both kinds")
    parser.add_argument("--write", action="store_true", help="keep the table in tests/benchmarks/page.md")
    args = parser.parse_args()
    rows = started(args.starts) if args.starts else []
    for steps in filter(None, args.steps.split(",")):
        rows += asyncio.run(ticked(int(steps), args.ticks))
    for threads in filter(None, args.threads.split(",")):
        rows += asyncio.run(trained(int(threads), args.viewers, args.seconds, args.rounds))
    source = f"`python tests/benchmarks/page.py`; {machine()}."
    print(source)
    if args.write:
        lines = ["| what | measured | bar | holds |", "|---|---|---|---|", *rows, "", source, ""]
        (ROOT / "tests" / "benchmarks" / "page.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
