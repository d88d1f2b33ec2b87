"""Files of an earlier version still open: see tests/before/README.md."""

import json
import shutil

import pytest
from kits import ROOT
from kits import page as ui_kit

from ddpm_app import jobs, presets, sample
from ddpm_app.access import AccessPolicy
from ddpm_app.config import SHIPPED_VAE, TrainConfig, from_dict, from_json
from ddpm_app.model.loaded import load_model
from ddpm_app.model_choices import ModelChoices
from ddpm_app.runs import registry
from ddpm_app.runs.monitor import RunMonitor
from ddpm_app.status import RunControl
from ddpm_app.train import events
from ddpm_app.ui.state import App
from ddpm_app.ui.tabs.config import ConfigTab

BEFORE = ROOT / "tests" / "before"
PRESETS = json.loads((BEFORE / "presets.json").read_text(encoding="utf-8"))
MEMORY = json.loads((BEFORE / "browser.json").read_text(encoding="utf-8"))

NEW = {"subset": None, "background": "white"}
"""Settings that have come since, with the value that changes nothing."""
FITTED = dict(
    init_from=SHIPPED_VAE,
    learning_rate=5e-4,
    kl_weight=TrainConfig().kl_weight,
    lr_warmup_steps=15,
    max_train_minutes=5,
)
"""autoencoder-128 goes on from the one for pictures of any kind since, instead of beginning from nothing."""
CADENCE = {"save_image_epochs": None}
"""Presets leave the previews to the clock since; whoever holds a number of epochs keeps it."""


@pytest.fixture
def run(runs_dir):
    shutil.copytree(BEFORE / "runs", runs_dir)
    return registry.find(runs_dir, "before")


# ---- a run ------------------------------------------------------------------------------------------------------------
def test_a_run_is_listed(run, runs_dir):
    monitor = RunMonitor(runs_dir)
    (summary,) = monitor.summaries()
    assert (summary["name"], summary["state"], summary["step"], summary["sample"]) == ("before", "stopped", 6, 0)
    assert summary["saved"] and summary["seconds"] > 0
    snapshot = monitor.snapshot()
    assert snapshot["plan"]["total_steps"] == 12 and len(snapshot["log"]) == 13
    assert monitor.series()["raw"][0] == [1, 2, 3, 4, 5, 6] and monitor.series()["held_out"][0][-1] == 6
    assert run.config.block_out_channels == (4, 4) and run.plan and not run.requests["sample"]
    assert "run:before" in dict(map(reversed, ModelChoices(monitor, AccessPolicy(runs_dir)).options("en")))


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_a_run_draws(run, weights):
    *_, (_, images) = sample.draw(load_model(run.path, weights), sample.Request(num_images=2, num_inference_steps=2))
    assert [image.size for image in images] == [(8, 8)] * 2


def test_a_run_goes_on(run, runs_dir):
    jobs.prepare_resume(runs_dir, "before")
    trained = list(jobs.work(run, RunControl(run)))
    losses = [event.loss for event in trained if isinstance(event, events.Stepped)]
    assert losses == pytest.approx(json.loads((BEFORE / "losses.json").read_text()), rel=1e-4)
    assert (run.status["state"], run.status["step"]) == ("finished", 12)


# ---- settings ---------------------------------------------------------------------------------------------------------
def test_a_saved_config_opens():
    text = (BEFORE / "config.json").read_text(encoding="utf-8")
    config = from_json(text)
    assert config == presets.build("species-64", seed=7, learning_rate=2e-3, output_dir="mine", save_image_epochs=1)
    assert json.loads(config.to_json()) == json.loads(text) | NEW


def test_a_preset_of_a_link_means_the_same():
    now = {name: presets.build(name).to_dict() for name in PRESETS}
    assert {name: values | CADENCE for name, values in now.items()} == {
        name: values | NEW | CADENCE | (FITTED if name == "autoencoder-128" else {}) for name, values in PRESETS.items()
    }


def test_a_form_that_a_browser_kept_comes_back(runs_dir):
    assert from_dict(MEMORY["values"]) == from_json((BEFORE / "config.json").read_text(encoding="utf-8"))
    tab = ui_kit.draw(App(runs_dir), ConfigTab)
    assert {name for _, name in tab.preset.choices} >= PRESETS.keys()
    restored = tab.restore(MEMORY)
    assert restored[tab.preset] == MEMORY["preset"]
    assert {name: restored[component] for name, component in tab.form.components.items()} == MEMORY["values"] | {
        name: value or "" for name, value in NEW.items()
    }
