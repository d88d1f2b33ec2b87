"""What a diffusion run learns: to guess what noise hides (DDPM, arXiv 2006.11239), in pixels or latents, alone or by label or words."""

import collections
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ddpm_app import diffusion, sample
from ddpm_app.config import TrainConfig
from ddpm_app.data.image_dataset import ImageDataset
from ddpm_app.data.preprocess import to_images
from ddpm_app.errors import Problem
from ddpm_app.model import pipeline
from ddpm_app.model.conditioning import CaptionEmbeddings, Text
from ddpm_app.model.reconstruction import UNFIT_PSNR, dataset_psnr
from ddpm_app.train.batches import Batches
from ddpm_app.train.evaluate import FixedNoiseEvaluator
from ddpm_app.train.events import Notice, Validated
from ddpm_app.train.objective import Batch, Network

FREQUENT = 8
"""Unknown words that are named."""
QUICK_PICTURES, QUICK_STEPS, QUICK_SAMPLER = 8, 8, "dpmpp_2m"
"""A quick preview: eight pictures that change are worth more than sixteen that don't."""


def denoising_loss(config: TrainConfig, network: Network, batch: Batch, alphas_cumprod: Tensor) -> Tensor:
    """The loss of each picture [B]: w(t) |f(x_t, t) - y|^2, mean over all pixels, with x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) noise
    (DDPM, eq. 4 and 14), y what the network learns to output, and w(t) the loss weight. ``alphas_cumprod`` is the whole schedule [T].
    Noising and error are float32; ``network`` may run under autocast."""
    alpha_bar = alphas_cumprod[batch.timesteps]
    x_t = diffusion.add_noise(batch.x0, batch.noise, alpha_bar)
    output = network(x_t, batch.timesteps, **batch.condition).sample.float()
    y = diffusion.target(config.prediction_type, batch.x0, batch.noise, alpha_bar)
    error = (output - y).square().mean(dim=(1, 2, 3))
    return error * diffusion.loss_weight(config.loss_weighting, config.prediction_type, alpha_bar, config.snr_gamma)


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
        if config.loss_weighting == "min_snr" and diffusion.hides_x0(self.model.scheduler):
            raise Problem(
                "zero_snr_weight", "loss_weighting", other="init_from", value="min_snr", model=config.init_from
            )
        self.config = dataclasses.replace(
            config, prediction_type=trained.prediction_type, num_train_timesteps=trained.num_train_timesteps
        )
        self.module = self.model.unet
        self.alphas_cumprod = self.model.scheduler.alphas_cumprod.to(device)
        self.conditions = self.model.conditioning.for_dataset(config, pictures, progress, yield_device)
        self.training_tensors = self.model.codec.training_tensors(pictures, config.random_flip, progress, yield_device)
        self.evaluator = FixedNoiseEvaluator(
            self.config, pictures, self.training_tensors, self.conditions, self.losses, self.device
        )

    def notices(self) -> Iterator[Notice]:
        """What the person should know of how model and data fit."""
        conditioning = self.model.conditioning
        if isinstance(self.conditions, CaptionEmbeddings) and isinstance(conditioning, Text) and self.conditions.cut:
            yield Notice("texts_cut", {"count": self.conditions.cut, "longest": conditioning.longest})
        if isinstance(self.conditions, CaptionEmbeddings) and any(self.conditions.unknown):
            yield unknown_words(self.conditions.unknown)
        if diffusion.hides_x0(self.model.scheduler):
            yield Notice("zero_snr", {"value": self.config.init_from})
        if self.model.codec.vae is not None and (psnr := dataset_psnr(self.model.codec, self.pictures)) < UNFIT_PSNR:
            yield Notice("vae_unfit", {"psnr": f"{psnr:.1f}", "wanted": UNFIT_PSNR})

    @functools.cached_property
    def fingerprints(self) -> dict[str, str]:
        """Hashes of what the run stands on beside the pixels, by setting: frozen parts, and the pictures' labels or texts."""
        parts = {"vae": self.model.codec, "text_encoder": self.model.conditioning, "dataset_name": self.conditions}
        return {name: part.fingerprint for name, part in parts.items() if hasattr(part, "fingerprint")}

    # ---- one batch --------------------------------------------------------------------------------------------------
    def training_module(self, module: nn.Module) -> nn.Module:
        """The UNet itself."""
        return module

    def batch(self, batches: Batches, step: int, number: int, indices: np.ndarray) -> Batch:
        """Batch ``number`` of ``step``, on the device."""
        dropped = batches.dropped(step, number, len(indices))
        choice = batches.shares("caption", step, number, len(indices)) if self.conditions.several else None
        condition = self.conditions.arguments(indices, dropped, choice)
        return Batch(*batches.load(step, number, indices), condition).to(self.device)

    def losses(self, network: Network, batch: Batch) -> Tensor:
        """The loss of each picture [B]."""
        return denoising_loss(self.config, network, batch, self.alphas_cumprod)

    # ---- once in a while --------------------------------------------------------------------------------------------
    def measure(self, module: nn.Module, step: int) -> Validated:
        """Loss on fixed noise."""
        return self.evaluator.measure(module, step)

    @property
    def preview_passes(self) -> int:
        """Calls of ``preview_pass`` that a preview costs."""
        return self.config.preview_inference_steps

    @torch.no_grad()
    def preview_pass(self, module: nn.Module, count: int) -> None:
        """One pass over ``count`` preview pictures."""
        x = torch.zeros(count, *self.model.shape, device=self.device)
        self._denoiser(module, torch.arange(count))(x, torch.zeros((), dtype=torch.long, device=self.device))

    def _denoiser(self, module: nn.Module, indices: Tensor) -> sample.CFGDenoiser:
        """``module`` with the conditions of the preview pictures ``indices``."""
        config, conditioning = self.config, self.model.conditioning
        conditional = conditioning.conditional(config.preview_images, self.preview_texts(), ())
        unconditional = conditioning.unconditional(len(indices))
        return sample.CFGDenoiser(
            module,
            {name: value[indices].to(self.device) for name, value in conditional.items()},
            {name: value.to(self.device) for name, value in unconditional.items()},
            config.preview_guidance_scale,
        )

    def preview_texts(self) -> tuple[str, ...]:
        """The previews' prompts: texts of held-out pictures, or of training pictures where none are held out."""
        if not isinstance(self.conditions, CaptionEmbeddings):
            return ()
        chosen = self.pictures.held_out if len(self.pictures.held_out) else self.pictures.train
        return tuple(dict.fromkeys(self.conditions.texts[i] for i in chosen))[: self.config.preview_images]

    def preview(self, module: nn.Module, quick: bool = False) -> Iterator[list[Image.Image] | None]:
        """None after each slice of work, then the pictures, always from the same noise. ``quick``: the first of them, in few steps."""
        config = self.config
        noise = preview_noise(config, self.model.shape).to(self.device)
        steps = config.preview_inference_steps
        if quick:
            noise, steps = noise[:QUICK_PICTURES], min(steps, QUICK_STEPS)
        images: list[Image.Image] = []
        for indices in torch.arange(len(noise)).split(config.eval_batch_size):
            denoiser = self._denoiser(module, indices)
            generators = [diffusion.generator(config.seed, "preview steps", int(k)) for k in indices]
            name = QUICK_SAMPLER if quick else config.preview_sampler
            sampler = sample.make_sampler(name, self.model.scheduler)
            for frame in sample.denoise(denoiser, noise[indices], sampler, steps, generators):
                x = frame.x
                yield None
            images += to_images(self.model.codec.decode(x))
        yield images

    def save(self, module: nn.Module, folder: pathlib.Path) -> None:
        """Write the pipeline with ``module`` as its UNet."""
        pipeline.save(dataclasses.replace(self.model, unet=module), folder)

    def parts(self) -> dict[str, nn.Module]:
        """All networks by their name in the pipeline; those beside ``part`` are frozen."""
        conditioning = self.model.conditioning
        encoder = conditioning.encoder if isinstance(conditioning, Text) else None
        networks = {"unet": self.module, "vae": self.model.codec.vae, "text_encoder": encoder}
        return {name: network for name, network in networks.items() if network is not None}


def unknown_words(texts: list[list[str]]) -> Notice:
    """How many ``texts`` hold words that the text encoder doesn't know (some do), and the most frequent ones."""
    counts = collections.Counter(word for words in texts for word in dict.fromkeys(map(str.lower, words)))
    frequent = ", ".join(f"{word} ({count})" for word, count in counts.most_common(FREQUENT))
    values = {"count": sum(map(bool, texts)), "total": len(texts), "different": len(counts), "words": frequent}
    return Notice("words_unknown", values)


def preview_noise(config: TrainConfig, shape: tuple[int, int, int]) -> Tensor:
    """The noise that every preview of a run starts from [preview_images, *shape]."""
    return torch.randn((config.preview_images, *shape), generator=diffusion.generator(config.seed, "preview"))
