"""Make assets/butterflies.parquet, the built-in data set: `python assets/make/butterflies.py` (about a minute).

1,024 specimens at 128 px from seed 0. Picture k is draw((0, k), 128, species_of(k)): every 16 in a row hold each
species once and start with another one, so that every 8th picture, held out, is balanced over the species too: 896 to
train on, 128 not. Pictures are WebP of the best quality, 100, at the error that tests/test_specimens.py states.
"""

import io
import sys
from pathlib import Path

from datasets import ClassLabel, Dataset, Features, Image, Value

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from ddpm_app.specimens import SPECIES, draw  # noqa: E402 - found only after the line above

COUNT, SIZE, SEED = 1024, 128, 0
HELD_OUT = 8  # every 8th picture
OUT = HERE.parent / "butterflies.parquet"


def species_of(k: int) -> int:
    return (k + k // len(SPECIES)) % len(SPECIES)


def row(k: int) -> dict:
    specimen = draw((SEED, k), SIZE, species_of(k))
    data = io.BytesIO()
    specimen.image.save(data, "WEBP", quality=100, method=6)
    return {
        "image": {"bytes": data.getvalue(), "path": f"{k:04d}.webp"},
        "species": specimen.species,
        "caption": specimen.caption,
        "split": "held-out" if k % HELD_OUT == HELD_OUT - 1 else "train",
    }


def main() -> None:
    text, species = Value("string"), ClassLabel(names=list(SPECIES))
    features = Features({"image": Image(), "species": species, "caption": text, "split": text})
    rows = [row(k) for k in range(COUNT)]
    Dataset.from_list(rows, features=features).to_parquet(OUT)
    print(f"{OUT}: {OUT.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
