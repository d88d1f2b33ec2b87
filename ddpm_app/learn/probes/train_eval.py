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
from ddpm_app.train.evaluate import picture_losses

NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


@dataclasses.dataclass(frozen=True)
class Given:
    """What a pass gets: x_t [B, C, H, W], one timestep, and the UNet's further arguments."""

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


def layers(unet: nn.Module) -> tuple[Counter, float]:
    """How many layers of each kind there are that a mode could change, or that people take for such: "Dropout", "BatchNorm",
    "GroupNorm", "LayerNorm"; and the largest share that is dropped."""
    found = Counter(
        "BatchNorm" if isinstance(m, NORMS[0]) else type(m).__name__
        for m in unet.modules()
        if isinstance(m, (nn.Dropout, *NORMS))
    )
    return found, max((m.p for m in unet.modules() if isinstance(m, nn.Dropout)), default=0.0)


@torch.no_grad()
def output(network: nn.Module, given: Given, training: bool, seed: int, turn: int) -> Tensor:
    """The output of a pass in train or eval mode [B, C, H, W]. What dropout drops depends on ``seed`` and ``turn``."""
    network.train(training)
    with forked_rng(given.x.device, seed, "modes", turn):
        return network(given.x, given.t, **given.condition).sample


def kept_bytes(network: nn.Module, given: Given, training: bool, gradients: bool) -> int:
    """Bytes of activations that a forward pass keeps for a backward pass: each memory once, the weights not counted."""
    network.train(training)
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with (
        torch.set_grad_enabled(gradients),
        forked_rng(given.x.device, 0, "modes"),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t),
    ):
        result = network(given.x, given.t, **given.condition).sample
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    del result  # until here it holds what was kept, so that no memory was used twice
    return sum(size for where, size in kept.items() if where not in weights)


def seconds(network: nn.Module, given: Given, training: bool, gradients: bool) -> tuple[float, float | None]:
    """Seconds of a forward pass, and of the backward pass from it; None where there is nothing to go back through."""
    network.train(training)
    with torch.set_grad_enabled(gradients), forked_rng(given.x.device, 0, "modes"):
        start = _now(given.x.device)
        result = network(given.x, given.t, **given.condition).sample
        forward = _now(given.x.device) - start
        if not result.requires_grad:
            return forward, None
        result.sum().backward()
    network.zero_grad()
    return forward, _now(given.x.device) - start - forward


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def gradients(
    config: TrainConfig,
    unet: nn.Module,
    x0: Tensor,
    eps: Tensor,
    t: int,
    abar: Tensor,
    condition: dict[str, Tensor],
    training: bool,
    trainable: tuple[str, ...],
) -> dict[str, tuple[int, float | None]]:
    """By section: parameters that require a gradient, and after one backward pass of a copy the length of the section's gradient, None where
    it got none. Only the sections ``trainable`` learn, as ``TrainConfig.trainable`` names them. "attention" overlaps the others."""
    network = copied(unet).train(training)
    freeze(network, trainable)
    if any(p.requires_grad for p in network.parameters()):
        timesteps = torch.full((len(x0),), t, device=x0.device)
        with forked_rng(x0.device, 0, "modes"):
            picture_losses(config, network, x0, eps, timesteps, abar, condition).mean().backward()
    found = {}
    for name, parameters in sections(network).items():
        grads = [p.grad.float().square().sum() for p in parameters if p.grad is not None]
        found[name] = sum(p.numel() for p in parameters if p.requires_grad), float(sum(grads)) ** 0.5 if grads else None
    return found
