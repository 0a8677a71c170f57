"""Batch norm, residual sum and ReLU."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from .frames import Frames, check_like, checked_table
from .launch import launch_map, launch_reduction
from .sums import sum_rows
from .tiles import (
    group_offsets,
    groups_of,
    load,
    per_channel,
    relu,
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
def add_relu_kernel(
    w,
    identity,
    coefficients,
    identity_coefficients,
    out,
    groups,
    rows,
    channels,
    CHANNELS_LAST: tl.constexpr,
    STEPS: tl.constexpr,
    BLOCK_G: tl.constexpr,
    BLOCK_R: tl.constexpr,
    INDEX: tl.constexpr,
):
    i_tile, first = rows_of_program(rows, BLOCK_R * STEPS, INDEX)
    i_g, m_g = groups_of(i_tile, groups, BLOCK_G, INDEX)
    i_c = i_g % channels
    o_g = group_offsets(i_g, channels, rows, 1, False, CHANNELS_LAST)
    stride = row_stride(channels, rows, False, CHANNELS_LAST, INDEX)
    scale = per_channel(coefficients, 0, channels, i_c, m_g)[:, None]
    shift = per_channel(coefficients, 1, channels, i_c, m_g)[:, None]
    if identity_coefficients is not None:
        identity_scale = per_channel(identity_coefficients, 0, channels, i_c, m_g)[:, None]
        shift += per_channel(identity_coefficients, 1, channels, i_c, m_g)[:, None]
    for step in tl.static_range(STEPS):
        i_r, m_r = rows_of(first + step * BLOCK_R, rows, BLOCK_R, INDEX)
        mask = m_g[:, None] & m_r[None, :]
        o = o_g[:, None] + i_r[None, :] * stride
        addend = load(identity, o, mask)
        if identity_coefficients is not None:
            addend *= identity_scale
        store(out, o, relu(scale * load(w, o, mask) + shift + addend), mask)


@triton.jit
def residual_sums_kernel(
    grad,
    out,
    w,
    identity,
    coefficients,
    identity_coefficients,
    grad_identity,
    sums,
    groups,
    rows,
    splits,
    rows_per_split,
    channels,
    CHANNELS_LAST: tl.constexpr,
    BLOCK_G: tl.constexpr,
    BLOCK_R: tl.constexpr,
    INDEX: tl.constexpr,
):
    E: tl.constexpr = sums_type(w.dtype)
    SETS: tl.constexpr = 2 if identity_coefficients is None else 3
    i_tile, i_split, first, end = split_of_program(rows, splits, rows_per_split, INDEX)
    i_g, m_g = groups_of(i_tile, groups, BLOCK_G, INDEX)
    i_c = i_g % channels
    o_g = group_offsets(i_g, channels, rows, 1, False, CHANNELS_LAST)
    stride = row_stride(channels, rows, False, CHANNELS_LAST, INDEX)
    mean = per_channel(coefficients, 2, channels, i_c, m_g)[:, None]
    total = tl.zeros((BLOCK_G, BLOCK_R), E)
    product = tl.zeros((BLOCK_G, BLOCK_R), E)
    if identity_coefficients is not None:
        identity_mean = per_channel(identity_coefficients, 2, channels, i_c, m_g)[:, None]
        identity_product = tl.zeros((BLOCK_G, BLOCK_R), E)
    for i_row in range(first, end, BLOCK_R):
        i_r, m_r = rows_of(i_row, end, BLOCK_R, INDEX)
        mask = m_g[:, None] & m_r[None, :]
        o = o_g[:, None] + i_r[None, :] * stride
        d = where_relu_passes(load(out, o, mask), load(grad, o, mask))
        total += d
        product += d * (load(w, o, mask) - mean)
        if identity_coefficients is None:
            store(grad_identity, o, d, mask)
        else:
            identity_product += d * (load(identity, o, mask) - identity_mean)
    o_sums = (i_g // channels * splits + i_split) * SETS * channels + i_c
    store(sums, o_sums, tl.sum(total, 1), m_g)
    store(sums, o_sums + channels, tl.sum(product, 1), m_g)
    if identity_coefficients is not None:
        store(sums, o_sums + channels + channels, tl.sum(identity_product, 1), m_g)


@triton.jit
def residual_backward_kernel(
    grad,
    out,
    w,
    identity,
    coefficients,
    identity_coefficients,
    grad_coefficients,
    identity_grad_coefficients,
    grad_w,
    grad_identity,
    groups,
    rows,
    channels,
    CHANNELS_LAST: tl.constexpr,
    STEPS: tl.constexpr,
    BLOCK_G: tl.constexpr,
    BLOCK_R: tl.constexpr,
    INDEX: tl.constexpr,
):
    # Without a normalization of its own the identity's gradient is given, as `grad`.
    i_tile, first = rows_of_program(rows, BLOCK_R * STEPS, INDEX)
    i_g, m_g = groups_of(i_tile, groups, BLOCK_G, INDEX)
    i_c = i_g % channels
    o_g = group_offsets(i_g, channels, rows, 1, False, CHANNELS_LAST)
    stride = row_stride(channels, rows, False, CHANNELS_LAST, INDEX)
    scale = per_channel(coefficients, 0, channels, i_c, m_g)[:, None]
    slope = per_channel(grad_coefficients, 0, channels, i_c, m_g)[:, None]
    offset = per_channel(grad_coefficients, 1, channels, i_c, m_g)[:, None]
    if identity_coefficients is not None:
        identity_scale = per_channel(identity_coefficients, 0, channels, i_c, m_g)[:, None]
        identity_slope = per_channel(identity_grad_coefficients, 0, channels, i_c, m_g)[:, None]
        identity_offset = per_channel(identity_grad_coefficients, 1, channels, i_c, m_g)[:, None]
    for step in tl.static_range(STEPS):
        i_r, m_r = rows_of(first + step * BLOCK_R, rows, BLOCK_R, INDEX)
        mask = m_g[:, None] & m_r[None, :]
        o = o_g[:, None] + i_r[None, :] * stride
        d = load(grad, o, mask)
        if identity_coefficients is not None:
            d = where_relu_passes(load(out, o, mask), d)
            value = load(identity, o, mask)
            value = through_statistics(identity_slope, value, identity_offset)
            store(grad_identity, o, identity_scale * d + value, mask)
        store(grad_w, o, scale * d + through_statistics(slope, load(w, o, mask), offset), mask)


def _like_first(
    operator: str, name: str, tensor: torch.Tensor | None, w: Frames
) -> torch.Tensor | None:
    if tensor is None:
        return None
    check_like(operator, name, tensor, w.tensor.shape, w.tensor.dtype)
    return Frames(operator, name, tensor, w.memory_format).tensor


def _tables(
    operator: str, w: Frames, coefficients: torch.Tensor, identity: torch.Tensor | None, rows: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    return (
        checked_table(operator, coefficients, rows, 0, w.channels),
        None if identity is None else checked_table(operator, identity, rows, 0, w.channels),
    )


def _map(kernel: Any, w: Frames, **arguments: Any) -> None:
    groups = w.groups_per_frame()
    sizes = {"channels": w.channels, "CHANNELS_LAST": w.channels_last}
    launch_map(kernel, groups.count, groups.rows, groups.tile, w=w.tensor, **sizes, **arguments)


def add_relu(
    w: torch.Tensor,
    identity: torch.Tensor,
    coefficients: torch.Tensor,
    identity_coefficients: torch.Tensor | None,
) -> torch.Tensor:
    """Compute `stc_ops::add_relu`."""
    operator = "add_relu"
    frames = Frames(operator, "w", w)
    own, of_identity = _tables(operator, frames, coefficients, identity_coefficients, 4)
    out = frames.empty_like()
    _map(
        add_relu_kernel,
        frames,
        identity=_like_first(operator, "identity", identity, frames),
        coefficients=own,
        identity_coefficients=of_identity,
        out=out,
    )
    return out


def add_relu_backward_sums(
    grad: torch.Tensor,
    out: torch.Tensor,
    w: torch.Tensor,
    identity: torch.Tensor | None,
    coefficients: torch.Tensor,
    identity_coefficients: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `stc_ops::add_relu_backward_sums`."""
    operator = "add_relu_backward_sums"
    frames = Frames(operator, "w", w)
    own, of_identity = _tables(operator, frames, coefficients, identity_coefficients, 4)
    groups = frames.groups_per_frame()
    total = coefficients.new_empty((2 if of_identity is None else 3, frames.channels))
    grad_identity = frames.empty_like() if of_identity is None else w.new_empty(0)
    if w.numel() == 0:
        return total.zero_(), grad_identity
    splits = groups.splits()
    sums = total.new_empty((frames.count * splits.count, *total.shape))
    launch_reduction(
        residual_sums_kernel,
        groups.count,
        groups.rows,
        groups.tile,
        splits,
        grad=_like_first(operator, "grad", grad, frames),
        out=_like_first(operator, "out", out, frames),
        w=frames.tensor,
        identity=_like_first(operator, "identity", identity, frames),
        coefficients=own,
        identity_coefficients=of_identity,
        grad_identity=grad_identity,
        sums=sums,
        channels=frames.channels,
        CHANNELS_LAST=frames.channels_last,
    )
    sum_rows(sums, total)
    return total, grad_identity


