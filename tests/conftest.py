"""What all tests share: a cache of their own, one torch thread, drawn pictures, and settings of a tiny run."""

import os

import numpy as np
import pytest
from PIL import Image

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: threads that spin on busy cores are slower than one


def pytest_configure(config):
    config.addinivalue_line(
        "filterwarnings", "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning:diffusers"
    )


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk():
    """No test pulls the plug, and on a busy disk each fsync takes long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda number: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def test_cache(tmp_path_factory):
    """The tests' own cache of decoded pictures, shared so that each source is prepared once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DDPM_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """A folder of 24 small pictures, each with its own colours."""
    folder = tmp_path_factory.mktemp("drawn")
    rng = np.random.default_rng(7)
    for k in range(24):
        pixels = np.empty((8, 8, 3), np.uint8)
        pixels[:] = rng.integers(0, 256, 3)
        pixels[2:6, : 4 + k % 4] = rng.integers(0, 256, 3)
        Image.fromarray(pixels).save(folder / f"{k:02}.png")
    return folder


@pytest.fixture
def runs_dir(tmp_path):
    return tmp_path / "runs"


@pytest.fixture(scope="session")
def tiny(drawn):
    """Makes settings of a run that trains in about a second: ``tiny(max_train_steps=3)``."""
    from kits import engine as engine_kit

    return lambda **changes: engine_kit.settings(drawn, **changes)


def _begin_at_once(patch):
    from kits import engine as engine_kit
    from kits import pictures as data_kit

    from ddpm_app.data import open_source
    from ddpm_app.train import prepare

    patch.setattr(prepare, "rehearse", lambda *args, **options: dict(engine_kit.MEASURED))
    patch.setattr(open_source, "_run", data_kit.prepare_here)


@pytest.fixture
def no_rehearsal(monkeypatch):
    """Runs begin at once: with figures as a rehearsal would have found them, and pictures opened in this process."""
    _begin_at_once(monkeypatch)


@pytest.fixture(scope="session")
def parts(tmp_path_factory):
    """A folder with tiny parts: vae, words, ddpm, stable-diffusion."""
    from kits import models as parts_kit

    return parts_kit.fill(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="session")
def told(drawn, tmp_path_factory):
    """The folder ``drawn`` with a caption and a kind for each picture."""
    from kits import models as parts_kit

    return parts_kit.tell(drawn, tmp_path_factory.mktemp("told"))


@pytest.fixture(scope="session")
def tiny_of(tiny, told, parts):
    """As ``tiny``, of a kind that parts_kit knows: ``tiny_of("latents", seed=1)``."""
    from kits import models as parts_kit

    return lambda kind, **changes: tiny(**parts_kit.changes(kind, told, parts) | changes)


@pytest.fixture(scope="session")
def trained(tmp_path_factory, tiny_of):
    """The tiny run of a kind as it ends when nobody disturbs it: ``trained("latents")``. Not to be changed."""
    from kits import engine as engine_kit

    folder, found = tmp_path_factory.mktemp("trained"), {}

    def train(kind):
        if kind not in found:
            with pytest.MonkeyPatch.context() as patch:
                _begin_at_once(patch)
                run = engine_kit.new(folder, tiny_of(kind))
                engine_kit.train(run)
            run.update_status(state="finished", step=12)
            found[kind] = run
        return found[kind]

    return train


@pytest.fixture(scope="session")
def undisturbed(trained):
    """The tiny run in pixels as it ends when nobody disturbs it."""
    return trained("pixels")
