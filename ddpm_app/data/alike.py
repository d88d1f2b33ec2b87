"""Equal and nearly equal pictures of a set, found by difference hashes (each bit: is a cell brighter than its left neighbour?)."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

BITS = 8
"""Cells of a hash along a side: 64 bits in all."""
MOST_BITS, MOST_DIFFERENCE = 3, 6.0
"""Nearly equal pictures differ in at most so many bits, and on average by so much of 255 at 16 x 16 pixels."""
MOST_COMPARED = 64
"""Pictures of one bucket that each is compared with, so that a hundred thousand stay quick."""
MARGIN = 4
"""Of 255: cells that differ by less count as equal, so that grain on plain ground sets no bits."""
FLAT = 6
"""A hash with fewer bits set, or unset, says too little: a plain picture's bits are noise."""


def fingerprint(picture: np.ndarray) -> tuple[int, bytes]:
    """(difference hash, the picture in grey at 16 x 16 pixels as bytes) of uint8 [H, W, C]."""
    grey = Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture).convert("L")
    small = np.asarray(grey.resize((BITS + 1, BITS), Image.Resampling.BOX), np.int16)
    bits = np.packbits(small[:, 1:] > small[:, :-1] + MARGIN)
    return int.from_bytes(bits.tobytes(), "big"), grey.resize((16, 16), Image.Resampling.BOX).tobytes()


def groups(hashes: list[tuple[int, bytes]]) -> list[list[int]]:
    """Rows whose pictures are nearly equal, the first of each group being the smallest; rows that are alike to none are in no group."""
    parent = list(range(len(hashes)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in _candidates([value for value, _ in hashes]):
        a, b = (np.frombuffer(hashes[k][1], np.uint8).astype(np.int16) for k in (i, j))
        if np.abs(a - b).mean() <= MOST_DIFFERENCE:
            first, second = sorted((root(i), root(j)))
            parent[second] = first
    members: dict[int, list[int]] = {}
    for i in range(len(hashes)):
        members.setdefault(root(i), []).append(i)
    return [rows for rows in members.values() if len(rows) > 1]


def _candidates(hashes: list[int]) -> Iterator[tuple[int, int]]:
    """Pairs of rows whose hashes differ in at most MOST_BITS: of four parts of 16 bits they then share one."""
    for part in range(4):
        buckets: dict[int, list[int]] = {}
        for i, value in enumerate(hashes):
            if FLAT <= value.bit_count() <= 64 - FLAT:
                buckets.setdefault(value >> (16 * part) & 0xFFFF, []).append(i)
        for rows in buckets.values():
            # of a bucket that holds far more than chance puts there, neighbours are enough to join equal ones
            for k, i in enumerate(rows):
                for j in rows[k + 1 : k + 1 + MOST_COMPARED]:
                    if (hashes[i] ^ hashes[j]).bit_count() <= MOST_BITS:
                        yield i, j
