"""What pictures are asked for by: nothing, a label, or words. Each turns what was asked into the UNet's arguments."""

import hashlib
import pathlib
import string
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ddpm_app.config import TrainConfig
from ddpm_app.data import cache
from ddpm_app.data.image_dataset import ImageDataset
from ddpm_app.errors import Problem, Stopped

BATCH = 64
"""Texts embedded at once."""


class Conditions(Protocol):
    """The conditions of a data set's pictures."""

    def arguments(self, indices: np.ndarray, dropped: np.ndarray | None = None) -> dict[str, Tensor]:
        """The UNet's arguments for the pictures ``indices``, with nothing asked where ``dropped[k]``."""


class Nothing:
    """No condition: the UNet learns what the pictures have in common. Also the conditions of such a data set."""

    kind = "none"

    def to(self, device: str | torch.device) -> "Nothing":
        return self

    def for_dataset(
        self, config: TrainConfig, pictures: ImageDataset, progress: Callable, yield_device: Callable[[], bool]
    ) -> Conditions:
        """The conditions of ``pictures``."""
        return self

    def arguments(self, indices: np.ndarray, dropped: np.ndarray | None = None) -> dict[str, Tensor]:
        return {}

    def conditional(self, count: int, prompt: tuple[str, ...], labels: tuple[int, ...]) -> dict[str, Tensor]:
        """The UNet's arguments for ``count`` pictures to be drawn."""
        return {}

    def unconditional(self, count: int, negative_prompt: str = "") -> dict[str, Tensor]:
        """The UNet's arguments for ``count`` pictures of which nothing is asked."""
        return {}


