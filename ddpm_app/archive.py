"""What a run hands out as a file: its model, ready for use without this project, and the film of how it learnt."""

import io
import pathlib
import zipfile

from PIL import Image

from ddpm_app import hub
from ddpm_app.config import BUILT_IN, BUILT_IN_256
from ddpm_app.errors import Problem
from ddpm_app.model.describe import describe_folder, is_autoencoder
from ddpm_app.model_choices import EXAMPLE_PROMPTS
from ddpm_app.runs.run import Run
from ddpm_app.snippet import DrawSettings, snippet

PIPELINE = "pipeline"
HOW_TO_USE = '''"""Draws four pictures with this model: `pip install torch diffusers transformers safetensors`, then `python use.py`."""

import os

os.chdir(os.path.dirname(os.path.abspath(__file__)))
'''
SAVING = """for number, image in enumerate(images):
    image.save(f"{number:04}.png")
"""
FILM_SIDE, FRAME_MS, LAST_MS, MOST_FRAMES = 512, 250, 2500, 60
"""Of a film: its longer side, how long each preview stands and the last one, and how many there are at most."""


def write_model(run: Run, file: pathlib.Path) -> None:
    """A zip of the run's pipeline with its card, its newest previews and, where it draws, a script that does. Raises Problem("no_snapshot")."""
    if not run.pipeline.is_dir():
        raise Problem("no_snapshot", value=run.name)
    draws = not is_autoencoder(run.pipeline)  # the previews of one that doesn't show the pictures it learnt from
    samples = run.samples[-1:] if draws else []
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(run.pipeline.rglob("*")):
            if path.is_file():
                archive.write(path, f"{PIPELINE}/{path.relative_to(run.pipeline).as_posix()}")
        for sample in samples:
            archive.write(sample, "grid.png")
        archive.writestr("README.md", hub.model_card(run, PIPELINE, ["grid.png"] if samples else []))
        if draws:
            archive.writestr("use.py", use_script(run))


def use_script(run: Run) -> str:
    """A script that draws with the pipeline beside it, by plain diffusers."""
    info = describe_folder(run.pipeline)
    is_built_in = run.config.dataset_name in (BUILT_IN, BUILT_IN_256)
    prompt = EXAMPLE_PROMPTS[0] if is_built_in else "a picture"
    settings = DrawSettings(prompt=prompt if info.conditioning == "text" else "")
    return "\n".join([HOW_TO_USE, snippet(settings, info, PIPELINE), SAVING])


def film(run: Run) -> bytes:
    """The run's previews one after another, as an animated GIF, which goes anywhere. Raises Problem("no_previews")."""
    files = run.samples
    if not files:
        raise Problem("no_previews", value=run.name)
    stride = -(-len(files) // MOST_FRAMES)
    frames = []
    for path in files[::-1][::stride][::-1]:
        with Image.open(path) as image:
            frames.append(image.convert("RGB"))
    # previews on the way hold fewer pictures, the first ones: what all frames hold
    size = min(frame.width for frame in frames), min(frame.height for frame in frames)
    frames = [frame.crop((0, 0, *size)) for frame in frames]
    for frame in frames:
        frame.thumbnail((FILM_SIDE, FILM_SIDE), Image.Resampling.LANCZOS)
    durations = [FRAME_MS] * (len(frames) - 1) + [LAST_MS]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return stream.getvalue()
