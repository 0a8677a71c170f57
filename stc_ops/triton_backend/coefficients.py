"""Batch norm's coefficients per channel, forward and backward, computed in float64."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from .frames import check_like, check_sums_dtype
from .launch import launch
from .tiles import groups_of, load, per_channel, product, store

_CHANNELS_PER_PROGRAM = 64


@triton.jit
def coefficients_kernel(
    moments,
    weight,
    bias,
    coefficients,
    channels,
    EPS: tl.constexpr,
    BLOCK_G: tl.constexpr,
    INDEX: tl.constexpr,
):
    # EPS is a constant because other numbers would be rounded to float32.
    i_c, m_c = groups_of(tl.program_id(0), channels, BLOCK_G, INDEX)
    mean = load(moments, i_c, m_c).to(tl.float64)
    var = load(moments, channels + i_c, m_c).to(tl.float64)
    rstd = 1 / tl.sqrt(var + EPS)
    scale = rstd
    if weight is not None:
        scale = rstd * load(weight, i_c, m_c).to(tl.float64)
    shift = -mean * scale
    if bias is not None:
        shift += load(bias, i_c, m_c).to(tl.float64)
    store(coefficients, i_c, scale, m_c)
    store(coefficients, channels + i_c, shift, m_c)
    store(coefficients, product(2, channels, INDEX) + i_c, mean, m_c)
    store(coefficients, product(3, channels, INDEX) + i_c, rstd, m_c)


@triton.jit
def grad_coefficients_kernel(
    mean_sums,
    coefficients,
    grad_coefficients,
    channels,
    BLOCK_G: tl.constexpr,
    INDEX: tl.constexpr,
):
    i_c, m_c = groups_of(tl.program_id(0), channels, BLOCK_G, INDEX)
    scale = per_channel(coefficients, 0, channels, i_c, m_c).to(tl.float64)
    mean = per_channel(coefficients, 2, channels, i_c, m_c).to(tl.float64)
    rstd = per_channel(coefficients, 3, channels, i_c, m_c).to(tl.float64)
    total = per_channel(mean_sums, 0, channels, i_c, m_c).to(tl.float64)
    product = per_channel(mean_sums, 1, channels, i_c, m_c).to(tl.float64)
    # As of constant statistics, which need not be finite.
    none = (total == 0) & (product == 0)
    product *= rstd * rstd
    slope = tl.where(none, 0.0, -scale * product)
    offset = tl.where(none, 0.0, scale * (mean * product - total))
    store(grad_coefficients, i_c, slope, m_c)
    store(grad_coefficients, channels + i_c, offset, m_c)


def _launch_on_channels(kernel: Any, channels: int, **arguments: Any) -> None:
    if channels > 0:
        grid = (triton.cdiv(channels, _CHANNELS_PER_PROGRAM),)
        launch(kernel, grid, channels=channels, BLOCK_G=_CHANNELS_PER_PROGRAM, **arguments)


def batch_norm_coefficients(
    moments: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float
) -> torch.Tensor:
    """Compute `stc_ops::batch_norm_coefficients`."""
    operator = "batch_norm_coefficients"
    check_sums_dtype(operator, moments)
    if moments.ndim != 2 or moments.shape[0] != 2:
        raise RuntimeError(f"{operator}: moments must be (2, C)")
    channels = moments.shape[1]
    for given in (weight, bias):
        if given is not None:
            check_like(operator, "weight or bias", given, (channels,), moments.dtype)
    coefficients = moments.new_empty((4, channels))
    _launch_on_channels(
        coefficients_kernel,
        channels,
        moments=moments.contiguous(),
        weight=None if weight is None else weight.contiguous(),
        bias=None if bias is None else bias.contiguous(),
        coefficients=coefficients,
        EPS=eps,
    )
    return coefficients


def batch_norm_grad_coefficients(
    mean_sums: torch.Tensor, coefficients: torch.Tensor
) -> torch.Tensor:
    """Compute `stc_ops::batch_norm_grad_coefficients`."""
    operator = "batch_norm_grad_coefficients"
    check_sums_dtype(operator, coefficients)
    if coefficients.ndim != 2 or coefficients.shape[0] != 4:
        raise RuntimeError(f"{operator}: coefficients must be (4, C)")
    channels = coefficients.shape[1]
    check_like(operator, "mean_sums", mean_sums, (2, channels), coefficients.dtype)
    grad_coefficients = coefficients.new_empty((2, channels))
    _launch_on_channels(
        grad_coefficients_kernel,
        channels,
        mean_sums=mean_sums.contiguous(),
        coefficients=coefficients.contiguous(),
        grad_coefficients=grad_coefficients,
    )
    return grad_coefficients
