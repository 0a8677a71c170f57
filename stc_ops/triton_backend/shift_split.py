"""Batch norm, ReLU, shift and split into the inputs of STC's branches."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .frames import Frames, check_like, check_segments, checked_table
from .launch import Splits, launch_map, launch_reduction
from .shift import Part, gather, shifted
from .sums import sum_rows
from .tiles import (
    coordinates,
    groups_of,
    load,
    offsets,
    per_channel,
    row_stride,
    rows_of,
    rows_of_program,
    split_of_program,
    store,
    sums_type,
    through_statistics,
    where_relu_passes,
)


@triton.jit
def load_gradient(grad, o_grad, i_r, stride, width, grad_width, mask, STRIDE: tl.constexpr):
    """Load the gradient of pixels; zero for those that have no place in a strided result."""
    if STRIDE > 1:
        row, column = i_r // width, i_r % width
        mask = mask & ((row % STRIDE == 0) & (column % STRIDE == 0))[None, :]
        i_r = row // STRIDE * grad_width + column // STRIDE
    return load(grad, o_grad[:, None] + i_r[None, :] * stride, mask)


@triton.jit
def split_sums_kernel(
    u,
    grad,
    coefficients,
    sums,
    groups,
    rows,
    splits,
    rows_per_split,
    channels,
    first_channel,
    all_channels,
    width,
    grad_width,
    grad_pixels,
    num_segments,
    FOLD: tl.constexpr,
    STRIDE: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    BLOCK_G: tl.constexpr,
    BLOCK_R: tl.constexpr,
    INDEX: tl.constexpr,
):
    E: tl.constexpr = sums_type(u.dtype)
    i_tile, i_split, first, end = split_of_program(rows, splits, rows_per_split, INDEX)
    i_g, m_g = groups_of(i_tile, groups, BLOCK_G, INDEX)
    frame, channel, pixel = coordinates(i_g, channels, rows, 1, False, CHANNELS_LAST)
    target, exists = shifted(frame, channel, num_segments, FOLD, -1)
    i_c = channel + first_channel
    o_u = offsets(frame, i_c, pixel, all_channels, rows, CHANNELS_LAST)
    o_grad = offsets(target, channel, pixel, channels, grad_pixels, CHANNELS_LAST)
    u_stride = row_stride(all_channels, rows, False, CHANNELS_LAST, INDEX)
    grad_stride = row_stride(channels, grad_pixels, False, CHANNELS_LAST, INDEX)
    scale = per_channel(coefficients, 0, all_channels, i_c, m_g)[:, None]
    shift = per_channel(coefficients, 1, all_channels, i_c, m_g)[:, None]
    mean = per_channel(coefficients, 2, all_channels, i_c, m_g)[:, None]
    total = tl.zeros((BLOCK_G, BLOCK_R), E)
    product = tl.zeros((BLOCK_G, BLOCK_R), E)
    for i_row in range(first, end, BLOCK_R):
        i_r, m_r = rows_of(i_row, end, BLOCK_R, INDEX)
        mask = m_g[:, None] & m_r[None, :]
        value = load(u, o_u[:, None] + i_r[None, :] * u_stride, mask)
        m_grad = mask & exists[:, None]
        d = load_gradient(grad, o_grad, i_r, grad_stride, width, grad_width, m_grad, STRIDE)
        d = where_relu_passes(scale * value + shift, d)
        total += d
        product += d * (value - mean)
    o_sums = (frame * splits + i_split) * 2 * all_channels + i_c
    store(sums, o_sums, tl.sum(total, 1), m_g)
    store(sums, o_sums + all_channels, tl.sum(product, 1), m_g)


@triton.jit
def split_backward_kernel(
    u,
    grad,
    coefficients,
    grad_coefficients,
    grad_u,
    groups,
    rows,
    channels,
    first_channel,
    all_channels,
    width,
    grad_width,
    grad_pixels,
    num_segments,
    FOLD: tl.constexpr,
    STRIDE: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    STEPS: tl.constexpr,
    BLOCK_G: tl.constexpr,
    BLOCK_R: tl.constexpr,
    INDEX: tl.constexpr,
):
    i_tile, first = rows_of_program(rows, BLOCK_R * STEPS, INDEX)
    i_g, m_g = groups_of(i_tile, groups, BLOCK_G, INDEX)
    frame, channel, pixel = coordinates(i_g, channels, rows, 1, False, CHANNELS_LAST)
    target, exists = shifted(frame, channel, num_segments, FOLD, -1)
    i_c = channel + first_channel
    o_u = offsets(frame, i_c, pixel, all_channels, rows, CHANNELS_LAST)
    o_grad = offsets(target, channel, pixel, channels, grad_pixels, CHANNELS_LAST)
    u_stride = row_stride(all_channels, rows, False, CHANNELS_LAST, INDEX)
    grad_stride = row_stride(channels, grad_pixels, False, CHANNELS_LAST, INDEX)
    scale = per_channel(coefficients, 0, all_channels, i_c, m_g)[:, None]
    shift = per_channel(coefficients, 1, all_channels, i_c, m_g)[:, None]
    slope = per_channel(grad_coefficients, 0, all_channels, i_c, m_g)[:, None]
    offset = per_channel(grad_coefficients, 1, all_channels, i_c, m_g)[:, None]
    for step in tl.static_range(STEPS):
        i_r, m_r = rows_of(first + step * BLOCK_R, rows, BLOCK_R, INDEX)
        mask = m_g[:, None] & m_r[None, :]
        o = o_u[:, None] + i_r[None, :] * u_stride
        value = load(u, o, mask)
        m_grad = mask & exists[:, None]
        d = load_gradient(grad, o_grad, i_r, grad_stride, width, grad_width, m_grad, STRIDE)
        d = where_relu_passes(scale * value + shift, d)
        store(grad_u, o, scale * d + through_statistics(slope, value, offset), mask)


def _parts(
    operator: str,
    u: Frames,
    coefficients: torch.Tensor,
    num_segments: int,
    spatial_channels: int,
    fold: int,
    stride: int,
) -> tuple[torch.Tensor, tuple[Part, Part]]:
    check_segments(operator, u.tensor, num_segments)
    table = checked_table(operator, coefficients, 4, 0, u.channels)
    ranges = (0 <= spatial_channels <= u.channels, 0 <= 2 * fold <= spatial_channels, stride >= 1)
    if not all(ranges):
        raise RuntimeError(f"{operator}: spatial_channels, fold or stride out of range")
    temporal_channels = u.channels - spatial_channels
    spatial = Part(0, spatial_channels, fold, 1)
    return table, (spatial, Part(spatial_channels, temporal_channels, 0, stride))


def _gradients(
    operator: str, u: Frames, parts: tuple[Part, Part], grads: tuple[torch.Tensor, torch.Tensor]
) -> list[torch.Tensor]:
    checked = []
    for name, part, grad in zip(("grad_spatial", "grad_temporal"), parts, grads, strict=True):
        shape = (u.count, part.channels, *part.size_of(u))
        check_like(operator, name, grad, shape, u.tensor.dtype)
        checked.append(Frames(operator, name, grad, u.memory_format).tensor)
    return checked


def shift_split(
    u: torch.Tensor, coefficients: torch.Tensor, num_segments: int, *split: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `stc_ops::shift_split`."""
    frames = Frames("shift_split", "u", u)
    table, parts = _parts("shift_split", frames, coefficients, num_segments, *split)
    spatial, temporal = (gather(frames, table, part, num_segments) for part in parts)
    return spatial, temporal


