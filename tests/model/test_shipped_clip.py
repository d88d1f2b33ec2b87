"""The small CLIP that ships: its tokenizer, its text encoder, and that its words mean something."""

import json

import pytest
import torch
from kits import ROOT
from pyarrow import parquet
from safetensors.torch import load_file
from transformers import AutoTokenizer, CLIPTextModel, PreTrainedTokenizerFast

from ddpm_app import specimens

CLIP = ROOT / "assets" / "models" / "butterflies-clip"


@pytest.fixture(scope="module")
def tokenizer():
    return PreTrainedTokenizerFast.from_pretrained(CLIP / "tokenizer")


@pytest.fixture(scope="module")
def encoder():
    return CLIPTextModel.from_pretrained(CLIP / "text_encoder", dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def meaning(tokenizer, encoder):
    """Texts -> their pooled embeddings as unit vectors [N, D]."""

    @torch.no_grad()
    def embed(*texts):
        ids = tokenizer(list(texts), padding="max_length", return_tensors="pt").input_ids
        return torch.nn.functional.normalize(encoder(ids).pooler_output)

    return embed


def test_words_are_lower_case_and_punctuation_says_nothing(tokenizer):
    plain = tokenizer("a blue butterfly with white spots").input_ids
    assert tokenizer("A BLUE butterfly,\twith... White-spots!").input_ids == plain
    assert plain[0] == tokenizer.bos_token_id and plain[-1] == tokenizer.eos_token_id and len(plain) == 8
    assert tokenizer.decode(plain, skip_special_tokens=True) == "a blue butterfly with white spots"


def test_a_word_it_never_met_is_unknown_and_takes_one_place(tokenizer):
    assert tokenizer("a zeppelin butterfly").input_ids[2] == tokenizer.unk_token_id == 0
    assert tokenizer("été").input_ids[1:-1] == [0]


def test_every_prompt_has_the_same_length(tokenizer):
    def ids(text):
        given = tokenizer(
            text, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
        )
        return given.input_ids[0].tolist()

    longest, end = tokenizer.model_max_length, tokenizer.eos_token_id
    assert ids("") == [tokenizer.bos_token_id] + [end] * (longest - 1)
    assert ids("blue") == [tokenizer.bos_token_id, *tokenizer("blue").input_ids[1:-1]] + [end] * (longest - 2)
    assert len(ids("blue " * 99)) == longest and ids("blue " * 99)[-2:] == [
        ids("blue")[1],
        end,
    ]  # cut, and ended all the same


def test_no_caption_is_cut_or_has_an_unknown_word(tokenizer):
    captions = (
        parquet.read_table(ROOT / "assets" / "butterflies.parquet", columns=["caption"]).column("caption").to_pylist()
    )
    for ids in tokenizer([*captions, *specimens.SPECIES, "a photo of a monarch"]).input_ids:
        assert len(ids) <= tokenizer.model_max_length and tokenizer.unk_token_id not in ids


def test_tokenizer_and_encoder_are_of_a_piece(tokenizer, encoder):
    config = encoder.config
    assert (len(tokenizer), tokenizer.model_max_length) == (config.vocab_size, config.max_position_embeddings)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        assert getattr(tokenizer, name) == getattr(config, name)
    assert (
        config.eos_token_id == config.vocab_size - 1
    )  # the highest, as in CLIP: some implementations pool at the maximum
    assert type(AutoTokenizer.from_pretrained(CLIP / "tokenizer")) is type(tokenizer)


def test_files_are_small_and_in_half_precision_and_name_no_place():
    files = [file for file in CLIP.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 1.2e6
    assert {file.name for file in files} == {
        "tokenizer.json",
        "tokenizer_config.json",
        "config.json",
        "model.safetensors",
    }
    assert {weight.dtype for weight in load_file(CLIP / "text_encoder" / "model.safetensors").values()} == {
        torch.float16
    }
    for file in CLIP.rglob("*.json"):
        assert "name_or_path" not in file.read_text() and "is_local" not in json.loads(file.read_text())


def test_encoder_works_in_float32(tokenizer, encoder):
    with torch.no_grad():
        out = encoder(
            tokenizer(["a blue butterfly", ""], padding="max_length", max_length=32, return_tensors="pt").input_ids
        )
    assert out.last_hidden_state.shape == (2, 32, 128) and out.pooler_output.dtype == torch.float32
    assert out.last_hidden_state.isfinite().all()
    torch.testing.assert_close(
        out.pooler_output[1], out.last_hidden_state[1, 1]
    )  # pooled at the end of the text, not of the padding


def test_likeness_is_that_of_meaning(meaning):
    blue, margins, spots, yellow, striped = meaning(
        "a blue butterfly",
        "a blue butterfly with broad black margins and small white spots",
        "a large blue butterfly with narrow black margins and orange spots",
        "a yellow butterfly",
        "a yellow butterfly with broad black margins, black stripes, blue spots and tails",
    )
    assert min(blue @ margins, blue @ spots) > max(blue @ yellow, blue @ striped) + 0.1
    assert yellow @ striped > max(yellow @ margins, yellow @ spots) + 0.1


def test_a_species_name_means_its_looks(meaning):
    looks = {
        "monarch": "an orange butterfly with black veins, black margins and black tips",
        "luna moth": "a green moth with four eyespots and long tails",
        "brimstone": "a yellow butterfly with orange spots",
        "apollo": "a white butterfly with grey margins, four eyespots and black spots",
    }
    likeness = meaning(*(f"a {name}" for name in looks)) @ meaning(*looks.values()).T
    assert likeness.argmax(1).tolist() == [0, 1, 2, 3]
