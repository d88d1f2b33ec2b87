"""The words that a model by text knows, read from its tokenizer's file. No torch."""

import dataclasses
import functools
import pathlib

from tokenizers import Tokenizer

from ddpm_app.files import read_json
from ddpm_app.model.describe import pipeline_folder


@dataclasses.dataclass(frozen=True)
class PromptWords:
    """The words of a prompt, each once: those that the model has learnt, and those that are all one unknown word to it."""

    known_words: tuple[str, ...]
    unknown_words: tuple[str, ...]


def prompt_words(place: pathlib.Path, prompt: str) -> PromptWords | None:
    """The words of a prompt for the model in ``place``; None where its tokenizer spells what it doesn't know, or isn't there."""
    folder = pipeline_folder(place) / "tokenizer"
    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    tokenizer, unknown = _tokenizer(file, file.stat().st_mtime_ns)
    if unknown is None:
        return None
    encoding = tokenizer.encode(prompt, add_special_tokens=False)
    words: dict[str, bool] = {}
    for token, span in zip(encoding.ids, encoding.offsets, strict=True):
        word = prompt[slice(*span)].strip()
        if any(map(str.isalnum, word)):
            words[word] = words.get(word, True) and token != unknown
    return PromptWords(
        tuple(word for word, knows in words.items() if knows), tuple(word for word, knows in words.items() if not knows)
    )


@functools.lru_cache(maxsize=8)
def _tokenizer(file: pathlib.Path, written: int) -> tuple[Tokenizer, int | None]:
    """A tokenizer, as it was ``written``, and the id of its unknown word; None for one that has none."""
    tokenizer = Tokenizer.from_file(str(file))
    name = read_json(file.with_name("tokenizer_config.json")).get("unk_token")
    name = name.get("content") if isinstance(name, dict) else name
    return tokenizer, tokenizer.token_to_id(name) if name else None
