"""Station 2: latents, their scale, and what comes of forgetting it."""

import dataclasses

import pytest
import torch
from kits import models as parts_kit
from kits.learn import panels, turns

from ddpm_app.learn.probes import latents
from ddpm_app.model.codec import Vae

both = pytest.mark.parametrize("lang", ["en", "zh"])


@both
def test_a_latent_and_its_reconstruction(context_of, lang):
    context = context_of("latents")
    shown = panels("latent", context, lang=lang)
    assert len(shown["picture"]["rows"][0]["images"]) == 3 and shown["picture"]["rows"][0]["colour_bar"]
    assert len(shown["channels"]["rows"][0]["images"]) == context.model.shape[0]
    assert "forgotten" not in shown and "dB" in shown["note"]["text"]
    before, after = shown["histograms"]["value"]["charts"]
    assert [line["style"] for line in before["lines"]] == ["bars", "line"] and before["lines"][0]["y"] != after[
        "lines"
    ][0]["y"]
    assert before["lines"][1] == after["lines"][1]


@both
def test_the_scaling_forgotten(context_of, lang):
    shown = panels("latent", context_of("labels-in-latents"), lang=lang, forget=True)
    decoder, unet = shown["forgotten"]["rows"]
    reconstruction = shown["picture"]["rows"][0]["images"][1]["src"]
    assert [len(row["images"]) for row in (decoder, unet)] == [3, 3] and decoder["images"][0]["src"] == reconstruction
    assert (
        len({image["src"] for image in decoder["images"]}) == 3 and len({image["src"] for image in unet["images"]}) == 3
    )


@both
def test_who_forgets_to_divide_gives_too_little_and_who_forgets_to_multiply_too_much(context_of, monkeypatch, lang):
    context, decoded, sizes = context_of("latents"), [], []
    codec, own, decode, missized = (
        context.model.codec,
        context.model.codec.scale,
        context.model.codec.decode,
        latents.missized,
    )
    monkeypatch.setattr(codec, "decode", lambda x: decoded.append(x) or decode(x))
    monkeypatch.setattr(
        latents, "missized", lambda model, x, times, *rest: sizes.append(times) or missized(model, x, times, *rest)
    )
    shown = panels("latent", context, lang=lang, forget=True)
    back, right, _, mine, _, far, _ = (
        decoded  # the reconstruction, then for each column that of the latents and that of the guess
    )
    assert torch.equal(right, back) and torch.equal(mine, back * own) and torch.equal(far, back * 0.18215)
    assert sizes == pytest.approx([1, 1 / own, 1 / 0.18215])
    told = [[image["caption"] for image in row["images"]] for row in shown["forgotten"]["rows"]]
    assert f"×\u00a0{own:.3g}:" in told[0][1] and f"×\u00a0{1 / own:.3g}:" in told[1][1]
    assert "×\u00a00.182:" in told[0][2] and "×\u00a05.49:" in told[1][2]
    assert all("×" not in row[0] for row in told)


def test_it_grows_from_what_is_there(context_of):
    all_turns = turns("latent", context_of("latents"), forget=True)
    names = [[panel["name"] for panel in shown] for shown in all_turns if shown]
    assert all(names[0] == [name for name in later if name != "forgotten"] for later in names[1:])


@both
def test_a_pixel_model_is_the_identity_and_shows_the_way_out(context_of, lang):
    shown = panels("latent", context_of("pixels"), lang=lang)
    one, other = shown["picture"]["rows"][0]["images"]
    assert one["src"] == other["src"]
    assert "3 x 8 x 8" in shown["note"]["text"] and "shipped:butterflies-words" in shown["out"]["html"]


def test_an_autoencoder_without_a_distribution(context_of):
    context = context_of("latents")
    told = panels("latent", context)["spread"]["text"]
    other = dataclasses.replace(context, model=dataclasses.replace(context.model, codec=Vae(parts_kit.taesd())))
    assert panels("latent", other)["spread"]["text"] != told
