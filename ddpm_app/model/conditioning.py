"""Conditioning of the UNet by nothing, by labels or by text: each makes the keyword arguments that the UNet takes beside x_t and t."""

import difflib
import hashlib
import pathlib
import string
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPTextModel, PreTrainedTokenizerBase

from ddpm_app.config import TrainConfig
from ddpm_app.data import cache
from ddpm_app.data.image_dataset import ImageDataset
from ddpm_app.data.image_source import ImageSource
from ddpm_app.data.open_source import Cancelled, Progress
from ddpm_app.errors import Problem, Stopped

BATCH = 64
"""Texts embedded at once."""
EXAMPLES = 24
"""Words that are named as examples of what a tokenizer knows."""


class Conditions(Protocol):
    """The conditions of a data set's pictures."""

    several: bool
    """Whether some pictures have more than one condition."""

    def arguments(
        self, indices: np.ndarray, dropped: np.ndarray | None = None, choice: np.ndarray | None = None
    ) -> dict[str, Tensor]:
        """The UNet's arguments for the pictures ``indices``; the unconditional ones where ``dropped[k]``. Of several conditions of a picture
        the one at ``choice[k]`` in [0, 1), or the first."""


class Nothing:
    """No condition: the UNet learns what the pictures have in common. Also the ``Conditions`` of such a data set."""

    kind: Literal["none"] = "none"
    several = False

    def to(self, device: str | torch.device) -> "Nothing":
        return self

    def for_dataset(
        self, config: TrainConfig, pictures: ImageDataset, progress: Progress, yield_device: Cancelled
    ) -> "Nothing":
        """The conditions of ``pictures``."""
        return self

    def arguments(
        self, indices: np.ndarray, dropped: np.ndarray | None = None, choice: np.ndarray | None = None
    ) -> dict[str, Tensor]:
        return {}

    def conditional(self, count: int, prompt: tuple[str, ...], labels: tuple[int, ...]) -> dict[str, Tensor]:
        """The UNet's arguments for ``count`` pictures to be drawn."""
        return {}

    def unconditional(self, count: int, negative_prompt: str = "") -> dict[str, Tensor]:
        """The UNet's arguments for ``count`` pictures without a condition."""
        return {}


class Labels:
    """Labels, by their index in ``names``. ``none``, the last row of the class embedding, stands for "no label" (classifier-free
    guidance, arXiv 2207.12598)."""

    kind: Literal["labels"] = "labels"

    def __init__(self, names: tuple[str, ...]):
        self.names = tuple(names)
        self.none = len(self.names)
        self.device: str | torch.device = "cpu"

    def to(self, device: str | torch.device) -> "Labels":
        self.device = device
        return self

    def for_dataset(
        self, config: TrainConfig, pictures: ImageDataset, progress: Progress, yield_device: Cancelled
    ) -> "DatasetLabels":
        """The conditions of ``pictures``. Raises Problem: "no_labels", "labels_differ" (other names than the model's)."""
        if not pictures.label_names:
            raise Problem("no_labels", "conditioning", other="label_column", value="labels")
        if pictures.label_names != self.names:
            raise Problem(
                "labels_differ",
                "init_from",
                value=config.init_from,
                known=", ".join(self.names),
                there=", ".join(pictures.label_names),
            )
        return DatasetLabels(self, pictures)

    def class_labels(self, labels: Sequence[int] | np.ndarray) -> dict[str, Tensor]:
        """The UNet's arguments for these rows of the class embedding."""
        return {"class_labels": torch.as_tensor(labels, dtype=torch.long).to(self.device)}

    def conditional(self, count: int, prompt: tuple[str, ...], labels: tuple[int, ...]) -> dict[str, Tensor]:
        """The UNet's arguments for ``count`` pictures: ``labels`` in turn (-1: none), or every label in turn. Raises Problem("label_unknown")."""
        for label in labels:
            if not -1 <= label < self.none:
                raise Problem(
                    "label_unknown",
                    "labels",
                    value=label,
                    known=", ".join(f"{k} {name}" for k, name in enumerate(self.names)),
                )
        turn = [self.none if label < 0 else label for label in labels] or range(self.none)
        return self.class_labels([turn[k % len(turn)] for k in range(count)])

    def unconditional(self, count: int, negative_prompt: str = "") -> dict[str, Tensor]:
        """The UNet's arguments for ``count`` pictures without a condition."""
        return self.class_labels([self.none] * count)


