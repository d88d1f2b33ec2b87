"""What a diffusion run learns: to guess what noise hides (DDPM, arXiv 2006.11239), in pixels or latents, alone or by label or words."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from ddpm_app import diffusion, sample
from ddpm_app.config import TrainConfig
from ddpm_app.data.image_dataset import ImageDataset
from ddpm_app.data.preprocess import to_images
from ddpm_app.errors import Problem
from ddpm_app.model import pipeline
from ddpm_app.model.conditioning import CaptionEmbeddings
from ddpm_app.model.reconstruction import UNFIT_PSNR, dataset_psnr
from ddpm_app.train.batches import Batches
from ddpm_app.train.evaluate import FixedNoiseEvaluator, picture_losses
from ddpm_app.train.events import Notice, Validated


class Denoising:
    """The objective of diffusion. ``module`` is the UNet; ``config`` the run's with the prediction type and number of timesteps of the model
    it goes on from."""

    part = "unet"

    def __init__(
        self,
        config: TrainConfig,
        pictures: ImageDataset,
        runs_dir: pathlib.Path,
        device: str | torch.device,
        progress: Callable,
        yield_device: Callable[[], bool],
    ):
        self.pictures, self.device = pictures, torch.device(device)
        self.model = pipeline.make(config, pictures, runs_dir).to(device)
        trained = self.model.scheduler.config
        if config.preview_inference_steps > trained.num_train_timesteps:
            raise Problem(
                "preview_steps",
                "preview_inference_steps",
                other="init_from",
                value=config.preview_inference_steps,
                timesteps=trained.num_train_timesteps,
            )
        self.config = dataclasses.replace(
            config, prediction_type=trained.prediction_type, num_train_timesteps=trained.num_train_timesteps
        )
        self.module = self.model.unet
        self.abar = self.model.scheduler.alphas_cumprod.to(device)
        self.conditions = self.model.conditioning.for_dataset(config, pictures, progress, yield_device)
        self.training_tensors = self.model.codec.training_tensors(pictures, config.random_flip, progress, yield_device)
        self.ruler = FixedNoiseEvaluator(self.config, pictures, self.training_tensors, self.conditions, self.abar)

    def notices(self) -> Iterator[Notice]:
        """What the person should know of how model and data fit."""
        if isinstance(self.conditions, CaptionEmbeddings) and self.conditions.cut:
            yield Notice("texts_cut", {"count": self.conditions.cut, "longest": self.model.conditioning.longest})
        if self.model.codec.vae is not None and (found := dataset_psnr(self.model.codec, self.pictures)) < UNFIT_PSNR:
            yield Notice("vae_unfit", {"psnr": f"{found:.1f}", "wanted": UNFIT_PSNR})

    @functools.cached_property
    def fingerprints(self) -> dict[str, str]:
        """Hashes of what the run stands on beside the pixels, by setting: frozen parts, and what the pictures are asked for by."""
        found = {"vae": self.model.codec, "text_encoder": self.model.conditioning, "dataset_name": self.conditions}
        return {name: part.fingerprint for name, part in found.items() if hasattr(part, "fingerprint")}

    # ---- one batch --------------------------------------------------------------------------------------------------
    def trained(self, module: nn.Module) -> nn.Module:
        """What is called, and wrapped where several processes train."""
        return module

    def batch(self, batches: Batches, step: int, number: int, indices) -> tuple:
        """The arguments of ``losses`` for batch ``number`` of ``step``, on the device."""
        x0, eps, timesteps = batches.load(step, number, indices)
        dropped = batches.dropped(step, number, len(indices))
        condition = self.conditions.arguments(indices, dropped)
        return x0, eps, timesteps, {name: value.to(self.device) for name, value in condition.items()}

    def losses(
        self, network: nn.Module, x0: Tensor, eps: Tensor, timesteps: Tensor, condition: dict[str, Tensor]
    ) -> Tensor:
        """The loss of each picture [B]."""
        return picture_losses(self.config, network, x0, eps, timesteps, self.abar, condition)

    # ---- once in a while --------------------------------------------------------------------------------------------
    def measure(self, module: nn.Module, step: int) -> Validated:
        """Loss on fixed noise."""
        return self.ruler.measure(module, step)

    @property
    def preview_passes(self) -> int:
        """Calls of ``probe`` that a preview costs."""
        return self.config.preview_inference_steps

    @torch.no_grad()
    def probe(self, module: nn.Module, count: int) -> None:
        """One pass over ``count`` preview pictures."""
        guided = self._guided(module, torch.arange(count))
        guided(
            torch.zeros(count, *self.model.shape, device=self.device),
            torch.zeros((), dtype=torch.long, device=self.device),
        )

    def _guided(self, module: nn.Module, part: Tensor) -> sample.CFGDenoiser:
        asking, count = self.model.conditioning, self.config.preview_images
        asked = asking.conditional(count, self.preview_texts(), ())
        blank = asking.unconditional(len(part))
        return sample.CFGDenoiser(
            module,
            {k: v[part].to(self.device) for k, v in asked.items()},
            {k: v.to(self.device) for k, v in blank.items()},
            self.config.preview_guidance_scale,
        )

    def preview_texts(self) -> tuple[str, ...]:
        """What the previews are asked for: texts of held-out pictures, or of training pictures where none are held out."""
        if not isinstance(self.conditions, CaptionEmbeddings):
            return ()
        chosen = self.pictures.held_out if len(self.pictures.held_out) else self.pictures.train
        return tuple(dict.fromkeys(self.conditions.texts[i] for i in chosen))[: self.config.preview_images]

    def preview(self, module: nn.Module) -> Iterator[list[Image.Image] | None]:
        """None after each slice of work, then the pictures, always from the same noise."""
        config, images = self.config, []
        noise = preview_noise(config, self.model.shape).to(self.device)
        for part in torch.arange(len(noise)).split(config.eval_batch_size):
            generators = [diffusion.generator(config.seed, "preview steps", int(k)) for k in part]
            sampler = sample.make_sampler(config.preview_sampler, self.model.scheduler)
            for frame in sample.denoise(
                self._guided(module, part), noise[part], sampler, config.preview_inference_steps, generators
            ):
                x = frame.x
                yield None
            images += to_images(self.model.codec.decode(x))
        yield images

    def save(self, module: Any, folder: pathlib.Path) -> None:
        """Write the pipeline with ``module`` as its UNet."""
        pipeline.save(dataclasses.replace(self.model, unet=module), folder)

    def parts(self) -> dict[str, nn.Module]:
        """All networks by their name in the pipeline; those beside ``part`` are frozen."""
        found = {
            "unet": self.module,
            "vae": self.model.codec.vae,
            "text_encoder": getattr(self.model.conditioning, "encoder", None),
        }
        return {name: network for name, network in found.items() if network is not None}


def preview_noise(config: TrainConfig, shape: tuple[int, int, int]) -> Tensor:
    """The noise that every preview of a run starts from [preview_images, *shape]."""
    return torch.randn((config.preview_images, *shape), generator=diffusion.generator(config.seed, "preview"))
