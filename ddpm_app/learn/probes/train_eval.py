"""What train(), eval(), no_grad() and requires_grad each change: outputs, memory, time, gradients. All on copies."""

import copy
import dataclasses
import time
from collections import Counter

import torch
from torch import Tensor, nn

from ddpm_app.config import TrainConfig
from ddpm_app.diffusion import forked_rng
from ddpm_app.model.unet import freeze, sections
from ddpm_app.train.denoising import denoising_loss
from ddpm_app.train.objective import Batch

NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


@dataclasses.dataclass(frozen=True)
class PassInput:
    """What a forward pass gets: x_t [B, C, H, W], one timestep, and the UNet's further arguments."""

    x: Tensor
    t: int
    condition: dict[str, Tensor]


def copied(unet: nn.Module, dropout: float = 0.0) -> nn.Module:
    """A copy in which everything learns; ``dropout`` above 0 (below 1) becomes the share of all its dropout layers."""
    network = copy.deepcopy(unet).requires_grad_(True)
    for module in network.modules():
        if isinstance(module, nn.Dropout) and dropout:
            module.p = dropout
    return network


def layers(unet: nn.Module) -> tuple[Counter[str], float]:
    """How many layers of each kind there are that a mode could change, or that people take for such: "Dropout", "BatchNorm",
    "GroupNorm", "LayerNorm"; and the largest share that is dropped."""
    counts = Counter(
        "BatchNorm" if isinstance(m, NORMS[0]) else type(m).__name__
        for m in unet.modules()
        if isinstance(m, (nn.Dropout, *NORMS))
    )
    return counts, max((m.p for m in unet.modules() if isinstance(m, nn.Dropout)), default=0.0)


@torch.no_grad()
def output(network: nn.Module, inputs: PassInput, training: bool, seed: int, turn: int) -> Tensor:
    """The output of a pass in train or eval mode [B, C, H, W]. What dropout drops depends on ``seed`` and ``turn``."""
    network.train(training)
    with forked_rng(inputs.x.device, seed, "modes", turn):
        return network(inputs.x, inputs.t, **inputs.condition).sample


def activation_bytes(network: nn.Module, inputs: PassInput, training: bool, gradients: bool) -> int:
    """Bytes of activations that a forward pass keeps for a backward pass: each memory once, the weights not counted."""
    network.train(training)
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with (
        torch.set_grad_enabled(gradients),
        forked_rng(inputs.x.device, 0, "modes"),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t),
    ):
        result = network(inputs.x, inputs.t, **inputs.condition).sample
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    del result  # until now it holds the activations, so that no memory was used twice
    return sum(size for pointer, size in sizes.items() if pointer not in weights)


def seconds(network: nn.Module, inputs: PassInput, training: bool, gradients: bool) -> tuple[float, float | None]:
    """Seconds of a forward pass, and of the backward pass from it; None where there is nothing to go back through."""
    network.train(training)
    with torch.set_grad_enabled(gradients), forked_rng(inputs.x.device, 0, "modes"):
        start = _now(inputs.x.device)
        result = network(inputs.x, inputs.t, **inputs.condition).sample
        forward = _now(inputs.x.device) - start
        if not result.requires_grad:
            return forward, None
        result.sum().backward()
    network.zero_grad()
    return forward, _now(inputs.x.device) - start - forward


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def gradients(
    config: TrainConfig,
    unet: nn.Module,
    batch: Batch,
    alphas_cumprod: Tensor,
    training: bool,
    trainable: tuple[str, ...],
) -> dict[str, tuple[int, float | None]]:
    """By section: parameters that require a gradient, and after one backward pass of a copy the length of the section's gradient, None where
    it got none. Only the sections ``trainable`` learn, as ``TrainConfig.trainable`` names them. "attention" overlaps the others."""
    network = copied(unet).train(training)
    freeze(network, trainable)
    if any(p.requires_grad for p in network.parameters()):
        with forked_rng(alphas_cumprod.device, 0, "modes"):
            denoising_loss(config, network, batch, alphas_cumprod).mean().backward()
    result: dict[str, tuple[int, float | None]] = {}
    for name, parameters in sections(network).items():
        squares = [float(p.grad.float().square().sum()) for p in parameters if p.grad is not None]
        learns = sum(p.numel() for p in parameters if p.requires_grad)
        result[name] = learns, sum(squares) ** 0.5 if squares else None
    return result
