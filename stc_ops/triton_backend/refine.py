"""Gates, concatenation, batch norm and ReLU of STC's branches: one launch per branch."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from stc_ops.operators.registration import frames_format

from .frames import Frames, Groups, check_like, check_segments, checked_table
from .sums import parts_of, sum_rows
from .tiles import (
    coordinates,
    finite_or_zero,
    group_offsets,
    groups_of,
    load,
    offsets,
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
def places(
    i_g,
    channels,
    first_channel,
    all_channels,
    pixels,
    num_segments,
    PER_PIXEL: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
):
    """Return the channels of groups in the concatenation, and where their first rows lie.

    That is in the frames of their branch, and in the concatenation.
    """
    frame, channel, pixel = coordinates(
        i_g, channels, pixels, num_segments, PER_PIXEL, CHANNELS_LAST
    )
    i_c = channel + first_channel
    o_y = group_offsets(i_g, channels, pixels, num_segments, PER_PIXEL, CHANNELS_LAST)
    return i_c, o_y, offsets(frame, i_c, pixel, all_channels, pixels, CHANNELS_LAST)


@triton.jit
def refine_kernel(
    y,
    gate,
    coefficients,
    out,
    groups,
    rows,
    channels,
    first_channel,
    all_channels,
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
    i_c, o_y, o_out = places(
        i_g,
        channels,
        first_channel,
        all_channels,
        pixels,
        num_segments,
        PER_PIXEL,
        CHANNELS_LAST,
    )
    y_stride = row_stride(channels, pixels, PER_PIXEL, CHANNELS_LAST, INDEX)
    out_stride = row_stride(all_channels, pixels, PER_PIXEL, CHANNELS_LAST, INDEX)
    scale = per_channel(coefficients, 0, all_channels, i_c, m_g)
    shift = per_channel(coefficients, 1, all_channels, i_c, m_g)[:, None]
    if gate is not None:
        scale *= load(gate, i_g, m_g)
    scale = scale[:, None]
    for step in tl.static_range(STEPS):
        i_r, m_r = rows_of(first + step * BLOCK_R, rows, BLOCK_R, INDEX)
        mask = m_g[:, None] & m_r[None, :]
        value = load(y, o_y[:, None] + i_r[None, :] * y_stride, mask)
        value = relu(scale * value + shift)
        store(out, o_out[:, None] + i_r[None, :] * out_stride, value, mask)


@triton.jit
def refine_sums_kernel(
    y,
    gate,
    mean,
    coefficients,
    grad_out,
    sums,
    groups,
    rows,
    splits,
    rows_per_split,
    channels,
    first_channel,
    all_channels,
    pixels,
    num_segments,
    PER_PIXEL: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    BLOCK_G: tl.constexpr,
    BLOCK_R: tl.constexpr,
    INDEX: tl.constexpr,
):
    E: tl.constexpr = sums_type(y.dtype)
    i_tile, i_split, first, end = split_of_program(rows, splits, rows_per_split, INDEX)
    i_g, m_g = groups_of(i_tile, groups, BLOCK_G, INDEX)
    i_c, o_y, o_out = places(
        i_g,
        channels,
        first_channel,
        all_channels,
        pixels,
        num_segments,
        PER_PIXEL,
        CHANNELS_LAST,
    )
    y_stride = row_stride(channels, pixels, PER_PIXEL, CHANNELS_LAST, INDEX)
    out_stride = row_stride(all_channels, pixels, PER_PIXEL, CHANNELS_LAST, INDEX)
    scale = per_channel(coefficients, 0, all_channels, i_c, m_g)
    shift = per_channel(coefficients, 1, all_channels, i_c, m_g)[:, None]
    if gate is not None:
        scale *= load(gate, i_g, m_g)
        b_mean = finite_or_zero(load(mean, i_g, m_g))[:, None]
    else:
        b_mean = per_channel(coefficients, 2, all_channels, i_c, m_g)[:, None]
    scale = scale[:, None]
    total = tl.zeros((BLOCK_G, BLOCK_R), E)
    product = tl.zeros((BLOCK_G, BLOCK_R), E)
    for i_row in range(first, end, BLOCK_R):
        i_r, m_r = rows_of(i_row, end, BLOCK_R, INDEX)
        mask = m_g[:, None] & m_r[None, :]
        value = load(y, o_y[:, None] + i_r[None, :] * y_stride, mask)
        d = load(grad_out, o_out[:, None] + i_r[None, :] * out_stride, mask)
        d = where_relu_passes(scale * value + shift, d)
        total += d
        product += d * (value - b_mean)
    o_sums = i_split * 2 * groups + i_g
    store(sums, o_sums, tl.sum(total, 1), m_g)
    store(sums, o_sums + groups, tl.sum(product, 1), m_g)


@triton.jit
def refine_backward_kernel(
    y,
    gate,
    grad_mean,
    coefficients,
    grad_coefficients,
    grad_out,
    grad_y,
    groups,
    rows,
    channels,
    first_channel,
    all_channels,
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
    i_c, o_y, o_out = places(
        i_g,
        channels,
        first_channel,
        all_channels,
        pixels,
        num_segments,
        PER_PIXEL,
        CHANNELS_LAST,
    )
    y_stride = row_stride(channels, pixels, PER_PIXEL, CHANNELS_LAST, INDEX)
    out_stride = row_stride(all_channels, pixels, PER_PIXEL, CHANNELS_LAST, INDEX)
    scale = per_channel(coefficients, 0, all_channels, i_c, m_g)
    shift = per_channel(coefficients, 1, all_channels, i_c, m_g)[:, None]
    slope = per_channel(grad_coefficients, 0, all_channels, i_c, m_g)
    offset = per_channel(grad_coefficients, 1, all_channels, i_c, m_g)
    if gate is not None:
        b_gate = load(gate, i_g, m_g)
        scale *= b_gate
        slope *= b_gate * b_gate
        offset = offset * b_gate + load(grad_mean, i_g, m_g) / rows
    scale, slope, offset = scale[:, None], slope[:, None], offset[:, None]
    for step in tl.static_range(STEPS):
        i_r, m_r = rows_of(first + step * BLOCK_R, rows, BLOCK_R, INDEX)
        mask = m_g[:, None] & m_r[None, :]
        o = o_y[:, None] + i_r[None, :] * y_stride
        value = load(y, o, mask)
        d = load(grad_out, o_out[:, None] + i_r[None, :] * out_stride, mask)
        d = where_relu_passes(scale * value + shift, d)
        store(grad_y, o, scale * d + through_statistics(slope, value, offset), mask)


class Branch:
    """One of STC's branches: its groups, its gate, and its channels in the concatenation."""

    def __init__(
        self, frames: Frames, groups: Groups, gate: torch.Tensor | None, first_channel: int
    ) -> None:
        """See the class."""
        self.frames, self.groups = frames, groups
        self.gate, self.first_channel = gate, first_channel

    def arguments(self, all_channels: int) -> dict[str, Any]:
        """Return it as kernels take it beside its groups."""
        return {
            "y": self.frames.tensor,
            "gate": self.gate,
            "first_channel": self.first_channel,
            "all_channels": all_channels,
        }

    def checked(
        self, operator: str, argument: str, values: torch.Tensor | None
    ) -> torch.Tensor | None:
        """Return values per group, which there are where there is a gate."""
        if (values is None) != (self.gate is None):
            raise RuntimeError(f"{operator}: gate and {argument} come together")
        return None if values is None else self.groups.checked(operator, argument, values)


