"""The account of a source: what everything in it was taken for, what was not taken and why. The page, the terminal and a run's record
show the same lines; their words are in assets/i18n (``notice.data_<code>``)."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from ddpm_app.i18n import t

EXAMPLES = 5
"""Names that a line gives."""

USED = ("pictures", "caption_files", "tables", "shards")
"""What files are used as."""

NOT_USED = (
    "unlisted",
    "other_split",
    "hidden",
    "empty",
    "lone_captions",
    "lone_tables",
    "other_tables",
    "sidecars",
    "archives",
    "films",
    "other_formats",
    "others",
    "dead_links",
)
"""Why files are not used, beside decode.REASONS: each file of a folder stands in one line of USED, NOT_USED or REASONS."""

COUNTS = ("pictures", "rows", "pictures_in_shards")
"""How many pictures there are, which a run says anyway."""

INFORMATION = (*USED, *COUNTS, "labels", "captions")
"""Lines that say what is used; all others say what is changed, missing or not used."""


@dataclasses.dataclass(frozen=True)
class Line:
    """``count`` things of the kind ``code``, some of their ``names``, and what else its sentence tells."""

    code: str
    count: int
    names: tuple[str, ...] = ()
    values: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def text_values(self) -> dict[str, Any]:
        """What fills the placeholders of its sentence."""
        more = ", …" if self.count > len(self.names) else ""
        names = ", ".join(self.names) + more if self.names else ""
        return {"count": self.count, "names": names, **self.values}

    @property
    def notice(self) -> tuple[str, dict[str, Any]]:
        """The code of its sentence under ``notice.``, and what fills it."""
        return f"data_{self.code}", self.text_values

    def text(self, lang: str = "en") -> str:
        """The sentence: what it is, the count, examples, and what to do where something is lost."""
        return t(f"notice.data_{self.code}", lang, **self.text_values)


class Account:
    """Lines in the order in which they were added, one for each code."""

    def __init__(self, lines: Iterable[Line] = ()):
        self._lines = {line.code: line for line in lines}

    def __iter__(self) -> Iterator[Line]:
        return iter(self._lines.values())

    def __getitem__(self, code: str) -> int:
        """How many things are counted under ``code``."""
        return self._lines[code].count if code in self._lines else 0

    def add(self, code: str, things: int | Iterable[str], **values: Any) -> None:
        """Count ``things``, a number or their names, under ``code``, beside those that stand there; none adds no line."""
        names = () if isinstance(things, int) else tuple(things)
        count = things if isinstance(things, int) else len(names)
        if not count:
            return
        before = self._lines.get(code, Line(code, 0))
        self._lines[code] = Line(
            code, before.count + count, (before.names + names)[:EXAMPLES], {**before.values, **values}
        )

    def recount(self, code: str, names: Iterable[str]) -> None:
        """Count ``names`` under ``code`` instead of what stands there."""
        self._lines.pop(code, None)
        self.add(code, names)

    def take(self, code: str, count: int) -> None:
        """Count ``count`` things fewer under ``code``, where it has a line."""
        if code in self._lines:
            self._lines[code] = dataclasses.replace(self._lines[code], count=self._lines[code].count - count)

    def files(self, reasons: Iterable[str] = ()) -> int:
        """Files that are accounted for; ``reasons`` are the codes of pictures that can't be decoded."""
        return sum(self[code] for code in (*USED, *NOT_USED, *reasons))

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values, as a run's record and ``look --json`` hold them."""
        return [dataclasses.asdict(line) for line in self]

    @classmethod
    def from_json(cls, lines: Iterable[dict[str, Any]]) -> "Account":
        """What ``to_json`` wrote."""
        return cls(Line(line["code"], line["count"], tuple(line["names"]), line["values"]) for line in lines)
