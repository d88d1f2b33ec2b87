"""Key frames: what a station shows at some t, made light for the way to the browser, which blends between them while the hand moves."""

import base64
import io
from collections.abc import Container, Iterable, Iterator
from typing import Any

from PIL import Image

from ddpm_app.images import encoded_uri

QUALITY = 85
"""Of WebP: noise of 64 px takes a third of its PNG's bytes."""
MOVING = ("pictures", "charts")
"""Kinds of panels that the browser blends; the others stay as they are until the hand rests."""


def lighten(panels: Iterable[dict[str, Any]], on_page: Container[int]) -> list[dict[str, Any]]:
    """The panels of a key frame, of MOVING kinds only: pictures as small copies, those ``on_page`` (see ``fingerprints``) as ""."""
    moving = [panel for panel in panels if panel["kind"] in MOVING]
    for picture in _pictures(moving):
        picture["src"] = "" if hash(picture["src"]) in on_page else _small(picture["src"])
    return moving


def fingerprints(panels: Iterable[dict[str, Any]]) -> set[int]:
    """What tells the pictures of these panels from others."""
    return {hash(picture["src"]) for picture in _pictures(panels)}


def _pictures(panels: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for panel in panels:
        if panel["kind"] == "pictures":
            for row in panel["rows"]:
                yield from row["images"]


def _small(src: str) -> str:
    """A picture's data URI with fewer bytes: it is seen for a moment only."""
    with Image.open(io.BytesIO(base64.b64decode(src.partition(",")[2]))) as image:
        file = io.BytesIO()
        image.convert("RGB").save(file, "WEBP", quality=QUALITY)
    return min(src, encoded_uri(file.getvalue(), "webp"), key=len)