def add_relu_backward(
    grad: torch.Tensor,
    out: torch.Tensor | None,
    w: torch.Tensor,
    identity: torch.Tensor | None,
    coefficients: torch.Tensor,
    identity_coefficients: torch.Tensor | None,
    grad_coefficients: torch.Tensor,
    identity_grad_coefficients: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `stc_ops::add_relu_backward`."""
    operator = "add_relu_backward"
    frames = Frames(operator, "w", w)
    own, of_identity = _tables(operator, frames, coefficients, identity_coefficients, 4)
    slopes, identity_slopes = _tables(
        operator, frames, grad_coefficients, identity_grad_coefficients, 2
    )
    for given in (out, identity, identity_slopes):
        if (given is None) != (of_identity is None):
            raise RuntimeError(f"{operator}: out, identity and its coefficients come together")
    grad_w = frames.empty_like()
    grad_identity = w.new_empty(0) if of_identity is None else frames.empty_like()
    _map(
        residual_backward_kernel,
        frames,
        grad=_like_first(operator, "grad", grad, frames),
        out=_like_first(operator, "out", out, frames),
        identity=_like_first(operator, "identity", identity, frames),
        coefficients=own,
        identity_coefficients=of_identity,
        grad_coefficients=slopes,
        identity_grad_coefficients=identity_slopes,
        grad_w=grad_w,
        grad_identity=grad_identity,
    )
    return grad_w, grad_identity
