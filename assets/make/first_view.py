"""The pictures of the first view: `python assets/make/first_view.py` draws them with the shipped words model and one short run, in about five
minutes on two cores.

- `film.webp`: noise becoming butterflies, which moves before any script has run; `still.webp`: its last picture, for those who want no motion
- `minute.webp`: what a run of `latent-128` draws as it goes, as many steps as two idle cores take in a minute
- `share.jpg`: what a link to the page shows
"""

import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT)]

from PIL import Image, ImageDraw, ImageFont  # noqa: E402

from ddpm_app import cli, presets, sample  # noqa: E402
from ddpm_app.data.preprocess import to_images  # noqa: E402
from ddpm_app.model.loaded import load_model  # noqa: E402
from ddpm_app.model_choices import EXAMPLE_PROMPTS, WORDS_MODEL  # noqa: E402
from ddpm_app.runs.run import Run  # noqa: E402

FOLDER = ROOT / "assets" / "first_view"
STEPS, FRAME_MS, LAST_MS = 20, 90, 1500
"""Of a drawing: steps, how long each stands, and how long the finished picture does."""
FILM_DRAWINGS = 3
MINUTE_STEPS, PREVIEW_STEPS, STAGES, PICTURES = 228, 6, (0, 12, 30, 60, 120, 228), 2
"""Steps of the run, steps between its previews, about which steps stand on the strip, and the pictures below one another."""
SHARE_SIZE, PAPER, INK, QUIET = (1200, 630), "#fbfaf7", "#1f1d1a", "#6d685f"


def drawing(prompt: str, seed: int) -> list[Image.Image]:
    """One picture from noise to the end, a frame per step."""
    model = load_model(WORDS_MODEL)
    request = sample.Request(num_images=1, num_inference_steps=STEPS, seed=seed, prompt=(prompt,))
    return [to_images(model.codec.decode(frame.x))[0] for frame in sample.sample(model, request)]


def write_film() -> list[Image.Image]:
    """film.webp and still.webp; the finished pictures."""
    drawings = [drawing(prompt, seed) for seed, prompt in enumerate(EXAMPLE_PROMPTS)]
    frames = [frame for one_drawing in drawings[:FILM_DRAWINGS] for frame in one_drawing]
    durations = [*([FRAME_MS] * (STEPS - 1)), LAST_MS] * FILM_DRAWINGS
    frames[0].save(
        FOLDER / "film.webp",
        save_all=True,
        append_images=frames[1:],
        duration=durations,
        loop=0,
        quality=62,
        method=6,
        minimize_size=True,
    )
    frames[-1].save(FOLDER / "still.webp", quality=85, method=6)
    return [frames[-1] for frames in drawings]


def write_minute() -> None:
    """minute.webp: the same noises as the run goes on."""
    with tempfile.TemporaryDirectory() as folder:
        lengths = ["--max_train_steps", str(MINUTE_STEPS), "--save_image_steps", str(PREVIEW_STEPS)]
        cli.main(["train", "--preset", presets.FIRST, "--runs_dir", folder, *lengths])
        run = Run(pathlib.Path(folder, presets.FIRST))
        side = run.config.image_size
        steps = [int(file.stem.removeprefix("step-")) for file in run.samples]
        nearest = [min(steps, key=lambda step, stage=stage: abs(step - stage)) for stage in STAGES]
        columns = [Image.open(run.sample_path(step)).crop((0, 0, side, side * PICTURES + 2)) for step in nearest]
    strip = Image.new("RGB", (len(columns) * (side + 2) - 2, columns[0].height), PAPER)
    for k, column in enumerate(columns):
        strip.paste(column, (k * (side + 2), 0))
    strip.save(FOLDER / "minute.webp", quality=80, method=6)


def write_share(pictures: list[Image.Image]) -> None:
    """share.jpg: finished pictures side by side above the name."""
    sheet = Image.new("RGB", SHARE_SIZE, PAPER)
    side, gap = 256, 32
    left = (SHARE_SIZE[0] - FILM_DRAWINGS * (side + gap) + gap) // 2
    for k, picture in enumerate(pictures[:FILM_DRAWINGS]):
        sheet.paste(picture.resize((side, side), Image.Resampling.LANCZOS), (left + k * (side + gap), 96))
    pen = ImageDraw.Draw(sheet)
    centre = SHARE_SIZE[0] // 2
    pen.text((centre, 440), "DDPM Studio", INK, ImageFont.load_default(64), "mm")
    pen.text(
        (centre, 510),
        "Train a diffusion model in the browser and watch it learn",
        QUIET,
        ImageFont.load_default(30),
        "mm",
    )
    sheet.save(FOLDER / "share.jpg", quality=88)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    write_share(write_film())
    write_minute()
