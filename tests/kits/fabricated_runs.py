"""Run folders as training leaves them, made without training: what the page's tests and pictures look at."""

import io
import json
import math
import os
import pathlib
import random
import socket
import time
from typing import Any

import psutil
from PIL import Image, ImageDraw, ImageFilter

from ddpm_app import presets
from ddpm_app.model.unet import build_unet
from ddpm_app.runs import registry
from ddpm_app.runs.run import ACTIVE, Run


def make_run(
    runs_dir: pathlib.Path,
    name: str = "first-butterflies",
    steps: int = 2000,
    state: str = "finished",
    total: int | None = None,
    preset: str = "first-butterflies",
    previews: int = 9,
    pipeline: bool = False,
    age: float = 0.0,
) -> Run:
    """A run of ``steps`` steps with curves, previews, log and, with ``pipeline``, a tiny network that diffusers loads."""
    run = registry.create(runs_dir, presets.build(preset, output_dir=name))
    total = total or steps
    plan = {
        "total_steps": total,
        "steps_per_epoch": 30,
        "batch_size": 32,
        "save_image_every": 120,
        "checkpoint_every": 240,
        "validate_every": 83,
        "precision": "bf16",
        "device": "cpu",
        "threads": 2,
        "step_seconds": 0.03,
        "preview_seconds": 0.9,
        "total_seconds": 62.0,
        "memory_bytes": 412_000_000,
        "parameters": 5_412_323,
        "images": 960,
        "held_out": 64,
    }
    run.update_record(
        plan=plan, data={"fingerprint": "f00d", "kind": "built-in", "name": "butterflies"}, created=time.time() - age
    )
    write_metrics(run, steps)
    for k in range(previews):
        run.save_sample(round(steps * k / max(1, previews - 1)), preview_png(k / max(1, previews - 1)))
    run.log(f"training from step 0 to {total}")
    run.log(f"step {steps}: loss on fixed noise 0.0212, held-out 0.0235")
    if pipeline:
        save_pipeline(run, steps)
    run.update_status(
        state=state,
        phase="training" if state in ACTIVE else None,
        step=steps,
        total_steps=total,
        loss=0.0212,
        learning_rate=3.2e-4,
        images_per_second=131.7,
        eta_seconds=(total - steps) * 0.03,
        heartbeat=time.time() - age,
    )
    return run


def write_metrics(run: Run, steps: int, seed: int = 0) -> None:
    """metrics.jsonl of a run of ``steps`` steps: a noisy falling loss, a validation for every 24th part."""
    random.seed(seed)
    writer = run.open_metrics(-1)
    writer.close()
    every, lines = max(1, steps // 24), []
    for step in range(steps + 1):
        floor = 0.018 + 0.9 * math.exp(-step / max(1, steps) * 40) + 0.12 * math.exp(-step / max(1, steps) * 6)
        if step % every == 0:
            bands = [floor * (0.1 + 2 * (k / 9) ** 2) for k in range(10)]
            lines.append(
                {
                    "step": step,
                    "kind": "validation",
                    "train_loss": floor,
                    "held_out_loss": floor * 1.03 + 0.0015 * step / max(1, steps),
                    "bands": bands,
                }
            )
        if step:
            rate = 1e-3 * min(1, step / 50) * (0.5 + 0.5 * math.cos(math.pi * step / max(1, steps)))
            lines.append(
                {
                    "step": step,
                    "kind": "step",
                    "loss": floor * random.lognormvariate(0, 0.35),
                    "lr": rate,
                    "grad_norm": 0.3,
                    "seconds": round(step * 0.03, 3),
                }
            )
    with open(run.metrics_path, "a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def preview_png(done: float, side: int = 32, columns: int = 4) -> bytes:
    """A sheet of coloured shapes under noise that clears as ``done`` goes from 0 to 1."""
    draw = random.Random(7)
    sheet = Image.new("RGB", (columns * (side + 2) - 2, columns * (side + 2) - 2), "white")
    for k in range(columns * columns):
        big = Image.new("RGB", (side * 4, side * 4), "#f6f4ef")
        pen, colour = ImageDraw.Draw(big), tuple(draw.randrange(40, 230) for _ in range(3))
        for box in ((8, 20, 60, 70), (68, 20, 120, 70), (18, 62, 60, 108), (68, 62, 110, 108)):
            pen.ellipse([v * side / 32 for v in box], fill=colour, outline="#222222", width=3)
        pen.line([side * 2, side * 0.8, side * 2, side * 3.2], fill="#222222", width=6)
        picture = big.resize((side, side), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(2 * (1 - done)))
        noise = Image.effect_noise((side, side), 90).convert("RGB")
        sheet.paste(
            Image.blend(picture, noise, 0.9 * (1 - done) ** 2), (k % columns * (side + 2), k // columns * (side + 2))
        )
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def save_pipeline(run: Run, step: int) -> None:
    """A tiny real pipeline of random weights, and a checkpoint with its UNet."""
    from diffusers import DDPMPipeline

    from ddpm_app import diffusion
    from ddpm_app.files import folder_atomic

    unet = build_unet(run.config)
    with folder_atomic(run.pipeline) as part:
        DDPMPipeline(unet, diffusion.scheduler(run.config)).save_pretrained(part)
    run.save_checkpoint(step, lambda folder: unet.save_pretrained(folder / "unet"), keep=2)


def at_work(run: Run, **news: Any) -> None:
    """Make the run look as if this process trained it."""
    process = {"pid": os.getpid(), "born": psutil.Process().create_time(), "host": socket.gethostname()}
    run.update_status(**{"state": "training", "phase": "training"} | process | news)
