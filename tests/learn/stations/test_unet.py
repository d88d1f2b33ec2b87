"""Station 4: the map of the real model, the chosen block's feature maps, and the timestep embedding."""

import html
import json
import re
import xml.etree.ElementTree

import pytest
import torch
from kits.learn import panels, turns

from ddpm_app.model.unet import count_parameters


def settings_in(markup):
    return {json.loads(html.unescape(text))["block"] for text in re.findall('data-set="([^"]*)"', markup)}


@pytest.mark.parametrize("kind", ["pixels", "latents", "labels", "words"])
def test_the_map_has_every_block_of_the_model(context_of, kind):
    context = context_of(kind)
    shown = panels("unet", context)
    names = [row[0]["set"]["block"] for row in shown["blocks"]["rows"]]
    assert settings_in(shown["map"]["html"]) == set(names)
    assert {"conv_in", "time", "down.0", "down.1", "mid", "up.0", "up.1", "out"} <= set(names)
    assert ("class_embedding" in names) == (kind == "labels")
    assert f"{count_parameters(context.model.unet):,}" in shown["blocks"]["title"]
    drawing = re.search("<svg.*</svg>", shown["map"]["html"])[0]
    xml.etree.ElementTree.fromstring(drawing)
    assert drawing.count("unet-skip") == 4


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("block", ["conv_in", "time", "down.1", "up.0", "out", "nonsense", "<b>"])
def test_each_block_can_be_chosen(context_of, lang, block):
    shown = panels("unet", context_of("pixels"), lang=lang, block=block)
    known = block not in ("nonsense", "<b>")
    assert ("note" in shown) != known
    assert (block if known else "up.1") in shown["maps"]["title"]
    assert bool(shown["maps"]["rows"][0]["images"]) == (block != "time")
    assert shown["map"]["html"].count('aria-pressed="true"') == 1
    assert block != "<b>" or "<b>" not in shown["map"]["html"]


def test_feature_maps_follow_t_and_the_seed(context_of):
    context = context_of("pixels")
    first, later, other = (panels("unet", context, **given) for given in ({"t": 10}, {"t": 900}, {"t": 10, "seed": 1}))
    sources = [[image["src"] for image in shown["maps"]["rows"][0]["images"]] for shown in (first, later, other)]
    assert sources[0] != sources[1] and sources[0] != sources[2]
    assert first["embedding"]["html"] != later["embedding"]["html"] and "t = 900" in later["embedding"]["html"]


def test_another_block_takes_no_other_pass(context_of):
    context, memory, calls = context_of("pixels"), {}, []
    hook = context.model.unet.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        for given in ({"block": "mid"}, {"block": "down.0"}, {"block": "down.0", "t": 5}):
            turns("unet", context, memory=memory, **given)
    finally:
        hook.remove()
    assert len(calls) == 2


def test_large_maps_are_averaged_and_say_so(context_of, monkeypatch):
    from ddpm_app.learn.stations import unet

    context = context_of("pixels")
    monkeypatch.setattr(unet, "SIDE", 3)
    shown = panels("unet", context, block="conv_in")
    assert "3 × 3" in shown["maps"]["note"]
    assert not any(p.requires_grad for p in context.model.unet.parameters()) and torch.is_grad_enabled()
