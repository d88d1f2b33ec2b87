"""What a text becomes before the UNet attends to it, and what the UNet makes of it."""

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional

from ddpm_app.model.conditioning import Text


@dataclasses.dataclass(frozen=True)
class Token:
    """One token: its number, the ``piece`` of text it stands for, its ``kind`` ("begin", "word", "end") and whether the encoder reads it."""

    id: int
    piece: str
    kind: str
    read: bool


def tokens(conditioning: Text, text: str) -> list[Token]:
    """All tokens of ``text`` with begin and end, as the tokenizer of ``conditioning`` makes them. A text that is too long loses its last
    words, never the end token; padding, which fills up short ones, is left out."""
    tokenizer, longest = conditioning.tokenizer, conditioning.longest
    ids = tokenizer(text, verbose=False).input_ids
    result = []
    for k, (number, piece) in enumerate(zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True)):
        kind = "begin" if k == 0 else "end" if k == len(ids) - 1 else "word"
        read = len(ids) <= longest or k < longest - 1 or kind == "end"
        result.append(Token(number, piece.replace("</w>", ""), kind, read))
    return result


@torch.no_grad()
def similarity(conditioning: Text, texts: list[str]) -> Tensor:
    """Cosine of the angle between each two of ``texts`` [N, N], -1 to 1: of the embedding at the end token, which CLIP takes for the whole text
    (arXiv 2103.00020, section 2.4)."""
    ids = conditioning.tokens(texts).to(next(conditioning.encoder.parameters()).device)
    pooled = functional.normalize(conditioning.encoder(ids).pooler_output.float(), dim=1)
    return (pooled @ pooled.T).clamp(-1, 1)


@torch.no_grad()
def outputs(unet: nn.Module, x_t: Tensor, t: int, conditions: list[dict[str, Tensor]]) -> Tensor:
    """The network's outputs [K, C, H, W] for the same ``x_t`` [1, C, H, W] at timestep ``t`` under each of ``conditions``, in one pass."""
    joined = {name: torch.cat([condition[name] for condition in conditions]) for name in conditions[0]}
    return unet(x_t.expand(len(conditions), -1, -1, -1), torch.tensor(t, device=x_t.device), **joined).sample


def difference(first: Tensor, second: Tensor) -> Tensor:
    """How much two guesses [C, H, W] differ at each place [H, W]: root mean square over the channels."""
    return (first - second).square().mean(0).sqrt()


def label_of(names: tuple[str, ...], query: str, otherwise: int) -> int:
    """Which label a person means: its name in any case, its number, or the only one that begins so; else ``otherwise``."""
    query = query.strip().casefold()
    lowered = [name.casefold() for name in names]
    if query in lowered:
        return lowered.index(query)
    if query.isdecimal() and int(query) < len(names):
        return int(query)
    like = [k for k, name in enumerate(lowered) if query and name.startswith(query)]
    return like[0] if len(like) == 1 else otherwise
