"""The files that a run hands out."""

import io

from kits.fabricated_runs import make_run
from PIL import Image

from ddpm_app import archive


def test_the_film_shows_what_all_previews_hold(runs_dir):
    run = make_run(runs_dir, "drawing", steps=1, previews=0)
    for step, (rows, colour) in enumerate([(2, "red"), (4, "blue")]):
        sheet, file = Image.new("RGB", (80, 20 * rows), colour), io.BytesIO()
        sheet.save(file, "PNG")
        run.save_sample(step, file.getvalue())
    with Image.open(io.BytesIO(archive.film(run))) as film:
        assert (film.n_frames, film.size) == (2, (80, 40))
        film.seek(1)
        assert film.convert("RGB").getpixel((79, 39))[2] > 250
