"""A plan must not depend on the moment of the rehearsal: starts of one preset, some of them beside a busy process, and what was planned.

`python tests/benchmarks/plan.py` starts `latent-128` five times in the terminal, the second and the fourth beside a process that spins on
every core, lets each train --steps steps beyond its second look, and stops it. For each start it prints the steps of the first plan and of the
settled one, the real steps per second after the second look, and how long the settled steps take at that speed, as a share of the time the plan
says. Exit status 1 when these shares differ by more than 15 %, or when a run is shorter than what draws a picture. About two minutes a start.
`--write` keeps the table in tests/benchmarks/plan.md.
"""

import argparse
import contextlib
import itertools
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from ddpm_app.errors import Problem  # noqa: E402
from ddpm_app.runs import registry  # noqa: E402
from ddpm_app.runs.run import Run  # noqa: E402
from ddpm_app.train.plan import FEWEST_STEPS  # noqa: E402

MOST_SPREAD = 0.15
PATIENCE_SECONDS = 900
SPIN = "import numpy as np\na = np.ones((400, 400))\nwhile True: a @ a"


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes that compute without end."""
    alone = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    spinning = [subprocess.Popen([sys.executable, "-c", SPIN], env=alone) for _ in range(processes)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def step_times(run: Run) -> list[float]:
    """Seconds of the steps after the second look, without those that a preview or a checkpoint lies in between."""
    look_step = run.plan["look_step"]
    rows = [row for row in run.read_metrics()[0] if row["kind"] == "step" and row["step"] > look_step + 1]
    times = sorted(b["seconds"] - a["seconds"] for a, b in itertools.pairwise(rows))
    return times[: max(1, len(times) - len(times) // 10)]


def started(folder: pathlib.Path, preset: str, steps: int) -> Run:
    """A run of ``preset`` that was stopped so many steps after its second look."""
    command = ["-m", "ddpm_app", "train", "--preset", preset, "--output_dir", "it", "--runs_dir", str(folder), "--yes"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
    process, end = subprocess.Popen([sys.executable, *command], cwd=ROOT, **quiet), time.monotonic() + PATIENCE_SECONDS
    try:
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.5)
            with contextlib.suppress(Problem):
                run = registry.find(folder, "it")
                plan = run.plan
                if plan and plan["first_course"] and run.status["step"] >= plan["look_step"] + steps:
                    run.request(stop=True)
        assert process.wait(60) == 0
    finally:
        process.kill()
    return registry.find(folder, "it")


def table(args: argparse.Namespace, home: pathlib.Path) -> tuple[list[str], bool]:
    """The table's lines, and whether the bar is met."""
    lines = ["| start | first plan | settled | steps per second | takes, of its plan |", "|---|---|---|---|---|"]
    shares, enough = [], True
    for k in range(args.starts):
        beside = k % 2 == 1 and k // 2 < args.busy
        with busy(os.cpu_count() or 1) if beside else contextlib.nullcontext():
            run = started(home / str(k), args.preset, args.steps)
        plan, seconds = run.plan, statistics.mean(step_times(run))
        shares.append(seconds / plan["step_seconds"])
        enough &= plan["total_steps"] >= FEWEST_STEPS
        name = "beside a busy process" if beside else "alone"
        first = plan["first_course"]["total_steps"]
        lines.append(f"| {name} | {first} | {plan['total_steps']} | {1 / seconds:.2f} | {shares[-1]:.0%} |")
        print(lines[-1], flush=True)
    spread = max(shares) / min(shares) - 1
    lines += ["", f"They differ by {spread:.0%} at the most; the bar is {MOST_SPREAD:.0%}."]
    return lines, enough and spread < MOST_SPREAD


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="latent-128")
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--busy", type=int, default=2, help="starts beside a busy process")
    parser.add_argument("--steps", type=int, default=40, help="steps after the second look")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        lines, good = table(args, pathlib.Path(home))
    print("\n".join(lines))
    if args.write:
        page = "# Plans of one preset, started again and again\n\n" + "\n".join(lines) + "\n"
        pathlib.Path(__file__).with_suffix(".md").write_text(page, encoding="utf-8")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
