"""Loss on fixed pictures, timesteps and noise: comparable from step to step, so that learning and overfitting show."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from ddpm_app import diffusion
from ddpm_app.config import TrainConfig
from ddpm_app.data.image_dataset import ImageDataset
from ddpm_app.model.codec import TrainingTensors
from ddpm_app.model.conditioning import Conditions
from ddpm_app.train.events import Validated
from ddpm_app.train.objective import Batch, Network
from ddpm_app.train.plan import VALIDATION_PICTURES

BANDS = 8


class FixedNoiseEvaluator:
    """The fixed pictures, noise and timesteps of a run, ``count`` of each kind of pictures. ``loss``: of each picture [B], such as
    Denoising.losses; it is computed on ``device``."""

    def __init__(
        self,
        config: TrainConfig,
        pictures: ImageDataset,
        training_tensors: TrainingTensors,
        conditions: Conditions,
        loss: Callable[[Network, Batch], Tensor],
        device: torch.device,
        count: int = VALIDATION_PICTURES,
    ):
        self.config, self.training_tensors, self.conditions = config, training_tensors, conditions
        self.loss, self.device, self.count = loss, device, count
        self.kinds = {"train": pictures.train, "held_out": pictures.held_out}

    @torch.no_grad()
    def measure(self, network: Network, step: int) -> Validated:
        """Losses of ``network`` (in eval mode) on both kinds of pictures."""
        losses = {kind: self._losses(kind, network) for kind, indices in self.kinds.items() if len(indices)}
        bands = losses["train"].reshape(BANDS, -1).mean(dim=1)
        held_out = float(losses["held_out"].mean()) if "held_out" in losses else None
        return Validated(step, float(losses["train"].mean()), held_out, tuple(float(b) for b in bands))

    def _losses(self, kind: str, network: Network) -> Tensor:
        """One loss per timestep, from least noise to most [count]."""
        return torch.cat([self.loss(network, batch) for batch in self.batches(kind)])

    def batches(self, kind: str) -> Iterator[Batch]:
        """What is measured, "train" or "held_out", from least noise to most."""
        chosen = self.kinds[kind][np.linspace(0, len(self.kinds[kind]) - 1, self.count).round().astype(int)]
        timesteps = diffusion.stratified_timesteps(len(chosen), self.config.num_train_timesteps)
        draw = diffusion.generator(self.config.seed, f"ruler {kind}")
        for first in range(0, len(chosen), self.config.eval_batch_size):
            part = slice(first, first + self.config.eval_batch_size)
            x0 = self.training_tensors.tensors(chosen[part])
            noise = torch.randn(x0.shape, generator=draw)
            yield Batch(x0, noise, timesteps[part], self.conditions.arguments(chosen[part])).to(self.device)
