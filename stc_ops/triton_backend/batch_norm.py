"""Batch norm on what is kept per group: small tensors between the passes over the frames."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from .frames import check_like, check_sums_dtype, checked_table, format_of
from .launch import Splits, Tile, launch, launch_reduction, tile_of
from .sums import merge_moments, moments_of_lanes, moments_with, parts_of, sum_rows
from .tiles import (
    finite_or_zero,
    groups_of,
    load,
    per_channel,
    rows_of,
    sigmoid,
    split_of_program,
    store,
)

_VALUES_PER_PROGRAM = 256


@triton.jit
def value_offsets(i_c, i_r, channels, inner):
    """Return where a channel has its i_r-th group, in memory order (outer, channel, inner)."""
    row = i_r // inner * channels * inner + i_r % inner
    return i_c[:, None] * inner + row[None, :]


@triton.jit
def gated_moments_kernel(
    mean,
    m2,
    logits,
    gate,
    parts,
    groups,
    rows,
    splits,
    rows_per_split,
    inner,
    group_size,
    BLOCK_G: tl.constexpr,
    BLOCK_R: tl.constexpr,
    INDEX: tl.constexpr,
):
    # Here a group is a channel, whose rows are the groups of frames' elements. Each of these is
    # `group_size` elements: means of rows and of elements are the same.
    i_tile, i_split, first, end = split_of_program(rows, splits, rows_per_split, INDEX)
    i_c, m_c = groups_of(i_tile, groups, BLOCK_G, INDEX)
    b_mean = tl.zeros((BLOCK_G, BLOCK_R), tl.float64)
    b_m2 = tl.zeros((BLOCK_G, BLOCK_R), tl.float64)
    within = tl.zeros((BLOCK_G, BLOCK_R), tl.float64)
    count = tl.zeros((BLOCK_G, BLOCK_R), tl.float64)
    for i_row in range(first, end, BLOCK_R):
        i_r, m_r = rows_of(i_row, end, BLOCK_R, INDEX)
        mask = m_c[:, None] & m_r[None, :]
        o = value_offsets(i_c, i_r, groups, inner)
        value = load(mean, o, mask).to(tl.float64)
        squares = load(m2, o, mask).to(tl.float64)
        if logits is not None:
            b_gate = sigmoid(load(logits, o, mask).to(tl.float64)).to(gate.dtype.element_ty)
            store(gate, o, b_gate, mask)
            b_gate = b_gate.to(tl.float64)
            value *= b_gate
            squares *= b_gate * b_gate
        within += squares
        b_mean, b_m2, count = moments_with(b_mean, b_m2, count, value, mask)
    b_mean, b_m2 = moments_of_lanes(b_mean, b_m2, count)
    o_parts = i_split * 2 * groups + i_c
    store(parts, o_parts, b_mean, m_c)
    store(parts, o_parts + groups, b_m2 * group_size + tl.sum(within, 1), m_c)


@triton.jit
def channel_sums_kernel(
    sums,
    gate,
    mean,
    coefficients,
    parts,
    groups,
    rows,
    splits,
    rows_per_split,
    inner,
    first_channel,
    all_channels,
    BLOCK_G: tl.constexpr,
    BLOCK_R: tl.constexpr,
    INDEX: tl.constexpr,
):
    i_tile, i_split, first, end = split_of_program(rows, splits, rows_per_split, INDEX)
    i_c, m_c = groups_of(i_tile, groups, BLOCK_G, INDEX)
    z_mean = per_channel(coefficients, 2, all_channels, i_c + first_channel, m_c)[:, None]
    E: tl.constexpr = sums.dtype.element_ty
    total = tl.zeros((BLOCK_G, BLOCK_R), E)
    product = tl.zeros((BLOCK_G, BLOCK_R), E)
    products = sums + tl.cast(rows, INDEX) * groups
    for i_row in range(first, end, BLOCK_R):
        i_r, m_r = rows_of(i_row, end, BLOCK_R, INDEX)
        mask = m_c[:, None] & m_r[None, :]
        o = value_offsets(i_c, i_r, groups, inner)
        d = load(sums, o, mask)
        d_value = load(products, o, mask)
        if gate is not None:
            b_gate = load(gate, o, mask)
            centre = finite_or_zero(load(mean, o, mask))
            d_value = b_gate * d_value + (b_gate * centre - z_mean) * d
        total += d
        product += d_value
    o_parts = i_split * 2 * groups + i_c
    store(parts, o_parts, tl.sum(total, 1), m_c)
    store(parts, o_parts + groups, tl.sum(product, 1), m_c)


@triton.jit
def gate_gradient_kernel(
    sums,
    gate,
    mean,
    m2,
    coefficients,
    grad_coefficients,
    grad_logits,
    groups,
    channels,
    inner,
    first_channel,
    all_channels,
    grad_channels,
    group_size,
    BLOCK_G: tl.constexpr,
    INDEX: tl.constexpr,
):
    i_g, m_g = groups_of(tl.program_id(0), groups, BLOCK_G, INDEX)
    i_c = i_g // inner % channels + first_channel
    # In float64, because the terms cancel.
    scale = per_channel(coefficients, 0, all_channels, i_c, m_g).to(tl.float64)
    slope = per_channel(grad_coefficients, 0, grad_channels, i_c, m_g).to(tl.float64)
    offset = per_channel(grad_coefficients, 1, grad_channels, i_c, m_g).to(tl.float64)
    b_gate = load(gate, i_g, m_g).to(tl.float64)
    b_mean = load(mean, i_g, m_g).to(tl.float64)
    total, product = load(sums, i_g, m_g), load(sums, i_g + groups, m_g)
    if m2 is None:
        grad_gate = scale * (product + finite_or_zero(b_mean) * total)
    else:
        of_mean = scale * total + (b_gate * b_mean * slope + offset) * group_size
        grad_gate = scale * product + b_mean * of_mean + b_gate * slope * load(m2, i_g, m_g)
    store(grad_logits, i_g, grad_gate * b_gate * (1 - b_gate), m_g)


class Values:
    """Values per group, (N*T, C) or (N, C, H, W), in memory order (outer, channel, inner).

    `sets` of them may follow each other in the first dimension.
    """

    def __init__(self, operator: str, tensor: torch.Tensor, sets: int = 1) -> None:
        """See the class."""
        if tensor.ndim not in (2, 4):
            raise RuntimeError(
                f"{operator}: what is kept per group must be (N*T, C) or (N, C, H, W)"
            )
        self.memory_format = format_of(tensor) if tensor.ndim == 4 else torch.contiguous_format
        self.tensor = tensor.contiguous(memory_format=self.memory_format)
        self.shape = (tensor.shape[0] // sets, *tensor.shape[1:])
        self.channels = tensor.shape[1]
        self.count = tensor.numel() // sets
        pixels = tensor.shape[2] * tensor.shape[3] if tensor.ndim == 4 else 1
        self.inner = 1 if self.memory_format == torch.channels_last else pixels
        self.rows = self.shape[0] * pixels

    def checked(
        self, operator: str, argument: str, values: torch.Tensor | None
    ) -> torch.Tensor | None:
        """Return others of this shape in this memory order."""
        if values is None:
            return None
        check_like(operator, argument, values, self.shape, self.tensor.dtype)
        return values.contiguous(memory_format=self.memory_format)

    def empty(self) -> torch.Tensor:
        """Return one set of values."""
        like = self.tensor
        return torch.empty(
            self.shape, dtype=like.dtype, device=like.device, memory_format=self.memory_format
        )

    @property
    def tile(self) -> Tile:
        """Return what programs take at once of the channels' values: sums in float64 are wide."""
        return tile_of(self.channels, self.rows, self.inner > 1, share=4)

    def reduce(self, kernel: Any, splits: Splits, **arguments: Any) -> None:
        """Run a reduction over all values of each channel."""
        launch_reduction(
            kernel, self.channels, self.rows, self.tile, splits, inner=self.inner, **arguments
        )

    def splits(self) -> Splits:
        """Return how that is divided among programs."""
        return Splits.filling(self.channels, self.rows, self.tile)


