"""Conditioning by nothing, labels or text: the UNet's arguments, dropped for a share of the pictures, and guidance."""

import types

import numpy as np
import pytest
import tokenizers
import torch
from kits import models as parts_kit
from kits.engine import settings
from kits.problems import expect_problem
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Split
from transformers import PreTrainedTokenizerFast

from ddpm_app import drawing, sample
from ddpm_app.data import image_dataset as data
from ddpm_app.errors import Stopped
from ddpm_app.i18n import problem_text
from ddpm_app.model import conditioning, loaded, pipeline
from ddpm_app.model.conditioning import BATCH, Labels, Nothing, Text, text_choices
from ddpm_app.train.batches import Batches

quiet = (lambda *progress: None, lambda: False)


@pytest.fixture(scope="module")
def pictures(tiny_of):
    return data.load(tiny_of("labels"))


@pytest.fixture(scope="module")
def words():
    return Text(*parts_kit.text())


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache that holds no texts yet."""
    monkeypatch.setenv("DDPM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "texts"


# ---- nothing ---------------------------------------------------------------------------------------------------------
def test_no_condition_is_no_argument(tiny, pictures):
    nothing = Nothing()
    assert nothing.for_dataset(tiny(), pictures, *quiet) is nothing
    assert (
        nothing.arguments(np.arange(3), np.ones(3, bool))
        == nothing.conditional(3, ("a",), (1,))
        == nothing.unconditional(3, "b")
        == {}
    )


# ---- labels ----------------------------------------------------------------------------------------------------------
def numbers(arguments) -> list[int]:
    assert list(arguments) == ["class_labels"] and arguments["class_labels"].dtype == torch.int64
    return arguments["class_labels"].tolist()


def test_labels_of_pictures(pictures, tiny_of):
    assert pictures.label_names == ("blue", "green", "red")
    of = Labels(pictures.label_names).for_dataset(tiny_of("labels"), pictures, *quiet)
    chosen = np.array([0, 1, 2, 3, 10])
    assert numbers(of.arguments(chosen)) == [pictures.labels[i] for i in chosen] == [2, 0, 1, 2, 0]


def test_left_out_labels_take_the_last_row(pictures, tiny_of):
    of = Labels(pictures.label_names).for_dataset(tiny_of("labels"), pictures, *quiet)
    assert numbers(of.arguments(np.array([0, 1, 2]), np.array([False, True, False]))) == [2, 3, 1]
    assert numbers(of.arguments(np.array([0, 1, 2]), np.zeros(3, bool))) == [2, 0, 1]


def test_picture_without_a_label_asks_for_nothing(tiny_of):
    some = types.SimpleNamespace(label_names=("a", "b"), labels=[1, -1, 0])
    of = Labels(("a", "b")).for_dataset(tiny_of("labels"), some, *quiet)
    assert numbers(of.arguments(np.array([0, 1, 2]))) == [1, 2, 0] and some.labels == [1, -1, 0]


def test_labels_asked_for():
    labels = Labels(("a", "b", "c"))
    assert numbers(labels.conditional(7, (), ())) == [0, 1, 2, 0, 1, 2, 0], "all in turn"
    assert numbers(labels.conditional(3, ("ignored",), (2,))) == [2, 2, 2]
    assert numbers(labels.conditional(5, (), (1, -1))) == [1, 3, 1, 3, 1], "-1 is none"
    assert numbers(labels.unconditional(2, "ignored")) == [3, 3]


@pytest.mark.parametrize("label", [3, -2, 99])
def test_label_that_is_not_there(label):
    with expect_problem("label_unknown", "labels") as caught:
        Labels(("a", "b", "c")).conditional(2, (), (0, label))
    assert caught.value.values["value"] == label
    assert "2 c" in problem_text(caught.value) and "-1" in problem_text(caught.value)


def test_unlabelled_pictures_and_other_labels(tiny, tiny_of, pictures):
    with expect_problem("no_labels", "conditioning"):
        Labels(("a",)).for_dataset(tiny_of("labels"), data.load(tiny()), *quiet)
    with expect_problem("labels_differ", "init_from") as caught:
        Labels(("a", "b", "c")).for_dataset(tiny_of("labels", init_from="mine"), pictures, *quiet)
    assert "a, b, c" in problem_text(caught.value) and "blue, green, red" in problem_text(caught.value)


# ---- the share left out ----------------------------------------------------------------------------------------------
def dropped(step=0, batch=0, rank=0, **values) -> np.ndarray | None:
    config = settings("x", **values)
    return Batches(config, types.SimpleNamespace(train=np.arange(64)), torch.device("cpu"), rank, 2).dropped(
        step, batch, 64
    )


def test_share_of_dropped():
    drawn = np.concatenate([dropped(step=k, condition_dropout=0.3) for k in range(60)])
    assert drawn.dtype == bool and 0.27 < drawn.mean() < 0.33
    assert dropped(condition_dropout=0) is None and dropped(condition_dropout=1).all()


def test_dropped_depends_on_its_key_alone():
    half = dict(condition_dropout=0.5)
    one = dropped(step=3, **half)
    torch.rand(5)
    assert np.array_equal(one, dropped(step=3, **half))
    for other in (
        dropped(step=4, **half),
        dropped(step=3, batch=1, **half),
        dropped(step=3, rank=1, **half),
        dropped(step=3, seed=1, **half),
    ):
        assert not np.array_equal(one, other)


def texts_of(config, pictures):
    """The first text of each picture."""
    return [texts[0] for texts in text_choices(config, pictures)]


# ---- texts -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        ("{caption}", ["red bug", "blue bug", "green bug"]),
        ("a photo of a {label}", ["a photo of a red", "a photo of a blue", "a photo of a green"]),
        ("{label}: {caption}", ["red: red bug", "blue: blue bug", "green: green bug"]),
        ("one for all", ["one for all"] * 3),
        ("", [""] * 3),
        ("{{braces}}", ["{braces}"] * 3),
    ],
)
def test_template(pictures, tiny_of, template, wanted):
    assert texts_of(tiny_of("words", caption_template=template), pictures)[:3] == wanted


def test_each_of_several_captions_is_a_text_and_is_drawn(tiny_of, pictures, words, own_cache, monkeypatch):
    monkeypatch.setattr(pictures, "caption_choices", [("red", "crimson"), *[("blue",)] * 22, ()])
    config = tiny_of("words", caption_template="a {caption}")
    assert text_choices(config, pictures)[:2] == [("a red", "a crimson"), ("a blue",)]
    assert text_choices(config, pictures)[23] == ("a ",)
    conditions = words.for_dataset(config, pictures, *quiet)
    assert conditions.several and conditions.texts[:2] == ["a red", "a blue"]
    first, second, drawn = (
        conditions.arguments(np.array([0, 1]), choice=choice)["encoder_hidden_states"]
        for choice in (None, np.array([0.2, 0.9]), np.array([0.7, 0.9]))
    )
    assert torch.equal(first, second) and torch.equal(first[1], drawn[1]) and not torch.equal(first[0], drawn[0])


def test_template_without_captions_or_labels(tiny, tiny_of, pictures):
    bare = data.load(tiny())
    with expect_problem("no_captions", "caption_template"):
        texts_of(tiny_of("words"), bare)
    with expect_problem("no_labels", "caption_template"):
        texts_of(tiny_of("words", caption_template="a {label}"), bare)
    assert texts_of(tiny_of("words", caption_template="a bug"), bare) == ["a bug"] * 24
    bare.label_names, bare.labels = ("a", "b"), [1, -1] * 12
    assert texts_of(tiny_of("words", caption_template="a {label}"), bare) == ["a b", "a "] * 12


def test_embedding_is_the_encoders(words):
    tokenizer, encoder = parts_kit.text()
    texts = ["red bug", "", "green bug"]
    tokens = tokenizer(texts, padding="max_length", max_length=12, truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        wanted = encoder(tokens).last_hidden_state
    assert torch.equal(words.embed(texts), wanted) and wanted.shape == (3, 12, 8)
    assert not words.embed(texts).requires_grad and words.width == 8 and words.longest == 12


def test_the_encoder_is_frozen():
    tokenizer, encoder = parts_kit.text()
    Text(tokenizer, encoder.train().requires_grad_(True))
    assert not encoder.training and not any(p.requires_grad for p in encoder.parameters())


def test_arguments_of_pictures(words, pictures, tiny_of):
    of = words.for_dataset(tiny_of("words"), pictures, *quiet)
    chosen = np.array([0, 1, 4, 2])
    ((name, got),) = of.arguments(chosen).items()
    assert name == "encoder_hidden_states" and got.dtype == torch.float32
    torch.testing.assert_close(got, words.embed(["red bug", "blue bug", "blue bug", "green bug"]), rtol=0, atol=1e-6)
    dropped = of.arguments(chosen, np.array([False, True, False, True]))["encoder_hidden_states"]
    torch.testing.assert_close(dropped, words.embed(["red bug", "", "blue bug", ""]), rtol=0, atol=1e-6)
    torch.testing.assert_close(dropped[1:2], words.unconditional(1)["encoder_hidden_states"], rtol=0, atol=1e-6)


def test_each_text_is_embedded_once(pictures, tiny_of, own_cache, monkeypatch):
    words, seen, told = Text(*parts_kit.text()), [], []
    embed = words.embed
    monkeypatch.setattr(words, "embed", lambda texts: seen.extend(texts) or embed(texts))
    of = words.for_dataset(tiny_of("words"), pictures, lambda *phase: told.append(phase), lambda: False)
    assert seen == ["", "blue bug", "green bug", "red bug"] and told == [("embed", 4, 4)]
    assert of.texts[:2] == ["red bug", "blue bug"] and len(of.texts) == 24
    again = Text(*parts_kit.text())
    monkeypatch.setattr(again, "embed", None)
    torch.testing.assert_close(
        again.for_dataset(tiny_of("words"), pictures, *quiet).arguments(np.array([0])), of.arguments(np.array([0]))
    )
    other, seen[:] = Text(*parts_kit.text(seed=1)), []
    embed = other.embed
    monkeypatch.setattr(other, "embed", lambda texts: seen.extend(texts) or embed(texts))
    assert other.fingerprint != words.fingerprint == again.fingerprint
    other.for_dataset(tiny_of("words"), pictures, *quiet)
    other.for_dataset(tiny_of("words", caption_template="a {label}"), pictures, *quiet)
    assert len(seen) == 8, "other weights or other texts are embedded anew"


def test_stopped_while_embedding_leaves_nothing(words, pictures, tiny_of, own_cache):
    with pytest.raises(Stopped):
        words.for_dataset(tiny_of("words"), pictures, lambda *progress: None, lambda: True)
    assert not [path for path in own_cache.iterdir() if path.is_dir()]


def test_cut_texts_are_counted(words, pictures, tiny_of):
    fits, cut = "a" * 10, "a" * 11
    assert words.cut([fits, cut, "", "a b c d e f g h i j", "a b c d e f g h i j k"]) == [1, 4] and words.cut([]) == []
    assert words.for_dataset(tiny_of("words"), pictures, *quiet).cut == 0
    assert words.for_dataset(tiny_of("words", caption_template="a quite {label} bug"), pictures, *quiet).cut == 24
    assert words.tokens([cut]).shape == (1, 12) and words.tokens([cut])[0, -1] == words.tokenizer.eos_token_id


def test_the_end_that_is_not_read(words):
    assert words.unread("a" * 10) == words.unread("") == ""
    assert (
        words.unread("abcdefghij klm") == "klm"
        and words.unread("abcdefgh ijklm") == "klm"
        and words.unread("red bug, blue bug") == "e bug"
    )


@pytest.fixture(scope="module")
def by_word():
    """Text whose tokenizer has a token per word, as the one that ships; the encoder plays no part."""
    names = ["<unk>", "<|startoftext|>", "<|endoftext|>", "an", "ant", "beetle", "wasp", "black", "green"]
    core = tokenizers.Tokenizer(WordLevel({name: k for k, name in enumerate(names)}, unk_token="<unk>"))
    core.normalizer, core.pre_tokenizer = Lowercase(), Split(tokenizers.Regex(r"\W+"), "removed")
    ends = dict(bos_token="<|startoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", model_max_length=12, **ends)
    return Text(tokenizer, parts_kit.text()[1])


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("", []),
        ("A Green beetle, a wasp!", ["A", "a"]),
        ("black wasps and wasps", ["wasps", "and"]),
        ("甲虫 on a green leaf", ["甲虫", "on", "a", "leaf"]),
    ],
)
def test_unknown_words_are_named_as_they_were_typed(by_word, text, unknown):
    assert by_word.unknown_words(["green ant", text]) == [[], unknown]


def test_unknown_words_of_each_picture(by_word, pictures, tiny_of, own_cache):
    texts = by_word.for_dataset(tiny_of("words", caption_template="a {label} ant"), pictures, *quiet)
    labels = [pictures.label_names[k] for k in pictures.labels]
    assert texts.unknown == [["a"] if label == "green" else ["a", label] for label in labels]


def test_a_tokenizer_that_spells_knows_the_words_it_can_spell(words):
    assert words.unknown_words(["red bug", "a b4d bug?"]) == [[], ["4"]] and words.unknown_words([]) == []


def test_examples_begin_with_what_is_spelt_alike(by_word, monkeypatch):
    assert by_word.example_words() == ["ant", "beetle", "black", "green", "wasp"]
    assert by_word.example_words(["Wasps", "xyz"])[0] == "wasp"
    monkeypatch.setattr(conditioning, "EXAMPLES", 2)
    assert by_word.example_words(["greene"]) == ["green", "ant"]


def test_remarks_name_what_is_unknown_and_what_is_known(by_word):
    model = types.SimpleNamespace(conditioning=by_word)
    request = sample.Request(num_images=2, prompt=("green wasps", "Bees", "hornets"), negative_prompt="bees")
    unknown, known = drawing.text_remarks(model, [("", request)], "en")
    assert unknown.endswith(": wasps, Bees, bees.") and ": wasp, beetle, ant, " in known


def test_texts_asked_for(words):
    wanted = words.embed(["a", "b", "c"])
    asked = words.conditional(5, ("a", "b", "c"), (1,))["encoder_hidden_states"]
    torch.testing.assert_close(asked, wanted[[0, 1, 2, 0, 1]], rtol=0, atol=1e-6)
    torch.testing.assert_close(
        words.conditional(2, (), ())["encoder_hidden_states"], words.embed(["", ""]), rtol=0, atol=1e-6
    )
    torch.testing.assert_close(
        words.unconditional(2)["encoder_hidden_states"], words.embed(["", ""]), rtol=0, atol=1e-6
    )
    torch.testing.assert_close(
        words.unconditional(2, "red")["encoder_hidden_states"], words.embed(["red"] * 2), rtol=0, atol=1e-6
    )


def test_many_texts_are_embedded_in_parts(words, monkeypatch):
    sizes, forward = [], words.encoder.forward
    monkeypatch.setattr(words.encoder, "forward", lambda ids, **rest: sizes.append(len(ids)) or forward(ids, **rest))
    assert len(words.embed(["a"] * (BATCH + 3))) == BATCH + 3 and sizes == [BATCH, 3]


# ---- loading an encoder ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("place", ["words", "stable-diffusion"])
def test_alone_or_in_a_pipeline(parts, place):
    loaded = pipeline.load_text(str(parts / place))
    wanted = Text(*parts_kit.text(seed=0 if place == "words" else 5))
    assert loaded.fingerprint == wanted.fingerprint
    assert torch.equal(loaded.embed(["red bug"]), wanted.embed(["red bug"]))


def test_folder_without_an_encoder(parts):
    for place in ("vae", "ddpm"):
        with expect_problem("model_unreadable", "text_encoder"):
            pipeline.load_text(str(parts / place))


# ---- guidance --------------------------------------------------------------------------------------------------------
class Adder(torch.nn.Module):
    """A network whose output is its condition, a number."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, x, t, condition=None):
        self.calls.append((len(x), condition))
        return types.SimpleNamespace(sample=x * 0 + (0.0 if condition is None else condition.view(-1, 1, 1, 1)))


