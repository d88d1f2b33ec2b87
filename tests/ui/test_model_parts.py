"""What the page tells of a model before it is made is what is made."""

import re

import pytest
import torch
from kits import engine as engine_kit
from kits import models as parts_kit
from kits import page as ui_kit

from ddpm_app.access import AccessPolicy
from ddpm_app.config import from_dict
from ddpm_app.errors import Problem
from ddpm_app.runs import registry
from ddpm_app.train import summary
from ddpm_app.ui.state import App
from ddpm_app.ui.tabs import model_parts
from ddpm_app.ui.tabs.config_summary import ConfigSummary

KINDS = ["pixels", *parts_kit.KINDS]
PIXELS = ["pixels", "labels", "words-in-pixels", "tuned-pixels"]
LABELS = len(parts_kit.COLOURS)


@pytest.fixture
def studio(runs_dir):
    runs_dir.mkdir()
    studio = App(runs_dir)
    studio.warm.set()
    return studio


@pytest.fixture
def opened(studio, no_rehearsal):
    """A config after its data set is opened."""

    def open_(config):
        studio.datasets.get(studio.datasets.ask(config)).ended.wait(30)
        return config

    return open_


def summary_words(studio, config):
    """The summary's words for ``config``."""
    html = ui_kit.draw(studio, ConfigSummary).html(config, "me", "en", count=True)
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", html))


# ---- counts -----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_the_parts_are_those_of_the_run(kind, tiny_of, runs_dir):
    config = tiny_of(kind)
    made = summary.summarize(config, LABELS, runs_dir)
    real = engine_kit.objective(config, runs_dir)
    assert {part.name: part.parameters for part in made.parts if part.kind} == {
        name: sum(p.numel() for p in network.parameters()) for name, network in real.parts().items()
    }
    assert {part.name: part.kind for part in made.parts if part.kind} == {
        name: type(part).__name__ for name, part in real.parts().items()
    }
    assert [part.name for part in made.parts if part.learning] == [real.part]
    assert made.problem is None


@pytest.mark.parametrize(
    "changes", [{}, {"optimizer": "muon"}, {"trainable": "up"}, {"trainable": "attention,ends", "optimizer": "muon"}]
)
def test_memory_is_what_a_real_step_keeps(changes, tiny, runs_dir):
    from ddpm_app.model.unet import build_unet, freeze, learning
    from ddpm_app.train.optimizer import make_optimizers

    config = tiny(block_out_channels=(16, 32), **changes)
    trained, copies = summary.summarize(config, 0, runs_dir).parts
    unet = build_unet(config)
    freeze(unet, config.trainable)
    for parameter in learning(unet):
        parameter.grad = torch.zeros_like(parameter)
    optimizers = make_optimizers(config, learning(unet), fused=False)
    for optimizer in optimizers:
        optimizer.step()
    kept = sum(
        value.nbytes
        for o in optimizers
        for state in o.state.values()
        for value in state.values()
        if torch.is_tensor(value)
    )
    assert trained.optimizer == kept > 0
    assert (trained.weights, trained.gradients) == (4 * trained.parameters, sum(p.nbytes for p in learning(unet)))
    assert copies.weights == 2 * trained.weights  # the average, and the copy that draws


def test_sections_tell_what_learns(tiny, tiny_of, runs_dir):
    made = summary.summarize(tiny(trainable="down"), 0, runs_dir)
    whole = {name: count for name, (count, _) in made.sections.items()}
    learns = {name: learning for name, (_, learning) in made.sections.items()}
    assert learns["down"] == whole["down"] == made.parts[0].learning and learns["up"] == learns["ends"] == 0
    assert summary.summarize(tiny_of("autoencoder"), 0, runs_dir).sections.keys() == {"encoder", "decoder"}


def test_a_latent_s_shape_and_scale_are_read_from_the_model(tiny_of, runs_dir):
    made = summary.summarize(tiny_of("latents"), 0, runs_dir)
    assert (made.latents, made.factor, made.scale) == ((4, 4, 4), 2, 0.6)
    made = summary.summarize(tiny_of("autoencoder"), 0, runs_dir)
    assert (made.latents, made.factor, made.scale) == ((4, 4, 4), 2, None)
    assert summary.summarize(tiny_of("pixels"), 0, runs_dir).latents is None


def test_an_autoencoder_run_serves_once_it_is_saved(tiny, runs_dir):
    run = registry.create(runs_dir, tiny(objective="autoencoder", vae_channels=(8, 8), output_dir="mine"))
    config = tiny(vae="mine")
    assert summary.summarize(config, 0, runs_dir) is None
    assert summary.unusable_model(config, runs_dir).code == "no_snapshot"
    parts_kit.vae(scaling_factor=1.25).save_pretrained(run.pipeline)
    assert summary.summarize(config, 0, runs_dir).scale == 1.25


