"""The registered steps of the fused operators and the shapes of their results: no derivatives."""

from __future__ import annotations

import torch

from .checks import accumulation_dtype
from .registration import NAMESPACE, compiled, frames_format, memory_format_of

spatial_moments = compiled.spatial_moments.default
temporal_moments = compiled.temporal_moments.default
gated_channel_moments = compiled.gated_channel_moments.default
batch_norm_coefficients = compiled.batch_norm_coefficients.default
batch_norm_grad_coefficients = compiled.batch_norm_grad_coefficients.default
gated_channel_sums = compiled.gated_channel_sums.default
gate_gradient = compiled.gate_gradient.default
shift_split = compiled.shift_split.default
shift_split_backward_sums = compiled.shift_split_backward_sums.default
shift_split_backward = compiled.shift_split_backward.default
refine = compiled.refine.default
refine_backward_sums = compiled.refine_backward_sums.default
refine_backward = compiled.refine_backward.default
add_relu = compiled.add_relu.default
add_relu_backward_sums = compiled.add_relu_backward_sums.default
add_relu_backward = compiled.add_relu_backward.default

_Tensor = torch.Tensor
_Optional = torch.Tensor | None


def _per_frame(y: _Tensor, sets: int = 1) -> _Tensor:
    return y.new_empty((sets * y.shape[0], y.shape[1]), dtype=accumulation_dtype(y.dtype))


