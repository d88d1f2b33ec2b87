"""How far the presets with latents, labels and words come in their minutes, on this machine.

`python tests/benchmarks/latent.py` trains each preset and draws as many pictures as it compares with fresh specimens; latent-128 also
stands beside pixel training at 128 px with the same minutes. Prints a table; `--write` keeps it in tests/benchmarks/latent.md and the grids in
assets/readme/. About 30 minutes on two idle cores; run nothing else meanwhile.
"""

import argparse
import os
import pathlib
import sys
import tempfile

from ddpm_app.images import image_grid
from ddpm_app.model import loaded
from ddpm_app.runs.run import Run

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]

import distance  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from frechet import REAL_SEEDS, cpu_name, trained  # noqa: E402

from ddpm_app import presets, sample, specimens  # noqa: E402
from ddpm_app.data import preprocess  # noqa: E402
from ddpm_app.model import pipeline  # noqa: E402

RESULTS = ROOT / "tests" / "benchmarks" / "latent.md"
PIXELS = dict(vae=None, unet="small", train_batch_size=16, preview_images=1)
"""What makes latent-128 a run in pixels: the network of the pixel presets."""
CAPTION_SEED = 903
PROMPTS = (
    "a blue butterfly",
    "a yellow butterfly",
    "an orange butterfly",
    "a green moth with long tails",
    "a white butterfly",
    "a purple butterfly",
    "a black butterfly with yellow bands",
    "a red butterfly with eyespots",
    "a brown butterfly",
    "a white butterfly with orange tips",
    "a black and green butterfly",
    "a blue butterfly with black margins",
)
ACROSS = 4
COLUMNS = (
    "preset",
    "minutes",
    "steps",
    "s per step",
    "real against real",
    "the autoencoder's reconstructions",
    "this preset",
    "in pixels, same minutes",
)


def real(count: int, size: int, seed: int) -> list[specimens.Specimen]:
    """Fresh specimens, held out by construction, at least 128 px."""
    return list(specimens.draw_many(count, max(128, size), seed))


def pixels(found: list[specimens.Specimen], size: int) -> np.ndarray:
    """The specimens as the data path makes them: uint8 [N, size, size, 3]."""
    return np.stack([preprocess.square(one.image, size, "squash", 3) for one in found])


def given_back(vae: str, pictures: np.ndarray) -> np.ndarray:
    """The pictures through the autoencoder and back."""
    codec = pipeline.load_vae(vae)
    parts = [
        codec.decode(codec.encode(preprocess.to_tensors(part)))
        for part in np.array_split(pictures, max(1, len(pictures) // 16))
    ]
    return np.concatenate([preprocess.to_display(part) for part in parts])


def drawn(run: Run, **asked) -> list:
    """Pictures of the run's averaged weights, at the guidance of its previews."""
    request = sample.Request(guidance_scale=run.config.preview_guidance_scale, **asked)
    *_, (_, images) = sample.draw(loaded.load_model(run.path), request)
    return images


def sheet(run: Run, kind: str):
    """12 prompts or species, 4 pictures each, a row for two of them; or 32 pictures where nothing is asked."""
    if kind == "none":
        return image_grid(drawn(run, num_images=32), columns=8)
    every = {"prompt": PROMPTS} if kind == "text" else {"labels": range(len(PROMPTS))}
    asked = {name: tuple(one for one in values for _ in range(ACROSS)) for name, values in every.items()}
    return image_grid(drawn(run, num_images=12 * ACROSS, **asked), columns=2 * ACROSS)


def row(name: str, folder: pathlib.Path, count: int, write: bool) -> str:
    """Train the preset, measure, and word the table's line."""
    config = presets.build(name)
    size = config.image_size
    one, other = (pixels(real(count, size, seed), size) for seed in REAL_SEEDS)
    held_out = distance.features(one)
    floor = distance.frechet(held_out, distance.features(other))

    def far(pictures) -> str:
        found = distance.frechet(distance.features(np.stack([np.asarray(p) for p in pictures])), held_out)
        return f"{found:.3f} ({found / floor:.1f} x)"

    run = trained(name, folder)
    kind = config.conditioning
    asked = {"prompt": tuple(s.caption for s in real(count, 128, CAPTION_SEED))} if kind == "text" else {}
    mine = far(drawn(run, num_images=count, batch_size=32, **asked))
    cells = [f"`{name}`", *spent(run), f"{floor:.3f}", far(given_back(config.vae, other)) if config.vae else "", mine]
    if name == "latent-128":
        # With previews and validation a minute would leave it no time at all: as many steps as the minutes have room for.
        tried = trained(name, folder, output_dir=f"{name}-tried", max_train_steps=1, **PIXELS)
        steps = round(config.max_train_minutes * 60 / tried.plan["step_seconds"])
        rival = trained(name, folder, output_dir=f"{name}-pixels", max_train_steps=steps, **PIXELS)
        minutes, _, seconds = spent(rival)
        cells.append(
            f"{far(drawn(rival, num_images=count, batch_size=32))}; {steps} steps of {seconds} s in {minutes} min"
        )
    else:
        cells.append("")
    if write:
        sheet(run, kind).save(ROOT / "assets" / "readme" / f"{name}.webp", quality=88, method=6)
    return "| " + " | ".join(cells) + " |"


def spent(run: Run) -> tuple[str, str, str]:
    """(minutes in the loop, steps, seconds per step) of a finished run."""
    seconds = next(r["seconds"] for r in reversed(run.read_metrics()[0]) if r["kind"] == "step")
    steps = run.plan["total_steps"]
    return f"{seconds / 60:.1f}", str(steps), f"{run.plan['step_seconds']:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--presets", default="latent-128,words-128,species-64,latent-256")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--runs_dir", type=pathlib.Path, help="keep the runs here")
    args = parser.parse_args()
    heads = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    kept = RESULTS.read_text().splitlines() if RESULTS.is_file() else []
    rows = {line.split("`")[1]: line for line in kept if line.startswith("| `")}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.presets.split(","):
            rows[name] = row(name, args.runs_dir or pathlib.Path(folder), args.count, args.write)
            print(rows[name], flush=True)
    machine = (
        f"{len(os.sched_getaffinity(0))} cores of {cpu_name()}, torch {torch.__version__}, {args.count} pictures each"
    )
    what = "Frechet distance, random-feature kind (tests/benchmarks/distance.py)"
    table = "\n".join([*heads, *rows.values(), "", f"{what}; {machine}. Seconds per step are the rehearsal's."])
    if args.write:
        RESULTS.write_text(table + "\n")


if __name__ == "__main__":
    main()
