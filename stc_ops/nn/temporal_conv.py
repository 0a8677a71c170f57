"""T_S's convolution over time, on folded frames."""

from __future__ import annotations

import torch
from torch import nn

from stc_ops.operators.checks import check_frames, check_integer, check_segments

from .memory_format import format_of_strides


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

    Attributes:
        weight: ``(out_channels, in_channels, 3, 1)``.

    Raises:
        TypeError: an argument is no integer.
        ValueError: an argument is below 1.
    """

    def __init__(
        self, in_channels: int, out_channels: int, num_segments: int, stride: int = 1
    ) -> None:
        """See the class."""
        check_integer("TemporalConv2d", "in_channels", in_channels, minimum=1)
        check_integer("TemporalConv2d", "out_channels", out_channels, minimum=1)
        check_integer("TemporalConv2d", "num_segments", num_segments, minimum=1)
        check_integer("TemporalConv2d", "stride", stride, minimum=1)
        super().__init__(in_channels, out_channels, (3, 1), padding=(1, 0), bias=False)
        self.num_segments = num_segments
        self.spatial_stride = stride

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
        return self.convolve(x[:, :, :: self.spatial_stride, :: self.spatial_stride])

    def convolve(self, frames: torch.Tensor) -> torch.Tensor:
        """Convolve the pixels at the stride, ``x[:, :, ::s, ::s]``, where they have been taken."""
        layout = format_of_strides(frames)
        frames = frames.contiguous(memory_format=torch.channels_last)
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