class Labels:
    """One of ``names``; the class embedding's last row stands for "no label" (classifier-free guidance, arXiv 2207.12598)."""

    kind = "labels"

    def __init__(self, names: tuple[str, ...]):
        self.names = tuple(names)
        self.none = len(self.names)
        self.device: str | torch.device = "cpu"

    def to(self, device: str | torch.device) -> "Labels":
        self.device = device
        return self

    def for_dataset(
        self, config: TrainConfig, pictures: ImageDataset, progress: Callable, yield_device: Callable[[], bool]
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

    def _arguments(self, labels) -> dict[str, Tensor]:
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
        return self._arguments([turn[k % len(turn)] for k in range(count)])

    def unconditional(self, count: int, negative_prompt: str = "") -> dict[str, Tensor]:
        """The UNet's arguments for ``count`` pictures of which nothing is asked."""
        return self._arguments([self.none] * count)


class DatasetLabels:
    """The labels of a data set's pictures; one without a label (-1) asks for nothing."""

    def __init__(self, asking: Labels, pictures: ImageDataset):
        self.asking = asking
        self.fingerprint = cache.key_of(asking.names, pictures.labels)
        self.labels = np.asarray(pictures.labels)
        self.labels[self.labels < 0] = asking.none

    def arguments(self, indices: np.ndarray, dropped: np.ndarray | None = None) -> dict[str, Tensor]:
        labels = self.labels[indices]
        return self.asking._arguments(labels if dropped is None else np.where(dropped, self.asking.none, labels))


class Text:
    """Words: a tokenizer and a frozen CLIP text encoder, whose last hidden state [B, L, D] the UNet attends to."""

    kind = "text"

    def __init__(self, tokenizer: Any, encoder: torch.nn.Module):
        self.tokenizer, self.encoder = tokenizer, encoder.eval().requires_grad_(False)
        self.width = encoder.config.hidden_size

    def to(self, device: str | torch.device) -> "Text":
        self.encoder.to(device)
        return self

    def for_dataset(
        self, config: TrainConfig, pictures: ImageDataset, progress: Callable, yield_device: Callable[[], bool]
    ) -> "CaptionEmbeddings":
        """The conditions of ``pictures``, each different text embedded once and kept on disk; ``progress("embed", done, total)``
        and ``yield_device`` are called between batches. Raises Stopped when ``yield_device()`` is true, and Problem: "no_captions", "no_labels"."""
        texts = texts_of(config, pictures)
        different = sorted({*texts, ""})
        path = cache.cache_folder() / "texts" / cache.key_of(different, self.fingerprint)

        def build() -> dict:
            shape = (len(different), self.longest, self.width)
            with open(path / "texts.npy", "wb") as file:
                np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
                for first in range(0, len(different), BATCH):
                    if yield_device():
                        raise Stopped
                    file.write(self.embed(different[first : first + BATCH]).cpu().numpy().tobytes())
                    progress("embed", min(first + BATCH, len(different)), len(different))
            return {"what": f"{pictures.source['name']}: {len(different)} texts"}

        cache.make(path, build, yield_device)
        number = {text: k for k, text in enumerate(different)}
        return CaptionEmbeddings(
            path, np.array([number[text] for text in texts]), number[""], texts, len(self.cut(texts))
        )

    @property
    def fingerprint(self) -> str:
        """A hash of all weights and of the vocabulary."""
        hashed = hashlib.blake2b(repr(sorted(self.tokenizer.get_vocab().items())).encode(), digest_size=16)
        for name, weight in sorted(self.encoder.state_dict().items()):
            hashed.update(name.encode() + weight.cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return hashed.hexdigest()

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
        """Which of ``texts`` are longer than the encoder takes."""
        lengths = [len(ids) for ids in self.tokenizer(texts, verbose=False).input_ids] if texts else []
        return [k for k, length in enumerate(lengths) if length > self.longest]

    def unread(self, text: str) -> str:
        """The end of ``text`` that the encoder doesn't see; "" where all of it fits."""
        if not self.cut([text]):
            return ""
        read = self.tokenizer(
            text, max_length=self.longest, truncation=True, return_offsets_mapping=True
        ).offset_mapping
        return text[max(end for _, end in read) :].strip()

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
        embedded = self.embed(list(prompt or ("",)))
        return {"encoder_hidden_states": embedded[torch.arange(count) % len(embedded)]}

    def unconditional(self, count: int, negative_prompt: str = "") -> dict[str, Tensor]:
        """The UNet's arguments for ``count`` pictures of which nothing, or not ``negative_prompt``, is asked."""
        return {"encoder_hidden_states": self.embed([negative_prompt]).expand(count, -1, -1)}


class CaptionEmbeddings:
    """The texts of a data set's pictures and their embeddings, memory-mapped: float32 [M, L, D]. ``cut``: how many texts are longer
    than the encoder takes."""

    def __init__(self, path: pathlib.Path, rows: np.ndarray, blank: int, texts: list[str], cut: int):
        self.embedded = np.load(path / "texts.npy", mmap_mode="r")
        self.rows, self.blank, self.texts, self.cut = rows, blank, texts, cut
        self.fingerprint = cache.key_of(texts)

    def arguments(self, indices: np.ndarray, dropped: np.ndarray | None = None) -> dict[str, Tensor]:
        rows = self.rows[indices]
        return {
            "encoder_hidden_states": torch.from_numpy(
                self.embedded[rows if dropped is None else np.where(dropped, self.blank, rows)]
            )
        }


def texts_of(config: TrainConfig, pictures: ImageDataset) -> list[str]:
    """The text of every picture, by ``config.caption_template``. Raises Problem: "no_captions", "no_labels"."""
    wanted = {name for _, name, _, _ in string.Formatter().parse(config.caption_template)}
    if "caption" in wanted and not pictures.captions:
        raise Problem("no_captions", "caption_template", other="caption_column", value=config.caption_template)
    if "label" in wanted and not pictures.label_names:
        raise Problem("no_labels", "caption_template", other="label_column", value=config.caption_template)
    names = [*(pictures.label_names or ()), ""]  # -1, no label, takes the last
    labels, captions = pictures.labels or [-1] * len(pictures), pictures.captions or [""] * len(pictures)
    return [
        config.caption_template.format(caption=caption, label=names[label])
        for caption, label in zip(captions, labels, strict=True)
    ]