def gated_channel_moments(
    mean: torch.Tensor, m2: torch.Tensor, logits: torch.Tensor | None, group_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `stc_ops::gated_channel_moments`."""
    operator = "gated_channel_moments"
    check_sums_dtype(operator, mean)
    values = Values(operator, mean)
    squares = values.checked(operator, "m2", m2)
    given = values.checked(operator, "logits", logits)
    if group_size < 1:
        raise RuntimeError(f"{operator}: group_size must be at least 1, got {group_size}")
    gate = mean.new_empty(0) if given is None else values.empty()
    moments = mean.new_zeros((2, values.channels))
    # A process without frames, whose moments others will not count.
    if values.count == 0:
        return gate, moments
    splits = values.splits()
    parts = moments.new_empty((splits.count, 2, values.channels), dtype=torch.float64)
    values.reduce(
        gated_moments_kernel,
        splits,
        mean=values.tensor,
        m2=squares,
        logits=given,
        gate=gate,
        parts=parts,
        group_size=group_size,
    )
    merge_moments(
        parts, moments[0], moments[1], values.rows, splits.rows, group_size, of_variance=True
    )
    return gate, moments


def gated_channel_sums(
    sums: torch.Tensor,
    gate: torch.Tensor | None,
    mean: torch.Tensor | None,
    coefficients: torch.Tensor,
    first_channel: int,
) -> torch.Tensor:
    """Compute `stc_ops::gated_channel_sums`."""
    operator = "gated_channel_sums"
    check_sums_dtype(operator, sums)
    values = Values(operator, sums, sets=2)
    table = checked_table(operator, coefficients, 4, first_channel, values.channels)
    if (gate is None) != (mean is None):
        raise RuntimeError(f"{operator}: gate and mean come together")
    total = sums.new_empty((2, values.channels))
    if values.count == 0:
        return total.zero_()
    splits = values.splits()
    parts = parts_of(total, splits)
    values.reduce(
        channel_sums_kernel,
        splits,
        sums=values.tensor,
        gate=values.checked(operator, "gate", gate),
        mean=values.checked(operator, "mean", mean),
        coefficients=table,
        parts=parts,
        first_channel=first_channel,
        all_channels=table.shape[1],
    )
    sum_rows(parts, total)
    return total


def gate_gradient(
    sums: torch.Tensor,
    gate: torch.Tensor,
    mean: torch.Tensor,
    m2: torch.Tensor | None,
    coefficients: torch.Tensor,
    grad_coefficients: torch.Tensor,
    first_channel: int,
    group_size: int,
) -> torch.Tensor:
    """Compute `stc_ops::gate_gradient`."""
    operator = "gate_gradient"
    check_sums_dtype(operator, sums)
    values = Values(operator, sums, sets=2)
    table = checked_table(operator, coefficients, 4, first_channel, values.channels)
    slopes = checked_table(operator, grad_coefficients, 2, first_channel, values.channels)
    arguments = {
        name: values.checked(operator, name, given)
        for name, given in (("gate", gate), ("mean", mean), ("m2", m2))
    }
    grad_logits = values.empty()
    if values.count > 0:
        launch(
            gate_gradient_kernel,
            (triton.cdiv(values.count, _VALUES_PER_PROGRAM),),
            sums=values.tensor,
            coefficients=table,
            grad_coefficients=slopes,
            grad_logits=grad_logits,
            groups=values.count,
            channels=values.channels,
            inner=values.inner,
            first_channel=first_channel,
            all_channels=table.shape[1],
            grad_channels=slopes.shape[1],
            group_size=group_size,
            BLOCK_G=_VALUES_PER_PROGRAM,
            **arguments,
        )
    return grad_logits
