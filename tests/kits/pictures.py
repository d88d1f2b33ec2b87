"""What the tests of the data room share: small pictures, folders of them, settings for them."""

import io
import json

import datasets
import numpy as np
import pytest
from PIL import Image

from ddpm_app.config import TrainConfig, from_dict
from ddpm_app.data import open_source, prepare
from ddpm_app.errors import Problem


def settings(dataset_name, **values) -> TrainConfig:
    return from_dict(
        {"dataset_name": str(dataset_name), "unet": "tiny", "image_size": 16, "validation_share": 0.0} | values
    )


def noise(width=12, height=9, channels=3, seed=0) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(pixels=None, **save) -> bytes:
    out = io.BytesIO()
    Image.fromarray(noise() if pixels is None else pixels).save(out, "PNG", **save)
    return out.getvalue()


def folder_of(root, names, **sizes):
    for i, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(noise(seed=i, **sizes)))
    return root


def metadata(folder, rows):
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")


def prepare_here(config, spec, progress, cancelled):
    """Stands in for the process that runs `datasets`: the same work in this process, seconds faster."""
    try:
        return prepare.prepare(**spec)
    except Exception as error:
        problem = prepare.explain(error)
        raise Problem(problem.code, problem.field, **{"value": config.dataset_name, **problem.values}) from error


def specimens(path, held=3, **extra):
    """A small copy of the built-in file's layout."""
    count = 12
    columns = {
        "image": [{"bytes": png(noise(seed=i)), "path": None} for i in range(count)],
        "species": [i % 2 for i in range(count)],
        "caption": [f"butterfly {i}" for i in range(count)],
        "split": ["held-out" if i < held else "train" for i in range(count)],
        **extra,
    }
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "species": datasets.ClassLabel(names=["a", "b"]),
            "caption": datasets.Value("string"),
            "split": datasets.Value("string"),
            **{name: datasets.Value("float64") for name in extra},
        }
    )
    datasets.Dataset.from_dict(columns, features=features).to_parquet(path)
    return path


@pytest.fixture(autouse=True)
def cache_dir(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DDPM_CACHE", str(folder))
    monkeypatch.setattr(open_source, "_run", prepare_here)
    return folder
