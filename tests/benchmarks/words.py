"""Do words mean something? How often a generated butterfly has the colour or the species that was asked for.

`python tests/benchmarks/words.py --run MODEL [--write]` trains a classifier on real specimens only, lets the model (a run's folder or
whatever else `sample.load` takes) draw 256 pictures for each question at guidance 1, 3 and 7, and prints the share that the classifier
finds right, beside a blind answer and beside real held-out specimens. `--write` keeps the table in tests/benchmarks/words.md. Without
`--run` it only tells how good the classifier is.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import sys
from collections import Counter

from ddpm_app.model import loaded

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from frechet import cpu_name  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from ddpm_app import presets, sample, specimens  # noqa: E402
from ddpm_app.data import image_dataset, preprocess  # noqa: E402

RESULTS = ROOT / "tests" / "benchmarks" / "words.md"
SIZE = 64
COLOURS = tuple(specimens.COLOURS)
EPOCHS, BATCH = 24, 64
SCALES = (1.0, 3.0, 7.0)
OFTEN = 0.02
"""A colour is asked for by itself where this share of the training split has it as the ground."""


def grounds(caption: str) -> list[str]:
    """The colours that a caption gives first: "a large black and green butterfly with ..." -> black, green."""
    return re.match(r"an? (?:small |large )?(.+?) (?:butterfly|moth) with ", caption)[1].split(" and ")


def hot(captions: list[str]) -> Tensor:
    """The ground colours of each caption: float [N, len(COLOURS)], 0 or 1."""
    return torch.tensor([[float(colour in grounds(caption)) for colour in COLOURS] for caption in captions])


class Judge(nn.Module):
    """Pictures [N, 3, 64, 64] in [-1, 1] -> logits of the species [N, 16] and of each ground colour [N, 13]."""

    def __init__(self):
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((3, 32), (32, 64), (64, 96), (96, 128)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.trunk = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3))
        self.species, self.colours = nn.Linear(128 * 16, len(specimens.SPECIES)), nn.Linear(128 * 16, len(COLOURS))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.trunk(x)
        return self.species(seen), self.colours(seen)

    @torch.no_grad()
    def says(self, images: np.ndarray) -> tuple[np.ndarray, list[set[str]]]:
        """What it sees on uint8 pictures [N, 64, 64, 3]: the species [N], and the ground colours of each, at least one."""
        species, colours = self.eval()(preprocess.to_tensors(images))
        likely = (colours > 0) | (colours == colours.amax(1, keepdim=True))
        return species.argmax(1).numpy(), [{COLOURS[k] for k in row.nonzero().flatten()} for row in likely]


def train_judge(data: image_dataset.ImageDataset) -> Judge:
    """A classifier that has seen the training split: real specimens only."""
    torch.manual_seed(0)
    images, species = data.images[data.train], torch.tensor([data.labels[i] for i in data.train])
    colours = hot([data.captions[i] for i in data.train])
    judge, rng = Judge().train(), np.random.default_rng(0)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=2e-3, weight_decay=0.05)
    batches = len(images) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=EPOCHS * batches)
    for _ in range(EPOCHS):
        for rows in rng.permutation(len(images))[: batches * BATCH].reshape(batches, BATCH):
            of_species, of_colours = judge(preprocess.to_tensors(images[rows], rng.random(BATCH) < 0.5))
            loss = F.cross_entropy(of_species, species[rows]) + 3 * F.binary_cross_entropy_with_logits(
                of_colours, colours[rows]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return judge


def show_judge(judge: Judge, data: image_dataset.ImageDataset) -> None:
    """Print how often it is right on the held-out specimens, and for which colours."""
    rows = data.held_out
    species, seen = judge.says(data.images[rows])
    asked = [set(grounds(data.captions[i])) for i in rows]
    right = np.mean(species == np.array(data.labels)[rows])
    exactly = np.mean([a == s for a, s in zip(asked, seen, strict=True)])
    print(f"classifier, {len(rows)} held-out specimens: species {right:.1%}, exactly the ground colours {exactly:.1%}")
    for colour in COLOURS:
        has, said = np.array([colour in a for a in asked]), np.array([colour in s for s in seen])
        if has.any() or said.any():
            print(f"  {colour}: {has.sum()} have it, {said.sum()} are said to, {(has & said).sum()} are both")


@dataclasses.dataclass(frozen=True)
class Question:
    """``asks`` go in turn into the request's ``field``. ``checks``: what is looked at -> what each of ``asks`` wants to be seen,
    a species' number or a set of colours. ``real``: indices of held-out specimens that are of the k-th kind asked for."""

    name: str
    field: str
    asks: tuple
    checks: dict[str, list]
    real: list[tuple[int, int]]


