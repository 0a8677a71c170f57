"""Builders of the networks in the paper's tables."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import nn

from stc_ops.nn import GST, P3D, STC, FramesConv3d, TemporalShift

from .resnet import EntryLayer, MiddleLayer, VideoResNet


def video_resnet(
    middle_layer: MiddleLayer,
    num_classes: int = 174,
    num_segments: int = 8,
    *,
    dropout: float = 0.5,
    depths: Sequence[int] = (3, 4, 6, 3),
    widths: Sequence[int] = (64, 128, 256, 512),
    entry_layer: EntryLayer | None = None,
    middle_widths: Sequence[int] | None = None,
    fused: bool = True,
) -> VideoResNet:
    """Build a :class:`VideoResNet`, of ResNet-50's size unless told otherwise.

    Args:
        middle_layer: called with ``(channels, num_segments, stride)`` for the layer of a block.
        num_classes: logits of one clip; 174 are Something-Something V1's.
        num_segments: T, the frames of one clip.
        dropout: probability of dropping a feature before the classifier.
        depths: blocks of each of the four stages.
        widths: channels of each of the four stages: a quarter of those of its blocks' results.
        entry_layer: called with ``(in_channels, num_segments)`` for the layer at the entrance of
            a block's residual path; None for no layer.
        middle_widths: channels of the middle layers of each of the four stages; None for `widths`.
        fused: whether to run the fused operators; see :class:`VideoResNet`.

    Raises:
        TypeError: an argument that must be an integer is none.
        ValueError: an argument is out of range.
    """
    return VideoResNet(
        middle_layer,
        depths=depths,
        widths=widths,
        num_segments=num_segments,
        num_classes=num_classes,
        dropout=dropout,
        entry_layer=entry_layer,
        middle_widths=middle_widths,
        fused=fused,
    )


def stc_resnet50(
    num_classes: int = 174,
    num_segments: int = 8,
    *,
    dropout: float = 0.5,
    fused: bool = True,
    **stc: Any,
) -> VideoResNet:
    """Build the paper's STC network: STC in all 16 bottlenecks of ResNet-50 (section III-C).

    Args:
        num_classes: logits of one clip.
        num_segments: T, the frames of one clip.
        dropout: probability of dropping a feature before the classifier.
        fused: whether to run the fused operators; see :class:`VideoResNet`.
        **stc: keywords of :class:`stc_ops.nn.STC`: `alpha`, `reduction`, `equal_split`, `shift`,
            `shift_div`, `temporal_refinement`, `spatial_refinement`.

    Raises:
        TypeError: an unknown keyword, or an argument that must be an integer is none.
        ValueError: an argument is out of range, or alpha does not split every stage's channels.
    """
    middle_layer = partial(STC, **stc)
    return video_resnet(middle_layer, num_classes, num_segments, dropout=dropout, fused=fused)


def stc_light_resnet50(
    num_classes: int = 174,
    num_segments: int = 8,
    *,
    dropout: float = 0.5,
    reduction: int = 4,
    fused: bool = True,
    **stc: Any,
) -> VideoResNet:
    """Build the paper's STC-Light network: :func:`stc_resnet50` with a `reduction` (figure 5)."""
    return stc_resnet50(
        num_classes, num_segments, dropout=dropout, fused=fused, reduction=reduction, **stc
    )


def tsn_resnet50(
    num_classes: int = 174, num_segments: int = 8, *, dropout: float = 0.5, fused: bool = True
) -> VideoResNet:
    """Build TSN: torchvision's ResNet-50 on every frame (Wang et al., ECCV 2016)."""
    return video_resnet(
        spatial_convolution, num_classes, num_segments, dropout=dropout, fused=fused
    )


def tsm_resnet50(
    num_classes: int = 174,
    num_segments: int = 8,
    *,
    dropout: float = 0.5,
    shift_div: int = 8,
    fused: bool = True,
) -> VideoResNet:
    """Build TSM: TSN with a residual shift in all 16 bottlenecks (Lin et al., ICCV 2019)."""
    return video_resnet(
        spatial_convolution,
        num_classes,
        num_segments,
        dropout=dropout,
        entry_layer=lambda in_channels, num_segments: TemporalShift(num_segments, shift_div),
        fused=fused,
    )


def c3d_resnet50(
    num_classes: int = 174, num_segments: int = 8, *, dropout: float = 0.5, fused: bool = True
) -> VideoResNet:
    """Build C3D: 3x3x3 convolutions in all 16 bottlenecks (Tran et al., ICCV 2015).

    The paper's C3D is a ResNet-50 of this kind (section II), and its I3D the same network,
    inflated: with :func:`load_imagenet_weights` this is both.
    """
    return video_resnet(
        _frames_convolution, num_classes, num_segments, dropout=dropout, fused=fused
    )


def p3d_resnet50(
    num_classes: int = 174, num_segments: int = 8, *, dropout: float = 0.5, fused: bool = True
) -> VideoResNet:
    """Build P3D: 1x3x3, then 3x1x1 convolutions in all 16 bottlenecks (Qiu et al., ICCV 2017)."""
    return video_resnet(P3D, num_classes, num_segments, dropout=dropout, fused=fused)


def gst_resnet50(
    num_classes: int = 174,
    num_segments: int = 8,
    *,
    dropout: float = 0.5,
    fused: bool = True,
    **gst: Any,
) -> VideoResNet:
    """Build GST: grouped aggregation in all 16 bottlenecks (Luo & Yuille, ICCV 2019).

    Args:
        num_classes: logits of one clip.
        num_segments: T, the frames of one clip.
        dropout: probability of dropping a feature before the classifier.
        fused: whether to run the fused operators; see :class:`VideoResNet`.
        **gst: keywords of :class:`stc_ops.nn.GST`: `alpha`, `equal_split`.

    Raises:
        TypeError: an unknown keyword, or an argument that must be an integer is none.
        ValueError: an argument is out of range, or alpha does not split every stage's channels.
    """
    middle_layer = partial(GST, **gst)
    return video_resnet(middle_layer, num_classes, num_segments, dropout=dropout, fused=fused)


def gst_large_resnet50(
    num_classes: int = 174,
    num_segments: int = 8,
    *,
    dropout: float = 0.5,
    fused: bool = True,
    **gst: Any,
) -> VideoResNet:
    """Build GST-Large: :func:`gst_resnet50` whose two paths read all channels."""
    return gst_resnet50(
        num_classes, num_segments, dropout=dropout, fused=fused, equal_split=False, **gst
    )


def spatial_convolution(channels: int, num_segments: int, stride: int) -> nn.Conv2d:
    """Return the middle layer of torchvision's ResNet."""
    return nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)


def _frames_convolution(channels: int, num_segments: int, stride: int) -> FramesConv3d:
    return FramesConv3d(channels, channels, num_segments, stride)
