"""What the text encoder sees of a data set's texts: how many there are, and how many it cuts."""

import dataclasses
from pathlib import Path
from typing import Any

from ddpm_app.config import TrainConfig
from ddpm_app.ui import anatomy

KEPT = 32
"""Answers that are kept."""


@dataclasses.dataclass(frozen=True)
class Cut:
    """``cut`` of ``count`` texts are longer than ``longest`` tokens, begin and end among them."""

    cut: int
    count: int
    longest: int


_counted: dict[tuple, Cut] = {}


def counted(config: TrainConfig, source: Any, runs_dir: Path) -> Cut | None:
    """The texts of ``source`` (data.source.Source) as the config's text encoder sees them. None where no words are asked for, or
    the encoder isn't on this machine. Raises Problem: "no_captions", "no_labels"."""
    try:
        settings = anatomy.text_settings(config, runs_dir)
    except ValueError:
        return None
    if settings is None:
        return None
    from ddpm_app.model.conditioning import texts_of

    columns = config.caption_template, config.caption_column, config.label_column
    key = (source.fingerprint, *columns, config.text_encoder, config.init_from, anatomy.stamp(config, runs_dir))
    if key not in _counted:
        texts, encoder = texts_of(config, source), _reader(config, settings, runs_dir)
        if len(_counted) >= KEPT:
            _counted.clear()
        _counted[key] = Cut(len(encoder.cut(texts)), len(texts), encoder.longest)
    return _counted[key]


def _reader(config: TrainConfig, settings: dict[str, Any], runs_dir: Path) -> Any:
    """The tokenizer with an encoder that has no weights."""
    from transformers import AutoTokenizer

    from ddpm_app.model.conditioning import Text
    from ddpm_app.model.outline import folder_of
    from ddpm_app.model.pipeline import CLIP

    folder = folder_of(config.init_from or config.text_encoder or CLIP, runs_dir)
    part = folder / "tokenizer"
    return Text(AutoTokenizer.from_pretrained(part if part.is_dir() else folder), anatomy.text_encoder(settings))