def questions(kind: str, data: image_dataset.ImageDataset) -> list[Question]:
    """What a model of that kind of conditioning is asked."""
    rows, count = data.held_out, len(specimens.SPECIES)
    if kind == "labels":
        right = [(i, data.labels[i]) for i in rows]
        return [Question("each species", "labels", tuple(range(count)), {"species": list(range(count))}, right)]
    captions = tuple(data.captions[i] for i in rows)
    often = Counter(colour for i in data.train for colour in grounds(data.captions[i]))
    colours = [colour for colour in COLOURS if often[colour] >= OFTEN * len(data.train)]
    right = [(i, colours.index(colour)) for i in rows for colour in grounds(data.captions[i]) if colour in colours]
    checks = {"ground colour": [set(grounds(c)) for c in captions], "species": [data.labels[i] for i in rows]}
    short = tuple(f"a {colour} butterfly" for colour in colours)
    return [
        Question("held-out captions", "prompt", captions, checks, [(i, k) for k, i in enumerate(rows)]),
        Question("a {colour} butterfly", "prompt", short, {"ground colour": [{colour} for colour in colours]}, right),
    ]


def is_right(wanted: int | set, seen: int | set) -> bool:
    return wanted <= seen if isinstance(wanted, set) else wanted == seen


def share(judge: Judge, images: np.ndarray, wanted: list) -> float:
    """Share of `images` on which the judge sees what is wanted: that species, or all of those colours."""
    species, colours = judge.says(images)
    return float(
        np.mean([is_right(w, c if isinstance(w, set) else s) for w, s, c in zip(wanted, species, colours, strict=True)])
    )


def blind(wanted: list) -> float:
    """The share that the best answer gets which is the same for all."""
    return max(float(np.mean([is_right(w, answer) for w in wanted])) for answer in wanted)


def drawn(model, question: Question, scale: float, count: int) -> np.ndarray:
    """Pictures of the model, as the judge takes them: uint8 [count, 64, 64, 3]."""
    asks = tuple(question.asks[k % len(question.asks)] for k in range(count))
    request = sample.Request(num_images=count, guidance_scale=scale, batch_size=64, **{question.field: asks})
    images: list = []
    for _, images in sample.draw(model, request):  # noqa: B007
        pass
    return np.stack([preprocess.square(image.convert("RGB"), SIZE, "squash", 3) for image in images])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", help="a run's folder, a pipeline's folder, a shipped model or a Hub id")
    parser.add_argument("--name", help="what the table calls the model (default: the last part of --run)")
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    data = image_dataset.load(presets.build("butterflies-64"))
    judge = train_judge(data)
    show_judge(judge, data)
    if not args.run:
        return
    model, name, rows = loaded.load_model(args.run), args.name or pathlib.Path(args.run).name, []
    if model.conditioning.kind == "none":
        raise SystemExit(f"{args.run} draws what it likes: it takes neither words nor labels")
    for question in questions(model.conditioning.kind, data):
        images = {scale: drawn(model, question, scale, args.count) for scale in SCALES}
        held_out = data.images[[i for i, _ in question.real]]
        for what, wanted in question.checks.items():
            all_wanted = [wanted[k % len(wanted)] for k in range(args.count)]
            cells = [blind(wanted), share(judge, held_out, [wanted[k] for _, k in question.real])]
            cells += [share(judge, images[scale], all_wanted) for scale in SCALES]
            rows.append(f"| `{name}` | {question.name} | {what} | {' | '.join(f'{cell:.0%}' for cell in cells)} |")
            print(rows[-1], flush=True)
    kept = RESULTS.read_text().splitlines() if RESULTS.is_file() else []
    kept = [line for line in kept if line.startswith("| `") and line.split("`")[1] != name]
    heads = " | ".join(["| model | asked for | looked at | blind | real", *(f"guidance {scale:g}" for scale in SCALES)])
    machine = (
        f"{len(os.sched_getaffinity(0))} cores of {cpu_name()}, torch {torch.__version__}, {args.count} pictures each"
    )
    told = f"Share with what was asked for, by a classifier trained on real specimens (tests/benchmarks/words.py); {machine}."
    table = "\n".join([f"{heads} |", "|---" * (5 + len(SCALES)) + "|", *kept, *rows, "", told])
    print(table)
    if args.write:
        RESULTS.write_text(table + "\n")


if __name__ == "__main__":
    main()
