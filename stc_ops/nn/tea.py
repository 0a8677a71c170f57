"""TEA: temporal excitation and aggregation (Li et al., CVPR 2020)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from stc_ops.operators import spatial_pool, temporal_gate
from stc_ops.operators.checks import check_channels, check_integer, check_segments

from .absorption import is_plain
from .batch_norm import BatchNormModule
from .context_network import apply_to_context
from .fused import BNReLU
from .memory_format import format_of_strides
from .temporal_conv import ChannelwiseTemporalConv2d
from .tracing import one_call

_REDUCTION = 16
_SCALE = 4


class MotionExcitation(nn.Module):
    """ME: raise the channels in which the clip moves (section 3.1).

    With ``f = reduce_bn(reduce(x))``, a pointwise convolution to C/16 channels, in each clip::

        d[t] = mean over H, W of (transform(f[t + 1]) - f[t]), and 0 in the last frame
        out = x + x * (sigmoid(expand_bn(expand(d))) - 1/2)

    `transform` is a 3x3 convolution of every channel by itself, `expand` a pointwise convolution
    back to C. The two terms of the mean are pooled one by one: the difference is never stored.

    In the publication's formula the last factor is ``2 * sigmoid(expand(d)) - 1``, twice as large
    and without a batch norm, and `reduce` has none either; this is the authors' code.

    Args:
        channels: C, at least 16.
        num_segments: T, the frames of one clip.
    """

    def __init__(self, channels: int, num_segments: int) -> None:
        """See the class."""
        super().__init__()
        hidden = channels // _REDUCTION
        self.num_segments = num_segments
        self.reduce = nn.Conv2d(channels, hidden, 1, bias=False)
        self.reduce_bn = nn.BatchNorm2d(hidden)
        self.transform = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False)
        self.expand = nn.Sequential(
            nn.Conv2d(hidden, channels, 1, bias=False), nn.BatchNorm2d(channels)
        )

    @one_call
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x``, frames ``(N*T, C, H, W)``, excited; same shape, dtype, memory format."""
        features = self.reduce_bn(self.reduce(x))
        here, following = (
            spatial_pool(frames).unflatten(0, (-1, self.num_segments))
            for frames in (features, self.transform(features))
        )
        difference = F.pad(following[:, 1:] - here[:, :-1], (0, 0, 0, 1)).flatten(0, 1)
        logits = apply_to_context(self.expand, difference[:, :, None, None])
        return temporal_gate(x, logits.flatten(1)).add(x, alpha=0.5)


class TEA(nn.Module):
    """TEA's middle layer: motion excitation, then multiple temporal aggregation (section 3.2).

    :class:`MotionExcitation`, whose result is cut into four equal groups of channels ``x0`` to
    ``x3``, as in Res2Net::

        y0 = a(x0)    y1 = a(x1 + y0)    y2 = a(x2 + y1)    y3 = temporal(x3)

    where each ``a(x) = relu(bn(conv(temporal(x))))`` is a 3x1x1 convolution over time of every
    channel by itself and a 3x3 convolution with the stride; the result is their concatenation. It
    has its batch norms and ReLUs within: a :class:`~stc_ops.models.Bottleneck` puts none behind it.
    The last group's convolution over time shifts half of the channels each way at first, the others
    leave the frames as they are.

    The publication's formulas have neither batch norms nor strides, no case apart for the first
    block of a stage, and no convolution over time in the group that has no 3x3 one; these follow
    the authors' code.

    Args:
        channels: C, of frames and result; a multiple of 8, at least 16. Res2Net's have 13/8 of
            what torchvision's ResNet has.
        num_segments: T, the frames of one clip.
        stride: s, in height and width alike.

    Attributes:
        first_of_stage: whether the groups do not see each other and the last one passes a 3x3
            average pool, as in Res2Net's first block of each stage; at first, whether there is a
            stride, and to be set for the first block of the first stage, which has none.

    Raises:
        TypeError: an argument is no integer.
        ValueError: an argument is out of range.
    """

    ends_normalized = True

    def __init__(self, channels: int, num_segments: int, stride: int = 1) -> None:
        """See the class."""
        super().__init__()
        channels = check_integer("TEA", "channels", channels, minimum=_REDUCTION)
        num_segments = check_integer("TEA", "num_segments", num_segments, minimum=1)
        stride = check_integer("TEA", "stride", stride, minimum=1)
        width, rest = divmod(channels, _SCALE)
        if rest != 0 or width % 2 != 0:
            raise ValueError(f"TEA: channels must be a multiple of {2 * _SCALE}, got {channels}")
        self.channels = channels
        self.num_segments = num_segments
        self.first_of_stage = stride > 1
        self.excitation = MotionExcitation(channels, num_segments)
        self.temporal = nn.ModuleList(
            ChannelwiseTemporalConv2d(width, num_segments, offsets)
            for offsets in ((0,),) * (_SCALE - 1) + ((1, -1),)
        )
        self.convs = nn.ModuleList(
            nn.Conv2d(width, width, 3, stride, padding=1, bias=False) for _ in range(_SCALE - 1)
        )
        self.bns = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(_SCALE - 1))
        self.relu = nn.ReLU(inplace=True)
        self.bn_relu = BNReLU()
        self.pool = nn.AvgPool2d(3, stride, padding=1)

    @one_call
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map frames ``(N*T, C, H, W)`` to ``(N*T, C, ceil(H/s), ceil(W/s))``.

        float32, float64, bfloat16 or float16; contiguous or channels_last, which the result keeps.

        Raises:
            TypeError: ``x`` is no tensor of a supported dtype.
            ValueError: ``x`` is not 4-D, has other than C channels, or does not split into clips.
        """
        self._check("x", x)
        return self._aggregate(self.excitation(x), lambda u, bn: self.relu(bn(u)))

    def can_fuse(self) -> bool:
        """Tell whether the ReLU that :meth:`forward_fused` absorbs is one, and nobody hooked it."""
        return is_plain(self.relu, nn.ReLU)

    def forward_fused(
        self, u: torch.Tensor, bn_before: BatchNormModule, bn_after: None = None
    ) -> torch.Tensor:
        """Compute ``self(relu(bn_before(u)))`` with batch norms and ReLUs in one pass each.

        Those within :class:`MotionExcitation`, which have no ReLU, stay layers of their own.
        Arguments, result and errors are those of :meth:`forward`.
        """
        self._check("u", u)
        return self._aggregate(self.excitation(self.bn_relu(u, bn_before)), self.bn_relu)

    def _check(self, argument: str, frames: torch.Tensor) -> None:
        check_channels("TEA", argument, frames, self.channels)
        check_segments("TEA", argument, frames, self.num_segments)

    def _aggregate(
        self, x: torch.Tensor, activate: Callable[[torch.Tensor, nn.Module], torch.Tensor]
    ) -> torch.Tensor:
        *groups, last = x.chunk(_SCALE, 1)
        *convolutions_over_time, last_over_time = self.temporal
        out: list[torch.Tensor] = []
        for group, temporal, conv, bn in zip(
            groups, convolutions_over_time, self.convs, self.bns, strict=True
        ):
            if out and not self.first_of_stage:
                group = group + out[-1]
            out.append(activate(conv(temporal(group)), bn))
        last = last_over_time(last)
        out.append(self.pool(last) if self.first_of_stage else last)
        # A convolution's result is channels_last where its weight is.
        return torch.cat(out, 1).contiguous(memory_format=format_of_strides(x))
