"""How far the quick presets' pictures are from held-out specimens, beside the tutorial's recipe and the real-against-real floor.

`python tests/benchmarks/frechet.py` trains each preset and, with the same network and minutes, the tutorial's recipe; draws as many
pictures as it compares; prints a table. `--write` keeps it in tests/benchmarks/frechet.md and the grids in assets/readme/. About 20
minutes on two idle cores; run nothing else meanwhile.
"""

import argparse
import os
import pathlib
import platform
import sys
import tempfile

from ddpm_app.images import image_grid
from ddpm_app.model import loaded
from ddpm_app.runs import registry
from ddpm_app.runs.run import Run
from ddpm_app.status import RunControl

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]

import distance  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from ddpm_app import jobs, presets, sample, specimens  # noqa: E402
from ddpm_app.data import preprocess  # noqa: E402

TUTORIAL = dict(
    prediction_type="epsilon",
    beta_schedule="linear",
    learning_rate=1e-4,
    lr_warmup_steps=500,
    train_batch_size=16,
    optimizer="adamw",
    weight_decay=1e-2,
    use_ema=False,
    loss_weighting="none",
)
RESULTS = ROOT / "tests" / "benchmarks" / "frechet.md"
REAL_SEEDS = (901, 902)
"""Specimens drawn from these seeds are in no data set: held out by construction."""


def real(count: int, size: int, seed: int) -> np.ndarray:
    """Fresh specimens, made small as the data path makes them: uint8 [count, size, size, 3]."""
    return np.stack([preprocess.square(s.image, size, "squash", 3) for s in specimens.draw_many(count, 128, seed)])


def trained(preset: str, folder: pathlib.Path, **changes) -> Run:
    """Train a preset to its end."""
    run = registry.create(folder, presets.build(preset, **changes))
    for _ in jobs.work(run, RunControl(run)):
        pass
    return run


def drawn(run: Run, count: int) -> list:
    """Pictures of the run's averaged weights."""
    images: list = []
    for _, images in sample.draw(loaded.load_model(run.path), sample.Request(num_images=count, batch_size=64)):  # noqa: B007
        pass
    return images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--presets", default="first-butterflies,butterflies-64")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    heads = [
        "| preset | minutes | steps | real against real | this preset | the tutorial's recipe |",
        "|---|---|---|---|---|---|",
    ]
    kept = RESULTS.read_text().splitlines() if RESULTS.is_file() else []
    rows = {line.split("`")[1]: line for line in kept if line.startswith("| `")}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.presets.split(","):
            config = presets.build(name)
            held_out, other = (distance.features(real(args.count, config.image_size, seed)) for seed in REAL_SEEDS)
            floor = distance.frechet(held_out, other)
            place = pathlib.Path(folder)
            runs_of = {
                "ours": trained(name, place),
                "tutorial": trained(name, place, output_dir=f"{name}-tutorial", **TUTORIAL),
            }
            far, seconds = {}, {}
            for recipe, run in runs_of.items():
                images = drawn(run, args.count)
                far[recipe] = distance.frechet(distance.features(np.stack([np.asarray(i) for i in images])), held_out)
                seconds[recipe] = next(
                    row["seconds"] for row in reversed(run.read_metrics()[0]) if row["kind"] == "step"
                )
                if args.write and recipe == "ours":
                    sheet = image_grid(images[:32], columns=8)
                    sheet.resize((sheet.width * 2, sheet.height * 2), 0).save(
                        ROOT / "assets" / "readme" / f"{name}.png", optimize=True
                    )
            rows[name] = (
                f"| `{name}` | {seconds['ours'] / 60:.1f} | {runs_of['ours'].plan['total_steps']} | {floor:.3f} | "
                f"{far['ours']:.3f} ({far['ours'] / floor:.1f} x) | {far['tutorial']:.3f} ({far['tutorial'] / floor:.0f} x) |"
            )
            print(rows[name], flush=True)
    machine = (
        f"{len(os.sched_getaffinity(0))} cores of {cpu_name()}, torch {torch.__version__}, {args.count} pictures each"
    )
    table = "\n".join(
        [
            *heads,
            *rows.values(),
            "",
            f"Frechet distance, random-feature kind (tests/benchmarks/distance.py); {machine}.",
        ]
    )
    print(table)
    if args.write:
        RESULTS.write_text(table + "\n")


def cpu_name() -> str:
    """The processor's name where the system tells it."""
    try:
        return next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


if __name__ == "__main__":
    main()
