"""What is expected of pictures somebody brings, and the recipe that is taken for them."""

import dataclasses

import numpy as np
import pytest
from kits.pictures import cache_dir, folder_of, noise, settings  # noqa: F401
from PIL import Image

from ddpm_app import presets
from ddpm_app.data.image_dataset import load
from ddpm_app.data.open_source import originals
from ddpm_app.i18n import LANGUAGES, t
from ddpm_app.train import recipes
from ddpm_app.train.recipes import Judgement

GOOD = Judgement(
    count=500, side=300, likeness=0.6, transparent=0.0, oblong=0.0, labels=0, size=128, psnr=27.0, coarse_psnr=21.0
)
CURRENT = presets.build("latent-128", dataset_name="/somewhere/mine", seed=7, output_dir="my cats").to_dict()


@pytest.fixture(autouse=True)
def speed(monkeypatch):
    """A machine of a known speed: 100 GFLOP/s."""
    monkeypatch.setattr(recipes, "machine_speed", lambda: 100e9)


def names(minutes=None, **changes):
    return [recipe.name for recipe in recipes.recipes(dataclasses.replace(GOOD, **changes), CURRENT, minutes)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["sharp", "quick", "pixels"]),
        ({"psnr": 17.0}, ["pixels", "sharp"]),
        ({"psnr": 21.5}, ["sharp", "quick", "pixels"]),
        ({"psnr": 23.0, "coarse_psnr": 30.0}, ["sharp", "quick", "pixels"]),
        ({"psnr": 17.0, "side": 40}, ["pixels", "sharp"]),
        ({"side": 72}, ["sharp", "quick", "pixels"]),
        ({"side": 50}, ["pixels", "sharp"]),
        ({"side": 30}, ["pixels", "sharp"]),
    ],
)
def test_the_best_recipe_comes_first(changes, expected):
    assert names(**changes) == expected


@pytest.mark.parametrize(("side", "size"), [(300, 128), (72, 128), (50, 64), (12, 64)])
def test_small_pictures_go_through_the_autoencoder_at_twice_their_size_at_most(side, size):
    offers = recipes.recipes(dataclasses.replace(GOOD, side=side), CURRENT)
    assert next(recipe for recipe in offers if recipe.name == "sharp").config.image_size == size


def test_a_recipe_leaves_whose_pictures_the_name_and_the_seed():
    for recipe in recipes.recipes(dataclasses.replace(GOOD, labels=4), CURRENT):
        config = recipe.config
        assert (config.dataset_name, config.seed, config.output_dir) == ("/somewhere/mine", 7, "my cats")
        assert config.conditioning == "labels" and config.max_train_minutes == recipe.minutes


def test_all_kinds_of_things_take_longer_than_one_kind():
    def best(likeness):
        return recipes.recipes(dataclasses.replace(GOOD, likeness=likeness), CURRENT)[0]

    assert best(0.1).minutes > 2 * best(0.7).minutes and best(0.1).steps > recipes.STEPS["various"] / 2


def test_a_public_page_has_its_limit():
    slow = dataclasses.replace(GOOD, likeness=0.0)
    assert {recipe.minutes for recipe in recipes.recipes(slow, CURRENT, most_minutes=2)} == {2}


def doubts(minutes, **changes):
    recipe = recipes.recipes(dataclasses.replace(GOOD, **changes), CURRENT, minutes)[0]
    for lang in LANGUAGES:
        assert all(t(f"notice.{code}", lang, **values) for code, values in recipe.doubts)
    return [code for code, _ in recipe.doubts]


@pytest.mark.parametrize(
    ("minutes", "changes", "expected"),
    [
        (30, {}, []),
        (30, {"count": 60}, ["expect_few"]),
        (30, {"count": 8}, ["expect_very_few"]),
        (0.1, {}, ["expect_too_short"]),
        (2, {"likeness": 0.0}, ["expect_short_various"]),
    ],
)
def test_what_cannot_come_out_well_is_said_before(minutes, changes, expected):
    assert doubts(minutes, **changes) == expected


def test_latents_of_an_autoencoder_that_does_not_fit_are_doubted():
    for psnr, place in ((17.0, 1), (21.5, 0)):
        sharp = recipes.recipes(dataclasses.replace(GOOD, psnr=psnr), CURRENT, 30)[place]
        assert "expect_unfit" in dict(sharp.doubts)


def test_pictures_of_one_thing_are_more_alike_than_any(tmp_path):
    draw = np.random.default_rng(0)
    folder_of(tmp_path / "any", [f"{k}.png" for k in range(12)], width=32, height=32)
    one = noise(32, 32)
    (tmp_path / "one").mkdir()
    for k in range(12):
        shaken = np.clip(one.astype(int) + draw.integers(-30, 30, one.shape), 0, 255).astype(np.uint8)
        Image.fromarray(shaken).save(tmp_path / f"one/{k}.png")
    alike, various = (recipes.likeness(load(settings(tmp_path / name)).images) for name in ("one", "any"))
    assert alike > recipes.VARIOUS > various


def test_a_set_is_judged_by_what_lies_there(tmp_path):
    folder_of(tmp_path, [f"{label}/{k}.png" for label in ("a", "b") for k in range(6)], width=48, height=24)
    config = settings(tmp_path, image_size=32, channels=3)
    judgement = recipes.judge(config, originals(config))
    assert (judgement.count, judgement.side, judgement.labels, judgement.oblong) == (12, 24, 2, 1.0)
    assert [image.size for image in judgement.examples] == [(32, 32)] * 3
    by_name = {recipe.name: recipe for recipe in recipes.recipes(judgement, CURRENT)}
    assert [image.size for image in by_name["sharp"].at_best] == [(64, 64)] * 3
    plain, coded = (np.stack([np.asarray(i, float) for i in by_name[n].at_best]) for n in ("pixels", "sharp"))
    examples = np.stack([np.asarray(image, float) for image in judgement.examples])
    assert np.abs(plain - examples).max() == 0 < np.abs(coded[:, ::2, ::2] - examples).mean()
    assert 0 < judgement.psnr < recipes.UNFIT_PSNR  # noise is what no autoencoder gives back
    assert judgement.coarse_psnr == float("inf")  # 32 px keep all of 32 px
    for lang in LANGUAGES:
        assert all(t(f"notice.{code}", lang, **values) for code, values in judgement.notices())