def _per_pixel(
    y: _Tensor, num_segments: int, layout: torch.memory_format, sets: int = 1
) -> _Tensor:
    shape = (sets * (y.shape[0] // num_segments), *y.shape[1:])
    dtype = accumulation_dtype(y.dtype)
    return torch.empty(shape, dtype=dtype, device=y.device, memory_format=layout)


def _like(frames: _Tensor, layout: torch.memory_format | None = None) -> _Tensor:
    return torch.empty_like(frames, memory_format=layout or memory_format_of(frames))


def _spatial_moments(y: _Tensor) -> tuple[_Tensor, _Tensor]:
    return _per_frame(y), _per_frame(y)


def _temporal_moments(y: _Tensor, num_segments: int) -> tuple[_Tensor, _Tensor]:
    layout = memory_format_of(y)
    return _per_pixel(y, num_segments, layout), _per_pixel(y, num_segments, layout)


def _gated_channel_moments(
    mean: _Tensor, m2: _Tensor, logits: _Optional, group_size: int
) -> tuple[_Tensor, _Tensor]:
    gate = mean.new_empty(0) if logits is None else _like_groups(mean)
    return gate, mean.new_empty((2, mean.shape[1]))


def _like_groups(values: _Tensor) -> _Tensor:
    layout = memory_format_of(values) if values.ndim == 4 else torch.contiguous_format
    return torch.empty_like(values, memory_format=layout)


def _batch_norm_coefficients(
    moments: _Tensor, weight: _Optional, bias: _Optional, eps: float
) -> _Tensor:
    return moments.new_empty((4, moments.shape[1]))


def _batch_norm_grad_coefficients(mean_sums: _Tensor, coefficients: _Tensor) -> _Tensor:
    return coefficients.new_empty((2, coefficients.shape[1]))


def _gated_channel_sums(
    sums: _Tensor, gate: _Optional, mean: _Optional, coefficients: _Tensor, first_channel: int
) -> _Tensor:
    return sums.new_empty((2, sums.shape[1]))


def _gate_gradient(
    sums: _Tensor,
    gate: _Tensor,
    mean: _Tensor,
    m2: _Optional,
    coefficients: _Tensor,
    grad_coefficients: _Tensor,
    first_channel: int,
    group_size: int,
) -> _Tensor:
    layout = memory_format_of(sums) if sums.ndim == 4 else torch.contiguous_format
    return torch.empty_like(gate, memory_format=layout)


def _shift_split(
    u: _Tensor,
    coefficients: _Tensor,
    num_segments: int,
    spatial_channels: int,
    fold: int,
    stride: int,
) -> tuple[_Tensor, _Tensor]:
    frames, channels, height, width = u.shape
    layout = memory_format_of(u)
    # Rounded up, and so that a symbolic size stays what an export with dynamic sizes can tell.
    grid = ((height - 1) // stride + 1, (width - 1) // stride + 1)

    def empty(channels: int, size: tuple[int, int]) -> _Tensor:
        shape = (frames, channels, *size)
        return torch.empty(shape, dtype=u.dtype, device=u.device, memory_format=layout)

    return empty(spatial_channels, (height, width)), empty(channels - spatial_channels, grid)


def _shift_split_backward_sums(
    grad_spatial: _Tensor, grad_temporal: _Tensor, u: _Tensor, coefficients: _Tensor, *split: int
) -> _Tensor:
    return coefficients.new_empty((2, u.shape[1]))


def _shift_split_backward(
    grad_spatial: _Tensor,
    grad_temporal: _Tensor,
    u: _Tensor,
    coefficients: _Tensor,
    grad_coefficients: _Tensor,
    *split: int,
) -> _Tensor:
    return _like(u)


def _refine(
    spatial_y: _Optional,
    temporal_y: _Optional,
    frame_gate: _Optional,
    pixel_gate: _Optional,
    coefficients: _Tensor,
    num_segments: int,
) -> _Tensor:
    y = temporal_y if spatial_y is None else spatial_y
    shape = (y.shape[0], coefficients.shape[1], *y.shape[2:])
    layout = frames_format(spatial_y, temporal_y)
    return torch.empty(shape, dtype=y.dtype, device=y.device, memory_format=layout)


def _refine_backward_sums(
    grad: _Tensor,
    spatial_y: _Optional,
    temporal_y: _Optional,
    frame_gate: _Optional,
    pixel_gate: _Optional,
    frame_mean: _Optional,
    pixel_mean: _Optional,
    coefficients: _Tensor,
    num_segments: int,
) -> tuple[_Tensor, _Tensor]:
    layout = frames_format(spatial_y, temporal_y)
    none = coefficients.new_empty(0)
    of_temporal = none
    if temporal_y is not None and pixel_gate is not None:
        of_temporal = _per_pixel(temporal_y, num_segments, layout, sets=2)
    elif temporal_y is not None:
        of_temporal = _per_frame(temporal_y, sets=2)
    return none if spatial_y is None else _per_frame(spatial_y, sets=2), of_temporal


def _refine_backward(
    grad: _Tensor,
    spatial_y: _Optional,
    temporal_y: _Optional,
    frame_gate: _Optional,
    pixel_gate: _Optional,
    grad_frame_mean: _Optional,
    grad_pixel_mean: _Optional,
    coefficients: _Tensor,
    grad_coefficients: _Tensor,
    num_segments: int,
) -> tuple[_Tensor, _Tensor]:
    layout = frames_format(spatial_y, temporal_y)
    none = grad.new_empty(0)
    return (
        none if spatial_y is None else _like(spatial_y, layout),
        none if temporal_y is None else _like(temporal_y, layout),
    )


def _add_relu(
    w: _Tensor, identity: _Tensor, coefficients: _Tensor, identity_coefficients: _Optional
) -> _Tensor:
    return _like(w)


def _add_relu_backward_sums(
    grad: _Tensor,
    out: _Tensor,
    w: _Tensor,
    identity: _Optional,
    coefficients: _Tensor,
    identity_coefficients: _Optional,
) -> tuple[_Tensor, _Tensor]:
    if identity_coefficients is None:
        return coefficients.new_empty((2, w.shape[1])), _like(w)
    return coefficients.new_empty((3, w.shape[1])), w.new_empty(0)


def _add_relu_backward(
    grad: _Tensor,
    out: _Optional,
    w: _Tensor,
    identity: _Optional,
    coefficients: _Tensor,
    identity_coefficients: _Optional,
    grad_coefficients: _Tensor,
    identity_grad_coefficients: _Optional,
) -> tuple[_Tensor, _Tensor]:
    return _like(w), w.new_empty(0) if identity is None else _like(w)


for _fake in (
    _spatial_moments,
    _temporal_moments,
    _gated_channel_moments,
    _batch_norm_coefficients,
    _batch_norm_grad_coefficients,
    _gated_channel_sums,
    _gate_gradient,
    _shift_split,
    _shift_split_backward_sums,
    _shift_split_backward,
    _refine,
    _refine_backward_sums,
    _refine_backward,
    _add_relu,
    _add_relu_backward_sums,
    _add_relu_backward,
):
    torch.library.register_fake(f"{NAMESPACE}::{_fake.__name__[1:]}", _fake)
