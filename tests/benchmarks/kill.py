"""kill -9 at random moments, from the first second on: every run resumes and ends with the weights of an undisturbed one.

`python tests/benchmarks/kill.py` trains `quick-check` in the terminal once undisturbed, then --kills times anew: each is
killed at a random moment of its life (starting, decoding, rehearsing, training, saving) and resumed to its end. Prints a table and a
verdict; exit status 1 when a run came out otherwise. About half a minute per kill on an idle machine. `--write` keeps the
table in tests/benchmarks/kill.md.
"""

import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from kits.engine import outcome  # noqa: E402

from ddpm_app.errors import Problem  # noqa: E402
from ddpm_app.runs import registry  # noqa: E402
from ddpm_app.runs.run import Run  # noqa: E402

OPTIONS = ["--preset", "quick-check", "--mixed_precision", "no", "--threads", "1", "--device", "cpu"]
FIRST_SECOND = 1.0


def start(folder: pathlib.Path, verb: str, *options: str) -> subprocess.Popen:
    """A command of the terminal; each run has a cache of its own, so that decoding is hit too."""
    command = [sys.executable, "-m", "ddpm_app", verb, *options, "--runs_dir", str(folder)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"DDPM_CACHE": str(folder / ".cache")}, **quiet)


def killed(folder: pathlib.Path, seconds: float) -> str:
    """Start a run and kill it after ``seconds``; in words where it was, "" when it had ended before."""
    process = start(folder, "train", *OPTIONS, "--output_dir", "it")
    try:
        process.wait(seconds)
        return ""
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    try:
        run = registry.find(folder, "it")
    except Problem:
        return "no run yet"
    rows, _, _ = run.read_metrics()
    return f"{run.status.get('phase') or '-'}, step {rows[-1]['step'] if rows else 0}"


def resumed(folder: pathlib.Path) -> tuple[int, Run]:
    """Resume the run to its end (start it where the kill came before it had a folder); (exit status, run)."""
    there = (folder / "it" / "config.json").exists()
    command = ("resume", "it", "--yes") if there else ("train", *OPTIONS, "--output_dir", "it")
    return start(folder, *command).wait(), registry.find(folder, "it")


def campaign(kills: int, seed: int, home: pathlib.Path) -> tuple[list[str], bool]:
    """The table's lines and whether all went well."""
    begun = time.monotonic()
    assert start(home / "undisturbed", "train", *OPTIONS, "--output_dir", "it").wait() == 0
    life = time.monotonic() - begun
    wanted = outcome(registry.find(home / "undisturbed", "it"))
    draw, good, count = random.Random(seed), 0, 0
    lines = [
        f"Undisturbed: {life:.1f} s.",
        "",
        "| kill | after | where | resumed from | weights | metrics |",
        "|---|---|---|---|---|---|",
    ]
    while count < kills:
        folder, moment = home / f"kill-{count}-{time.monotonic_ns()}", draw.uniform(FIRST_SECOND, life)
        where = killed(folder, moment)
        if not where:
            continue
        count += 1
        saved = Run(folder / "it").checkpoints
        status, run = resumed(folder)
        got = outcome(run) if status == 0 else {}
        weights = {k: v for k, v in wanted.items() if k != "metrics"} == {
            k: v for k, v in got.items() if k != "metrics"
        }
        metrics = got.get("metrics") == wanted["metrics"]
        good += weights and metrics
        words = ("equal" if same else "DIFFERENT" if got else f"EXIT {status}" for same in (weights, metrics))
        lines.append(
            f"| {count} | {moment:.2f} s | {where} | {saved[-1].name if saved else 'the start'} | {' | '.join(words)} |"
        )
        print(lines[-1], flush=True)
    lines += [
        "",
        f"{good} of {kills} killed runs resumed and ended with the undisturbed run's weights, average, optimiser and metrics.",
    ]
    return lines, good == kills


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        lines, good = campaign(args.kills, args.seed, pathlib.Path(home))
    print("\n".join(lines))
    if args.write:
        pathlib.Path(__file__).with_suffix(".md").write_text(
            "# kill -9 at random moments\n\n" + "\n".join(lines) + "\n", encoding="utf-8"
        )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
