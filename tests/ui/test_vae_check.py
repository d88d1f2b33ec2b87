"""An autoencoder that doesn't fit the pictures is seen before anything is trained."""

import dataclasses
import re

import pytest
from kits import models as parts_kit
from kits import page as ui_kit

from ddpm_app.config import BUILT_IN
from ddpm_app.errors import Problem
from ddpm_app.model import locate
from ddpm_app.ui.state import App
from ddpm_app.ui.tabs import vae_check
from ddpm_app.ui.tabs.config import ConfigTab
from ddpm_app.ui.tabs.vae_check import VaeCheck


@pytest.fixture
def studio(runs_dir):
    runs_dir.mkdir()
    studio = App(runs_dir)
    studio.warm.set()
    return studio


def answer(studio, config):
    *_, last = ui_kit.draw(studio, VaeCheck).compare(config, "en")
    return last


def decibels(html):
    return [float(number) for number in re.findall(r"<b>(-?[\d.]+) dB</b>", html)]


def test_pictures_reconstructions_and_errors_are_shown(studio, tiny_of, no_rehearsal):
    from ddpm_app.data.image_dataset import load
    from ddpm_app.model import pipeline, reconstruction

    config = tiny_of("latents")
    html = answer(studio, config)
    assert html.count("<img") == 2 * vae_check.MAX_PICTURES and "note bad" in html and "autoencoder-128" in html
    codec = pipeline.load_vae(config.vae)
    specimens = load(dataclasses.replace(config, dataset_name=BUILT_IN, label_column=None, validation_share=0.05))
    expected = [
        reconstruction.dataset_psnr(codec, load(config)),
        reconstruction.dataset_psnr(codec, specimens, held_out=True),
    ]
    assert decibels(html) == pytest.approx(expected, abs=0.051)


def test_it_fits_above_the_limit(studio, tiny_of, no_rehearsal, monkeypatch):
    from ddpm_app.model import reconstruction

    monkeypatch.setattr(reconstruction, "UNFIT_PSNR", 0.0)
    html = answer(studio, tiny_of("latents"))
    assert "note good" in html and "It fits" in html


def test_a_model_to_go_on_from_brings_its_autoencoder(studio, tiny_of, no_rehearsal):
    assert len(decibels(answer(studio, tiny_of("tuned-words")))) == 2
    assert "learns pixels" in answer(studio, tiny_of("tuned-pixels"))


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"image_size": 9}, "vae_factor"),
        ({"vae": "nonsense"}, "model_missing"),
        ({"dataset_name": "/no"}, "folder_missing"),
    ],
)
def test_what_stands_in_the_way_is_said(studio, tiny_of, no_rehearsal, changes, code):
    with pytest.raises(Problem, match=code):
        answer(studio, tiny_of("latents", **changes))


def test_an_upload_is_looked_at_in_public_by_its_name(runs_dir, tiny, drawn, no_rehearsal, monkeypatch, tmp_path):
    app = App(runs_dir, public=True)
    app.warm.set()
    tab = ui_kit.draw(app, ConfigTab)
    page, check = tab.page, tab.vae_check
    page.form, check.page = tab.form, page
    folder = app.access.uploads_folder("me") / "upload-1"
    folder.parent.mkdir(parents=True)
    folder.symlink_to(drawn)
    parts_kit.vae().save_pretrained(tmp_path / "shipped" / "small-vae")
    monkeypatch.setattr(locate, "SHIPPED", tmp_path / "shipped")

    def click(visitor, **changes):
        config = tiny(dataset_name="upload-1", vae="small-vae", **changes)
        *_, last = check.check(tab.form.updates(config) | {page.visitor: visitor, page.lang: "en"})
        return last

    assert "studio of your own" in click("me") and "your own upload" in click("you")
    assert str(folder.parent) not in click("me", image_size=9)
    assert "only the models that came with it" in click("me", init_from=str(tmp_path))
