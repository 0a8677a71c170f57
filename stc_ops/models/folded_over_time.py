"""Folded convolutions of pixels over time and of frames over space and time."""

from __future__ import annotations

import torch

from stc_ops.nn import FramesConv3d, TemporalConv2d
from stc_ops.nn.batch_norm import BatchNormModule
from stc_ops.nn.temporal_conv import pixels_at_stride
from stc_ops.nn.tracing import one_call

from .folded_convolution import Activation, FoldedConvolution


class _OfClips(FoldedConvolution):
    def __init__(
        self,
        convolution: TemporalConv2d | FramesConv3d,
        norm: BatchNormModule | None = None,
        *,
        activation: Activation = "none",
    ) -> None:
        """See :class:`FoldedConvolution`."""
        super().__init__(convolution, norm, activation=activation)
        self.num_segments = convolution.num_segments


class FoldedTemporalConvolution(_OfClips):
    """A :class:`~stc_ops.nn.TemporalConv2d`."""

    def __init__(
        self,
        convolution: TemporalConv2d,
        norm: BatchNormModule | None = None,
        *,
        activation: Activation = "none",
    ) -> None:
        """See :class:`FoldedConvolution`."""
        super().__init__(convolution, norm, activation=activation)
        self.spatial_stride = convolution.spatial_stride

    @one_call
    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Map frames ``(N*T, C, H, W)`` to as many, at the stride."""
        return self.convolve(pixels_at_stride(frames, self.spatial_stride))

    def convolve(self, frames: torch.Tensor) -> torch.Tensor:
        """Convolve the pixels at the stride, where they have been taken."""
        _, channels, height, width = frames.shape
        pixels = frames.permute(0, 2, 3, 1).reshape(-1, self.num_segments, height * width, channels)
        convolved = super().forward(pixels.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return convolved.reshape(-1, height, width, convolved.shape[3]).permute(0, 3, 1, 2)


class FoldedFramesConvolution(_OfClips):
    """A :class:`~stc_ops.nn.FramesConv3d`."""

    @one_call
    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Map frames ``(N*T, C, H, W)`` to as many, at the stride."""
        _, channels, height, width = frames.shape
        clips = frames.permute(0, 2, 3, 1).reshape(-1, self.num_segments, height, width, channels)
        convolved = super().forward(clips.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
        return convolved.reshape(-1, *convolved.shape[2:]).permute(0, 3, 1, 2)
