"""The weights that five short runs end with, as SHA-256: equal before and after a change that must not touch arithmetic.

`python tests/benchmarks/weights.py` trains them through the terminal in an empty runs folder (about four minutes on two cores) and prints a
table; `--root` runs another checkout of the project. Threads and precision are given, so that no measurement decides them.
"""

import argparse
import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
RUNS = {
    "quick-check": [],
    "latent-128": ["--max_train_steps", "40"],
    "words-128": ["--max_train_steps", "40"],
    "autoencoder-128": ["--max_train_steps", "40"],
    "species-64": ["--max_train_steps", "20"],
}
FIXED = ["--yes", "--threads", "2", "--mixed_precision", "no", "--device", "cpu"]


def weights_hash(run: pathlib.Path) -> str:
    """SHA-256 over all weights of a run: its pipeline's and its last checkpoint's, by name and content."""
    digest = hashlib.sha256()
    last = sorted((run / "checkpoints").iterdir())[-1]
    for folder in (run / "pipeline", last):
        for file in sorted(folder.rglob("*.safetensors")):
            digest.update(f"{file.relative_to(run)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="the checkout whose code trains")
    parser.add_argument("--runs_dir", type=pathlib.Path, help="keep the runs in this folder")
    parser.add_argument("--only", help="comma-separated presets; all by default")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (args.runs_dir or pathlib.Path(temporary)).resolve()
        print("| run | SHA-256 of the weights |\n|---|---|")
        for preset, options in RUNS.items():
            if args.only and preset not in args.only.split(","):
                continue
            command = [
                sys.executable,
                "-m",
                "ddpm_app",
                "train",
                "--preset",
                preset,
                "--runs_dir",
                str(folder),
                *FIXED,
                *options,
            ]
            subprocess.run(
                command, cwd=args.root, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"HF_HUB_OFFLINE": "1"}
            )
            print(f"| `{' '.join([preset, *options])}` | `{weights_hash(folder / preset)}` |", flush=True)


if __name__ == "__main__":
    main()
