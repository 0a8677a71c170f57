"""The temporal shift as a layer."""

from __future__ import annotations

import torch
from torch import nn

from stc_ops.operators import temporal_shift
from stc_ops.operators.checks import check_integer

from .tracing import one_call


class TemporalShift(nn.Module):
    """Shift a part of the channels along time: :func:`stc_ops.temporal_shift` without parameters.

    Args:
        num_segments: T, the frames of one clip.
        shift_div: one part in ``shift_div`` of the channels moves each way; at least 2.

    Raises:
        TypeError: an argument is no integer.
        ValueError: an argument is too small.
    """

    def __init__(self, num_segments: int, shift_div: int = 8) -> None:
        """See the class."""
        super().__init__()
        num_segments = check_integer("TemporalShift", "num_segments", num_segments, minimum=1)
        shift_div = check_integer("TemporalShift", "shift_div", shift_div, minimum=2)
        self.num_segments = num_segments
        self.shift_div = shift_div

    @one_call
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x``, frames ``(N*T, C, H, W)``, shifted; same shape, dtype, memory format."""
        return temporal_shift(x, self.num_segments, self.shift_div)

    def extra_repr(self) -> str:
        """Return the arguments as ``print(module)`` shows them."""
        return f"num_segments={self.num_segments}, shift_div={self.shift_div}"
