"""Resizing, cropping and normalization of frames, in PyTorch alone.

Every function takes frames folded into the batch, (T, 3, H, W).
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def resize_short_side(frames: torch.Tensor, size: int = 256) -> torch.Tensor:
    """Resize frames (T, 3, H, W) so that the short side has `size` pixels; the aspect ratio stays.

    Bilinear and anti-aliased, as Pillow does it for TSN. uint8 frames stay uint8.
    """
    height, width = frames.shape[-2:]
    short_side = min(height, width)
    resized = (size * height // short_side, size * width // short_side)
    if resized == (height, width):
        return frames
    return F.interpolate(frames, size=resized, mode="bilinear", antialias=True)


def center_crop(frames: torch.Tensor, size: int = 224) -> torch.Tensor:
    """Return the `size` x `size` centre of frames (T, 3, H, W), as a view.

    Raises:
        ValueError: if the frames are smaller than the crop.
    """
    height, width = frames.shape[-2:]
    if min(height, width) < size:
        raise ValueError(f"center_crop: frames of {height}x{width} are smaller than size={size}")
    top = (height - size) // 2
    left = (width - size) // 2
    return frames[..., top : top + size, left : left + size]


def normalize(
    frames: torch.Tensor,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> torch.Tensor:
    """Bring uint8 frames (T, 3, H, W) to [0, 1] in float32, subtract `mean`, divide by `std`."""
    channel_mean = torch.tensor(mean, device=frames.device).view(-1, 1, 1)
    channel_std = torch.tensor(std, device=frames.device).view(-1, 1, 1)
    return (frames.float() / 255 - channel_mean) / channel_std
