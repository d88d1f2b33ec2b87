"""The stations of the Learn tab, one file each: what a probe measured, as panels."""

import importlib

from ddpm_app.learn.station import Station

ORDER = (
    "tensor",
    "latent",
    "noise",
    "unet",
    "guess",
    "loss",
    "step",
    "epoch",
    "modes",
    "walk",
    "ema",
    "words",
    "memory",
    "between",
)
"""The path of a picture: PNG, tensor, latent, noise, the UNet's guess, loss, step, and the way back."""


def station(name: str) -> Station:
    """The station of that name, one of ORDER. Raises KeyError."""
    if name not in ORDER:
        raise KeyError(name)
    return importlib.import_module(f"ddpm_app.learn.stations.{name}").STATION