def shift_split_backward_sums(
    grad_spatial: torch.Tensor,
    grad_temporal: torch.Tensor,
    u: torch.Tensor,
    coefficients: torch.Tensor,
    num_segments: int,
    *split: int,
) -> torch.Tensor:
    """Compute `stc_ops::shift_split_backward_sums`."""
    operator = "shift_split_backward_sums"
    frames = Frames(operator, "u", u)
    table, parts = _parts(operator, frames, coefficients, num_segments, *split)
    grads = _gradients(operator, frames, parts, (grad_spatial, grad_temporal))
    total = coefficients.new_empty((2, frames.channels))
    if u.numel() == 0:
        return total.zero_()
    # Both parts in as many splits, for one sum over all of them.
    splits = frames.groups_per_frame().splits().count
    sums = total.new_empty((frames.count * splits, 2, frames.channels))
    for part, grad in zip(parts, grads, strict=True):
        groups = frames.count * part.channels
        tile = frames.tile_of(groups, frames.pixels)
        launch_reduction(
            split_sums_kernel,
            groups,
            frames.pixels,
            tile,
            Splits.of(splits, frames.pixels, tile),
            u=frames.tensor,
            grad=grad,
            coefficients=table,
            sums=sums,
            channels=part.channels,
            first_channel=part.first_channel,
            all_channels=frames.channels,
            width=frames.width,
            grad_width=part.size_of(frames)[1],
            grad_pixels=grad.shape[2] * grad.shape[3],
            num_segments=num_segments,
            FOLD=part.fold,
            STRIDE=part.stride,
            CHANNELS_LAST=frames.channels_last,
        )
    sum_rows(sums, total)
    return total


def shift_split_backward(
    grad_spatial: torch.Tensor,
    grad_temporal: torch.Tensor,
    u: torch.Tensor,
    coefficients: torch.Tensor,
    grad_coefficients: torch.Tensor,
    num_segments: int,
    *split: int,
) -> torch.Tensor:
    """Compute `stc_ops::shift_split_backward`."""
    operator = "shift_split_backward"
    frames = Frames(operator, "u", u)
    table, parts = _parts(operator, frames, coefficients, num_segments, *split)
    grads = _gradients(operator, frames, parts, (grad_spatial, grad_temporal))
    slopes = checked_table(operator, grad_coefficients, 2, 0, frames.channels)
    grad_u = frames.empty_like()
    for part, grad in zip(parts, grads, strict=True):
        groups = frames.count * part.channels
        launch_map(
            split_backward_kernel,
            groups,
            frames.pixels,
            frames.tile_of(groups, frames.pixels),
            u=frames.tensor,
            grad=grad,
            coefficients=table,
            grad_coefficients=slopes,
            grad_u=grad_u,
            channels=part.channels,
            first_channel=part.first_channel,
            all_channels=frames.channels,
            width=frames.width,
            grad_width=part.size_of(frames)[1],
            grad_pixels=grad.shape[2] * grad.shape[3],
            num_segments=num_segments,
            FOLD=part.fold,
            STRIDE=part.stride,
            CHANNELS_LAST=frames.channels_last,
        )
    return grad_u
