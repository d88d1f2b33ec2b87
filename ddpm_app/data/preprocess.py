"""Square pictures and tensors, by torchvision, and the way back."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageColor
from torchvision.transforms import functional

LONGEST = 16
"""A picture more than this many times longer than wide is cut to that ratio before ``crop`` scales it: a scan line of
1 x 80,000,000 pixels would grow to terabytes. What is cut lies far outside the crop."""


def square(picture: Image.Image, size: int, mode: str, channels: int = 3, background: str = "white") -> np.ndarray:
    """An RGB picture as the model will see it: uint8 [size, size, channels].

    ``mode``: "squash" is the tutorial's Resize((size, size)), "crop" is Resize(size) + CenterCrop(size), "pad" fits the
    picture inside and fills with ``background``. All use torchvision's bilinear filter with antialiasing.
    """
    if channels == 1:
        picture = picture.convert("L")
    if mode == "squash":
        picture = functional.resize(picture, [size, size])
    elif mode == "crop":
        short = min(picture.size) * LONGEST
        picture = functional.center_crop(picture, [min(picture.height, short), min(picture.width, short)])
        picture = functional.center_crop(functional.resize(picture, [size]), [size, size])
    else:
        width, height = (max(1, round(side * size / max(picture.size))) for side in picture.size)
        picture = functional.resize(picture, [height, width])
        left, top = (size - width) // 2, (size - height) // 2
        fill = ImageColor.getcolor(background, picture.mode)
        picture = functional.pad(picture, [left, top, size - width - left, size - height - top], fill=fill)
    return np.asarray(picture).reshape(size, size, channels)


def to_tensors(pictures: np.ndarray, flips: Sequence[bool] | np.ndarray | None = None) -> torch.Tensor:
    """uint8 [B, H, W, C] -> float32 [B, C, H, W] in [-1, 1], contiguous; picture i is mirrored where ``flips[i]``.

    Bit for bit what ToTensor and Normalize([0.5], [0.5]) make of each picture: both divide by 255, then take (x - 0.5) / 0.5.
    """
    batch = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()
    if flips is not None and np.any(flips):
        mirrored = torch.as_tensor(np.asarray(flips, dtype=bool))
        batch[mirrored] = functional.hflip(batch[mirrored])
    return functional.normalize(functional.convert_image_dtype(batch, torch.float32), [0.5], [0.5], inplace=True)


def to_display(tensor: torch.Tensor) -> np.ndarray:
    """float [..., C, H, W] in [-1, 1] -> uint8 [..., H, W, C]: the exact inverse of ``to_tensors``, and the one place where
    pictures are clamped before they become bytes. NaN becomes black."""
    scaled = torch.nan_to_num(tensor.detach().float().cpu() * 0.5 + 0.5, nan=0.0).clamp(0, 1)
    return (scaled * 255).round().to(torch.uint8).movedim(-3, -1).contiguous().numpy()


def to_images(x: torch.Tensor) -> list[Image.Image]:
    """Pictures in [-1, 1], [N, C, H, W], as PIL images, clamped."""
    return [Image.fromarray(a.squeeze(-1) if a.shape[-1] == 1 else a) for a in to_display(x)]