class DatasetLabels:
    """The labels of a data set's pictures; one without a label (-1) is trained without a condition."""

    several = False

    def __init__(self, conditioning: Labels, pictures: ImageDataset):
        self.conditioning = conditioning
        self.fingerprint = cache.key_of(conditioning.names, pictures.labels)
        self.labels = np.asarray(pictures.labels)
        self.labels[self.labels < 0] = conditioning.none

    def arguments(
        self, indices: np.ndarray, dropped: np.ndarray | None = None, choice: np.ndarray | None = None
    ) -> dict[str, Tensor]:
        labels = self.labels[indices]
        if dropped is not None:
            labels = np.where(dropped, self.conditioning.none, labels)
        return self.conditioning.class_labels(labels)


class Text:
    """Text: a tokenizer and a frozen CLIP text encoder, whose last hidden state [B, L, D] the UNet attends to."""

    kind: Literal["text"] = "text"

    def __init__(self, tokenizer: PreTrainedTokenizerBase, encoder: CLIPTextModel):
        self.tokenizer, self.encoder = tokenizer, encoder.eval().requires_grad_(False)
        self.width = encoder.config.hidden_size

    def to(self, device: str | torch.device) -> "Text":
        self.encoder.to(device)
        return self

    def for_dataset(
        self, config: TrainConfig, pictures: ImageDataset, progress: Progress, yield_device: Cancelled
    ) -> "CaptionEmbeddings":
        """The conditions of ``pictures``, each different text embedded once and kept on disk; ``progress("embed", done, total)``
        and ``yield_device`` are called between batches. Raises Stopped when ``yield_device()`` is true, and Problem: "no_captions", "no_labels"."""
        choices = text_choices(config, pictures)
        distinct = sorted({text for texts in choices for text in texts} | {""})
        path = cache.cache_folder() / "texts" / cache.key_of(distinct, self.fingerprint)

        def build() -> dict[str, Any]:
            shape = (len(distinct), self.longest, self.width)
            with open(path / "texts.npy", "wb") as file:
                np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
                for first in range(0, len(distinct), BATCH):
                    if yield_device():
                        raise Stopped
                    file.write(self.embed(distinct[first : first + BATCH]).cpu().numpy().tobytes())
                    progress("embed", min(first + BATCH, len(distinct)), len(distinct))
            return {"what": f"{pictures.source['name']}: {len(distinct)} texts"}

        cache.make(path, build, yield_device)
        number = {text: k for k, text in enumerate(distinct)}
        longest = max(len(texts) for texts in choices)
        rows = np.full((len(choices), longest), -1)
        for row, texts in zip(rows, choices, strict=True):
            row[: len(texts)] = [number[text] for text in texts]
        first = [texts[0] for texts in choices]
        unknown = self.unknown_words(distinct)
        return CaptionEmbeddings(path, rows, number[""], first, len(self.cut(first)), [unknown[k] for k in rows[:, 0]])

    @property
    def fingerprint(self) -> str:
        """A hash of all weights and of the vocabulary."""
        digest = hashlib.blake2b(repr(sorted(self.tokenizer.get_vocab().items())).encode(), digest_size=16)
        for name, weight in sorted(self.encoder.state_dict().items()):
            digest.update(name.encode() + weight.cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    @property
    def longest(self) -> int:
        """Tokens that the encoder takes, begin and end among them."""
        return min(self.tokenizer.model_max_length, self.encoder.config.max_position_embeddings)

    def tokens(self, texts: list[str]) -> Tensor:
        """Token ids [B, L], padded or cut to L = ``longest``."""
        return self.tokenizer(
            texts, padding="max_length", max_length=self.longest, truncation=True, return_tensors="pt"
        ).input_ids

    def cut(self, texts: list[str]) -> list[int]:
        """Indices of the ``texts`` that are longer than the encoder takes."""
        lengths = [len(ids) for ids in self.tokenizer(texts, verbose=False).input_ids] if texts else []
        return [k for k, length in enumerate(lengths) if length > self.longest]

    def unread(self, text: str) -> str:
        """The end of ``text`` that is cut off before the encoder; "" where all of it fits."""
        if not self.cut([text]):
            return ""
        read = self.tokenizer(
            text, max_length=self.longest, truncation=True, return_offsets_mapping=True
        ).offset_mapping
        return text[max(end for _, end in read) :].strip()

    def unknown_words(self, texts: list[str]) -> list[list[str]]:
        """The words (not punctuation) of each text for which the tokenizer has no token, each once. A tokenizer that spells what it
        doesn't know, as that of Stable Diffusion does, knows all."""
        if not texts or self.tokenizer.unk_token_id is None:
            return [[] for _ in texts]
        tokens = self.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        words = []
        for k, (text, ids) in enumerate(zip(texts, tokens.input_ids, strict=True)):
            unknown = {n for n, i in zip(tokens.word_ids(k), ids, strict=True) if i == self.tokenizer.unk_token_id}
            spans = [tokens.word_to_chars(k, n) for n in sorted(unknown - {None})]
            parts = dict.fromkeys(text[span.start : span.end] for span in spans)
            words.append([part for part in parts if any(map(str.isalnum, part))])
        return words

    def example_words(self, unknown: Sequence[str] = ()) -> list[str]:
        """Some words that the tokenizer knows: those spelt nearly like the ``unknown`` ones, then others spread over the alphabet."""
        words = sorted(word for word in self.tokenizer.get_vocab() if word.isalpha() and len(word) > 2)
        near = [close for word in unknown for close in difflib.get_close_matches(word.lower(), words, 2)]
        others = [words[k * len(words) // EXAMPLES] for k in range(EXAMPLES)] if len(words) > EXAMPLES else words
        return list(dict.fromkeys([*near, *others]))[:EXAMPLES]

    @torch.no_grad()
    def embed(self, texts: list[str]) -> Tensor:
        """Embeddings [B, L, D] of ``texts``."""
        parts = [
            self.encoder(self.tokens(texts[k : k + BATCH]).to(self.encoder.device))[0]
            for k in range(0, len(texts), BATCH)
        ]
        return torch.cat(parts).float()

    def conditional(self, count: int, prompt: tuple[str, ...], labels: tuple[int, ...]) -> dict[str, Tensor]:
        """The UNet's arguments for ``count`` pictures: the texts of ``prompt`` in turn."""
        embeddings = self.embed(list(prompt or ("",)))
        return {"encoder_hidden_states": embeddings[torch.arange(count) % len(embeddings)]}

    def unconditional(self, count: int, negative_prompt: str = "") -> dict[str, Tensor]:
        """The UNet's arguments for ``count`` pictures of the empty text, or of ``negative_prompt``, from which guidance leads away."""
        return {"encoder_hidden_states": self.embed([negative_prompt]).expand(count, -1, -1)}


Conditioning = Nothing | Labels | Text


class CaptionEmbeddings:
    """The texts of a data set's pictures and their embeddings, memory-mapped: float32 [M, L, D] of the M different texts.

    ``rows``: which of them are picture k's, [N, most] filled up with -1; ``empty``: which is that of the empty text; ``texts``: the first
    of each picture; ``cut``: how many of them are longer than the encoder takes; ``unknown``: their words that the encoder doesn't know.
    """

    def __init__(
        self,
        path: pathlib.Path,
        rows: np.ndarray,
        empty: int,
        texts: list[str],
        cut: int,
        unknown: list[list[str]],
    ):
        self.unknown = unknown
        self.embeddings = np.load(path / "texts.npy", mmap_mode="r")
        self.rows, self.empty, self.texts, self.cut = rows, empty, texts, cut
        self.counts = (rows >= 0).sum(1)
        self.several = rows.shape[1] > 1
        self.fingerprint = cache.key_of(texts, *([rows.tolist()] if self.several else []))

    def arguments(
        self, indices: np.ndarray, dropped: np.ndarray | None = None, choice: np.ndarray | None = None
    ) -> dict[str, Tensor]:
        column = 0 if choice is None else (choice * self.counts[indices]).astype(int)
        rows = self.rows[indices, column]
        if dropped is not None:
            rows = np.where(dropped, self.empty, rows)
        return {"encoder_hidden_states": torch.from_numpy(self.embeddings[rows])}


def text_choices(config: TrainConfig, pictures: ImageDataset | ImageSource) -> list[tuple[str, ...]]:
    """The texts of every picture, at least one, by ``config.caption_template``. Raises Problem: "no_captions", "no_labels"."""
    fields = {name for _, name, _, _ in string.Formatter().parse(config.caption_template)}
    if "caption" in fields and not pictures.caption_choices:
        raise Problem("no_captions", "caption_template", other="caption_column", value=config.caption_template)
    if "label" in fields and not pictures.label_names:
        raise Problem("no_labels", "caption_template", other="label_column", value=config.caption_template)
    names = [*(pictures.label_names or ()), ""]  # -1, no label, takes the last
    labels = pictures.labels or [-1] * len(pictures)
    choices = pictures.caption_choices or [()] * len(pictures)
    template = config.caption_template
    return [
        tuple(dict.fromkeys(template.format(caption=caption, label=names[label]) for caption in captions or ("",)))
        for captions, label in zip(choices, labels, strict=True)
    ]
