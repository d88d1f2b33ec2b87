"""True captions: words are measured on the painted specimen, not taken from the table."""

from typing import Any

import numpy as np

from ddpm_app.specimens.colours import colour_words
from ddpm_app.specimens.species import Kind

# A mark's measure (in wing units) below and above which a caption names its size.
SIZE_WORDS = {
    "margins": ("width", 0.05, "narrow", 0.095, "broad"),
    "bands": ("width", 0.09, "narrow", 0.13, "broad"),
    "spots": ("r", 0.018, "small", 0.052, "large"),
    "eyespots": ("r", 0.06, "small", 0.12, "large"),
}


def size_word(word: str, values: dict[str, Any]) -> str:
    """What a caption says of the size of the mark that it calls `word`: often nothing."""
    key, low, less, high, more = SIZE_WORDS.get(word, ("", 0, "", 0, ""))
    return "" if key not in values else less if values[key] < low else more if values[key] > high else ""


def caption(
    kind: Kind, marks: dict[int, tuple[float, np.ndarray]], sizes: dict[int, str], size: float, worn: bool
) -> str:
    """Words for what is visible: `marks` maps a mark's number to (share of the wings, mean colour), `sizes` to a word.

    `size`: the specimen's among its kind, 0..1. `worn`: its edges are notched.
    """
    ground: dict[str, float] = {}
    shares: dict[tuple[str, str], float] = {}
    phrase_of: dict[tuple[str, str], str] = {}
    eyes: list[str] = []
    for number, (share, colour) in sorted(marks.items(), key=lambda item: -item[1][0]):
        word, name = kind.marks[number - 1].word, str(colour_words(colour))
        if word == "ground":
            ground[name] = ground.get(name, 0) + share
        elif word == "eyespots":
            eyes.append(sizes[number])
        else:
            shares[name, word] = shares.get((name, word), 0) + share
            phrase_of.setdefault((name, word), f"{sizes[number]} {name} {word}".strip())
    whole = sum(ground.values())
    grounds = sorted((name for name in ground if ground[name] > 0.2 * whole), key=lambda name: ground[name])[:-3:-1]
    ranked = sorted(shares, key=lambda key: shares[key], reverse=True)
    phrases = [phrase_of[key] for key in ranked if shares[key] > 0.004 and key[0] != grounds[0]][:3]
    if eyes:
        phrases.insert(1, f"{['two', 'four'][len(eyes) - 1]} {eyes[0]} eyespots".replace("  ", " "))
    if len(kind.hind.tail):
        phrases.append("long tails" if kind.noun == "moth" else "tails")
    if worn:
        phrases.append("worn edges")
    first = ("small " if size < 0.3 else "large " if size > 0.7 else "") + " and ".join(grounds)
    rest = " and ".join([", ".join(phrases[:-1]), phrases[-1]] if phrases[1:] else phrases or ["plain wings"])
    return f"{'an' if first[0] in 'aeiou' else 'a'} {first} {kind.noun} with {rest}"
