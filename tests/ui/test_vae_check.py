"""An autoencoder that doesn't fit the pictures is seen before anything is trained."""

import dataclasses
import re

import pytest
from kits import models as parts_kit
from kits import page as ui_kit

from ddpm_app.config import BUILT_IN, FIELDS
from ddpm_app.errors import Problem
from ddpm_app.ui.state import App
from ddpm_app.ui.tabs import vae_check
from ddpm_app.ui.tabs.config_form import to_form_value


@pytest.fixture
def studio(runs_dir):
    runs_dir.mkdir()
    studio = App(runs_dir)
    studio.warm.set()
    return studio


def answer(studio, config):
    *_, last = vae_check.looked(studio, config, "en")
    return last


def decibels(told):
    return [float(number) for number in re.findall(r"<b>(-?[\d.]+) dB</b>", told)]


def test_pictures_reconstructions_and_errors_are_shown(studio, tiny_of, no_rehearsal):
    from ddpm_app.data.image_dataset import load
    from ddpm_app.model import pipeline
    from ddpm_app.model import reconstruction as measured

    config = tiny_of("latents")
    told = answer(studio, config)
    assert told.count("<img") == 2 * vae_check.SHOWN and "note bad" in told and "autoencoder-128" in told
    codec = pipeline.load_vae(config.vae)
    specimens = load(dataclasses.replace(config, dataset_name=BUILT_IN, label_column=None, validation_share=0.05))
    wanted = [measured.dataset_psnr(codec, load(config)), measured.dataset_psnr(codec, specimens, held_out=True)]
    assert decibels(told) == pytest.approx(wanted, abs=0.051)


def test_it_fits_above_the_limit(studio, tiny_of, no_rehearsal, monkeypatch):
    from ddpm_app.model import reconstruction as measured

    monkeypatch.setattr(measured, "UNFIT_PSNR", 0.0)
    told = answer(studio, tiny_of("latents"))
    assert "note good" in told and "It fits" in told


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
    demo, studio = ui_kit.build(runs_dir, public=True)
    studio.warm.set()
    folder = studio.access.uploads_folder("me") / "upload-1"
    folder.parent.mkdir(parents=True)
    folder.symlink_to(drawn)
    parts_kit.vae().save_pretrained(tmp_path / "shipped" / "small-vae")
    for place in ("ddpm_app.ui.guard.SHIPPED", "ddpm_app.model.places.SHIPPED"):
        monkeypatch.setattr(place, tmp_path / "shipped")
    [look] = [
        fn
        for fn in demo.fns.values()
        if getattr(fn.fn, "__module__", "") == vae_check.__name__ and fn.fn.__name__ == "look"
    ]
    names = [component.elem_id.removeprefix("field-") for component in look.inputs[2:]]

    def click(visitor, **typed):
        config = tiny(dataset_name="upload-1", vae="small-vae", **typed)
        *_, last = look.fn(visitor, "en", *(to_form_value(FIELDS[name], getattr(config, name)) for name in names))
        return last

    assert "studio of your own" in click("me") and "your own upload" in click("you")
    assert str(folder.parent) not in click("me", image_size=9)
    assert "only the models that came with it" in click("me", init_from=str(tmp_path))
