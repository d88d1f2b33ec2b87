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
ROWS = (("latents", "noise"), ("noisy", "noise"), ("guess", "prediction"))
"""What the rows of a film show, and in which colour they are named; of a model in pixels the last two."""
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
    stands for the step; ``rows`` [(label, colour)] beside the picture, a ``note`` below it, ``pace`` in ms per frame, ``autoplay``;
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
    """Collects the film of a denoising: at most ``MAX_FRAMES`` frames of ``pictures`` (at most ``MAX_PICTURES``) pictures. Each frame
    is some rows of pictures, what is noisy above what is guessed of it; pictures of a drawing that comes later stand to the right."""

    def __init__(self, steps: int, pictures: int = MAX_PICTURES):
        wanted = min(steps, MAX_FRAMES)
        self._keep = {1 + round(k * (steps - 1) / max(1, wanted - 1)) for k in range(wanted)}
        self._taken: dict[int, tuple[int, list[list[Image.Image]]]] = {}
        self.steps, self.pictures = steps, pictures

    def wants(self, step: int) -> int:
        """How many more pictures of ``step`` (from 1) have a place in the film."""
        if step not in self._keep:
            return 0
        return self.pictures - (len(self._taken[step][1][0]) if step in self._taken else 0)

    def add(self, step: int, timestep: int, rows: list[list[Image.Image]]) -> None:
        """Take pictures of a ``step`` that is wanted."""
        rows = [[_small(image) for image in row[: self.wants(step)]] for row in rows]
        taken = self._taken.setdefault(step, (timestep, [[] for _ in rows]))[1]
        for row, images in zip(taken, rows, strict=True):
            row += images

    def reel(self, name: str, lang: str = "en", autoplay: bool = True, note: str = "") -> dict[str, Any]:
        """The film as a value for ``player``. Three rows are those of a latent model: latents, noisy, guessed."""
        frames = [
            {"caption": t("ui.film.caption", lang, step=step, total=self.steps, timestep=timestep), "src": data_uri(sheet(rows), small=True)}
            for step, (timestep, rows) in sorted(self._taken.items())
        ]
        count = len(next(iter(self._taken.values()))[1]) if self._taken else 2
        rows = [(t(f"ui.film.{key}", lang), colour) for key, colour in ROWS[-count:]]
        return reel(name, t("ui.film.alt", lang), lang, frames=frames, rows=rows, pace=160, autoplay=autoplay, note=note)


def _small(image: Image.Image) -> Image.Image:
    scale = SIDE / max(image.size)
    return image if scale >= 1 else image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
