"""A source of pictures that is open: each in full size as it came, with its label and captions. No torch.

Rows stay on disk; ``picture`` decodes one of them. Labels and captions are plain lists.
"""

import collections
import functools
from collections.abc import Callable

from PIL import Image

from ddpm_app.config import TrainConfig
from ddpm_app.data import columns, decode
from ddpm_app.data.account import EXAMPLES, Account
from ddpm_app.data.rows import Piece, read_piece
from ddpm_app.errors import Problem

RANGES_READ = 200
"""Pictures with more than 8 bits that are decoded for the range of their values."""
SIZES_READ = 2000
"""Pictures whose header is read for the size histogram; opening more than that would take too long for a page."""

Place = str | bytes | Piece
"""Where a picture lies: a path, a member of a shard, or the bytes themselves."""


class ImageSource:
    """The pictures as they came: ``len``, ``picture(i)``, and per row ``names``, ``labels`` (None or ints, -1 where there is
    none) with ``label_names``, ``captions`` (None or strings, the first of several) and ``caption_choices`` (all of each picture).

    ``kind`` is "built-in", "folder" or "hub"; ``account``: what everything in the source was taken for; ``held_out`` the rows that the
    source itself keeps out of training (None: it says nothing); ``fingerprint`` changes when the source does; ``image_column``, ``caption_column`` and ``label_column``: where they come from, and
    where a new caption or label belongs.
    """

    def __init__(
        self,
        config: TrainConfig,
        kind: str,
        fingerprint: str,
        license: str,
        names: list[str],
        place: Callable[[int], Place | None],
        labels: columns.Labels,
        captions: columns.Captions,
        image_column: str = columns.IMAGE_NAME,
        account: Account | None = None,
        held_out: list[int] | None = None,
    ):
        self.kind, self.name, self.fingerprint, self.license = kind, config.dataset_name, fingerprint, license
        self.names, self.labels, self.label_names = names, labels.numbers, labels.names
        self.caption_choices = captions.choices
        choices = captions.choices
        self.captions = None if choices is None else ["".join(texts[:1]) for texts in choices]
        self.image_column, self.label_column, self.caption_column = image_column, labels.column, captions.column
        self.account = account or Account()
        self._account_for_columns(labels.origin)
        self.held_out = held_out
        self.ground = config.background
        self._place = place

    def _account_for_columns(self, origin: str) -> None:
        """Add what the pictures' labels and captions are."""
        account = self.account
        if not account["pictures"] and not account["pictures_in_shards"]:
            account.add("rows", len(self))
        if self.labels is not None and self.label_names is not None:
            counts = collections.Counter(self.label_names[label] for label in self.labels if label >= 0)
            account.add("labels", len(self.label_names), column=origin, most=_most_common(counts))
            account.add("label_gaps", [name for name, label in zip(self.names, self.labels, strict=True) if label < 0])
        if self.caption_choices is not None:
            gaps = [name for name, texts in zip(self.names, self.caption_choices, strict=True) if not texts]
            account.add("captions", len(self) - len(gaps), column=self.caption_column)
            account.add("caption_gaps", gaps)
            several = [len(texts) for texts in self.caption_choices if len(texts) > 1]
            account.add("several_captions", len(several), most=max(several, default=0))

    def __len__(self) -> int:
        return len(self.names)

    def file(self, i: int) -> str | bytes:
        """The path or the bytes of picture ``i``. Raises decode.UnusableImage."""
        place = self._place(i)
        if place is None:
            raise decode.UnusableImage("missing")
        return read_piece(place) if isinstance(place, Piece) else place

    @functools.cached_property
    def grey(self) -> decode.Range | None:
        """The range of pictures with more than 8 bits, by some of them spread over the set; None where there are none."""
        if self.kind == "built-in":  # the first page needn't wait for what is known
            return None
        deep = [i for i in self.spread(SIZES_READ) if self._is_deep(i)]
        step = max(1, len(deep) // RANGES_READ)
        return decode.range_of(self.file(i) for i in deep[::step])

    def _is_deep(self, i: int) -> bool:
        try:
            return decode.is_deep(self.file(i))
        except decode.UnusableImage:
            return False

    def spread(self, count: int) -> list[int]:
        """At most ``count`` rows spread evenly."""
        step = max(1, -(-len(self) // count))
        return list(range(0, len(self), step))

    def picture(self, i: int, draft: int | None = None) -> Image.Image:
        """Picture ``i`` in RGB, upright, in full size. Raises Problem("picture_unfit") with the name."""
        try:
            return self.marked_picture(i, draft)[0]
        except decode.UnusableImage as error:
            raise Problem("picture_unfit", name=self.names[i], reason=error.reason) from error

    def marked_picture(self, i: int, draft: int | None = None) -> tuple[Image.Image, frozenset[str]]:
        """Picture ``i``, and the decode.MARKS that apply. Raises decode.UnusableImage."""
        return decode.read_marked(self.file(i), draft, self.ground, self.grey)

    def thumbnail(self, i: int, side: int) -> Image.Image:
        """Picture ``i`` shrunk to fit a square of ``side`` pixels. Raises as ``picture``."""
        small = self.picture(i, draft=side)
        small.thumbnail((side, side))
        return small

    def sizes(self) -> list[tuple[int, int]]:
        """(width, height) of at most SIZES_READ pictures spread over the set, from their headers; those that can't be used are passed over."""
        sizes = []
        for i in self.spread(SIZES_READ):
            try:
                sizes.append(decode.size(self.file(i)))
            except decode.UnusableImage:
                continue
        return sizes


def _most_common(counts: collections.Counter[str]) -> str:
    """The labels of most pictures with their counts."""
    listed = ", ".join(f"{name} {count}" for name, count in counts.most_common(EXAMPLES))
    return listed + (", …" if len(counts) > EXAMPLES else "")