class Branches:
    """The branches that there are, in one memory format, and their coefficients."""

    def __init__(
        self,
        operator: str,
        ys: tuple[torch.Tensor | None, torch.Tensor | None],
        gates: tuple[torch.Tensor | None, torch.Tensor | None],
        coefficients: torch.Tensor,
        num_segments: int,
    ) -> None:
        """See the class."""
        given = [y for y in ys if y is not None]
        if not given:
            raise RuntimeError(f"{operator}: a branch must be given")
        first = given[0]
        check_segments(operator, first, num_segments)
        layout = frames_format(*(y if y is not None and y.numel() > 0 else None for y in ys))
        self.operator = operator
        self.all: list[Branch | None] = []
        self.channels = 0
        for i, (y, gate) in enumerate(zip(ys, gates, strict=True)):
            if y is None:
                if gate is not None:
                    raise RuntimeError(f"{operator}: a gate without its branch")
                self.all.append(None)
                continue
            frames = Frames(operator, "y", y, layout)
            shape = (first.shape[0], frames.channels, *first.shape[2:])
            check_like(operator, "temporal_y", y, shape, first.dtype)
            if i == 1 and gate is not None:
                groups = frames.groups_per_pixel(num_segments)
            else:
                groups = frames.groups_per_frame()
            name = ("frame_gate", "pixel_gate")[i]
            checked = None if gate is None else groups.checked(operator, name, gate)
            self.all.append(Branch(frames, groups, checked, self.channels))
            self.channels += frames.channels
            self.frames = frames
        self.coefficients = checked_table(operator, coefficients, 4, 0, self.channels)

    def gradient(self, grad: torch.Tensor) -> torch.Tensor:
        """Return the gradient of the concatenation in the memory format of the branches."""
        y = self.frames.tensor
        check_like(self.operator, "grad", grad, (y.shape[0], self.channels, *y.shape[2:]), y.dtype)
        return Frames(self.operator, "grad", grad, self.frames.memory_format).tensor