@pytest.mark.parametrize(
    "changes, code, field",
    [
        ({"vae": "nonsense"}, "model_missing", "vae"),
        ({"vae": "/no/such/folder"}, "model_missing", "vae"),
        ({"vae": "{parts}/ddpm"}, "model_unreadable", "vae"),
        ({"init_from": "{parts}/vae"}, "model_is_autoencoder", "init_from"),
        ({"init_from": "{parts}/words"}, "model_unreadable", "init_from"),
        ({"conditioning": "text", "text_encoder": "{parts}/vae"}, "model_unreadable", "text_encoder"),
        ({"objective": "autoencoder", "init_from": "{parts}/ddpm"}, "model_unreadable", "init_from"),
        ({"objective": "autoencoder", "init_from": "{parts}/taesd"}, "vae_kind", "init_from"),
    ],
)
def test_what_is_no_such_part_is_said_before_the_start(changes, code, field, tiny, parts, tmp_path, studio, opened):
    parts_kit.taesd().save_pretrained(tmp_path / "taesd")
    changes = {name: value.replace("{parts}/taesd", f"{tmp_path}/taesd") for name, value in changes.items()}
    config = opened(tiny(**{name: value.format(parts=parts) for name, value in changes.items()}))
    assert summary.summarize(config, 0, studio.runs_dir) is None
    problem = summary.unusable_model(config, studio.runs_dir)
    assert (problem.code, problem.field) == (code, field)
    assert f"{problem.values['value']}" in summary_words(studio, config) and "after the download" not in summary_words(
        studio, config
    )


def test_what_is_still_on_the_hub_is_known_later(tiny, studio, opened):
    config = opened(tiny(init_from="somebody/something", vae="an idle one"))
    assert (
        summary.summarize(config, 0, studio.runs_dir) is None
        and summary.unusable_model(config, studio.runs_dir) is None
    )
    assert "after the download" in summary_words(studio, config)
    assert "after the download" in model_parts.parts_table(None, "en")


@pytest.mark.parametrize(
    "kind, changes, code",
    [
        ("latents", {"image_size": 9}, "vae_factor"),
        ("latents", {"image_size": 10}, "size_depth"),
        ("tuned-pixels", {"image_size": 16}, "size_differs"),
        ("tuned-words", {"image_size": 16}, "size_differs"),
    ],
)
def test_a_size_that_does_not_fit_is_refused_as_training_would(kind, changes, code, tiny_of, studio, opened):
    config = opened(tiny_of(kind, **changes))
    problem = summary.summarize(config, 0, studio.runs_dir).problem
    assert problem.code == code
    with pytest.raises(Problem, match=code):
        engine_kit.objective(config, studio.runs_dir)
    assert f"“Picture size” is {config.image_size}" in summary_words(studio, config)


def test_an_autoencoder_to_go_on_from_has_its_sizes_too(tiny, parts, studio, opened):
    config = opened(tiny(objective="autoencoder", init_from=str(parts / "vae"), image_size=9))
    assert summary.summarize(config, 0, studio.runs_dir).problem.code == "vae_factor"
    assert "use 8" in summary_words(studio, config)


# ---- the panels -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_the_panel_tells_every_kind(kind, tiny_of, studio, opened):
    words = summary_words(studio, opened(tiny_of(kind)))
    assert "Parameters" in words and "Memory" in words and "Pictures 18" in words
    assert ("Picture to latent 8 x 8 x 3 \u2192 4 x 4 x 4 Numbers 3 times fewer" in words) == (kind not in PIXELS)
    assert ("Texts" in words) == ("words" in kind)


def test_cut_texts_are_counted(tiny_of, studio, opened):
    config = opened(tiny_of("words"))
    source = studio.datasets.find(config).source
    assert summary.truncated_captions(config, source, studio.runs_dir) == summary.TruncatedCaptions(
        0, 24, parts_kit.LONGEST
    )
    longer = from_dict(config.to_dict() | {"caption_template": "{caption} with wings"})
    real = engine_kit.objective(longer, studio.runs_dir)
    assert summary.truncated_captions(longer, source, studio.runs_dir).cut == real.conditions.cut > 0
    assert f"{real.conditions.cut} of 24 are cut to 12 tokens" in summary_words(studio, longer)
    assert summary.truncated_captions(tiny_of("pixels"), source, studio.runs_dir) is None


def test_data_without_labels_or_captions_is_refused(tiny, parts, studio, opened):
    assert "wants labels" in summary_words(studio, opened(tiny(conditioning="labels")))
    assert "wants captions" in summary_words(
        studio, opened(tiny(conditioning="text", text_encoder=str(parts / "words")))
    )


def test_the_parts_panel_says_what_many_get_wrong(tiny_of, studio, opened):
    config = opened(tiny_of("words", trainable="attention"))
    html = model_parts.parts_of_config(studio, config, "me", "en")
    assert "eval() freezes nothing" in html and "requires_grad=False" in html
    assert (
        html.count("train()") == 1 and html.count('<td class="mode"') == 4
    )  # UNet, its copies, autoencoder, text encoder
    assert html.count("frozen") >= 3 and "CLIPTextModel" in html and "AutoencoderKL" in html
    unusable = from_dict(config.to_dict() | {"vae": "nonsense"})
    assert model_parts.parts_of_config(studio, unusable, "me", "en") == ""


def test_the_parts_of_a_run_are_from_its_settings(trained, studio):
    run = trained("latents")
    studio.runs_dir = run.path.parent
    assert "AutoencoderKL" in model_parts.parts_of_run(studio, run.name, "en")
    assert model_parts.parts_of_run(studio, "", "en") == model_parts.parts_of_run(studio, "nobody", "en") == ""


def test_strangers_learn_nothing_of_other_folders(tiny_of, runs_dir, opened, studio):
    config = opened(tiny_of("latents"))
    studio.access = AccessPolicy(studio.runs_dir, public=True)
    assert "Parameters" not in summary_words(studio, config)
    assert model_parts.parts_of_config(studio, config, "me", "en") == ""
