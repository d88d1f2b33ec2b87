"""DDPM Studio: train a diffusion model by clicking, watch every part of it work, keep a standard diffusers pipeline."""

__version__ = "0.1.0"
