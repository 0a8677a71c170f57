"""Sigmoid gates of groups, and their backward: both gradients in one read of the frames."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .frames import Frames, Groups, check_like, check_segments
from .launch import launch
from .sums import parts_of, sum_rows
from .tiles import (
    group_offsets,
    groups_of,
    load,
    row_stride,
    rows_of,
    rows_of_program,
    sigmoid,
    split_of_program,
    store,
    sums_type,
)

_LOGITS_PER_PROGRAM = 1024


@triton.jit
def gate_kernel(
    frames,
    logits,
    out,
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
    gate = sigmoid(load(logits, i_g, m_g))[:, None]
    for step in tl.static_range(STEPS):
        i_r, m_r = rows_of(first + step * BLOCK_R, rows, BLOCK_R, INDEX)
        mask = m_g[:, None] & m_r[None, :]
        o = o_g[:, None] + i_r[None, :] * stride
        store(out, o, load(frames, o, mask) * gate, mask)


@triton.jit
def gate_backward_kernel(
    grad_out,
    frames,
    logits,
    grad_frames,
    grad_gate,
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
    gate = sigmoid(load(logits, i_g, m_g))[:, None]
    total = tl.zeros((BLOCK_G, BLOCK_R), E)
    for i_row in range(first, end, BLOCK_R):
        i_r, m_r = rows_of(i_row, end, BLOCK_R, INDEX)
        mask = m_g[:, None] & m_r[None, :]
        o = o_g[:, None] + i_r[None, :] * stride
        grad = load(grad_out, o, mask)
        total += grad * load(frames, o, mask)
        store(grad_frames, o, grad * gate, mask)
    store(grad_gate, i_split * groups + i_g, tl.sum(total, 1), m_g)


@triton.jit
def logits_backward_kernel(
    grad_gate, logits, grad_logits, groups, BLOCK_G: tl.constexpr, INDEX: tl.constexpr
):
    i_g, m_g = groups_of(tl.program_id(0), groups, BLOCK_G, INDEX)
    gate = sigmoid(load(logits, i_g, m_g))
    store(grad_logits, i_g, load(grad_gate, i_g, m_g) * gate * (1 - gate), m_g)


def _gate(operator: str, frames: Frames, logits: torch.Tensor, groups: Groups) -> torch.Tensor:
    out = frames.empty_like()
    logits = groups.checked(operator, "logits", logits)
    groups.map(gate_kernel, frames=frames.tensor, logits=logits, out=out)
    return out


def _gate_backward(
    operator: str, grad: torch.Tensor, frames: Frames, logits: torch.Tensor, groups: Groups
) -> tuple[torch.Tensor, torch.Tensor]:
    check_like(operator, "grad", grad, frames.tensor.shape, frames.tensor.dtype)
    logits = groups.checked(operator, "logits", logits)
    grad_frames, grad_logits = frames.empty_like(), groups.empty()
    if groups.count * groups.rows == 0:
        return grad_frames, grad_logits.zero_()
    splits = groups.splits()
    parts = parts_of(grad_logits, splits)
    groups.reduce(
        gate_backward_kernel,
        splits,
        grad_out=Frames(operator, "grad", grad, frames.memory_format).tensor,
        frames=frames.tensor,
        logits=logits,
        grad_frames=grad_frames,
        grad_gate=parts,
    )
    sum_rows(parts, grad_logits)
    launch(
        logits_backward_kernel,
        (triton.cdiv(groups.count, _LOGITS_PER_PROGRAM),),
        grad_gate=grad_logits,
        logits=logits,
        grad_logits=grad_logits,
        groups=groups.count,
        BLOCK_G=_LOGITS_PER_PROGRAM,
    )
    return grad_frames, grad_logits


def temporal_gate(y: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Compute `stc_ops::temporal_gate`."""
    frames = Frames("temporal_gate", "y", y)
    return _gate("temporal_gate", frames, logits, frames.groups_per_frame())


def temporal_gate_backward(
    grad: torch.Tensor, y: torch.Tensor, logits: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `stc_ops::temporal_gate_backward`."""
    frames = Frames("temporal_gate_backward", "y", y)
    groups = frames.groups_per_frame()
    return _gate_backward("temporal_gate_backward", grad, frames, logits, groups)


def spatial_gate(y: torch.Tensor, logits: torch.Tensor, num_segments: int) -> torch.Tensor:
    """Compute `stc_ops::spatial_gate`."""
    frames = Frames("spatial_gate", "y", y)
    check_segments("spatial_gate", y, num_segments)
    return _gate("spatial_gate", frames, logits, frames.groups_per_pixel(num_segments))


def spatial_gate_backward(
    grad: torch.Tensor, y: torch.Tensor, logits: torch.Tensor, num_segments: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `stc_ops::spatial_gate_backward`."""
    frames = Frames("spatial_gate_backward", "y", y)
    check_segments("spatial_gate_backward", y, num_segments)
    groups = frames.groups_per_pixel(num_segments)
    return _gate_backward("spatial_gate_backward", grad, frames, logits, groups)
