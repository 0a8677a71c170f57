"""Grouped spatial-temporal aggregation."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import nn

from stc_ops.operators import bn_relu, bn_relu_shift_split, refine_bn_relu
from stc_ops.operators.checks import check_channels, check_integer

from .batch_norm import BatchNormModule, batch_norm_of
from .channel_split import half_of, spatial_channels
from .frames_conv import FramesConv3d
from .memory_format import dense, format_of_strides
from .tracing import one_call


class GST(nn.Module):
    """Grouped spatial-temporal aggregation (Luo & Yuille, ICCV 2019; paper, figure 3).

    ``out = cat(spatial(x_s), temporal(x_t))``: a 3x3 convolution to ``alpha * C`` channels and a
    3x3x3 one to the others. GST reads half of the channels in either, GST-Large all of them.

    The publication gives GST 29.5 G multiply-accumulates; the network of the authors' code, which
    this is, has 29.2 G. What that code calls alpha is ``1 / (1 - alpha)``, so 4.

    Args:
        channels: C, in and out.
        num_segments: T, the frames of one clip.
        stride: of both convolutions, in height and width alike.
        alpha: the share of the spatial convolution, strictly between 0 and 1.
        equal_split: whether either reads half of the channels; GST-Large's read all.

    Raises:
        TypeError: an argument that must be an integer is none.
        ValueError: an argument is out of range, alpha does not split the channels into integers, or
            C is odd where it is split.
    """

    def __init__(
        self,
        channels: int,
        num_segments: int,
        stride: int = 1,
        *,
        alpha: Fraction | float = Fraction(3, 4),
        equal_split: bool = True,
    ) -> None:
        """See the class."""
        super().__init__()
        channels = check_integer("GST", "channels", channels, minimum=1)
        num_segments = check_integer("GST", "num_segments", num_segments, minimum=1)
        stride = check_integer("GST", "stride", stride, minimum=1)
        spatial_out = spatial_channels("GST", channels, alpha)
        if spatial_out in (0, channels):
            raise ValueError(f"GST: alpha must be strictly between 0 and 1, got {alpha}")
        inputs = half_of("GST", channels, alpha) if equal_split else channels
        self.channels = channels
        self.num_segments = num_segments
        self.equal_split = equal_split
        self.spatial = nn.Conv2d(inputs, spatial_out, 3, stride, padding=1, bias=False)
        self.temporal = FramesConv3d(inputs, channels - spatial_out, num_segments, stride)

    @property
    def image_convolution(self) -> nn.Conv2d:
        """The convolution that starts from an image network's."""
        return self.spatial

    @one_call
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map frames ``(N*T, C, H, W)`` to ``(N*T, C, ceil(H/s), ceil(W/s))``.

        float32, float64, bfloat16 or float16; contiguous or channels_last, which the result keeps.

        Raises:
            TypeError: ``x`` is no tensor of a supported dtype.
            ValueError: ``x`` is not 4-D, has other than C channels, or does not split into clips.
        """
        check_channels("GST", "x", x, self.channels)
        spatial_x, temporal_x = x.chunk(2, dim=1) if self.equal_split else (x, x)
        out = torch.cat((self.spatial(dense(spatial_x)), self.temporal(temporal_x)), dim=1)
        return out.contiguous(memory_format=format_of_strides(x))

    def can_fuse(self) -> bool:
        """Return True: :meth:`forward_fused` absorbs no layer of this one."""
        return True

    def forward_fused(
        self, u: torch.Tensor, bn_before: BatchNormModule, bn_after: BatchNormModule
    ) -> torch.Tensor:
        """Compute ``relu(bn_after(self(relu(bn_before(u)))))`` by the fused operators.

        :func:`stc_ops.bn_relu_shift_split` (GST-Large: :func:`stc_ops.bn_relu`) without a shift,
        the two convolutions, and :func:`stc_ops.refine_bn_relu` without gates.

        Args:
            u: frames ``(N*T, C, H, W)`` as :meth:`forward` takes them.
            bn_before: the normalization of ``u``.
            bn_after: the normalization of the result of :meth:`forward`.

        Returns:
            ``(N*T, C, ceil(H/s), ceil(W/s))`` in the memory format of ``u``.

        Raises:
            TypeError: an argument has the wrong type or dtype.
            ValueError: ``u`` is not 4-D, has other than C channels or does not split into clips, or
                a normalization does not fit.
        """
        check_channels("GST", "u", u, self.channels)
        before = batch_norm_of(bn_before)
        if self.equal_split:
            split = (self.channels // 2, self.channels // 2)
            spatial_x, temporal_x = bn_relu_shift_split(
                u, before, split, self.num_segments, shift_div=None
            )
        else:
            spatial_x = temporal_x = bn_relu(u, before)
        out = refine_bn_relu(
            self.spatial(spatial_x),
            self.temporal(temporal_x),
            batch_norm_of(bn_after),
            self.num_segments,
        )
        return out.contiguous(memory_format=format_of_strides(u))
