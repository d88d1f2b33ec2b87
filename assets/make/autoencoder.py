"""Make the autoencoder that ships with the app, `pictures-vae`: trained on drawn shapes (shapes.py) and the built-in specimens.

`python assets/make/autoencoder.py --work FOLDER` draws its pictures into FOLDER once, trains there (about an hour and a half on two idle
cores), and writes assets/models/pictures-vae/ in half precision. Cut off, it goes on from FOLDER when it is started again.

The loss is absolute and squared error of the pixels, absolute error of the differences between neighbours, which keeps edges, and a small
KL term. Besides, latents that are mirrored, turned or shrunk must decode to the picture mirrored, turned or shrunk: that makes them easier
to diffuse (EQ-VAE, arXiv 2502.09509). Small squares first, which are quick, then those of the size that is wanted. At first colours are
stronger than they are: without that, one of the three axes of colour is never learnt, and the blue and the green come out alike.

The weights that ship are not of one whole run: 3,900 steps without the stronger colours, 260 in which the missing axis fell from four
times to once its strength, and 1,150 of the last stage.
"""

import argparse
import concurrent.futures
import math
import pathlib
import shutil
import sys
import time

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(pathlib.Path(__file__).resolve().parent)]

import shapes  # noqa: E402
from diffusers import AutoencoderKL  # noqa: E402

from ddpm_app.config import TrainConfig  # noqa: E402
from ddpm_app.data.preprocess import to_tensors  # noqa: E402
from ddpm_app.model.vae import scaled, vae_of  # noqa: E402
from ddpm_app.specimens import collection, drawing  # noqa: E402
from ddpm_app.train.autoencoding import reconstruction_losses  # noqa: E402
from ddpm_app.train.optimizer import make_optimizers, set_lr_factor  # noqa: E402

NAME = "pictures-vae"
CONFIG = TrainConfig(
    objective="autoencoder",
    image_size=128,
    vae_channels=(24, 48, 96, 96),
    latent_channels=8,
    optimizer="muon",
    learning_rate=1e-3,
    mixed_precision="no",
)
STAGES = ((900, 64, 16, True), (2000, 64, 12, False), (2000, 128, 6, False))
"""(steps, side in pixels, pictures of a batch, whether all that is changed is decoded besides), one after the other."""
SMALL = (64, 24)
"""(side, pictures) of every fourth batch of the last stage, so that small pictures stay good."""
WARM_UP, HELD, KL, SQUARED = 60, 0.35, 2e-4, 2.0
"""Steps to the full rate, share of the steps for which it is held, and weights in the loss."""
CONTRAST, CONTRAST_STEPS = 4.0, 400
"""How many times as strong colours are at first, and the steps over which that falls to 1."""
SPECIMENS = 8
"""One picture in so many is a specimen."""
REPORT_EVERY, SAVE_EVERY = 25, 100


def drawn(seed: int) -> np.ndarray:
    """Picture ``seed`` of the set: uint8 [256, 256, 3]."""
    if seed % SPECIMENS:
        return shapes.picture(np.random.default_rng(seed))
    number = seed // SPECIMENS * 37 % collection.COUNT
    number -= number % collection.HELD_OUT == collection.HELD_OUT - 1  # those are held out
    return np.asarray(
        drawing.draw((collection.SEED, number), shapes.SIDE, collection.species_of(number)).image.convert("RGB")
    )


def pictures(work: pathlib.Path, count: int) -> np.ndarray:
    """uint8 [count, 256, 256, 3], drawn by all cores unless they lie there."""
    file = work / f"pictures-{count}.npy"
    if not file.exists():
        part = file.with_suffix(".part")
        array = np.lib.format.open_memmap(part, "w+", np.uint8, (count, shapes.SIDE, shapes.SIDE, 3))
        with concurrent.futures.ProcessPoolExecutor() as pool:
            for k, picture in enumerate(pool.map(drawn, range(count), chunksize=16)):
                array[k] = picture
                if k % 500 == 0:
                    print(f"drawn {k} of {count}", flush=True)
        array.flush()
        part.rename(file)
    return np.load(file, mmap_mode="r")


def batch(images: np.ndarray, side: int, count: int, draw: np.random.Generator) -> Tensor:
    """Squares of ``side`` pixels cut at random from shrunk pictures, mirrored and with their colour channels in any order:
    float32 [count, 3, side, side] in [-1, 1]."""
    squares = []
    for k in draw.integers(len(images), size=count):
        whole = to_tensors(images[k][None])
        length = round(float(np.exp(draw.uniform(math.log(side), math.log(shapes.SIDE)))))
        whole = functional.interpolate(whole, (length, length), mode="bilinear", antialias=True)
        top, left = draw.integers(length - side + 1, size=2)
        square = whole[0, draw.permutation(3), top : top + side, left : left + side]
        squares.append(square.flip(-1) if draw.random() < 0.5 else square)
    return torch.stack(squares)


