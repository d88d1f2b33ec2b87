"""Films with a slider that moves in the browser: how a preview grew, and how noise became a picture."""

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import gradio as gr
from PIL import Image

from ddpm_app.text import ASSETS, t

SCRIPTS = ASSETS / "js"
MAX_FRAMES, MAX_PICTURES = 20, 4
SIDE = 160
"""Pictures of a film are scaled down to this, so that a film stays small."""
EXACT_PIXELS = 24_000
"""Sheets up to this size travel without loss: hard pixels show every error of a compressed colour."""


def scripted(script: str, value: Any = None, live: bool = False, **options: Any) -> gr.HTML:
    """A gr.HTML that the JavaScript file ``assets/js/<script>`` draws from ``value``. ``live``: see ``following``."""
    code = (SCRIPTS / script).read_text(encoding="utf-8") + (following(options["elem_id"], "draw();") if live else "")
    return gr.HTML(value, html_template="", js_on_load=code, apply_default_css=False, **options)


def following(elem_id: str, then: str = "") -> str:
    """The js_on_load of a gr.HTML whose value comes with the page's tick (see assets/js/live.js and ``Shared.live``)."""
    take = f"if (news && {json.dumps(elem_id)} in news) {{ props.value = news[{json.dumps(elem_id)}]; {then} }}"
    return f"const take = (news) => {{ {take} }};\naddEventListener('live', (event) => take(event.detail));\ntake(window.liveParts);\n"


def player(picture: Callable[[dict[str, str]], str] | None = None, **options: Any) -> gr.HTML:
    """The film component. ``picture({"name", "key"})`` gives frames without a picture of their own, as a data URI."""
    return scripted("film.js", server_functions=[picture] if picture else None, **options)


def reel(name: str, alt: str, lang: str = "en", **options: Any) -> dict[str, Any]:
    """A value for ``player``. Where ``name`` stays, the viewer's place stays.

    Options: ``frames``, dicts of "caption" and "src"; or ``steps``, the keys of the pictures, with one ``caption`` where {}
    stands for the step; ``rows`` [(label, colour)] beside the picture, ``pace`` in ms per frame, ``autoplay``;
    ``made``, which tells the pictures of two films of one name apart.
    """
    return {
        "name": name,
        "alt": alt,
        "words": {"play": t("ui.film.play", lang), "pause": t("ui.film.pause", lang)},
        **options,
    }


def data_uri(image: Image.Image, small: bool = False) -> str:
    """A picture as a data URI: PNG, or with ``small`` WebP, which loses a little where the picture is large."""
    file = io.BytesIO()
    exact = image.width * image.height <= EXACT_PIXELS
    image.save(file, "WEBP", lossless=exact, quality=50 if exact else 85, method=2) if small else image.save(file, "PNG")
    return f"data:image/{'webp' if small else 'png'};base64,{base64.b64encode(file.getvalue()).decode()}"


def sheet(rows: list[list[Image.Image]], gap: int = 1) -> Image.Image:
    """Rows of pictures of one size on a transparent sheet."""
    width, height = rows[0][0].size
    columns = max(map(len, rows))
    result = Image.new("RGBA", (columns * (width + gap) - gap, len(rows) * (height + gap) - gap))
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            result.paste(image.convert("RGBA"), (c * (width + gap), r * (height + gap)))
    return result


class Recorder:
    """Collects the film of a denoising: at most ``MAX_FRAMES`` frames of the first ``MAX_PICTURES`` pictures, x_t over x0."""

    def __init__(self, steps: int):
        wanted = min(steps, MAX_FRAMES)
        self._keep = {1 + round(k * (steps - 1) / max(1, wanted - 1)) for k in range(wanted)}
        self.steps = steps
        self.frames: list[dict[str, Any]] = []

    def add(self, step: int, timestep: int, x: list[Image.Image], x0: list[Image.Image], lang: str = "en") -> None:
        """Take the frame of a ``step`` that is wanted."""
        rows = [[_small(image) for image in row[:MAX_PICTURES]] for row in (x, x0)]
        caption = t("ui.film.caption", lang, step=step, total=self.steps, timestep=timestep)
        self.frames.append({"caption": caption, "src": data_uri(sheet(rows), small=True)})

    def wants(self, step: int) -> bool:
        """Whether ``step`` (from 1) is one of those kept."""
        return step in self._keep

    def reel(self, name: str, lang: str = "en", autoplay: bool = True) -> dict[str, Any]:
        """The film as a value for ``player``."""
        rows = [(t("ui.film.noisy", lang), "noise"), (t("ui.film.guess", lang), "prediction")]
        return reel(name, t("ui.film.alt", lang), lang, frames=self.frames, rows=rows, pace=160, autoplay=autoplay)


def _small(image: Image.Image) -> Image.Image:
    scale = SIDE / max(image.size)
    return image if scale >= 1 else image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
