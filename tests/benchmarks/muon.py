"""Seconds of an optimiser step on this machine: torch's Muon, which iterates in bfloat16, against ours in float32 on the Gram matrix.

`python tests/benchmarks/muon.py` times both in turns on the convolutions of the networks of some presets; `--write` keeps the table in
tests/benchmarks/muon.md. A minute on two idle cores. Figures only.
"""

import argparse
import contextlib
import os
import pathlib
import platform
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT)]

from ddpm_app import presets  # noqa: E402, I001 - it sets how threads wait before torch is imported

import torch  # noqa: E402

from ddpm_app.model.unet import build_unet  # noqa: E402
from ddpm_app.model.vae import build_vae  # noqa: E402
from ddpm_app.train.optimizer import ConvMuon, make_optimizers  # noqa: E402

PRESETS = ("first-butterflies", "latent-128", "autoencoder-128")
ROUNDS = 9


def steps(preset: str) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer, int]:
    """Torch's Muon and ours over the same convolutions with gradients, and how many weights they have."""
    config = presets.build(preset)
    network = build_vae(config) if config.objective == "autoencoder" else build_unet(config)
    ours = next(o for o in make_optimizers(config, network.parameters(), fused=False) if isinstance(o, ConvMuon))
    matrices = [torch.nn.Parameter(w.detach().reshape(len(w), -1).clone()) for w in ours.weights]
    for weight, matrix in zip(ours.weights, matrices, strict=True):
        weight.grad = torch.randn_like(weight)
        matrix.grad = weight.grad.reshape(len(weight), -1)
    theirs = torch.optim.Muon(matrices, lr=config.muon_learning_rate, weight_decay=0.0, momentum=0.95)
    return theirs, ours, sum(matrix.numel() for matrix in matrices)


def seconds(optimizer: torch.optim.Optimizer) -> float:
    began = time.perf_counter()
    optimizer.step()
    return time.perf_counter() - began


def machine() -> str:
    cpu = platform.processor()
    with contextlib.suppress(OSError, StopIteration):
        cpu = next(line.split(": ")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    bf16 = "with" if "avx512_bf16" in pathlib.Path("/proc/cpuinfo").read_text() else "without"
    return f"{len(os.sched_getaffinity(0))} cores of {cpu} {bf16} avx512_bf16, torch {torch.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep the table in tests/benchmarks/muon.md")
    args = parser.parse_args()
    lines = ["| network of | weights | torch's Muon | ours | ratio |", "|---|---|---|---|---|"]
    for preset in PRESETS:
        theirs, ours, count = steps(preset)
        turns = [(seconds(theirs), seconds(ours)) for _ in range(ROUNDS)][1:]
        slow, fast = (statistics.median(column) for column in zip(*turns, strict=True))
        lines.append(
            f"| `{preset}` | {count / 1e6:.1f}M | {slow * 1e3:.0f} ms | {fast * 1e3:.0f} ms | {slow / fast:.1f} |"
        )
        print(lines[-1], flush=True)
    lines += ["", f"Medians of {ROUNDS - 1}, in turns. `python tests/benchmarks/muon.py`; {machine()}.", ""]
    print("\n".join(lines))
    if args.write:
        pathlib.Path(__file__).with_suffix(".md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
