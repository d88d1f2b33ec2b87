"""Loss on fixed pictures, timesteps and noise: comparable from step to step, so that learning and overfitting show."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from ddpm_app import diffusion
from ddpm_app.config import TrainConfig
from ddpm_app.data.image_dataset import ImageDataset
from ddpm_app.model.codec import TrainingTensors
from ddpm_app.model.conditioning import Conditions
from ddpm_app.train.events import Validated
from ddpm_app.train.plan import VALIDATION_PICTURES

BANDS = 8


def picture_losses(
    config: TrainConfig,
    network: nn.Module,
    x0: Tensor,
    eps: Tensor,
    timesteps: Tensor,
    abar: Tensor,
    condition: dict[str, Tensor] | None = None,
) -> Tensor:
    """The loss of each picture [B]: squared error of the network's output against its target, weighted, mean over pixels.
    ``abar`` is the whole schedule [T]; ``condition`` the network's further arguments. Noising and error are float32; ``network``
    may run under autocast."""
    level = abar[timesteps]
    output = network(diffusion.add_noise(x0, eps, level), timesteps, **(condition or {})).sample
    wanted = diffusion.target(config.prediction_type, x0, eps, level)
    error = (output.float() - wanted).square().mean(dim=(1, 2, 3))
    return error * diffusion.loss_weight(config.loss_weighting, config.prediction_type, level, config.snr_gamma)


class FixedNoiseEvaluator:
    """The fixed pictures, noise and timesteps of a run, ``count`` of each kind of pictures."""

    def __init__(
        self,
        config: TrainConfig,
        pictures: ImageDataset,
        training_tensors: TrainingTensors,
        conditions: Conditions,
        abar: Tensor,
        count: int = VALIDATION_PICTURES,
    ):
        self.config, self.training_tensors, self.conditions, self.abar, self.count = (
            config,
            training_tensors,
            conditions,
            abar,
            count,
        )
        self.kinds = {"train": pictures.train, "held_out": pictures.held_out}

    @torch.no_grad()
    def measure(self, network: nn.Module, step: int) -> Validated:
        """Losses of ``network`` (in eval mode) on both kinds of pictures."""
        losses = {kind: self._losses(kind, network) for kind, indices in self.kinds.items() if len(indices)}
        bands = losses["train"].reshape(BANDS, -1).mean(dim=1)
        held_out = float(losses["held_out"].mean()) if "held_out" in losses else None
        return Validated(step, float(losses["train"].mean()), held_out, tuple(float(b) for b in bands))

    def _losses(self, kind: str, network: nn.Module) -> Tensor:
        """One loss per timestep, from least noise to most [count]."""
        return torch.cat(
            [picture_losses(self.config, network, *batch[:3], self.abar, batch[3]) for batch in self.batches(kind)]
        )

    def batches(self, kind: str) -> Iterator[tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]]:
        """What is measured, "train" or "held_out": x0, eps, timesteps and condition as ``picture_losses`` takes them, from least noise to most."""
        chosen = self.kinds[kind][np.linspace(0, len(self.kinds[kind]) - 1, self.count).round().astype(int)]
        timesteps = diffusion.stratified_timesteps(len(chosen), self.config.num_train_timesteps)
        draw = diffusion.generator(self.config.seed, f"ruler {kind}")
        for first in range(0, len(chosen), self.config.eval_batch_size):
            part = slice(first, first + self.config.eval_batch_size)
            x0 = self.training_tensors.tensors(chosen[part])
            eps = torch.randn(x0.shape, generator=draw)
            x0, eps, t = (tensor.to(self.abar.device) for tensor in (x0, eps, timesteps[part]))
            yield (
                x0,
                eps,
                t,
                {name: value.to(self.abar.device) for name, value in self.conditions.arguments(chosen[part]).items()},
            )
