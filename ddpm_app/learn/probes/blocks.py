"""What a UNet is made of and what flows inside it, observed in one real forward pass."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from ddpm_app.model.unet import UNet

MAPS = 16
"""Feature maps kept of each block: its first channels."""
GROUPS = {
    "conv_norm_out": "out",
    "conv_act": "out",
    "conv_out": "out",
    "time_proj": "time",
    "time_embedding": "time",
    "mid_block": "mid",
}
"""diffusers' names of the children of a UNet and the blocks they belong to here, where that is another name."""
SIDES = {"down_blocks": "down", "up_blocks": "up"}


@dataclasses.dataclass(frozen=True)
class Skip:
    """A tensor that block ``source`` hands to a block of the way up, beside what comes from below; ``shape`` [C, H, W]."""

    source: str
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Block:
    """``name``: "conv_in", "time", "down.0" ... "mid", "up.0" ... "out", or what diffusers calls it. ``kind``: its classes. ``shape`` of its
    output for one picture, () where it had none in this pass; ``attention``: layers of self-attention and of attention to words; ``skips``:
    what it receives from the way down, in the order of use; ``maps``: the first channels of its output for the first picture
    [<= MAPS, H, W], None where it is no picture; ``size``: mean absolute activation of that picture."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    attention: tuple[int, int]
    skips: tuple[Skip, ...]
    maps: Tensor | None
    size: float


def block_of(parameter: str) -> str:
    """The block of a module or parameter by its name in the UNet: "down_blocks.1.resnets.0.conv1.weight" is in "down.1"."""
    first, *rest = parameter.split(".")
    return f"{SIDES[first]}.{rest[0]}" if first in SIDES else GROUPS.get(first, first)


def parts(unet: nn.Module) -> dict[str, list[nn.Module]]:
    """The modules of each block, in the order of the way through. Together they hold every parameter once."""
    modules: dict[str, list[nn.Module]] = {}
    for name, child in unet.named_children():
        inside = child.named_children() if name in SIDES else [("", child)]
        for number, module in inside:
            modules.setdefault(block_of(f"{name}.{number}"), []).append(module)
    down, up = ([name for name in modules if name.startswith(side)] for side in SIDES.values())
    order = ["conv_in", "time", *down, "mid", *up, "out"]
    beside = [name for name in modules if name not in order and next(modules[name][0].parameters(), None) is not None]
    return {name: modules[name] for name in [*order[:2], *beside, *order[2:]] if name in modules}


@torch.no_grad()
def trace(unet: nn.Module, x: Tensor, t: int, condition: dict[str, Tensor]) -> list[Block]:
    """The blocks of a UNet2DModel or UNet2DConditionModel as they are when it denoises ``x`` [B, C, H, W] at timestep ``t``."""
    modules = parts(unet)
    outputs: dict[str, Tensor] = {}
    skips: dict[str, tuple[Skip, ...]] = {}
    sources: dict[int, tuple[str, Tensor]] = {}  # by identity; holding the tensors keeps each identity its own

    def watch(name: str, args: tuple, kwargs: dict[str, object], result: Tensor | tuple) -> None:
        hidden, *rest = result if isinstance(result, tuple) else (result,)
        outputs[name] = hidden
        for tensor in [*(rest[0] if rest else ()), *([hidden] if name == "conv_in" else ())]:
            sources[id(tensor)] = name, tensor
        for value in (*args, *kwargs.values()) if name.startswith("up.") else ():
            if isinstance(value, tuple):
                skips[name] = tuple(Skip(sources[id(x)][0], tuple(x.shape[1:])) for x in reversed(value))

    with _hooks(modules, watch):
        unet(x, t, **condition)
    return [_block(name, group, outputs.get(name), skips.get(name, ())) for name, group in modules.items()]


@contextlib.contextmanager
def _hooks(
    modules: dict[str, list[nn.Module]], watch: Callable[[str, tuple, dict, Tensor | tuple], None]
) -> Iterator[None]:
    """``watch(block, args, kwargs, result)`` is called after each module's forward pass."""
    hooks = [
        module.register_forward_hook(
            lambda _, args, kwargs, result, name=name: watch(name, args, kwargs, result), with_kwargs=True
        )
        for name, group in modules.items()
        for module in group
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _block(name: str, modules: list[nn.Module], output: Tensor | None, skips: tuple[Skip, ...]) -> Block:
    attending = [m for module in modules for m in module.modules() if isinstance(m, Attention)]
    to_words = sum(m.is_cross_attention for m in attending)
    first = None if output is None else output[0].detach().float()
    return Block(
        name,
        " + ".join(type(module).__name__ for module in modules if next(module.parameters(), None) is not None),
        () if first is None else tuple(first.shape),
        sum(p.numel() for module in modules for p in module.parameters()),
        (len(attending) - to_words, to_words),
        skips,
        first[:MAPS].clone() if first is not None and first.dim() == 3 else None,
        0.0 if first is None else float(first.abs().mean()),
    )


@torch.no_grad()
def embedding(unet: UNet, timesteps: Tensor) -> tuple[Tensor, Tensor]:
    """The sinusoidal embedding of ``timesteps`` [B] as the UNet makes it [B, D], in [-1, 1] (arXiv 1706.03762, section 3.5), and
    what the learned projection, two linear layers, makes of it [B, E], which every ResNet layer gets to see."""
    waves = unet.time_proj(timesteps.to(unet.device)).to(unet.dtype)
    return waves, unet.time_embedding(waves)
