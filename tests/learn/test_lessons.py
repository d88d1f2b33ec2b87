"""Every lesson in both languages: the same steps, directives that the app understands, labels as the page shows them, plain prose."""

import html
import json
import re

import pytest

from ddpm_app import config, i18n, presets
from ddpm_app.learn import context, lessons, stations
from ddpm_app.learn.station import MAX_TEXT, Action, Choice, Slider, Textbox, Toggle
from ddpm_app.ui.page import TABS

LANGUAGES = ("en", "zh")
LENGTHS = {"en": (60, 110), "zh": (80, 200)}
"""Of a step, in words or in Chinese characters."""
NAMES = {
    "batch_size",
    "backward",
    "requires_grad",
    "no_grad",
    "zero_grad",
    "x_t",
    "x_0",
    "abar_t",
    "scaling_factor",
    "conv_in",
}
"""Names in the prose that are no settings of the app."""
STEPS = [
    (lang, lesson["id"], k, step)
    for lang in LANGUAGES
    for lesson in lessons.lessons(lang)
    for k, step in enumerate(lesson["steps"])
]
each_step = pytest.mark.parametrize(
    ("lang", "step"), [(s[0], s[3]) for s in STEPS], ids=[f"{lang}-{name}-{k}" for lang, name, k, _ in STEPS]
)


def plain(step):
    return html.unescape(re.sub(r"<[^>]+>", "", step["html"]))


def found_in(step, tag):
    return [html.unescape(told) for told in re.findall(f"<{tag}>(.*?)</{tag}>", step["html"])]


# ---- the files ----------------------------------------------------------------------------------------------------------
def test_there_is_a_file_for_each_lesson_and_language_and_no_other():
    assert {path.name for path in lessons.FOLDER.iterdir()} == {
        f"{name}.{lang}.md" for name in lessons.ORDER for lang in LANGUAGES
    }


@pytest.mark.parametrize("at", range(len(lessons.ORDER)), ids=lessons.ORDER)
def test_both_languages_take_the_same_walk(at):
    english, chinese = (lessons.lessons(lang)[at] for lang in LANGUAGES)
    assert 6 <= len(english["steps"]) <= 9
    assert [step["set"] for step in english["steps"]] == [step["set"] for step in chinese["steps"]]
    does = [
        [[action["set"] for action in step["actions"]] for step in lesson["steps"]] for lesson in (english, chinese)
    ]
    assert does[0] == does[1]
    for lesson in (english, chinese):
        titles = [step["title"] for step in lesson["steps"]]
        assert (
            lesson["id"] == lessons.ORDER[at]
            and lesson["title"]
            and lesson["summary"]
            and all(titles)
            and len(set(titles)) == len(titles)
        )
    assert english["title"] != chinese["title"] and english["summary"] != chinese["summary"]


# ---- what a step sets ---------------------------------------------------------------------------------------------------
def fits(control, value):
    match control:
        case Slider():
            return type(value) in (int, float) and control.low <= value <= control.high
        case Choice():
            return value in control.options
        case Toggle():
            return isinstance(value, bool)
        case Textbox():
            return isinstance(value, str) and len(value) <= MAX_TEXT
        case Action():
            return False


KNOWN = {
    "tab": TABS.__contains__,
    "preset": presets.PRESETS.__contains__,
    "station": stations.ORDER.__contains__,
    "model": {f"shipped:{name}" for name in context.SHIPPED_PRESETS}.__contains__,
    "picture": lambda value: isinstance(value, str) and value.isdecimal() and int(value) < 1024,
    "t": lambda value: type(value) is int and 0 <= value < 1000,
    "seed": lambda value: type(value) is int and value >= 0,
}


@each_step
def test_a_step_sets_what_there_is(lang, step):
    given = step["set"]
    station = stations.SPECS[given["station"]] if "station" in given else None
    controls = {control.name: control for control in station.controls} if station else {}
    assert given and not set(controls) & set(KNOWN)
    for name, value in given.items():
        assert KNOWN[name](value) if name in KNOWN else fits(controls[name], value), f"{name}: {value!r}"
    assert (given["tab"] == "learn") == (station is not None)
    assert "preset" not in given or given["tab"] == "config"
    used = {"model", *station.uses, *(("picture",) if "condition" in station.uses else ())} if station else set()
    assert {"model", "picture", "t", "seed"} & given.keys() <= used


