"""A max pool that keeps no indices for backward: they are eight bytes per value of its result."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from stc_ops.operators.registration import once_differentiable

_aten = torch.ops.aten


def recomputed_max_pool(x: torch.Tensor, pool: nn.Module) -> torch.Tensor:
    """Return ``pool(x)``; where `pool` is a max pool, backward computes its indices again.

    Compiled graphs and layers that somebody has put in the place of the pool are left alone.
    """
    if type(pool) is not nn.MaxPool2d or torch.compiler.is_compiling():
        return pool(x)
    return _MaxPool.apply(
        x, pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode
    )


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, *windows: Any) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.windows = tuple([each] * 2 if isinstance(each, int) else each for each in windows[:4])
        ctx.ceil_mode = windows[4]
        return _aten.max_pool2d_with_indices(x, *ctx.windows, ctx.ceil_mode)[0]

    @staticmethod
    @once_differentiable("max pool of a fused network")
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        _, indices = _aten.max_pool2d_with_indices(x, *ctx.windows, ctx.ceil_mode)
        grad_x = _aten.max_pool2d_with_indices_backward(
            grad, x, *ctx.windows, ctx.ceil_mode, indices
        )
        return grad_x, *(None,) * 5
