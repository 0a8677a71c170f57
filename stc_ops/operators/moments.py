"""Shapes of what is kept per group of elements: a frame, or a pixel of a clip, and a channel."""

from __future__ import annotations

import torch

from .checks import accumulation_dtype
from .registration import memory_format_of, shape_function

_Tensor = torch.Tensor


@shape_function
def _spatial_moments(y: _Tensor) -> tuple[_Tensor, _Tensor]:
    return of_frames(y), of_frames(y)


@shape_function
def _temporal_moments(y: _Tensor, num_segments: int) -> tuple[_Tensor, _Tensor]:
    layout = memory_format_of(y)
    return of_pixels(y, num_segments, layout), of_pixels(y, num_segments, layout)


@shape_function
def _gated_channel_moments(
    mean: _Tensor, m2: _Tensor, logits: _Tensor | None, group_size: int
) -> tuple[_Tensor, _Tensor]:
    gate = mean.new_empty(0) if logits is None else like_groups(mean)
    return gate, mean.new_empty((2, mean.shape[1]))


def of_frames(y: _Tensor, sets: int = 1) -> _Tensor:
    """Return a value per channel of a frame, `sets` of them, for shape functions."""
    return y.new_empty((sets * y.shape[0], y.shape[1]), dtype=accumulation_dtype(y.dtype))


def of_pixels(y: _Tensor, num_segments: int, layout: torch.memory_format, sets: int = 1) -> _Tensor:
    """Return a value per channel and pixel of a clip, `sets` of them, for shape functions."""
    shape = (sets * (y.shape[0] // num_segments), *y.shape[1:])
    dtype = accumulation_dtype(y.dtype)
    return torch.empty(shape, dtype=dtype, device=y.device, memory_format=layout)


def like_groups(values: _Tensor) -> _Tensor:
    """Return a value per group as `values` are, for shape functions."""
    layout = memory_format_of(values) if values.ndim == 4 else torch.contiguous_format
    return torch.empty_like(values, memory_format=layout)
