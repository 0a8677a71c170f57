"""Convolutions over time, on folded frames."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from stc_ops.operators.checks import check_frames, check_integer, check_segments

from .memory_format import channels_innermost, format_of_strides
from .tracing import one_call


def pixels_at_stride(frames: torch.Tensor, stride: int) -> torch.Tensor:
    """Return every stride-th row and column of frames ``(N*T, C, H, W)``."""
    if stride > 1 and torch.compiler.is_exporting():
        # Of a slice with a step, an export with dynamic sizes cannot tell that it is as large as
        # the result of a convolution with that stride.
        return F.max_pool2d(frames, 1, stride)
    return frames[:, :, ::stride, ::stride]


class TemporalConv2d(nn.Conv2d):
    """3x1x1 convolution over time with a spatial stride: the convolution of T_S (section III-A).

    ``out[t, o, h, w] = sum_{k, c} weight[o, c, k, 0] * x[t + k - 1, c, s*h, s*w]`` within each
    clip, with zero frames around it; no bias. Only every s-th row and column is read.

    Channels_last frames are, without a copy, an image ``(N, C, T, H*W)`` to a 2-D convolution of
    kernel ``(3, 1)``, which is faster on a CPU than ``conv3d``; contiguous frames are converted
    there and back.

    Args:
        in_channels: C of ``x``.
        out_channels: C of the result.
        num_segments: T, the frames of one clip.
        stride: s, in height and width alike.
        groups: parts of the channels that are convolved apart from each other, as in ``nn.Conv2d``.

    Attributes:
        weight: ``(out_channels, in_channels / groups, 3, 1)``.

    Raises:
        TypeError: an argument is no integer.
        ValueError: an argument is below 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_segments: int,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        """See the class."""
        in_channels = check_integer("TemporalConv2d", "in_channels", in_channels, minimum=1)
        out_channels = check_integer("TemporalConv2d", "out_channels", out_channels, minimum=1)
        num_segments = check_integer("TemporalConv2d", "num_segments", num_segments, minimum=1)
        stride = check_integer("TemporalConv2d", "stride", stride, minimum=1)
        super().__init__(
            in_channels, out_channels, (3, 1), padding=(1, 0), groups=groups, bias=False
        )
        self.num_segments = num_segments
        self.spatial_stride = stride

    @one_call
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve frames ``(N*T, C, H, W)``, in either memory format or a channel slice of it.

        Returns:
            ``(N*T, out_channels, ceil(H/s), ceil(W/s))`` in the memory format of ``x``.

        Raises:
            TypeError: ``x`` is no tensor of a supported dtype.
            ValueError: ``x`` is not 4-D or its frames do not split into clips.
        """
        check_frames("TemporalConv2d", "x", x)
        check_segments("TemporalConv2d", "x", x, self.num_segments)
        return self.convolve(pixels_at_stride(x, self.spatial_stride))

    def convolve(self, frames: torch.Tensor) -> torch.Tensor:
        """Convolve the pixels at the stride, ``x[:, :, ::s, ::s]``, where they have been taken."""
        layout = format_of_strides(frames)
        frames = channels_innermost(frames)
        # Views in any other order give the axis N of a single clip a stride by which the
        # convolution no longer recognizes channels_last, and copies.
        pixels = frames.permute(0, 2, 3, 1).flatten(1, 2).unflatten(0, (-1, self.num_segments))
        convolved = super().forward(pixels.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).flatten(0, 1)
        out = convolved.unflatten(1, frames.shape[2:]).permute(0, 3, 1, 2)
        return out.contiguous(memory_format=layout)

    def extra_repr(self) -> str:
        """Return the arguments as ``print(module)`` shows them."""
        return (
            f"{self.in_channels}, {self.out_channels}, num_segments={self.num_segments}, "
            f"stride={self.spatial_stride}"
        )


class ChannelwiseTemporalConv2d(TemporalConv2d):
    """3x1x1 convolution over time of every channel by itself, which starts as a choice of frames.

    ``out[t, c, h, w] = sum_k weight[c, 0, k, 0] * x[t + k - 1, c, h, w]`` within each clip, with
    zero frames around it; no bias. The networks of :mod:`stc_ops.models` leave its initial weights
    as they are.

    Args:
        channels: C.
        num_segments: T, the frames of one clip.
        initial_offsets: which frame each of as many equal parts of the channels copies at first:
            -1 the previous one, 0 itself, 1 the next one.

    Attributes:
        weight: ``(channels, 1, 3, 1)``.

    Raises:
        TypeError: an argument is no integer.
        ValueError: an argument is below 1, or the parts of the channels are not equal.
    """

    keeps_initial_weights = True

    def __init__(
        self, channels: int, num_segments: int, initial_offsets: Sequence[int] = (0,)
    ) -> None:
        """See the class."""
        channels = check_integer("ChannelwiseTemporalConv2d", "channels", channels, minimum=1)
        # Before the weight, which the constructors called below initialize by it.
        self.initial_offsets = tuple(initial_offsets)
        parts = len(self.initial_offsets)
        if channels % parts != 0:
            raise ValueError(
                f"ChannelwiseTemporalConv2d: channels must be a multiple of {parts}, the number "
                f"of initial_offsets, got {channels}"
            )
        super().__init__(channels, channels, num_segments, groups=channels)

    def reset_parameters(self) -> None:
        """Make the weight the choice of frames that it is at first."""
        nn.init.zeros_(self.weight)
        parts = self.weight.detach().chunk(len(self.initial_offsets))
        for part, offset in zip(parts, self.initial_offsets, strict=True):
            part[:, :, 1 + offset] = 1
