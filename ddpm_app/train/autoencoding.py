"""What an autoencoder run learns: to give pictures back from few numbers (arXiv 1312.6114, as latent diffusion uses it: 2112.10752)."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor, nn

from ddpm_app import diffusion
from ddpm_app.config import TrainConfig, nearest_multiple
from ddpm_app.data.image_dataset import ImageDataset
from ddpm_app.data.preprocess import to_images
from ddpm_app.errors import Problem
from ddpm_app.model import pipeline
from ddpm_app.model.codec import TrainingTensors
from ddpm_app.model.vae import build_vae, scaled
from ddpm_app.train.batches import Batches
from ddpm_app.train.events import Notice, Validated
from ddpm_app.train.objective import Network
from ddpm_app.train.plan import VALIDATION_PICTURES

SCALE_PICTURES = 256
"""Training pictures from which the scaling factor is measured."""


@dataclasses.dataclass(frozen=True)
class PictureBatch:
    """Pictures ``x`` [B, 3, H, W] in [-1, 1], and the ``noise`` of their latents [B, c, h, w]."""

    x: Tensor
    noise: Tensor


class Reconstruction(nn.Module):
    """Encoding and decoding as one call, as DistributedDataParallel wants it."""

    def __init__(self, vae: AutoencoderKL):
        super().__init__()
        self.vae = vae

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures [B, 3, H, W] as (reconstructions, mean, log of the variance); decoded is mean + std * ``noise``."""
        posterior = self.vae.encode(x).latent_dist
        return self.vae.decode(posterior.mean + posterior.std * noise).sample, posterior.mean, posterior.logvar


class Autoencoding:
    """The objective of an autoencoder: absolute error of the pixels and of the differences between neighbours, which keeps edges sharp,
    plus ``kl_weight`` times the mean KL divergence of a latent from a normal distribution."""

    part = "vae"
    preview_passes = 1
    fingerprints: dict[str, str] = {}

    def __init__(
        self,
        config: TrainConfig,
        pictures: ImageDataset,
        runs_dir: pathlib.Path,
        device: str | torch.device,
        progress: Callable,
        yield_device: Callable[[], bool],
    ):
        self.config, self.pictures, self.device = config, pictures, torch.device(device)
        if config.init_from:
            self.module = pipeline.load_vae(config.init_from, runs_dir, "init_from").vae
            if not isinstance(self.module, AutoencoderKL):
                raise Problem("vae_kind", "init_from", value=config.init_from, kind=type(self.module).__name__)
        else:
            self.module = build_vae(config)
        self.module.to(device)
        self.training_tensors: TrainingTensors = pictures
        widths = self.module.config.block_out_channels
        if config.image_size % 2 ** (len(widths) - 1):
            factor = 2 ** (len(widths) - 1)
            raise Problem(
                "vae_factor",
                "image_size",
                other="init_from",
                value=config.image_size,
                factor=factor,
                suggestion=nearest_multiple(config.image_size, factor),
            )
        self.latent = (self.module.config.latent_channels, *[config.image_size // 2 ** (len(widths) - 1)] * 2)

    def notices(self) -> Iterator[Notice]:
        """Nothing to say."""
        yield from ()

    def training_module(self, module: AutoencoderKL) -> nn.Module:
        """The encoder and the decoder in one pass."""
        return Reconstruction(module)

    def batch(self, batches: Batches, step: int, number: int, indices: np.ndarray) -> PictureBatch:
        """Batch ``number`` of ``step``, on the device."""
        draw = diffusion.generator(self.config.seed, "noise", step, number, batches.rank, device=self.device)
        noise = torch.randn((len(indices), *self.latent), generator=draw, device=self.device)
        return PictureBatch(batches.pictures_of(step, number, indices), noise)

    def losses(self, network: Network, batch: PictureBatch) -> Tensor:
        """The loss of each picture [B]."""
        y, mean, logvar = (output.float() for output in network(batch.x, batch.noise))
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean((1, 2, 3))
        return reconstruction_losses(batch.x, y) + self.config.kl_weight * kl

    @torch.no_grad()
    def measure(self, module: AutoencoderKL, step: int) -> Validated:
        """Reconstruction error of the means; there are no noise levels, so no bands."""
        held_out = self._error(module, self.pictures.held_out) if len(self.pictures.held_out) else None
        return Validated(step, self._error(module, self.pictures.train), held_out, ())

    def _error(self, module: AutoencoderKL, indices: np.ndarray) -> float:
        """Mean reconstruction error of pictures spread evenly over ``indices``."""
        batches = self._spread(indices, VALIDATION_PICTURES)
        return float(torch.cat([reconstruction_losses(x, self._reconstruct(module, x)) for x in batches]).mean())

    def _spread(self, indices: np.ndarray, count: int) -> list[Tensor]:
        """Batches of ``count`` pictures spread evenly over ``indices``."""
        chosen = indices[np.linspace(0, len(indices) - 1, min(count, len(indices))).round().astype(int)]
        size = self.config.eval_batch_size
        return [self.pictures.tensors(chosen[k : k + size]).to(self.device) for k in range(0, len(chosen), size)]

    def _reconstruct(self, module: AutoencoderKL, x: Tensor) -> Tensor:
        return module.decode(module.encode(x).latent_dist.mean).sample.float()

    @torch.no_grad()
    def preview_pass(self, module: AutoencoderKL, count: int) -> None:
        """One pass over ``count`` preview pictures."""
        size = self.config.image_size
        self._reconstruct(module, torch.zeros(count, 3, size, size, device=self.device))

    @torch.no_grad()
    def preview(self, module: AutoencoderKL, quick: bool = False) -> Iterator[list[Image.Image] | None]:
        """None after each slice of work, then pictures, each original followed by its reconstruction: always all of them, in one pass."""
        held_out, images = self.pictures.held_out, list[Image.Image]()
        for x in self._spread(held_out if len(held_out) else self.pictures.train, self.config.preview_images):
            y = self._reconstruct(module, x)
            yield None
            for pair in zip(to_images(x), to_images(y), strict=True):
                images += pair
        yield images

    @torch.no_grad()
    def save(self, module: AutoencoderKL, folder: pathlib.Path) -> None:
        """Write ``module`` with a scaling factor measured on the training pictures; one whose encoder stays as it was keeps its latents,
        so that the UNets that know them fit on."""
        if not self.config.init_from or {"all", "encoder"} & set(self.config.trainable):
            latents = torch.cat(
                [module.encode(x).latent_dist.mean for x in self._spread(self.pictures.train, SCALE_PICTURES)]
            )
            module = scaled(module, latents)
        module.save_pretrained(folder)
        pipeline.remove_origins(folder)

    def parts(self) -> dict[str, nn.Module]:
        """The networks by name."""
        return {"vae": self.module}


def reconstruction_losses(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute error of each picture [B] and of the differences between its neighbouring pixels, across and down."""
    across = ((y - x)[..., 1:] - (y - x)[..., :-1]).abs().mean((1, 2, 3))
    down = ((y - x)[..., 1:, :] - (y - x)[..., :-1, :]).abs().mean((1, 2, 3))
    return (y - x).abs().mean((1, 2, 3)) + across + down
