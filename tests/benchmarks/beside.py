"""What a student who clicks through Learn costs a training run in the same app.

`python tests/benchmarks/beside.py` trains two presets and asks stations beside them as a browser does. `--write` keeps the table in
tests/benchmarks/beside.md. About 9 minutes on two idle cores; run nothing else meanwhile. Figures only: a slow machine fails nothing.
"""

import argparse
import pathlib
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "benchmarks")]

from kits import page as page_kit  # noqa: E402
from kits.learn import Client  # noqa: E402
from learn import tell  # noqa: E402

from ddpm_app import jobs, presets  # noqa: E402
from ddpm_app.learn import stations  # noqa: E402
from ddpm_app.learn.sessions import LearnSessions  # noqa: E402
from ddpm_app.runs.metrics import last_row  # noqa: E402

MODELS = {"latent": "shipped:butterflies-words", "words": "shipped:butterflies-words"}
TRAINED = dict(max_train_steps=100_000, save_image_epochs=1_000_000, save_model_epochs=1_000_000)
"""No pictures or checkpoints within the minutes that are compared; the run outlasts them and is stopped."""
WINDOW_SECONDS, EVERY_SECONDS, ROUNDS = 60, 10, 2


def beside_training() -> list[str]:
    """A row per preset: steps a second alone, and while a student moves one control every EVERY_SECONDS at one station after the other."""
    rows = ["| training | alone | with a student | slower by | bar | holds |", "|---|---|---|---|---|---|"]
    jobs.engine()
    for preset in ("first-butterflies", "latent-128"):
        with tempfile.TemporaryDirectory() as folder:
            _, studio = page_kit.build(folder)
            studio.warm.set()
            student, turn = Client(LearnSessions(studio.models, studio.warm)), 0
            for name in stations.ORDER:  # models and data are loaded before
                turn += 1
                student.ask_all(station=name, model=MODELS.get(name, "shipped:butterflies-64"))
            run = studio.jobs.start(presets.build(preset, **TRAINED))
            run.request(go=True)  # it is long
            while run.status["state"] != "training" or not last_row(run.metrics_path):
                time.sleep(0.5)
            rates: dict[bool, list[float]] = {False: [], True: []}
            for k in range(2 * ROUNDS):
                before, began = last_row(run.metrics_path)["step"], time.monotonic()
                for part in range(WINDOW_SECONDS // EVERY_SECONDS):
                    if k % 2:
                        turn += 1
                        name = stations.ORDER[(k * WINDOW_SECONDS // EVERY_SECONDS + part) % len(stations.ORDER)]
                        student.ask_all(
                            station=name, t=100 + 37 * turn % 800, model=MODELS.get(name, "shipped:butterflies-64")
                        )
                    time.sleep(max(0.0, began + (part + 1) * EVERY_SECONDS - time.monotonic()))
                rates[bool(k % 2)].append((last_row(run.metrics_path)["step"] - before) / (time.monotonic() - began))
            run.request(stop=True)
            studio.jobs.join()
        alone, beside = statistics.mean(rates[False]), statistics.mean(rates[True])
        told = [", ".join(f"{rate:.2f}" for rate in rates[student]) for student in (False, True)]
        slower, held = f"{100 * (1 - beside / alone):.0f} %", "yes" if beside > 0.7 * alone else "**no**"
        rows.append(f"| {preset} | {told[0]} steps/s | {told[1]} steps/s | {slower} | 30 % | {held} |")
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    told = "Training steps a second over a minute, in turns alone and while a student moves one control every 10 s, at one station after the other."
    tell(beside_training(), told, pathlib.Path(__file__), args.write)


if __name__ == "__main__":
    main()
