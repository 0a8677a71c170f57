"""Moments: means and second moments of groups, and the broadcast that is the means' backward."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .frames import Frames, Groups, check_segments
from .sums import merge_moments, moments_of_lanes, moments_with, parts_of, sum_rows
from .tiles import (
    group_offsets,
    groups_of,
    load,
    row_stride,
    rows_of,
    rows_of_program,
    split_of_program,
    store,
    sums_type,
)


@triton.jit
def moments_kernel(
    frames,
    mean,
    m2,
    first_m2,
    groups,
    rows,
    splits,
    rows_per_split,
    channels,
    pixels,
    num_segments,
    PER_PIXEL: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    BLOCK_G: tl.constexpr,
    BLOCK_R: tl.constexpr,
    INDEX: tl.constexpr,
):
    E: tl.constexpr = sums_type(frames.dtype)
    i_tile, i_split, first, end = split_of_program(rows, splits, rows_per_split, INDEX)
    i_g, m_g = groups_of(i_tile, groups, BLOCK_G, INDEX)
    o_g = group_offsets(i_g, channels, pixels, num_segments, PER_PIXEL, CHANNELS_LAST)
    stride = row_stride(channels, pixels, PER_PIXEL, CHANNELS_LAST, INDEX)
    b_mean = tl.zeros((BLOCK_G, BLOCK_R), E)
    b_m2 = tl.zeros((BLOCK_G, BLOCK_R), E)
    count = tl.zeros((BLOCK_G, BLOCK_R), E)
    for i_row in range(first, end, BLOCK_R):
        i_r, m_r = rows_of(i_row, end, BLOCK_R, INDEX)
        mask = m_g[:, None] & m_r[None, :]
        value = load(frames, o_g[:, None] + i_r[None, :] * stride, mask)
        b_mean, b_m2, count = moments_with(b_mean, b_m2, count, value, mask)
    b_mean, b_m2 = moments_of_lanes(b_mean, b_m2, count)
    o_out = i_split * 2 * groups + i_g
    store(mean, o_out, b_mean, m_g)
    store(m2, o_out + first_m2, b_m2, m_g)


@triton.jit
def mean_kernel(
    frames,
    mean,
    groups,
    rows,
    splits,
    rows_per_split,
    channels,
    pixels,
    num_segments,
    PER_PIXEL: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    BLOCK_G: tl.constexpr,
    BLOCK_R: tl.constexpr,
    INDEX: tl.constexpr,
):
    E: tl.constexpr = sums_type(frames.dtype)
    i_tile, i_split, first, end = split_of_program(rows, splits, rows_per_split, INDEX)
    i_g, m_g = groups_of(i_tile, groups, BLOCK_G, INDEX)
    o_g = group_offsets(i_g, channels, pixels, num_segments, PER_PIXEL, CHANNELS_LAST)
    stride = row_stride(channels, pixels, PER_PIXEL, CHANNELS_LAST, INDEX)
    total = tl.zeros((BLOCK_G, BLOCK_R), E)
    for i_row in range(first, end, BLOCK_R):
        i_r, m_r = rows_of(i_row, end, BLOCK_R, INDEX)
        mask = m_g[:, None] & m_r[None, :]
        total += load(frames, o_g[:, None] + i_r[None, :] * stride, mask)
    store(mean, i_split * groups + i_g, tl.sum(total, 1) / rows, m_g)


@triton.jit
def broadcast_kernel(
    grad_mean,
    grad_frames,
    groups,
    rows,
    channels,
    pixels,
    num_segments,
    PER_PIXEL: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    STEPS: tl.constexpr,
    BLOCK_G: tl.constexpr,
    BLOCK_R: tl.constexpr,
    INDEX: tl.constexpr,
):
    i_tile, first = rows_of_program(rows, BLOCK_R * STEPS, INDEX)
    i_g, m_g = groups_of(i_tile, groups, BLOCK_G, INDEX)
    o_g = group_offsets(i_g, channels, pixels, num_segments, PER_PIXEL, CHANNELS_LAST)
    stride = row_stride(channels, pixels, PER_PIXEL, CHANNELS_LAST, INDEX)
    value = tl.broadcast_to((load(grad_mean, i_g, m_g) / rows)[:, None], (BLOCK_G, BLOCK_R))
    for step in tl.static_range(STEPS):
        i_r, m_r = rows_of(first + step * BLOCK_R, rows, BLOCK_R, INDEX)
        mask = m_g[:, None] & m_r[None, :]
        store(grad_frames, o_g[:, None] + i_r[None, :] * stride, value, mask)


def _mean(frames: Frames, groups: Groups) -> torch.Tensor:
    out = groups.empty()
    if groups.rows == 0:
        return out.fill_(float("nan"))
    splits = groups.splits()
    parts = parts_of(out, splits)
    groups.reduce(mean_kernel, splits, frames=frames.tensor, mean=parts)
    sum_rows(parts, out)
    return out


def _moments(operator: str, frames: Frames, groups: Groups) -> tuple[torch.Tensor, torch.Tensor]:
    mean, m2 = groups.empty(), groups.empty()
    if groups.count == 0:
        return mean, m2
    if groups.rows == 0:
        raise RuntimeError(f"{operator}: y must have a value per mean")
    splits = groups.splits()
    if splits.count == 1:
        groups.reduce(moments_kernel, splits, frames=frames.tensor, mean=mean, m2=m2, first_m2=0)
        return mean, m2
    parts = mean.new_empty((splits.count, 2, groups.count))
    groups.reduce(
        moments_kernel,
        splits,
        frames=frames.tensor,
        mean=parts,
        m2=parts,
        first_m2=groups.count,
    )
    merge_moments(parts, mean, m2, groups.rows, splits.rows)
    return mean, m2


def _broadcast(operator: str, grad: torch.Tensor, out: Frames, groups: Groups) -> torch.Tensor:
    grad_mean = groups.checked(operator, "grad", grad)
    groups.map(broadcast_kernel, grad_mean=grad_mean, grad_frames=out.tensor)
    return out.tensor


def spatial_pool(y: torch.Tensor) -> torch.Tensor:
    """Compute `stc_ops::spatial_pool`."""
    frames = Frames("spatial_pool", "y", y)
    return _mean(frames, frames.groups_per_frame())


def temporal_pool(y: torch.Tensor, num_segments: int) -> torch.Tensor:
    """Compute `stc_ops::temporal_pool`."""
    frames = Frames("temporal_pool", "y", y)
    check_segments("temporal_pool", y, num_segments)
    return _mean(frames, frames.groups_per_pixel(num_segments))


def spatial_pool_backward(
    grad: torch.Tensor,
    height: int,
    width: int,
    dtype: torch.dtype,
    memory_format: torch.memory_format,
) -> torch.Tensor:
    """Compute `stc_ops::spatial_pool_backward`."""
    name = "spatial_pool_backward"
    if grad.ndim != 2:
        raise RuntimeError(f"{name}: grad must have 2 dimensions, got {grad.ndim}")
    if min(height, width) < 0:
        raise RuntimeError(f"{name}: height and width must not be negative")
    shape = (*grad.shape, height, width)
    empty = torch.empty(shape, dtype=dtype, device=grad.device, memory_format=memory_format)
    out = Frames(name, "grad_y", empty, memory_format)
    return _broadcast(name, grad, out, out.groups_per_frame())


def temporal_pool_backward(
    grad: torch.Tensor, num_segments: int, dtype: torch.dtype, memory_format: torch.memory_format
) -> torch.Tensor:
    """Compute `stc_ops::temporal_pool_backward`."""
    name = "temporal_pool_backward"
    if num_segments < 1:
        raise RuntimeError(f"{name}: num_segments must be at least 1, got {num_segments}")
    clips = Frames(name, "grad", grad, memory_format)
    empty = clips.empty((clips.count * num_segments, *grad.shape[1:]), dtype)
    out = Frames(name, "grad_y", empty, memory_format)
    return _broadcast(name, clips.tensor, out, out.groups_per_pixel(num_segments))


def spatial_moments(y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `stc_ops::spatial_moments`."""
    frames = Frames("spatial_moments", "y", y)
    return _moments("spatial_moments", frames, frames.groups_per_frame())


def temporal_moments(y: torch.Tensor, num_segments: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `stc_ops::temporal_moments`."""
    frames = Frames("temporal_moments", "y", y)
    check_segments("temporal_moments", y, num_segments)
    return _moments("temporal_moments", frames, frames.groups_per_pixel(num_segments))
