"""STM: channel-wise spatio-temporal and motion modules (Jiang et al., ICCV 2019)."""

from __future__ import annotations

import torch
from torch import nn

from stc_ops.operators.checks import check_channels, check_integer, check_segments

from .memory_format import format_of_strides
from .temporal_conv import ChannelwiseTemporalConv2d, pixels_at_stride
from .tracing import one_call

_REDUCTION = 16


class MotionModule(nn.Module):
    """CMM: features of what moves from each frame to the next (section 3.2).

    With ``f = reduce(x)``, a pointwise convolution to C/16 channels, in each clip::

        motion[t] = transform(f[t + 1]) - f[t], and 0 in the last frame
        out = restore(motion)

    `transform` is a 3x3 convolution of every channel by itself, `restore` a pointwise convolution
    back to C. With a stride s only every s-th row and column of `motion` is computed, which is what
    a strided `restore` would read.

    Args:
        channels: C, at least 16.
        num_segments: T, the frames of one clip.
        stride: s, in height and width alike.
    """

    def __init__(self, channels: int, num_segments: int, stride: int) -> None:
        """See the class."""
        super().__init__()
        hidden = channels // _REDUCTION
        self.num_segments = num_segments
        self.stride = stride
        self.reduce = nn.Conv2d(channels, hidden, 1, bias=False)
        self.transform = nn.Conv2d(hidden, hidden, 3, stride, padding=1, groups=hidden, bias=False)
        self.restore = nn.Conv2d(hidden, channels, 1, bias=False)

    @one_call
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map frames ``(N*T, C, H, W)`` to ``(N*T, C, ceil(H/s), ceil(W/s))``."""
        features = self.reduce(x)
        following = self.transform(features).unflatten(0, (-1, self.num_segments))
        here = pixels_at_stride(features, self.stride).unflatten(0, (-1, self.num_segments))
        motion = torch.zeros_like(following)
        motion[:, :-1] = following[:, 1:] - here[:, :-1]
        return self.restore(motion.flatten(0, 1))


class STM(nn.Module):
    """STM's middle layer: the sum of spatio-temporal and motion features (section 3.3).

    ``out = conv(temporal(x)) + motion(x)``: CSTM, which is a 3x1x1 convolution over time of every
    channel by itself and a 3x3 convolution, and CMM, which is :class:`MotionModule`. At first
    `temporal` gives a quarter of the channels the previous frame, the last quarter the next one,
    and leaves the others (section 4.2).

    There is no code of the authors, and the publication's formulas leave open: where batch norms
    are (read here as for the bottleneck's 3x3 convolution: one with a ReLU behind the sum, none
    within), whether there are biases (none), and where the stride of a stage's first block is (in
    the 3x3 convolutions, as in torchvision's ResNet). The published 33.3 and 66.5 G of
    multiply-accumulates are those of a CMM whose convolutions run at full resolution, with the
    stride after them; the same result takes 33.2 and 66.4 G here.

    Args:
        channels: C, of frames and result; a multiple of 4, at least 16.
        num_segments: T, the frames of one clip.
        stride: s, in height and width alike.

    Raises:
        TypeError: an argument is no integer.
        ValueError: an argument is out of range.
    """

    def __init__(self, channels: int, num_segments: int, stride: int = 1) -> None:
        """See the class."""
        super().__init__()
        num_segments = check_integer("STM", "num_segments", num_segments, minimum=1)
        channels = check_integer("STM", "channels", channels, minimum=_REDUCTION)
        stride = check_integer("STM", "stride", stride, minimum=1)
        self.channels = channels
        self.num_segments = num_segments
        self.temporal = ChannelwiseTemporalConv2d(channels, num_segments, (-1, 0, 0, 1))
        self.conv = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.motion = MotionModule(channels, num_segments, stride)

    @property
    def image_convolution(self) -> nn.Conv2d:
        """The convolution that starts from an image network's."""
        return self.conv

    @one_call
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map frames ``(N*T, C, H, W)`` to ``(N*T, C, ceil(H/s), ceil(W/s))``.

        float32, float64, bfloat16 or float16; contiguous or channels_last, which the result keeps.

        Raises:
            TypeError: ``x`` is no tensor of a supported dtype.
            ValueError: ``x`` is not 4-D, has other than C channels, or does not split into clips.
        """
        check_channels("STM", "x", x, self.channels)
        check_segments("STM", "x", x, self.num_segments)
        out = self.conv(self.temporal(x)) + self.motion(x)
        # A convolution's result is channels_last where its weight is.
        return out.contiguous(memory_format=format_of_strides(x))
