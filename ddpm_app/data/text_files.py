"""Text whose encoding nobody states, and tables of it: CSV in any of its ways, JSON, JSON Lines. Standard library only."""

import csv
import io
import json
import re
from typing import Any

from ddpm_app.errors import Problem

COMMON = {
    "shift_jis": re.compile("[ぁ-ヿー、。「」]"),
    "gbk": re.compile("[，。、：；！？（）《》“”]"),
    "big5": re.compile("[，。、：；！？（）「」]"),
}
"""Of each East Asian encoding: the signs that text in it has, beside its everyday characters."""
EVERYDAY = {"shift_jis": ("shift_jis", 0x88, 0x97), "gbk": ("gb2312", 0xB0, 0xD7), "big5": ("big5", 0xA4, 0xC6)}
"""The character set whose first level holds the everyday characters, and the first and last lead byte of that level."""
INSIDE_A_WORD = re.compile("(?<=[A-Za-z])[^\x00-\x7f]+(?=[a-z])")
LEAST_SHARE = 0.7
"""Of the characters beyond ASCII, those that must be everyday ones for an encoding to be believed."""
CYRILLIC_WORD = re.compile("(?=[а-яё]{3})[а-яё]*[аеёиоуыэюя]")
SEPARATORS = ",;\t|"
CAPTION_SUFFIXES = (".txt", ".caption", ".cap")
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")

Row = dict[str, Any]
"""A row of a table: strings, numbers, lists or None by column."""


def decode_text(data: bytes, fallback: str = "cp1252") -> str:
    """The text that ``data`` most likely is: UTF-8, UTF-16 with its mark, else GBK, Shift-JIS or Big5 where nearly all characters are
    everyday ones there, Cyrillic where they make words, or ``fallback`` (bytes it lacks become "\ufffd")."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    shares = {encoding: _everyday_share(data, encoding) for encoding in EVERYDAY}
    encoding = max(shares, key=lambda name: shares[name])
    if shares[encoding] >= LEAST_SHARE:
        return data.decode({"gbk": "gb18030", "shift_jis": "cp932"}.get(encoding, encoding), "replace")
    cyrillic = data.decode({"cp437": "cp866"}.get(fallback, "cp1251"), "replace")
    return cyrillic if CYRILLIC_WORD.search(cyrillic.lower()) else data.decode(fallback, "replace")


def _everyday_share(data: bytes, encoding: str) -> float:
    """Of the characters of ``data`` beyond ASCII, the share that are everyday ones in ``encoding``; 0 where it can't be that."""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return 0
    charset, first, last = EVERYDAY[encoding]
    foreign = [character for character in text if character > "\x7f"]
    inside_words = len(INSIDE_A_WORD.findall(text))  # an umlaut between Latin letters, not an ideograph

    def everyday(character: str) -> bool:
        if COMMON[encoding].match(character):
            return True
        try:
            code = character.encode(charset)
        except UnicodeEncodeError:
            return False
        return len(code) == 2 and first <= code[0] <= last

    return (sum(map(everyday, foreign)) - inside_words) / len(foreign) if foreign else 0


def read_table(data: bytes, name: str) -> list[Row]:
    """The rows of a CSV, TSV, JSON or JSON Lines file. A JSON file may be a list of rows, or an object of rows by picture.

    Raises Problem("table_unreadable") with the file's ``name`` and, where it is known, the line.
    """
    text = decode_text(data)
    suffix = name[name.rfind(".") :].lower()
    if suffix in (".csv", ".tsv"):
        return _read_csv(text, name)
    if suffix == ".jsonl":
        return [_row(line, name, number) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    try:
        content = json.loads(text)
    except ValueError as error:
        raise Problem("table_unreadable", name=name, line=getattr(error, "lineno", 1)) from error
    if isinstance(content, dict):
        content = [
            {"file_name": key, **(value if isinstance(value, dict) else {"caption": value})}
            for key, value in content.items()
        ]
    return [row for row in content if isinstance(row, dict)] if isinstance(content, list) else []


def _row(line: str, name: str, number: int) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise Problem("table_unreadable", name=name, line=number) from error
    if not isinstance(row, dict):
        raise Problem("table_unreadable", name=name, line=number)
    return row


def _read_csv(text: str, name: str) -> list[Row]:
    head = text.partition("\n")[0]
    separator = max(SEPARATORS, key=head.count)
    try:
        return [
            {key: value for key, value in row.items() if key}
            for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
        ]
    except csv.Error as error:
        raise Problem("table_unreadable", name=name, line=1) from error


def lines_of(text: str) -> tuple[str, ...]:
    """The lines of a caption file, each a caption."""
    return tuple(line.strip() for line in text.split("\n") if line.strip())


def texts_in(value: object) -> tuple[str, ...]:
    """The texts of a cell: several in a list, a number as it is written, none of None, NaN or an empty one."""
    values = value if isinstance(value, list | tuple) else [value]
    texts = (str(item).strip() for item in values if item is not None and item == item)
    return tuple(text for text in texts if text)
