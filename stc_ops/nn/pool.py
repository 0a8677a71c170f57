"""The pool between the last convolution and the classifier."""

from __future__ import annotations

import torch
from torch import nn

from stc_ops.operators import spatial_pool

from .tracing import one_call


class GlobalAvgPool(nn.Module):
    """Mean over height and width, ``(N*T, C, H, W)`` to ``(N*T, C)``, whatever H and W."""

    @one_call
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the means of ``x`` in its dtype, summed in float32 (float64 for float64)."""
        return spatial_pool(x).to(x.dtype)
