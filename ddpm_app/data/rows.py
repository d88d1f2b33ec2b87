"""The pictures of a folder as rows: where each lies, and what was written of it beside."""

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

from ddpm_app.data.account import Account


class Piece(NamedTuple):
    """``size`` bytes from ``offset`` of the file ``path``: a member of a shard."""

    path: str
    offset: int
    size: int


def read_piece(piece: Piece) -> bytes:
    """The bytes of a member of a shard."""
    with open(piece.path, "rb") as file:
        file.seek(piece.offset)
        return file.read(piece.size)


@dataclasses.dataclass
class FolderRows:
    """The pictures of a folder: where each lies, its name below the folder, its ``label`` by the folders (None for none), its ``texts`` from
    files beside it, and the ``columns`` of tables."""

    places: list[str | Piece]
    names: list[str]
    labels: list[str | None]
    texts: list[tuple[str, ...]]
    columns: dict[str, list[Any]]
    account: Account

    def take(self, rows: list[int]) -> "FolderRows":
        """Some of the rows."""
        return FolderRows(
            [self.places[i] for i in rows],
            [self.names[i] for i in rows],
            [self.labels[i] for i in rows],
            [self.texts[i] for i in rows],
            {column: [cells[i] for i in rows] for column, cells in self.columns.items()},
            self.account,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "account": self.account.to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "FolderRows":
        """What ``to_json`` wrote."""
        places = [place if isinstance(place, str) else Piece(*place) for place in values["places"]]
        texts = [tuple(texts) for texts in values["texts"]]
        return cls(**{**values, "places": places, "texts": texts, "account": Account.from_json(values["account"])})


def folder_labels(names: Iterable[str]) -> list[str | None]:
    """The label of each name: the folder at the first level where folders differ; None for all where none do, and for what lies above."""
    parts = [name.split("/")[:-1] for name in names]
    for level in range(max(map(len, parts), default=0)):
        labels = [folders[level] if len(folders) > level else None for folders in parts]
        if len(set(labels) - {None}) > 1:
            return labels
    return [None] * len(parts)
