"""Station 9: what train() and eval() change, what gradients cost, who is frozen."""

import copy

import pytest
import torch
from kits.learn import panels

from ddpm_app.learn.stations import SPECS
from ddpm_app.model.unet import count_parameters, sections


def sources(row):
    return [image["src"] for image in row["images"]]


@pytest.mark.parametrize("kind", ["pixels", "latents", "labels", "words"])
def test_without_dropout_nothing_differs_and_it_says_why(context_of, kind):
    context = context_of(kind)
    shown = panels("modes", context)
    a, b = shown["twice"]["rows"]
    assert sources(a) == sources(b) and sources(a)[0] == sources(a)[1]
    assert a["images"][2]["caption"].endswith("at most 0") and "p = 0" in shown["why"]["html"]
    assert (
        f"{count_parameters(context.model.unet):,} of {count_parameters(context.model.unet):,}" in shown["note"]["text"]
    )


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_dropout_shows_in_train_mode(context_of, lang):
    context = context_of("pixels")
    shown = panels("modes", context, dropout=0.3, lang=lang)
    a, b = shown["twice"]["rows"]
    assert sources(a)[0] == sources(a)[1] and sources(b)[0] != sources(b)[1]
    assert a["colour_bar"] is None and float(b["colour_bar"]["high"]) > 0
    assert "0.3" in shown["why"]["html"]
    assert sources(panels("modes", context, dropout=0.3, lang=lang)["twice"]["rows"][1]) == sources(b)
    assert sources(panels("modes", context, dropout=0.3, lang=lang, seed=1)["twice"]["rows"][1]) != sources(b)


def test_a_runs_own_dropout_is_kept(context_of):
    assert "0.25" in panels("modes", context_of("pixels", dropout=0.25))["why"]["html"]


@pytest.mark.parametrize("trainable", SPECS["modes"].controls[1].options)
def test_frozen_sections_have_no_gradient(context_of, trainable):
    context = context_of("words")
    rows = {row[0].split()[-1]: row[1:] for row in panels("modes", context, trainable=trainable)["gradients"]["rows"]}
    known = sections(context.model.unet)
    assert set(rows) == set(known)
    learning = {id(p) for p in (context.model.unet.parameters() if trainable == "all" else known[trainable])}
    assert learning
    for name, (by_eval, by_train, count) in rows.items():
        assert count == f"{sum(p.numel() for p in known[name]):,}" and (isinstance(by_eval, dict) or not known[name])
        assert isinstance(by_train, dict) == any(id(p) in learning for p in known[name]), name


def test_a_model_too_large_is_not_copied(context_of, monkeypatch):
    monkeypatch.setattr("ddpm_app.learn.panels.MAX_PARAMETERS", 10)
    for lang in ("en", "zh"):
        shown = panels("modes", context_of("pixels"), lang=lang)
        assert set(shown) == {"note", "way-out"} and "shipped:butterflies-words" in shown["way-out"]["html"]


def test_costs_come_from_gradients_and_not_from_the_mode(context_of):
    rows = panels("modes", context_of("pixels"))["costs"]["rows"]
    memory = [row[1]["text"] for row in rows]
    assert memory[0] == memory[1] != "0" and memory[2:] == ["0", "0"]
    assert [row[3] == "-" for row in rows] == [False, False, True, True]


def test_the_snapshot_is_left_alone(context_of):
    context = context_of("pixels")
    weights, state = copy.deepcopy(context.model.unet.state_dict()), torch.random.get_rng_state()
    panels("modes", context, dropout=0.5, trainable="mid")
    unet = context.model.unet
    assert not unet.training and not any(p.requires_grad or p.grad is not None for p in unet.parameters())
    assert all(torch.equal(value, weights[name]) for name, value in unet.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
