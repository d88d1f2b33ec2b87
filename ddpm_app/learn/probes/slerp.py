"""The way from one noise to another, and from one label or text to another."""

import copy

import torch
from torch import Tensor, nn

from ddpm_app.model.building import BUILDING
from ddpm_app.model.unet import UNet


def slerp(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Spherical interpolation [B, ...] of each pair of ``first`` and ``second`` [B, ...] at ``share`` [B] (0 gives the first, 1 the second).

    Directions turn at an even pace along the arc between them (Shoemake 1985); lengths go evenly from one to the other. Gaussian noise of D numbers
    has a length of about sqrt(D), and a model has seen no other: a straight line would cut through shorter ones (arXiv 1609.04468;
    done with diffusion in arXiv 2010.02502, appendix D.5). Parallel pairs go straight. Raises ValueError for opposite ones: all ways are as short.
    """
    a, b = first.flatten(1).double(), second.flatten(1).double()
    u = share.to(a).reshape(-1, 1)
    long_a, long_b = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    a, b = a / long_a.clamp(min=1e-300), b / long_b.clamp(min=1e-300)
    angle = 2 * torch.atan2(
        (a - b).norm(dim=1, keepdim=True), (a + b).norm(dim=1, keepdim=True)
    )  # exact where acos of the product isn't
    sine = angle.sin()
    straight = sine < 1e-9
    if (straight & (angle > 1)).any():
        raise ValueError("opposite vectors have no single shortest way between them")
    of_a = torch.where(straight, 1 - u, ((1 - u) * angle).sin() / sine)
    of_b = torch.where(straight, u, (u * angle).sin() / sine)
    mixed = (of_a * a + of_b * b) * ((1 - u) * long_a + u * long_b)
    return mixed.reshape(first.shape).to(first.dtype)


def lerp(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """The straight line between ``first`` and ``second`` [B, ...] at ``share`` [B]: between two noises it is shorter in the middle, by the factor
    sqrt(u^2 + (1 - u)^2), about 0.71 half way."""
    return torch.lerp(first, second, share.to(first).reshape(-1, *[1] * (first.dim() - 1)))


Condition = dict[str, Tensor]


def blended(
    unet: UNet, first: Condition, second: Condition, unconditional: Condition, shares: Tensor
) -> tuple[UNet, Condition, Condition]:
    """(UNet, its arguments, its unconditional arguments) for ``shares`` [K] of the way from ``first`` to ``second``.

    ``first``, ``second`` and ``unconditional`` are for one picture. Texts are blended in their embeddings [1, L, D]. Labels are numbers, so the network comes
    as a twin that shares all weights with ``unet`` but its table of embeddings: row k is the blend at ``shares[k]``, row K that of ``unconditional``.
    """
    count = len(shares)
    if "class_labels" not in first:
        name = "encoder_hidden_states"
        begin, end, empty = (condition[name].expand(count, -1, -1) for condition in (first, second, unconditional))
        return unet, {name: lerp(begin, end, shares)}, {name: empty}
    table = unet.class_embedding.weight.detach()
    begin, end = (table[condition["class_labels"]].expand(count, -1) for condition in (first, second))
    twin = copy.copy(unet)
    rows = torch.cat([lerp(begin, end, shares), table[unconditional["class_labels"]]])
    with BUILDING:
        twin._modules = unet._modules | {"class_embedding": nn.Embedding.from_pretrained(rows)}
    numbers = torch.arange(count, device=table.device)
    return twin, {"class_labels": numbers}, {"class_labels": torch.full_like(numbers, count)}
