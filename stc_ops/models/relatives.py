"""Builders of networks that the paper compares with, beside TSN and TSM."""

from __future__ import annotations

from stc_ops.nn import STM, TAM, TEA, TIN

from .builders import spatial_convolution, video_resnet
from .resnet import VideoResNet

# Res2Net-50's, of 4 groups: 26 channels each where torchvision's ResNet has 64 in all.
_RES2NET_WIDTHS = (104, 208, 416, 832)


def tam_resnet50(
    num_classes: int = 174, num_segments: int = 8, *, dropout: float = 0.5, fused: bool = True
) -> VideoResNet:
    """Build TANet: TSN with a :class:`~stc_ops.nn.TAM` in all 16 bottlenecks (ICCV 2021)."""
    return video_resnet(TAM, num_classes, num_segments, dropout=dropout, fused=fused)


def stm_resnet50(
    num_classes: int = 174, num_segments: int = 8, *, dropout: float = 0.5, fused: bool = True
) -> VideoResNet:
    """Build STM: TSN with an :class:`~stc_ops.nn.STM` in all 16 bottlenecks (ICCV 2019)."""
    return video_resnet(STM, num_classes, num_segments, dropout=dropout, fused=fused)


def tin_resnet50(
    num_classes: int = 174, num_segments: int = 8, *, dropout: float = 0.5, fused: bool = True
) -> VideoResNet:
    """Build TIN: TSN with a :class:`~stc_ops.nn.TIN` before all 16 bottlenecks (AAAI 2020)."""
    return video_resnet(
        spatial_convolution,
        num_classes,
        num_segments,
        dropout=dropout,
        entry_layer=TIN,
        fused=fused,
    )


def tea_resnet50(
    num_classes: int = 174, num_segments: int = 8, *, dropout: float = 0.5, fused: bool = True
) -> VideoResNet:
    """Build TEA: Res2Net-50 (26 channels, 4 groups) with a :class:`~stc_ops.nn.TEA` in all blocks.

    Li et al., CVPR 2020. Middle layers have 13/8 of the channels that other networks' have, and no
    batch norm behind them.
    """
    model = video_resnet(
        TEA,
        num_classes,
        num_segments,
        dropout=dropout,
        middle_widths=_RES2NET_WIDTHS,
        fused=fused,
    )
    model.layer1[0].conv2.first_of_stage = True
    return model