def refine(
    spatial_y: torch.Tensor | None,
    temporal_y: torch.Tensor | None,
    frame_gate: torch.Tensor | None,
    pixel_gate: torch.Tensor | None,
    coefficients: torch.Tensor,
    num_segments: int,
) -> torch.Tensor:
    """Compute `stc_ops::refine`."""
    ys, gates = (spatial_y, temporal_y), (frame_gate, pixel_gate)
    branches = Branches("refine", ys, gates, coefficients, num_segments)
    frames = branches.frames
    out = frames.empty((frames.count, branches.channels, frames.height, frames.width))
    for branch in filter(None, branches.all):
        branch.groups.map(
            refine_kernel,
            coefficients=branches.coefficients,
            out=out,
            **branch.arguments(branches.channels),
        )
    return out


def refine_backward_sums(
    grad: torch.Tensor,
    spatial_y: torch.Tensor | None,
    temporal_y: torch.Tensor | None,
    frame_gate: torch.Tensor | None,
    pixel_gate: torch.Tensor | None,
    frame_mean: torch.Tensor | None,
    pixel_mean: torch.Tensor | None,
    coefficients: torch.Tensor,
    num_segments: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `stc_ops::refine_backward_sums`."""
    ys, gates = (spatial_y, temporal_y), (frame_gate, pixel_gate)
    branches = Branches("refine_backward_sums", ys, gates, coefficients, num_segments)
    grad_out = branches.gradient(grad)
    results = []
    for branch, mean in zip(branches.all, (frame_mean, pixel_mean), strict=True):
        if branch is None:
            results.append(coefficients.new_empty(0))
            continue
        sums, splits = branch.groups.empty(sets=2), branch.groups.splits()
        parts = parts_of(sums, splits)
        branch.groups.reduce(
            refine_sums_kernel,
            splits,
            mean=branch.checked(branches.operator, "mean", mean),
            coefficients=branches.coefficients,
            grad_out=grad_out,
            sums=parts,
            **branch.arguments(branches.channels),
        )
        sum_rows(parts, sums)
        results.append(sums)
    return results[0], results[1]


def refine_backward(
    grad: torch.Tensor,
    spatial_y: torch.Tensor | None,
    temporal_y: torch.Tensor | None,
    frame_gate: torch.Tensor | None,
    pixel_gate: torch.Tensor | None,
    grad_frame_mean: torch.Tensor | None,
    grad_pixel_mean: torch.Tensor | None,
    coefficients: torch.Tensor,
    grad_coefficients: torch.Tensor,
    num_segments: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `stc_ops::refine_backward`."""
    ys, gates = (spatial_y, temporal_y), (frame_gate, pixel_gate)
    branches = Branches("refine_backward", ys, gates, coefficients, num_segments)
    grad_out = branches.gradient(grad)
    slopes = checked_table(branches.operator, grad_coefficients, 2, 0, branches.channels)
    results = []
    for branch, grad_mean in zip(branches.all, (grad_frame_mean, grad_pixel_mean), strict=True):
        if branch is None:
            results.append(grad.new_empty(0))
            continue
        grad_y = branch.frames.empty_like()
        branch.groups.map(
            refine_backward_kernel,
            grad_mean=branch.checked(branches.operator, "grad_mean", grad_mean),
            coefficients=branches.coefficients,
            grad_coefficients=slopes,
            grad_out=grad_out,
            grad_y=grad_y,
            **branch.arguments(branches.channels),
        )
        results.append(grad_y)
    return results[0], results[1]