@each_step
def test_what_a_button_does_there_is(lang, step):
    station = stations.SPECS.get(step["set"].get("station"))
    controls = {control.name: control for control in station.controls} if station else {}
    labels = [action["label"] for action in step["actions"]]
    assert all(labels) and len(set(labels)) == len(labels)
    for action in step["actions"]:
        for name, value in action["set"].items():
            match name:
                case "fields":
                    assert step["set"]["tab"] == "config" and set(value) <= set(config.FIELDS)
                case "press":
                    assert isinstance(controls[value], Action)
                case "start":
                    assert value is True and step["set"]["tab"] in ("config", "train")
                case _:
                    assert KNOWN[name](value) if name in KNOWN else fits(controls[name], value), f"{name}: {value!r}"


@pytest.mark.parametrize("name", lessons.ORDER)
def test_a_step_says_where_a_control_stands_that_another_step_moved(name):
    """The page keeps a control as it was left: a later step at the same station that doesn't name it would show something else."""
    named = {}
    for step in lessons.read(name, (lessons.FOLDER / f"{name}.en.md").read_text(encoding="utf-8"))["steps"]:
        if "station" in step["set"]:
            moved = set(step["set"]) - set(KNOWN)
            assert moved >= named.setdefault(step["set"]["station"], moved), step["title"]


# ---- the prose ----------------------------------------------------------------------------------------------------------
@each_step
def test_a_step_is_short_plain_prose(lang, step):
    told = plain(step)
    length = len(told.split()) if lang == "en" else len(re.findall(r"[\u4e00-\u9fff]", told))
    low, high = LENGTHS[lang]
    assert low <= length <= high, f"{length}: {step['title']}"
    assert set(re.findall(r"<(\w+)", step["html"])) <= {"p", "code", "em", "ul", "li"}
    assert not re.search(r"https?:|&lt;|[!\uff01]", step["html"])
    assert "*" not in re.sub("<code>.*?</code>", "", step["html"]), "emphasis that is none"
    assert re.search(r"[?\uff1f]", told), "every step asks something"


@each_step
def test_what_is_emphasised_is_on_the_page(lang, step):
    """Labels are quoted as the page shows them in this language."""
    shown = set(i18n.text_table(lang).values())
    assert [label for label in found_in(step, "em") if label not in shown] == []


@each_step
def test_settings_and_presets_are_called_by_their_names(lang, step):
    known = NAMES | set(config.FIELDS) | set(presets.PRESETS) | set(context.SHIPPED_PRESETS)
    for code in found_in(step, "code"):
        for name in re.findall(r"\b[a-z]\w*_\w+\b|\b[a-z]+-[\w-]+\b", code):
            assert name in known, name


def test_chinese_is_punctuated_as_chinese():
    for lang, _, _, step in STEPS:
        if lang == "zh":
            told = re.sub(r"<code>.*?</code>", "x", step["title"] + "\n" + step["html"])
            assert not re.search(r"[\u4e00-\u9fff][,;:?!()]|[,;:?!(][\u4e00-\u9fff]", told), step["title"]
            assert not re.search(
                r"[\u4e00-\u9fff][A-Za-z0-9]|[A-Za-z0-9][\u4e00-\u9fff]", re.sub(r"<[^>]+>", "", told)
            ), step["title"]
            assert "\u60a8" not in told


# ---- reading a file -----------------------------------------------------------------------------------------------------
def test_a_lesson_is_read():
    found = lessons.read(
        "x",
        '# T\nS.\n\n## One\n<!-- {"tab": "learn"} -->\nSay `a` & *b* <b>c</b>.\n\n## Two\n<!-- {\n"t": 3} -->\n- d\n',
    )
    assert (found["id"], found["title"], found["summary"]) == ("x", "T", "S.")
    assert found["steps"][0] == {"title": "One", "set": {"tab": "learn"}, "actions": [],
                                 "html": "<p>Say <code>a</code> &amp; <em>b</em> &lt;b&gt;c&lt;/b&gt;.</p>\n"}  # fmt: skip
    assert found["steps"][1]["set"] == {"t": 3} and "<li>d</li>" in found["steps"][1]["html"]


@pytest.mark.parametrize(
    ("comment", "told"),
    [
        ('<!-- {"t": 3 -->', "is not JSON"),
        ("<!-- {'t': 3} -->", "is not JSON"),
        ("<!-- t = 3 -->", "is not JSON"),
        ("<!-- [3] -->", "is not a JSON object"),
        ("", "0 comments"),
        ('<!-- {"t": 3} --> and <!-- {"t": 4} -->', "2 comments"),
    ],
)
def test_a_broken_directive_is_named(comment, told):
    with pytest.raises(ValueError, match=f'lesson x, step "One": .*{told}') as raised:
        lessons.read("x", f"# T\nS.\n\n## One\n{comment}\nProse.\n")
    assert not isinstance(raised.value, json.JSONDecodeError)


def test_another_language_gets_english():
    assert lessons.lessons("fr") == lessons.lessons("en")
