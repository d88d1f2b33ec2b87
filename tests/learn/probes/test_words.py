"""Tokens as the tokenizer's own, similarity against the encoder's output, guesses against separate passes."""

import pytest
import torch

from ddpm_app import diffusion, sample
from ddpm_app.learn.probes import words

KINDS = ["words", "words-in-pixels", "labels", "labels-in-latents"]


@pytest.fixture
def asking(context_of):
    return context_of("words").model.conditioning


@pytest.mark.parametrize("text", ["red bug", "", "a b c d e f g h i j", "a b c d e f g h i j k l m"])
def test_tokens_are_the_tokenizers(asking, text):
    found = words.tokens(asking, text)
    assert [token.id for token in found] == asking.tokenizer(text).input_ids
    assert [token.kind for token in found] == ["begin", *["word"] * (len(found) - 2), "end"]
    read = [token.id for token in found if token.read]
    fed = asking.tokens([text])[0].tolist()
    assert read == fed[: len(read)] and len(read) <= asking.longest
    assert set(fed[len(read) :]) <= {asking.tokenizer.pad_token_id}
    pieces = "".join(token.piece for token in found if token.kind == "word")
    assert pieces == text.replace(" ", "")
    unread = "".join(token.piece for token in found if not token.read)
    assert unread == asking.unread(text).replace(" ", "")


def test_similarity_is_of_the_end_token(asking):
    texts = ["red bug", "blue bug", "red bug", ""]
    found = words.similarity(asking, texts)
    ends = []
    for text in texts:
        length = len(asking.tokenizer(text).input_ids)
        ends.append(asking.embed([text])[0, length - 1])
    wanted = torch.nn.functional.cosine_similarity(torch.stack(ends)[:, None], torch.stack(ends)[None], dim=2)
    assert (
        torch.allclose(found, wanted, atol=1e-5) and found[0, 2] == pytest.approx(1, abs=1e-6) and found[0, 1] < 0.9999
    )


def asked_of(model):
    asking = model.conditioning
    return [
        asking.unconditional(1),
        asking.conditional(1, ("red bug",), (0,)),
        asking.conditional(1, ("blue bug",), (1,)),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_the_difference_map_is_that_of_separate_passes(context_of, kind):
    model = context_of(kind).model
    x_t = torch.randn(1, *model.shape, generator=diffusion.generator(0, "test"))
    conditions = asked_of(model)
    together = words.outputs(model.unet, x_t, 400, conditions)
    with torch.no_grad():
        alone = [model.unet(x_t, torch.tensor(400), **one).sample[0] for one in conditions]
    assert torch.allclose(together, torch.stack(alone), atol=1e-5)
    got, c = words.difference(together[1], together[0]), len(alone[0])
    wanted = sum((alone[1][k] - alone[0][k]) ** 2 for k in range(c)) / c
    assert got.shape == model.shape[1:] and torch.allclose(got, wanted.sqrt(), atol=1e-5) and got.max() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_guidance_between_the_two(context_of, kind):
    """0 asks for nothing, 1 asks plainly, more goes on along the difference."""
    model = context_of(kind).model
    x_t = torch.randn(1, *model.shape, generator=diffusion.generator(1, "test"))
    blank, asked, _ = asked_of(model)
    plain, wanted = words.outputs(model.unet, x_t, 400, [blank, asked])
    with torch.no_grad():
        for scale, right in ((0, plain), (1, wanted), (3, plain + 3 * (wanted - plain))):
            assert torch.allclose(
                sample.CFGDenoiser(model.unet, asked, blank, scale)(x_t, torch.tensor(400)).sample[0], right, atol=1e-5
            )


@pytest.mark.parametrize(
    ("said", "label"),
    [("monarch", 0), (" Peacock ", 2), ("1", 1), ("pea", 2), ("p", 9), ("", 9), ("3", 9), ("-1", 9), ("moth", 9)],
)
def test_which_label_is_meant(said, label):
    assert words.label_of(("monarch", "purple emperor", "peacock"), said, 9) == label
