"""The two branches of STC: S_T convolves space and refines in time, T_S the other way round."""

from __future__ import annotations

import torch
from torch import nn

from stc_ops.operators.checks import check_integer

from .memory_format import dense, format_of_strides
from .refinement import SpatialRefinement, TemporalRefinement
from .shift import TemporalShift
from .temporal_conv import TemporalConv2d
from .tracing import one_call


class SpatialBranch(nn.Module):
    """S_T: temporal shift, 3x3 convolution, temporal refinement (paper, section III-A, figure 4).

    ``z = refine(conv(shift(x)))``; ``shift`` and ``refine`` are identities where switched off.

    Args:
        in_channels: channels of ``x``.
        out_channels: channels of the result.
        num_segments: T, the frames of one clip.
        stride: of the convolution, in height and width alike.
        reduction: STC-Light's r, or None for the standard gate network.
        shift: whether to shift.
        shift_div: one part in ``shift_div`` of the channels moves each way.
        refinement: whether to refine.

    Raises:
        TypeError: an argument that must be an integer is none.
        ValueError: an argument is too small.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_segments: int,
        stride: int = 1,
        *,
        reduction: int | None = None,
        shift: bool = True,
        shift_div: int = 8,
        refinement: bool = True,
    ) -> None:
        """See the class."""
        super().__init__()
        in_channels = check_integer("SpatialBranch", "in_channels", in_channels, minimum=1)
        out_channels = check_integer("SpatialBranch", "out_channels", out_channels, minimum=1)
        stride = check_integer("SpatialBranch", "stride", stride, minimum=1)
        self.shift = TemporalShift(num_segments, shift_div) if shift else nn.Identity()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.refine = (
            TemporalRefinement(out_channels, num_segments, reduction)
            if refinement
            else nn.Identity()
        )

    @one_call
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map frames ``(N*T, in_channels, H, W)`` to ``(N*T, out_channels, H/s, W/s)``.

        ``x`` may be a channel slice; the result has its memory format.
        """
        y = self.conv(self.shift(dense(x)))
        return self.refine(y.contiguous(memory_format=format_of_strides(x)))


class TemporalBranch(nn.Module):
    """T_S: convolution over time, spatial refinement (paper, section III-A, figure 4).

    ``z = refine(conv(x))``; ``refine`` is an identity where switched off.

    Args:
        in_channels: channels of ``x``.
        out_channels: channels of the result.
        num_segments: T, the frames of one clip.
        stride: of the convolution, in height and width alike.
        reduction: STC-Light's r, or None for the standard gate network.
        refinement: whether to refine.

    Raises:
        TypeError: an argument that must be an integer is none.
        ValueError: an argument is too small.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_segments: int,
        stride: int = 1,
        *,
        reduction: int | None = None,
        refinement: bool = True,
    ) -> None:
        """See the class."""
        super().__init__()
        self.conv = TemporalConv2d(in_channels, out_channels, num_segments, stride)
        self.refine = (
            SpatialRefinement(out_channels, num_segments, reduction)
            if refinement
            else nn.Identity()
        )

    @one_call
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map frames ``(N*T, in_channels, H, W)`` to ``(N*T, out_channels, H/s, W/s)``.

        ``x`` may be a channel slice; the result has its memory format.
        """
        return self.refine(self.conv(x))