def with_contrast(x: Tensor, step: int) -> Tensor:
    """The pictures with their colours as strong as they are at ``step``; beyond [-1, 1] at first."""
    grey = x.mean(1, keepdim=True)
    return grey + (x - grey) * max(1.0, CONTRAST - (CONTRAST - 1) * step / CONTRAST_STEPS)


def loss_of(vae: AutoencoderKL, x: Tensor, draw: np.random.Generator, besides: bool) -> tuple[Tensor, float]:
    """The loss of pictures ``x``, and the PSNR of their reconstructions in dB. The latents of a part of them are changed, turned, mirrored
    or shrunk, and decoded for the picture changed alike: instead of the latents as they are, or ``besides``."""
    posterior = vae.encode(x).latent_dist
    z = posterior.sample()
    kl = 0.5 * (posterior.mean.square() + posterior.logvar.exp() - 1 - posterior.logvar).mean()
    turns, mirror, shrink = int(draw.integers(4)), draw.random() < 0.5, draw.random() < 0.7
    part = max(1, len(x) // (2 if shrink and besides else 6 if besides else 3))

    def changed(maps: Tensor) -> Tensor:
        maps = torch.rot90(maps[:part], turns, (-2, -1))
        maps = maps.flip(-1) if mirror else maps
        return functional.interpolate(maps, scale_factor=0.5, mode="bilinear", antialias=True) if shrink else maps

    plain = slice(0 if besides else part, None)
    y = vae.decode(z[plain]).sample
    equivariance = pixel_losses(changed(x), vae.decode(changed(z)).sample)
    mse = functional.mse_loss(y.detach(), x[plain]).item()
    return pixel_losses(x[plain], y) + 0.25 * equivariance + KL * kl, 10 * math.log10(4 / mse)


def pixel_losses(x: Tensor, y: Tensor) -> Tensor:
    """L1, half of the L1 of both differences between neighbours, and SQUARED times the mean square."""
    return (reconstruction_losses(x, y).mean() + functional.l1_loss(x, y)) / 2 + SQUARED * functional.mse_loss(x, y)


def stage(step: int) -> tuple[int, int, bool]:
    """(side, pictures of the batch, whether the changed is decoded besides) of a step."""
    last = len(STAGES) - 1
    for k, (steps, side, count, besides) in enumerate(STAGES):
        if step < steps or k == last:
            return (*SMALL, besides) if k == last and step % 4 == 3 else (side, count, besides)
        step -= steps
    raise AssertionError("no stage")


def train(work: pathlib.Path, images: np.ndarray) -> AutoencoderKL:
    """Train through all stages, keeping an average of the weights; returns the averaged model."""
    steps = sum(part[0] for part in STAGES)
    torch.manual_seed(0)
    vae = vae_of(CONFIG).train()
    average = vae_of(CONFIG).eval().requires_grad_(False)
    average.load_state_dict(vae.state_dict())
    optimizers = make_optimizers(CONFIG, vae.parameters(), fused=True)
    state, first = work / "state.pt", 0
    if state.exists():
        saved = torch.load(state, weights_only=True)
        vae.load_state_dict(saved["vae"]), average.load_state_dict(saved["average"])
        for optimizer, values in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        first = saved["step"]
    began, recent = time.monotonic(), list[float]()
    for step in range(first, steps):
        draw, share = np.random.default_rng([0, step]), step / steps
        side, count, besides = stage(step)
        set_lr_factor(optimizers, min(1, (step + 1) / WARM_UP, (1 - share) / (1 - HELD)))
        loss, psnr = loss_of(vae, with_contrast(batch(images, side, count, draw), step), draw, besides)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        decay = min(0.998, (step + 1) / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(vae.parameters()), 1 - decay)
        recent.append(psnr)
        if (step + 1) % REPORT_EVERY == 0:
            pace = (time.monotonic() - began) / (step + 1 - first)
            print(f"step {step + 1} of {steps}, {side} px, {pace:.2f} s each: {np.mean(recent):.2f} dB", flush=True)
            recent.clear()
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            part = state.with_suffix(".part")
            optimizer_states = [optimizer.state_dict() for optimizer in optimizers]
            parts = dict(vae=vae.state_dict(), average=average.state_dict(), optimizers=optimizer_states, step=step + 1)
            torch.save(parts, part)
            part.replace(state)
    return average


@torch.no_grad()
def write(vae: AutoencoderKL, images: np.ndarray, folder: pathlib.Path) -> None:
    """Write ``vae`` with its latents brought to one scale, in half precision."""
    draw = np.random.default_rng(1)
    squares = torch.cat([batch(images, 128, 6, draw) for _ in range(32)])
    vae = scaled(vae, torch.cat([vae.encode(x).latent_dist.mean for x in squares.split(8)]))
    shutil.rmtree(folder, ignore_errors=True)
    vae.half().save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=4000)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="the folder of its pictures and its state")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "assets" / "models" / NAME)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    images = pictures(args.work, args.pictures)
    write(train(args.work, images), images, args.out)


if __name__ == "__main__":
    main()
