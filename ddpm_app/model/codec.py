"""What a diffusion model denoises: the pixels themselves, or the latents of a frozen autoencoder (arXiv 2112.10752)."""

import hashlib
import pathlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor

from ddpm_app.config import nearest_multiple
from ddpm_app.data import cache
from ddpm_app.data.image_dataset import ImageDataset
from ddpm_app.data.open_source import Cancelled, Progress
from ddpm_app.errors import Problem, Stopped

BATCH = 16
"""Pictures encoded at once."""


Indices = Sequence[int] | np.ndarray
Flips = Sequence[bool] | np.ndarray | None


class TrainingTensors(Protocol):
    """What a run's batches are taken from: the pictures, or their latents."""

    def tensors(self, indices: Indices, flips: Flips = None) -> Tensor:
        """float32 [B, C, H, W] of the pictures ``indices``; picture k is mirrored where ``flips[k]``."""


class Pixels:
    """The identity: the model sees the pictures as they are."""

    vae = None
    factor = 1
    """By which the sides shrink."""
    clips = True
    """Whether a guess of x0 lies in [-1, 1]."""

    def shape(self, channels: int, size: int) -> tuple[int, int, int]:
        """[C, H, W] of what the model denoises for square pictures of ``size``."""
        return channels, size, size

    def to(self, device: str | torch.device) -> "Pixels":
        return self

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures [B, C, H, W] in [-1, 1] as what the model denoises."""
        return pictures

    def decode(self, x: Tensor) -> Tensor:
        """The way back to pictures [B, C, H, W], nearly in [-1, 1]."""
        return x

    def training_tensors(
        self, pictures: ImageDataset, flips: bool, progress: Progress, yield_device: Cancelled
    ) -> TrainingTensors:
        """What batches are taken from."""
        return pictures


class Vae:
    """A frozen AutoencoderKL or AutoencoderTiny. A latent is the posterior's mean, scaled to about unit variance by the
    model's own ``scaling_factor`` (arXiv 2112.10752, appendix G)."""

    clips = False

    def __init__(self, vae: AutoencoderKL | AutoencoderTiny):
        self.vae = vae.eval().requires_grad_(False)
        widths = vae.config.get("block_out_channels") or vae.config["encoder_block_out_channels"]
        self.factor = 2 ** (len(widths) - 1)
        self.channels = vae.config.latent_channels
        self.scale = vae.config.scaling_factor

    def shape(self, channels: int, size: int) -> tuple[int, int, int]:
        """[C, H, W] of the latents of square pictures of ``size``. Raises Problem("vae_factor")."""
        if size % self.factor:
            suggestion = nearest_multiple(size, self.factor)
            raise Problem(
                "vae_factor", "image_size", other="vae", value=size, factor=self.factor, suggestion=suggestion
            )
        return self.channels, size // self.factor, size // self.factor

    def to(self, device: str | torch.device) -> "Vae":
        self.vae.to(device)
        return self

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [-1, 1] as scaled latents."""
        encoded = self.vae.encode(pictures)
        return (encoded.latent_dist.mean if hasattr(encoded, "latent_dist") else encoded.latents) * self.scale

    @torch.no_grad()
    def decode(self, x: Tensor) -> Tensor:
        """The way back to pictures [B, 3, H, W], nearly in [-1, 1]."""
        return torch.cat([self.vae.decode(part / self.scale).sample for part in x.split(BATCH)])

    @property
    def fingerprint(self) -> str:
        """A hash of all weights and of the scale."""
        digest = hashlib.blake2b(repr(self.scale).encode(), digest_size=16)
        for name, weight in sorted(self.vae.state_dict().items()):
            digest.update(name.encode() + weight.cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def training_tensors(
        self, pictures: ImageDataset, flips: bool, progress: Progress, yield_device: Cancelled
    ) -> TrainingTensors:
        """The latents of all pictures, and with ``flips`` of their mirror images, encoded once and kept on disk.

        ``progress("encode", done, total)`` and ``yield_device`` are called between batches. Raises Stopped when ``yield_device()`` is
        true, and Problem.
        """
        key = cache.key_of(pictures.fingerprint, self.fingerprint, flips, str(self.vae.dtype))
        path = cache.cache_folder() / "latents" / key
        cache.make(path, lambda: self._fill(path, pictures, flips, progress, yield_device), yield_device)
        return Latents(path)

    def _fill(
        self,
        path: pathlib.Path,
        pictures: ImageDataset,
        flips: bool,
        progress: Progress,
        yield_device: Cancelled,
    ) -> dict[str, Any]:
        total = len(pictures) * (1 + flips)
        shape = self.shape(3, pictures.images.shape[1])
        # not through a memory map: a full disk is then an error and not a crash
        with open(path / "latents.npy", "wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "<f4", "fortran_order": False, "shape": (1 + flips, len(pictures), *shape)}
            )
            for mirrored in range(1 + flips):
                for first in range(0, len(pictures), BATCH):
                    if yield_device():
                        raise Stopped
                    indices = range(first, min(first + BATCH, len(pictures)))
                    x = pictures.tensors(indices, np.full(len(indices), bool(mirrored)))
                    file.write(self.encode(x.to(self.vae.device)).float().cpu().numpy().tobytes())
                    progress("encode", mirrored * len(pictures) + indices.stop, total)
        return {"what": f"{pictures.source['name']}: {total} latents of {' x '.join(map(str, shape))}"}


Codec = Pixels | Vae


class Latents:
    """Latents of a set of pictures, memory-mapped: float32 [1 or 2, N, C, H, W], the second those of the mirror images."""

    def __init__(self, path: pathlib.Path):
        self.latents = np.load(path / "latents.npy", mmap_mode="r")

    def tensors(self, indices: Indices, flips: Flips = None) -> Tensor:
        """float32 [B, C, H, W] of the pictures ``indices``; of the mirror image where ``flips[k]``."""
        mirrored = np.zeros(len(indices), int) if flips is None else np.asarray(flips, int)
        return torch.from_numpy(self.latents[mirrored, np.asarray(indices)])
