"""The shift: frames gathered by channel group, with affine, ReLU and stride for the split."""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from .frames import Frames, check_segments
from .launch import launch_map
from .tiles import (
    coordinates,
    groups_of,
    load,
    offsets,
    per_channel,
    relu,
    row_stride,
    rows_of,
    rows_of_program,
    store,
)


@triton.jit
def shifted(frame, channel, num_segments, FOLD: tl.constexpr, DIRECTION: tl.constexpr):
    """Return the frame that a channel comes from, and whether its clip has that.

    FOLD is a constant, so that the compiler sees which neighbours come from the same frame.
    """
    step = tl.where(channel < FOLD, DIRECTION, tl.where(channel < 2 * FOLD, -DIRECTION, 0))
    time = frame % num_segments + step
    return frame + step, (time >= 0) & (time < num_segments)


@triton.jit
def strided(i_r, width, out_width, STRIDE: tl.constexpr):
    """Return the pixels that the pixels of every STRIDE-th row and column are."""
    if STRIDE == 1:
        return i_r
    return i_r // out_width * STRIDE * width + i_r % out_width * STRIDE


@triton.jit
def gather_kernel(
    u,
    coefficients,
    out,
    groups,
    rows,
    channels,
    first_channel,
    all_channels,
    pixels,
    width,
    out_width,
    num_segments,
    FOLD: tl.constexpr,
    DIRECTION: tl.constexpr,
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
    source, exists = shifted(frame, channel, num_segments, FOLD, DIRECTION)
    i_c = channel + first_channel
    o_u = offsets(source, i_c, pixel, all_channels, pixels, CHANNELS_LAST)
    o_out = offsets(frame, channel, pixel, channels, rows, CHANNELS_LAST)
    u_stride = row_stride(all_channels, pixels, False, CHANNELS_LAST, INDEX)
    out_stride = row_stride(channels, rows, False, CHANNELS_LAST, INDEX)
    if coefficients is not None:
        scale = per_channel(coefficients, 0, all_channels, i_c, m_g)[:, None]
        shift = per_channel(coefficients, 1, all_channels, i_c, m_g)[:, None]
    for step in tl.static_range(STEPS):
        i_r, m_r = rows_of(first + step * BLOCK_R, rows, BLOCK_R, INDEX)
        mask = m_g[:, None] & m_r[None, :]
        i_pixel = strided(i_r, width, out_width, STRIDE)
        m_u = mask & exists[:, None]
        value = load(u, o_u[:, None] + i_pixel[None, :] * u_stride, m_u)
        if coefficients is not None:
            value = tl.where(exists[:, None], relu(scale * value + shift), 0.0)
        store(out, o_out[:, None] + i_r[None, :] * out_stride, value, mask)


class Part(NamedTuple):
    """The channels of one result of the split, and what is done to them."""

    first_channel: int
    channels: int
    fold: int
    stride: int

    def size_of(self, frames: Frames) -> tuple[int, int]:
        """Return height and width of this result."""
        return -(-frames.height // self.stride), -(-frames.width // self.stride)

    def empty(self, frames: Frames) -> torch.Tensor:
        """Return an empty result."""
        return frames.empty((frames.count, self.channels, *self.size_of(frames)))


def gather(
    u: Frames,
    coefficients: torch.Tensor | None,
    part: Part,
    num_segments: int,
    direction: int = 1,
) -> torch.Tensor:
    """Return one result: channels of `u`, shifted, and normalized where there are coefficients."""
    out = part.empty(u)
    height, width = part.size_of(u)
    groups, rows = u.count * part.channels, height * width
    launch_map(
        gather_kernel,
        groups,
        rows,
        u.tile_of(groups, rows),
        u=u.tensor,
        coefficients=coefficients,
        out=out,
        channels=part.channels,
        first_channel=part.first_channel,
        all_channels=u.channels,
        pixels=u.pixels,
        width=u.width,
        out_width=width,
        num_segments=num_segments,
        FOLD=part.fold,
        DIRECTION=direction,
        STRIDE=part.stride,
        CHANNELS_LAST=u.channels_last,
    )
    return out


def _shift(
    operator: str, x: torch.Tensor, num_segments: int, shift_div: int, direction: int
) -> torch.Tensor:
    frames = Frames(operator, "x", x)
    check_segments(operator, x, num_segments)
    if shift_div < 2:
        raise RuntimeError(f"{operator}: shift_div must be at least 2, got {shift_div}")
    part = Part(0, frames.channels, frames.channels // shift_div, 1)
    return gather(frames, None, part, num_segments, direction)


def temporal_shift(x: torch.Tensor, num_segments: int, shift_div: int) -> torch.Tensor:
    """Compute `stc_ops::temporal_shift`."""
    return _shift("temporal_shift", x, num_segments, shift_div, 1)


def temporal_shift_backward(grad: torch.Tensor, num_segments: int, shift_div: int) -> torch.Tensor:
    """Compute `stc_ops::temporal_shift_backward`."""
    return _shift("temporal_shift_backward", grad, num_segments, shift_div, -1)
