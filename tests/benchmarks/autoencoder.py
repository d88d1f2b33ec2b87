"""How well autoencoders give pictures back, in decibels: the built-in specimens and any folders, at 64, 128 and 256 px.

`python tests/benchmarks/autoencoder.py FOLDER ... [--vae NAME ...]` prints a table (limits: under 22 dB looks wrong) over COUNT pictures of
each set, and with `--grid FILE` writes originals over reconstructions. A NAME is what the setting vae takes. `--write` keeps the table in
tests/benchmarks/autoencoder.md.
"""

import argparse
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from frechet import cpu_name  # noqa: E402
from PIL import Image  # noqa: E402

from ddpm_app.config import from_dict  # noqa: E402
from ddpm_app.data.image_dataset import load  # noqa: E402
from ddpm_app.data.preprocess import to_images  # noqa: E402
from ddpm_app.model import pipeline  # noqa: E402
from ddpm_app.model.reconstruction import psnr  # noqa: E402

RESULTS = ROOT / "tests" / "benchmarks" / "autoencoder.md"
SIZES, COUNT, SHOWN = (64, 128, 256), 96, 8
SPECIMENS = {64: "butterflies", 128: "butterflies", 256: "butterflies-256"}


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", help="sets beside the specimens")
    parser.add_argument("--vae", nargs="+", default=["pictures-vae"], help="autoencoders to compare")
    parser.add_argument("--resize_mode", default="pad")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--grid", type=pathlib.Path)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    codecs = {name: pipeline.load_vae(name) for name in args.vae}
    columns = [f"{name}, {size} px" for name in args.vae for size in args.sizes]
    lines, rows = [f"| set (pictures) | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"], []
    print("\n".join(lines))
    for folder in ["specimens", *args.folders]:
        figures, count = {}, 0
        for size in args.sizes:
            name = SPECIMENS[size] if folder == "specimens" else folder
            data = load(from_dict(dict(dataset_name=name, image_size=size, resize_mode=args.resize_mode)))
            # of the specimens those that no autoencoder of ours has learnt from
            of = data.held_out if folder == "specimens" else np.arange(len(data))
            chosen = of[np.linspace(0, len(of) - 1, min(COUNT, len(of))).round().astype(int)]
            count, x = len(chosen), data.tensors(chosen)
            for label, codec in codecs.items():
                y = torch.cat([codec.decode(codec.encode(part)) for part in x.split(8)])
                figures[label, size] = float(np.mean([psnr(a, b) for a, b in zip(x, y, strict=True)]))
                if size == 128:
                    rows += [x[:SHOWN]] * (label == args.vae[0]) + [y[:SHOWN]]
        cells = [f"{figures[name, size]:.1f}" for name in args.vae for size in args.sizes]
        lines.append(f"| {pathlib.Path(folder).name} ({count}) | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    note = f"Mean PSNR in decibels; pictures made square by {args.resize_mode}. {os.cpu_count()} cores of {cpu_name()}, torch {torch.__version__}."
    print(f"\n{note}")
    if args.write:
        RESULTS.write_text("\n".join([*lines, "", note]) + "\n", encoding="utf-8")
    if args.grid and rows:
        strips = [np.concatenate([np.asarray(image) for image in to_images(row)], 1) for row in rows]
        Image.fromarray(np.concatenate(strips, 0)).save(args.grid)


if __name__ == "__main__":
    main()
