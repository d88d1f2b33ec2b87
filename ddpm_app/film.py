"""Films with a slider that moves in the browser, as values: how a preview grew, and how noise became a picture."""

from typing import TypedDict, Unpack

from PIL import Image

from ddpm_app.i18n import t
from ddpm_app.images import data_uri, rows_grid

LATENT_RANGE = 3
"""Latents have about unit variance: from minus to plus this they are shown."""
MAX_FRAMES, MAX_PICTURES = 20, 4
SIDE = 160
"""Pictures of a film are scaled down to this, so that a film stays small."""
ROWS = (("latents", "noise"), ("noisy", "noise"), ("guess", "prediction"))
"""What the rows of a film show, and in which colour they are named; of a model in pixels the last two."""


class Frame(TypedDict):
    """A picture as a data URI, and the words below it."""

    caption: str
    src: str


class FilmOptions(TypedDict, total=False):
    """What a film shows: ``frames``; or ``steps``, the keys of the pictures, with one ``caption`` where {} stands for the step.

    ``rows``: (label, colour) of each row of the picture; ``note``: a sentence below it; ``pace``: ms per frame; ``made``: what tells
    the pictures of two films of one name apart.
    """

    frames: list[Frame]
    steps: list[int]
    caption: str
    rows: list[tuple[str, str]]
    note: str
    pace: int
    autoplay: bool
    made: str


class FilmValue(FilmOptions):
    """A value of ui.components.film. As long as ``name`` is the same, the viewer stays at the same frame."""

    name: str
    alt: str
    words: dict[str, str]


def film_value(name: str, alt: str, lang: str = "en", **options: Unpack[FilmOptions]) -> FilmValue:
    """A film under its ``name``; ``alt`` describes the picture to those who don't see it."""
    return {
        "name": name,
        "alt": alt,
        "words": {"play": t("ui.film.play", lang), "pause": t("ui.film.pause", lang)},
        **options,
    }


class FilmRecorder:
    """Collects the film of a denoising: at most ``MAX_FRAMES`` frames of ``pictures`` (at most ``MAX_PICTURES``) pictures. Each frame
    is two or three rows of pictures, what is noisy above what is guessed of it; pictures of a later drawing stand to the right."""

    def __init__(self, steps: int, pictures: int = MAX_PICTURES):
        count = min(steps, MAX_FRAMES)
        self._steps = {1 + round(k * (steps - 1) / max(1, count - 1)) for k in range(count)}
        self._frames: dict[int, tuple[int, list[list[Image.Image]]]] = {}
        self.steps, self.pictures = steps, pictures

    def wants(self, step: int) -> int:
        """How many more pictures of ``step`` (from 1) have a place in the film."""
        if step not in self._steps:
            return 0
        return self.pictures - (len(self._frames[step][1][0]) if step in self._frames else 0)

    def add(self, step: int, timestep: int, rows: list[list[Image.Image]]) -> None:
        """Add pictures of a ``step`` that ``wants`` more: rows of one length."""
        rows = [[_small(image) for image in row[: self.wants(step)]] for row in rows]
        frame = self._frames.setdefault(step, (timestep, [[] for _ in rows]))[1]
        for row, images in zip(frame, rows, strict=True):
            row += images

    def film_value(self, name: str, lang: str = "en", autoplay: bool = True, note: str = "") -> FilmValue:
        """The film as a value for ui.components.film. Three rows are those of a latent model: latents, noisy, guessed."""
        frames: list[Frame] = [
            {
                "caption": t("ui.film.caption", lang, step=step, total=self.steps, timestep=timestep),
                "src": data_uri(rows_grid(rows), small=True),
            }
            for step, (timestep, rows) in sorted(self._frames.items())
        ]
        count = len(next(iter(self._frames.values()))[1]) if self._frames else 2
        labels = [(t(f"ui.film.{key}", lang), colour) for key, colour in ROWS[-count:]]
        return film_value(
            name, t("ui.film.alt", lang), lang, frames=frames, rows=labels, pace=160, autoplay=autoplay, note=note
        )


def _small(image: Image.Image) -> Image.Image:
    scale = SIDE / max(image.size)
    if scale >= 1:
        return image
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
