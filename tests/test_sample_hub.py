"""Pipelines by Hub id: read from the Hub's cache on disk, and calm words where there is nothing."""

import shutil

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from huggingface_hub import constants

from ddpm_app.errors import Problem
from ddpm_app.model.loaded import load_model


@pytest.fixture
def pipeline():
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
    )
    return DDPMPipeline(unet, DDPMScheduler(prediction_type="sample"))


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """A Hub cache that holds what the test puts into the folder of someone/butterflies."""
    snapshot = tmp_path / "models--someone--butterflies" / "snapshots" / "abc"
    (snapshot.parent.parent / "refs").mkdir(parents=True)
    (snapshot.parent.parent / "refs" / "main").write_text("abc")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return snapshot


def test_pipeline_from_the_hub(pipeline, hub_cache):
    pipeline.save_pretrained(hub_cache)
    model = load_model("someone/butterflies")
    assert all(torch.equal(a, b) for a, b in zip(model.unet.parameters(), pipeline.unet.parameters(), strict=True))
    assert model.scheduler.config.prediction_type == "sample"


def test_the_oldest_layout(pipeline, tmp_path):
    pipeline.unet.save_pretrained(tmp_path / "flat")
    pipeline.scheduler.save_pretrained(tmp_path / "flat")
    assert load_model(tmp_path / "flat").scheduler.config.prediction_type == "sample"


def test_no_network(hub_cache):
    shutil.rmtree(hub_cache.parent.parent)
    with pytest.raises(Problem) as refused:
        load_model("someone/butterflies")
    assert (refused.value.code, refused.value.values["value"]) == ("no_network", "someone/butterflies")


@pytest.mark.parametrize("name", ["nothing", "a/b/c", "/nowhere/at/all", "some one/model", ""])
def test_neither_folder_nor_id(name):
    with pytest.raises(Problem, match="model_missing"):
        load_model(name)
