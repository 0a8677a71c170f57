"""A max pool that keeps no indices for backward: they are eight bytes per value of its result."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from stc_ops.operators.registration import once_differentiable

_aten = torch.ops.aten


def recomputed_max_pool(x: torch.Tensor, pool: nn.MaxPool2d) -> torch.Tensor:
    """Return ``pool(x)``, whose indices backward computes again; compiled graphs are left alone."""
    if torch.compiler.is_compiling() or pool.return_indices:
        return pool(x)
    windows = (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
    return _MaxPool.apply(x, [_pair(each) for each in windows], pool.ceil_mode)


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, windows: list[tuple[int, int]], ceil_mode: bool
    ) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.windows, ctx.ceil_mode = windows, ceil_mode
        return _aten.max_pool2d_with_indices(x, *windows, ceil_mode)[0]

    @staticmethod
    @once_differentiable("max pool of a fused network")
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        _, indices = _aten.max_pool2d_with_indices(x, *ctx.windows, ctx.ceil_mode)
        grad_x = _aten.max_pool2d_with_indices_backward(
            grad, x, *ctx.windows, ctx.ceil_mode, indices
        )
        return grad_x, None, None
