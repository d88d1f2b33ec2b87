"""All that a step changes, and how it goes into a checkpoint and comes back bit for bit."""

import copy
import pathlib
from collections.abc import Callable

import safetensors.torch
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from safetensors import SafetensorError
from torch import nn

from ddpm_app.config import TrainConfig
from ddpm_app.errors import Problem
from ddpm_app.files import folder_atomic
from ddpm_app.model.ema import load_average, make_ema, save_average
from ddpm_app.model.unet import freeze, learning, use_plain_attention
from ddpm_app.runs.run import Run
from ddpm_app.train.objective import Objective
from ddpm_app.train.optimizer import make_optimizers, set_lr_factor


def make_accelerator(precision: str, device: str) -> Accelerator:
    """The process's accelerator with a plan's ``precision`` and ``device``."""
    if PartialState().num_processes == 1:
        AcceleratorState._reset_state(True)  # another run of this process may have had another precision
    torch.backends.cudnn.deterministic = True  # the same kernels in a resumed run
    torch.backends.cudnn.benchmark = False
    return Accelerator(mixed_precision=precision, cpu=device == "cpu")


class TrainState:
    """``lr_lambda``, the share of the peak learning rate at each step, ``module``, the objective's network, its moving average, the optimisers, and ``step``, the number of steps done. ``ema_network`` is a
    second network in eval mode that holds the averaged weights for previews, validation and saving, so that the live one is left alone."""

    def __init__(
        self,
        config: TrainConfig,
        objective: Objective,
        lr_lambda: Callable[[int], float],
        accelerator: Accelerator,
    ):
        self.config, self.objective, self.lr_lambda, self.accelerator = config, objective, lr_lambda, accelerator
        self.step, self.rate_factor = 0, 1.0
        self.module = objective.module
        if accelerator.device.type == "cpu":
            use_plain_attention(self.module)
        self.module.to(accelerator.device).train()
        self.ema_network = copy.deepcopy(self.module).eval().requires_grad_(False)
        freeze(self.module, config.trainable)
        self.ema = make_ema(self.module, config.ema_window) if config.use_ema else None
        optimizers = make_optimizers(config, learning(self.module), fused=accelerator.device.type in ("cpu", "cuda"))
        # Only AdamW goes through accelerate: what it adds is fp16's gradient scaling, which Muon is refused with.
        self.network, adamw = accelerator.prepare(objective.training_module(self.module), optimizers[0])
        self.optimizers = [adamw, *optimizers[1:]]

    def lr_factor(self) -> float:
        """The share of the peak learning rate of the step to come: warm-up and decay depend on the step's number alone."""
        return self.lr_lambda(self.step) * self.rate_factor

    def update(self) -> None:
        """One optimiser step from the accumulated gradients, and one of the average."""
        set_lr_factor(self.optimizers, self.lr_factor())
        for optimizer in self.optimizers:
            optimizer.step()
        self.module.zero_grad()
        if self.ema:
            self.ema.step(self.module.parameters())
        self.step += 1

    def load_ema_weights(self) -> nn.Module:
        """``ema_network`` with the weights as they are now: averaged where the run keeps an average."""
        source = self.ema.shadow_params if self.ema else self.module.parameters()
        with torch.no_grad():
            for mine, theirs in zip(self.ema_network.parameters(), source, strict=True):
                mine.copy_(theirs)
        return self.ema_network

    def save(self, run: Run) -> pathlib.Path:
        """Write the checkpoint of this step and the pipeline folder. Raises Problem("save_failed"), mostly for want of room."""
        try:
            path = run.save_checkpoint(self.step, self._fill, self.config.checkpoints_total_limit)
            with folder_atomic(run.pipeline) as part:
                self.objective.save(self.load_ema_weights(), part)
        except (
            OSError,
            RuntimeError,
            SafetensorError,
        ) as error:  # torch and safetensors tell of a full disk in their ways
            raise Problem("save_failed", reason=str(error).splitlines()[0]) from error
        return path

    def _fill(self, folder: pathlib.Path) -> None:
        self.module.save_pretrained(folder / self.objective.part)
        rest = {
            "optimizers": [o.state_dict() for o in self.optimizers],
            "step": self.step,
            "rate_factor": self.rate_factor,
        }
        if self.accelerator.scaler is not None:
            rest["scaler"] = self.accelerator.scaler.state_dict()
        if self.ema is not None:
            save_average(self.ema.shadow_params, folder)
        torch.save(rest, folder / "training.pt")

    def load(self, folder: pathlib.Path) -> None:
        """Continue from a checkpoint."""
        weights = safetensors.torch.load_file(folder / self.objective.part / "diffusion_pytorch_model.safetensors")
        self.module.load_state_dict(weights)
        rest = torch.load(folder / "training.pt", map_location="cpu", weights_only=True)
        for optimizer, saved in zip(self.optimizers, rest["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.rate_factor = rest["step"], rest["rate_factor"]
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(rest["scaler"])
        if self.ema is not None:
            load_average(folder, self.ema.shadow_params)
            self.ema.optimization_step = self.step
