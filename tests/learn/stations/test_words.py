"""Station 12: chips, likeness, guesses and the four guidance scales; labels instead of words; neither."""

import re

import pytest
from kits.learn import begin, panels, turns

NAMES = {
    "words": ["tokens", "alike", "cosine", "usual", "guesses", "flow", "guidance"],
    "labels": ["tokens", "guesses", "flow", "guidance"],
}


def pieces(shown):
    return re.findall(r'class="chip([^"]*)"[^>]*><b>([^<]*)</b><small>(\d+)', shown["tokens"]["html"])


def pictures(shown, name="guidance", row=0):
    return [image["src"] for image in shown[name]["rows"][row]["images"]]


@pytest.mark.parametrize("kind", ["words", "words-in-pixels", "labels", "labels-in-latents"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_everything_is_shown(context_of, kind, lang):
    shown = panels("words", context_of(kind), lang=lang)
    assert list(shown) == NAMES[kind.split("-")[0]]
    assert len(set(pictures(shown))) == 4 and len(pictures(shown, "guesses")) == len(pictures(shown, "guesses", 1)) == 3
    assert shown["guesses"]["rows"][1]["colour_bar"]


def test_tokens_and_what_was_cut(context_of):
    context = context_of("words")
    shown = panels("words", context, prompt="red bug", other="abcdefghijklm <b>")
    found, end = pieces(shown), [k for k, piece in enumerate(pieces(shown)) if "end" in piece[0]]
    assert [int(number) for *_, number in found[: end[1] + 1]] == context.model.conditioning.tokenizer(
        "red bug"
    ).input_ids
    assert any("unread" in tone for tone, *_ in found[end[1] + 1 :]) and not any(
        "unread" in tone for tone, *_ in found[: end[1] + 1]
    )
    assert "Not read: l m &lt;b&gt;" in shown["tokens"]["html"].replace("klm", "l m")


def test_left_empty_it_is_the_pictures_own_text(context_of):
    context = context_of("words", index=4)
    shown = panels("words", context)
    assert "".join(piece for tone, piece, _ in pieces(shown) if not tone) == "bluebugredbug"
    assert pictures(shown) == pictures(panels("words", context, prompt=context.text(4)))
    assert pictures(shown) != pictures(panels("words", context, prompt="green"))


def test_likeness(context_of):
    table = panels("words", context_of("words"), prompt="red bug", other="red bug")["alike"]["rows"]
    assert [row[k + 1]["text"] for k, row in enumerate(table)] == ["1.000"] * 3 and table[0][2][
        "text"
    ] == "1.000" != table[0][3]["text"]


@pytest.mark.parametrize(("said", "chosen"), [("green", "green"), ("1", "blue"), ("nonsense", "red")])
def test_labels_by_name_or_number(context_of, said, chosen):
    context = context_of("labels")
    names = context.model.conditioning.names
    context.source.labels = [names.index("red")] * len(context.source)
    shown = panels("words", context, prompt=said if said != "1" else str(names.index("blue")))
    marked = [piece for tone, piece, _ in pieces(shown) if "chosen" in tone]
    assert marked[0] == chosen and marked[1] != chosen and len(pieces(shown)) == 2 * len(names)


def test_same_prompts_guess_the_same(context_of):
    context = context_of("words")
    same, other = (
        panels("words", context, prompt="red", other="red"),
        panels("words", context, prompt="red", other="blue"),
    )
    assert (
        pictures(same, "guesses")[1] == pictures(same, "guesses")[2]
        and pictures(other, "guesses")[1] != pictures(other, "guesses")[2]
    )
    assert pictures(same, "guesses", 1)[0] == pictures(same, "guesses", 1)[1]


def test_t_moves_the_guesses_and_the_seed_all(context_of):
    context = context_of("words")
    here, there, seeded = (
        panels("words", context, t=100),
        panels("words", context, t=900),
        panels("words", context, t=100, seed=1),
    )
    assert pictures(here, "guesses") != pictures(there, "guesses") and pictures(here) == pictures(there)
    assert pictures(here) != pictures(seeded)


def test_it_grows_without_jumping(context_of):
    all_turns = [turn for turn in turns("words", context_of("words")) if turn]
    assert len(all_turns) == 5 and {tuple(panel["name"] for panel in turn) for turn in all_turns} == {
        tuple(NAMES["words"])
    }
    assert {len(turn[-1]["rows"][0]["images"]) for turn in all_turns} == {4}


def test_growing_goes_on_when_t_moves(context_of):
    context, memory = context_of("words"), {}
    first = begin("words", context, memory=memory)
    for _ in range(20):
        next(first)
    first.close()
    rest = turns("words", context, memory=memory, t=10)
    assert len(rest) < 30 and {p["name"]: p for p in rest[-1]} == panels("words", context, t=10)
    assert len([turn for turn in turns("words", context, memory=memory, t=20)]) == 1
    assert len(turns("words", context, memory=memory, seed=1)) > 30


def test_a_model_without_words_says_why(context_of):
    for lang in ("en", "zh"):
        shown = panels("words", context_of("pixels"), lang=lang)
        assert list(shown) == ["way"] and "shipped:butterflies-words" in shown["way"]["html"]
