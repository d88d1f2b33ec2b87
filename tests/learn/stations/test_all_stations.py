"""What holds for every station: panels for every kind of model, words in every language, and the model as it was."""

import ast
import inspect
import json
import pathlib
import re
import string
import subprocess
import sys

import pytest
import torch
from kits import ROOT
from kits.learn import begin, panels, shows
from PIL import Image

from ddpm_app import i18n
from ddpm_app.learn import catalog, stations
from ddpm_app.learn.station import Action, Choice, Slider, Textbox, Toggle
from ddpm_app.plots import COLOURS

KINDS = ("pixels", "latents", "labels", "words")
PANELS = {"pictures", "table", "markup", "note", "charts", "film", "slider"}
MOST_BYTES = 400_000
named = pytest.mark.parametrize("station", stations.SPECS.values(), ids=lambda station: station.id)


def state_of(context):
    unet = context.model.unet
    weights = [parameter.sum().item() for parameter in unet.parameters()]
    return (
        weights,
        [module.training for module in unet.modules()],
        [parameter.requires_grad for parameter in unet.parameters()],
    )


@named
@pytest.mark.parametrize("kind", KINDS)
def test_it_shows_something_of_every_kind_of_model(context_of, station, kind):
    context = context_of(kind)
    before, drawn = state_of(context), torch.get_rng_state()
    first = panels(station.id, context)
    assert first and {panel["kind"] for panel in first.values()} <= PANELS
    assert torch.equal(torch.get_rng_state(), drawn) and state_of(context) == before and torch.is_grad_enabled()
    json.dumps(list(first.values()), allow_nan=False)


@named
def test_it_takes_a_picture_of_the_viewers_own_and_both_ends_of_time(context_of, station):
    context = context_of("pixels", own=Image.new("RGB", (9, 21), "teal"))
    for t in (0, context.timesteps - 1):
        assert panels(station.id, context, t=t)


@named
def test_it_speaks_both_languages(context_of, station):
    context, kind = (
        context_of(KINDS[3] if station.model == "butterflies-words" else KINDS[0]),
        re.compile(r"[\u4e00-\u9fff]"),
    )
    told = {lang: json.dumps(panels(station.id, context, lang=lang), ensure_ascii=False) for lang in i18n.LANGUAGES}
    assert kind.search(told["zh"]) and not kind.search(told["en"])


@named
@pytest.mark.parametrize("lang", i18n.LANGUAGES)
def test_it_is_described(station, lang):
    description = catalog.describe(station, lang)
    assert description["title"] and description["what"]
    assert all(i18n.t(f"ui.learn.{station.id}.{key}", lang) for key in ("question", "answer"))
    assert [control["name"] for control in description["controls"]] == [control.name for control in station.controls]
    assert set(station.uses) <= {"picture", "seed", "t", "condition"}
    assert station.model in ("butterflies-64", "butterflies-words")


@named
def test_its_formulas_and_code_can_be_shown(station):
    """That KaTeX takes the formulas is seen in a browser: tests/browser/test_learn_tab.py."""
    assert station.maths and all(line.isprintable() and "$" not in line for line in station.maths)
    functions = re.findall(r"^(?:def|class) (\w+)", catalog.source_code(station), re.MULTILINE)
    assert functions == [name.rpartition(":")[2].rpartition(".")[2] for name in station.code]


@named
def test_everything_it_says_is_in_the_tables(station):
    """Calls of ``.say("key", ...)`` in its file, with the placeholders that the sentence has."""
    path = pathlib.Path(inspect.getfile(stations.load(station.id)))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "say"
            and node.args
        ):
            continue
        options = [node.args[0].body, node.args[0].orelse] if isinstance(node.args[0], ast.IfExp) else [node.args[0]]
        keys = [key.value for key in options if isinstance(key, ast.Constant)]
        given = {keyword.arg for keyword in node.keywords}
        for lang in i18n.LANGUAGES if keys and None not in given else ():
            sentences = [i18n.text_table(lang)[f"ui.learn.{station.id}.{key}"] for key in keys]
            wanted = [{name for _, name, _, _ in string.Formatter().parse(sentence) if name} for sentence in sentences]
            assert set().union(*wanted) == given, (keys, lang)


@named
def test_every_control_is_taken_and_leaves_the_world_as_it_was(context_of, station):
    """Both ends of sliders, all options, switches on, buttons: with words, where most of them mean something."""
    context = context_of("words")
    before, drawn = state_of(context), torch.get_rng_state()
    for control in station.controls:
        for value in values_of(control):
            given = {"pressed": control.name} if isinstance(control, Action) else {control.name: value}
            for _ in begin(station.id, context, **given):
                assert torch.equal(torch.get_rng_state(), drawn) and torch.is_grad_enabled()
    assert state_of(context) == before


def values_of(control):
    match control:
        case Choice():
            return control.options
        case Slider():
            return control.low, control.high
        case Toggle():
            return True, False
        case Textbox():
            return "red bug", ""
        case _:
            return (None,)


@named
def test_a_buttons_click_is_remembered_or_not_but_never_breaks(context_of, station):
    for control in station.controls:
        if isinstance(control, Action) and control.name != "hundred":
            memory = {}
            assert panels(station.id, context_of("pixels"), pressed=control.name, memory=memory)
            assert panels(station.id, context_of("pixels"), memory=memory)


@named
def test_colours_are_those_of_the_code(context_of, station):
    def colours(value):
        if isinstance(value, dict):
            found = value.get("colour")
            yield from [found] if isinstance(found, str) and found else []
            for inner in value.values():
                yield from colours(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                yield from colours(inner)

    context = context_of("pixels")
    assert set(colours(shows(station.id, context))) <= set(COLOURS)


def test_the_specifications_need_no_torch():
    """The page tells of all stations before the engine is there."""
    code = "import sys; from ddpm_app.learn import catalog; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
