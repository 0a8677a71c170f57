"""Sums and moments along rows: what programs keep, and how that of several programs is merged."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .launch import Splits, launch
from .tiles import groups_of, load, product, rows_of, store

_BLOCK_G, _BLOCK_R = 64, 16


@triton.jit
def moved(start, towards, step):
    """Return start + step; infinite elements have infinite means, as they have infinite sums."""
    return tl.where(tl.abs(step) < float("inf"), start + step, start + towards)


@triton.jit
def moments_with(mean, m2, count, value, mask):
    """Take up one more value per lane where `mask`, and return mean, second moment and count."""
    more = count + mask.to(count.dtype)
    deviation = value - mean
    moved_mean = moved(mean, value, deviation / tl.maximum(more, 1.0))
    m2 += tl.where(mask, deviation * (value - moved_mean), 0.0)
    return tl.where(mask, moved_mean, mean), m2, more


@triton.jit
def moments_of_lanes(mean, m2, count):
    """Return mean and second moment of the lanes of the last axis together."""
    total = tl.sum(count, 1)
    shares = count / tl.where(total > 0, total, 1.0)[:, None]
    mean_of_all = tl.sum(tl.where(count > 0, mean * shares, 0.0), 1)
    distance = tl.where(count > 0, mean - mean_of_all[:, None], 0.0)
    return mean_of_all, tl.sum(m2 + count * distance * distance, 1)


@triton.jit
def sum_rows_kernel(
    terms, out, groups, rows, BLOCK_G: tl.constexpr, BLOCK_R: tl.constexpr, INDEX: tl.constexpr
):
    i_g, m_g = groups_of(tl.program_id(0), groups, BLOCK_G, INDEX)
    total = tl.zeros((BLOCK_G, BLOCK_R), tl.float64)
    for i_row in range(0, rows, BLOCK_R):
        i_r, m_r = rows_of(i_row, rows, BLOCK_R, INDEX)
        mask = m_g[:, None] & m_r[None, :]
        total += load(terms, i_r[None, :] * groups + i_g[:, None], mask)
    store(out, i_g, tl.sum(total, 1), m_g)


def parts_of(out: torch.Tensor, splits: Splits) -> torch.Tensor:
    """Return what the splits of a reduction write to: `out` itself where there is one only."""
    return out if splits.count == 1 else out.new_empty((splits.count, out.numel()))


def sum_rows(terms: torch.Tensor, out: torch.Tensor) -> None:
    """Write the sum over the first dimension of `terms` to `out`, unless they are the same."""
    if terms is not out and out.numel() > 0:
        sizes = {"groups": out.numel(), "rows": terms.shape[0]}
        blocks = {"BLOCK_G": _BLOCK_G, "BLOCK_R": _BLOCK_R}
        grid = (triton.cdiv(out.numel(), _BLOCK_G),)
        launch(sum_rows_kernel, grid, terms=terms, out=out, **sizes, **blocks)


@triton.jit
def merge_moments_kernel(
    parts,
    mean,
    m2,
    groups,
    rows,
    num_parts,
    rows_per_part,
    weight,
    OF_VARIANCE: tl.constexpr,
    BLOCK_G: tl.constexpr,
    BLOCK_R: tl.constexpr,
    INDEX: tl.constexpr,
):
    # Parts of as many rows, but for the last ones; a row counts `weight` elements.
    i_g, m_g = groups_of(tl.program_id(0), groups, BLOCK_G, INDEX)
    i_part, m_part = rows_of(0, num_parts, BLOCK_R, INDEX)
    mask = m_g[:, None] & m_part[None, :]
    o_mean = i_part[None, :] * 2 * groups + i_g[:, None]
    p_mean = load(parts, o_mean, mask)
    p_m2 = load(parts, o_mean + groups, mask)
    # Rows are those of larger tensors than the parts.
    count = tl.minimum(rows - product(i_part, rows_per_part, tl.int64), rows_per_part)
    count = tl.maximum(count, 0).to(p_mean.dtype) * weight
    count = tl.where(mask, count[None, :], 0.0)
    b_mean, b_m2 = moments_of_lanes(p_mean, p_m2, count)
    store(mean, i_g, b_mean, m_g)
    if OF_VARIANCE:
        b_m2 /= tl.cast(rows, tl.float64) * weight
    store(m2, i_g, b_m2, m_g)


def merge_moments(
    parts: torch.Tensor,
    mean: torch.Tensor,
    m2: torch.Tensor,
    rows: int,
    rows_per_part: int,
    weight: int = 1,
    of_variance: bool = False,
) -> None:
    """Merge parts (P, 2, groups), of `rows_per_part` rows each, into mean and second moment.

    A row counts `weight` elements. With `of_variance` it is the variance that is stored.
    """
    # All parts at once, and so few groups that they fit into registers.
    block_parts = triton.next_power_of_2(parts.shape[0])
    block_groups = max(1, min(_BLOCK_G, _BLOCK_G * _BLOCK_R // block_parts))
    launch(
        merge_moments_kernel,
        (triton.cdiv(mean.numel(), block_groups),),
        parts=parts,
        mean=mean,
        m2=m2,
        groups=mean.numel(),
        rows=rows,
        num_parts=parts.shape[0],
        rows_per_part=rows_per_part,
        weight=weight,
        OF_VARIANCE=of_variance,
        BLOCK_G=block_groups,
        BLOCK_R=block_parts,
    )
