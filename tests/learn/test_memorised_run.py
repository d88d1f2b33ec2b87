"""The planted-copy test: a model overfitted on eight pictures is called memorised, the shipped model is not."""

import pytest
from kits import learn as learn_kit

from ddpm_app import jobs, presets, sample
from ddpm_app.config import from_dict
from ddpm_app.data import image_dataset, open_source
from ddpm_app.learn.probes import memorization
from ddpm_app.model import locate
from ddpm_app.runs import registry
from ddpm_app.status import RunControl

SMALL = dict(block_out_channels=(16, 32, 64, 64), norm_num_groups=8, attention_head_dim=32)


@pytest.fixture
def specimens():
    """Built-in specimens at 32 px, where a held-out picture has never been learnt from by anybody here."""
    return image_dataset.load(presets.build("first-butterflies"))


@pytest.fixture
def overfitted(tmp_path, runs_dir, specimens, no_rehearsal):
    """A run that has seen one specimen of each of eight kinds, and nothing else, 110 times."""
    drawers = open_source.originals(presets.build("first-butterflies"))
    for label in range(8):
        chosen = next(i for i in specimens.train if specimens.labels[i] == label)
        (tmp_path / "eight" / specimens.label_names[label]).mkdir(parents=True)
        drawers.picture(chosen).save(tmp_path / "eight" / specimens.label_names[label] / "only.png")
    changes = dict(
        dataset_name=str(tmp_path / "eight"),
        conditioning="labels",
        condition_dropout=0.0,
        train_batch_size=8,
        random_flip=False,
        max_train_minutes=None,
        max_train_steps=110,
        save_image_epochs=1000,
        save_model_epochs=1000,
        preview_images=1,
        preview_inference_steps=1,
        mixed_precision="no",
        device="cpu",
        threads=1,
        output_dir="overfitted",
    )
    run = registry.create(runs_dir, from_dict(presets.build("first-butterflies").to_dict() | SMALL | changes))
    list(jobs.work(run, RunControl(run)))
    assert run.status["state"] == "finished"
    return run


def test_eight_pictures_learnt_by_heart_are_called_memorised(overfitted, specimens):
    context = learn_kit.open_run(overfitted.path)
    shown = learn_kit.panels("memory", context, count="8")
    assert shown["note"]["tone"] == "bad", shown["note"]["text"]
    # ... and beside specimens that it has never seen, too
    *_, drawn = sample.sample(context.model, sample.Request(num_images=8, num_inference_steps=10, guidance_scale=1))
    train = context.pictures.tensors(context.pictures.train)
    index, distance = memorization.nearest(drawn.x.clamp(-1, 1), train)
    found = memorization.verdict(distance, memorization.nearest(specimens.tensors(specimens.held_out), train)[1])
    assert found.kind == "memorised" and sum(found.copies) >= 7 and found.unseen_copies <= 6
    named = [context.pictures.label_names[context.pictures.labels[k]] for k in index]
    assert named == list(context.model.conditioning.names)


@pytest.mark.parametrize("name", ["butterflies-64", "butterflies-words"])
def test_the_shipped_models_have_not_memorised(name):
    shown = learn_kit.panels("memory", learn_kit.open_run(locate.resolve(name)), count="8")
    assert shown["note"]["tone"] == "good", shown["note"]["text"]
