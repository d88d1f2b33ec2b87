"""The built-in collection: 1,024 specimens as a data set, at any size the same ones.

Specimen k is draw((0, k), size, species_of(k)): every 16 in a row hold each species once and start with another one, so that
every 8th, held out, is balanced over the species too: 896 to train on, 128 not. Pictures are WebP of the best quality, 100,
at the error that tests/test_specimens.py states.
"""

import io
import pathlib
from collections.abc import Callable

from datasets import ClassLabel, Dataset, Features, Image, Value

from ddpm_app.specimens.drawing import draw
from ddpm_app.specimens.species import SPECIES

COUNT, SEED = 1024, 0
HELD_OUT = 8


def species_of(k: int) -> int:
    """Index into SPECIES of specimen ``k``."""
    return (k + k // len(SPECIES)) % len(SPECIES)


def write_parquet(path: pathlib.Path, size: int, progress: Callable[[int, int], None], count: int = COUNT) -> None:
    """Write the specimens at ``size`` px with their species, caption and split; ``progress(done, count)`` may raise to stop."""
    rows = []
    for k in range(count):
        progress(k, count)
        specimen = draw((SEED, k), size, species_of(k))
        data = io.BytesIO()
        specimen.image.save(data, "WEBP", quality=100, method=6)
        split = "held-out" if k % HELD_OUT == HELD_OUT - 1 else "train"
        picture = {"bytes": data.getvalue(), "path": f"{k:04d}.webp"}
        rows.append({"image": picture, "species": specimen.species, "caption": specimen.caption, "split": split})
    text, species = Value("string"), ClassLabel(names=list(SPECIES))
    features = Features({"image": Image(), "species": species, "caption": text, "split": text})
    Dataset.from_list(rows, features=features).to_parquet(path)