CONDITIONAL, UNCONDITIONAL, X = (
    {"condition": torch.tensor([2.0, 5.0])},
    {"condition": torch.tensor([1.0, -1.0])},
    torch.ones(2, 1, 2, 2),
)


@pytest.mark.parametrize(
    ("scale", "wanted"), [(0, (1, -1)), (1, (2, 5)), (3, (4, 17)), (0.5, (1.5, 2)), (7.5, (8.5, 44))]
)
def test_guidance_by_hand(scale, wanted):
    """unconditional + scale (conditional - unconditional), arXiv 2207.12598 as the pipelines of diffusers count it."""
    network = Adder()
    out = sample.CFGDenoiser(network, CONDITIONAL, UNCONDITIONAL, scale)(X, torch.tensor(3)).sample
    assert [tuple(picture.unique().tolist()) for picture in out] == [(float(w),) for w in wanted]
    assert [count for count, _ in network.calls] == [2 if scale in (0, 1) else 4], "at 0 and 1 one pass is enough"


def test_nothing_asked_is_one_plain_pass():
    network = Adder()
    sample.CFGDenoiser(network, {}, {}, 3.0)(X, torch.tensor(3))
    assert network.calls == [(2, None)]


def test_guidance_of_a_real_network(trained):
    it = loaded.load_model(trained("words").path)
    noise, t = torch.randn(2, *it.shape, generator=torch.Generator().manual_seed(1)), torch.tensor(400)
    asked, blank = it.conditioning.conditional(2, ("red bug",), ()), it.conditioning.unconditional(2)
    with torch.no_grad():
        wanted, plain = it.unet(noise, t, **asked).sample, it.unet(noise, t, **blank).sample
        for scale, value in ((0, plain), (1, wanted), (3, plain + 3 * (wanted - plain))):
            torch.testing.assert_close(
                sample.CFGDenoiser(it.unet, asked, blank, scale)(noise, t).sample, value, rtol=0, atol=1e-5
            )


