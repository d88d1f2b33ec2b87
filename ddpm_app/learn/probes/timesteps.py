"""Loss by timestep, measured as training measures it, but little by little."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ddpm_app.train.evaluate import BANDS, FixedNoiseEvaluator, picture_losses


@torch.no_grad()
def losses(ruler: FixedNoiseEvaluator, kind: str, network: nn.Module, at_once: int = 4) -> Iterator[Tensor]:
    """Losses by timestep from least noise to most [ruler.count], NaN where not measured yet, ``at_once`` more with each turn.

    They are spread over all timesteps from the first turn on. The whole is what the loop's validation measures of pictures of ``kind`` ("train",
    "held_out"): its mean is the loss that a run records. The first turns only fetch the pictures, a batch of the ruler each.
    """
    batches, found = [], torch.full((ruler.count,), torch.nan)
    for batch in ruler.batches(kind):
        if batches:
            yield found
        batches.append(batch)
    x0, eps, t = (torch.cat([batch[k] for batch in batches]) for k in range(3))
    condition = {name: torch.cat([batch[3][name] for batch in batches]) for name in batches[0][3]}
    rounds = -(-ruler.count // at_once)
    for k in scattered(rounds):
        part = torch.arange(k, ruler.count, rounds)
        asked = {name: values[part] for name, values in condition.items()}
        found[part] = picture_losses(ruler.config, network, x0[part], eps[part], t[part], ruler.abar, asked).cpu()
        yield found


def scattered(count: int) -> list[int]:
    """0 to count - 1, each far from those just before it: in the order of their binary digits read backwards."""
    digits = max(1, (count - 1).bit_length())
    return sorted(range(count), key=lambda k: f"{k:0{digits}b}"[::-1])


def bands(found: Tensor) -> list[float]:
    """Mean loss of each of BANDS equal bands of timesteps, as a run records them; NaN where nothing is measured yet."""
    return found.reshape(BANDS, -1).nanmean(dim=1).tolist()
