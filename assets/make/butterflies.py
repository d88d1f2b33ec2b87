"""Make assets/butterflies.parquet, the built-in data set: `python assets/make/butterflies.py` (about a minute)."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from ddpm_app.specimens.collection import write_parquet  # noqa: E402 - found only after the line above

SIZE = 128
OUT = HERE.parent / "butterflies.parquet"

if __name__ == "__main__":
    write_parquet(OUT, SIZE, lambda done, count: None)
    print(f"{OUT}: {OUT.stat().st_size / 1e6:.2f} MB")