@pytest.mark.parametrize(
    ("field", "value"), [("guidance_scale", -0.1), ("guidance_scale", 101), ("guidance_scale", float("nan"))]
)
def test_guidance_out_of_bounds(field, value):
    with expect_problem("less_than_equal" if value > 100 else "greater_than_equal", field):
        sample.Request(**{field: value})


# ---- what is drawn ---------------------------------------------------------------------------------------------------
def draw(model, **request) -> torch.Tensor:
    frames = list(sample.sample(model, sample.Request(num_inference_steps=3, sampler="ddim", **request)))
    return torch.cat([frame.x for frame in frames[2::3]])


@pytest.mark.parametrize("kind", ["labels", "labels-in-latents", "words", "words-in-pixels"])
def test_what_is_asked_for_changes_the_picture(trained, kind):
    it = loaded.load_model(trained(kind).path)
    one, other = (
        (dict(labels=(0,)), dict(labels=(1,)))
        if kind.startswith("labels")
        else (dict(prompt=("red bug",)), dict(prompt=("blue",)))
    )
    first, second = draw(it, num_images=1, **one), draw(it, num_images=1, **other)
    assert not torch.allclose(first, second, atol=1e-6)
    together = draw(it, num_images=3, **{name: value + other[name] for name, value in one.items()})
    torch.testing.assert_close(together[:1], first, rtol=0, atol=1e-4)
    torch.testing.assert_close(together[2:], draw(it, num_images=1, seed=2, **one), rtol=0, atol=1e-4)
    torch.testing.assert_close(
        draw(it, num_images=3, batch_size=1, **{k: v + other[k] for k, v in one.items()}), together, rtol=0, atol=1e-4
    )
    for scale in (1.0, 6.0):
        assert not torch.allclose(draw(it, num_images=1, guidance_scale=scale, **one), first, atol=1e-6)
    nothing = draw(it, num_images=1, guidance_scale=0, **one)
    torch.testing.assert_close(nothing, draw(it, num_images=1, guidance_scale=0, **other), rtol=0, atol=0)


def test_negative_prompt(trained):
    it = loaded.load_model(trained("words").path)
    plain, against = (
        draw(it, num_images=1, prompt=("red",)),
        draw(it, num_images=1, prompt=("red",), negative_prompt="blue"),
    )
    assert not torch.allclose(plain, against, atol=1e-6)
    alone = draw(it, num_images=1, prompt=("red",), guidance_scale=1)
    assert torch.equal(alone, draw(it, num_images=1, prompt=("red",), guidance_scale=1, negative_prompt="blue")), (
        "at 1 nothing is set against it"
    )


def test_unknown_label_of_a_model(trained):
    it = loaded.load_model(trained("labels").path)
    with expect_problem("label_unknown", "labels"):
        draw(it, labels=(7,))
