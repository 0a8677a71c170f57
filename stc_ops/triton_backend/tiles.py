"""What all kernels share on the device: groups, their rows, and where those lie in memory.

A group is what has one gate and one mean: a channel of a frame, whose rows are the frame's pixels,
or (`PER_PIXEL`) a channel of a pixel of a clip, whose rows are the clip's frames. Groups are
numbered in the order of memory, so that of both memory formats neighbours are neighbours. A program
works on tiles of BLOCK_G groups and BLOCK_R rows.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.constexpr_function
def sums_type(pointer_type):
    """Return the type in which elements are added up."""
    return tl.float64 if pointer_type.element_ty == tl.float64 else tl.float32


@triton.jit
def product(a, b, INDEX: tl.constexpr):
    """Return a product of sizes, which come in 32 bits, in the type of offsets."""
    return tl.cast(a, INDEX) * b


@triton.jit
def coordinates(
    i_g, channels, pixels, num_segments, PER_PIXEL: tl.constexpr, CHANNELS_LAST: tl.constexpr
):
    """Return frame, channel and pixel of the first row of groups."""
    if not PER_PIXEL:
        return i_g // channels, i_g % channels, i_g * 0
    clip = product(channels, pixels, i_g.dtype)
    frame = i_g // clip * num_segments
    i_g = i_g % clip
    if CHANNELS_LAST:
        return frame, i_g % channels, i_g // channels
    return frame, i_g // pixels, i_g % pixels


@triton.jit
def offsets(frame, channel, pixel, channels, pixels, CHANNELS_LAST: tl.constexpr):
    """Return where elements of frames of `channels` lie."""
    if CHANNELS_LAST:
        return (frame * pixels + pixel) * channels + channel
    return (frame * channels + channel) * pixels + pixel


@triton.jit
def row_stride(
    channels, pixels, PER_PIXEL: tl.constexpr, CHANNELS_LAST: tl.constexpr, INDEX: tl.constexpr
):
    """Return the distance of rows of a group in frames of `channels`."""
    if PER_PIXEL:
        return product(channels, pixels, INDEX)
    if CHANNELS_LAST:
        return channels
    return 1


@triton.jit
def group_offsets(
    i_g, channels, pixels, num_segments, PER_PIXEL: tl.constexpr, CHANNELS_LAST: tl.constexpr
):
    """Return where the first rows of groups lie in their own frames."""
    if PER_PIXEL:
        clip = product(channels, pixels, i_g.dtype)
        return i_g // clip * num_segments * clip + i_g % clip
    if CHANNELS_LAST:
        return i_g // channels * pixels * channels + i_g % channels
    return i_g * pixels


@triton.jit
def groups_of(i_tile, groups, BLOCK_G: tl.constexpr, INDEX: tl.constexpr):
    """Return the numbers of the groups of a tile, and which of them there are."""
    i_g = tl.cast(i_tile, INDEX) * BLOCK_G + tl.arange(0, BLOCK_G)
    return i_g, i_g < groups


@triton.jit
def rows_of(i_row, rows, BLOCK_R: tl.constexpr, INDEX: tl.constexpr):
    """Return the numbers of the BLOCK_R rows from `i_row` on, and which of them there are."""
    i_r = tl.cast(i_row, INDEX) + tl.arange(0, BLOCK_R)
    return i_r, i_r < rows


@triton.jit
def split_of_program(rows, splits, rows_per_split, INDEX: tl.constexpr):
    """Return a reduction's tile of groups, its split, and the rows of that: first and end."""
    i_split = tl.cast(tl.program_id(0) % splits, INDEX)
    first = i_split * rows_per_split
    return tl.program_id(0) // splits, i_split, first, tl.minimum(first + rows_per_split, rows)


@triton.jit
def rows_of_program(rows, ROWS: tl.constexpr, INDEX: tl.constexpr):
    """Return a map's tile of groups, and the first of the ROWS rows of its program."""
    along_rows = tl.cdiv(rows, ROWS)
    first = tl.cast(tl.program_id(0) % along_rows, INDEX) * ROWS
    return tl.program_id(0) // along_rows, first


@triton.jit
def load(pointer, offset, mask):
    """Load elements in the type they are added up in, zero where there are none."""
    return tl.load(pointer + offset, mask=mask, other=0.0).to(sums_type(pointer.dtype))


@triton.jit
def store(pointer, offset, value, mask):
    """Store elements in the type of the tensor."""
    tl.store(pointer + offset, value.to(pointer.dtype.element_ty), mask=mask)


@triton.jit
def per_channel(table, row: tl.constexpr, channels, i_channel, mask):
    """Load one of the rows that a table has of values per channel."""
    return load(table, product(row, channels, i_channel.dtype) + i_channel, mask)


@triton.jit
def relu(value):
    """Rectify; NaN stays."""
    return tl.where(value <= 0, 0.0, value)


@triton.jit
def where_relu_passes(value, grad):
    """Return the gradient of `value` from that of relu(value)."""
    return tl.where(value <= 0, 0.0, grad)


@triton.jit
def through_statistics(slope, value, offset):
    """Return slope * value + offset; constant statistics, of slope 0, make no NaN of infinities."""
    return tl.where(slope == 0, offset, slope * value + offset)


@triton.jit
def finite_or_zero(value):
    """Return finite values, and zero for others."""
    return tl.where(tl.abs(value) < float("inf"), value, 0.0)


@triton.jit
def sigmoid(logits):
    """Return 1 / (1 + exp(-logits))."""
    return 1 / (1 + tl.exp(-logits))
