"""Middle layers for inference: the batch norm and the ReLU behind them go into convolutions."""

from __future__ import annotations

import copy

import torch
from torch import nn

from stc_ops.nn import GST, P3D, TAM, TEA, BNReLU, FramesConv3d, TemporalConv2d
from stc_ops.nn.batch_norm import BatchNormModule
from stc_ops.nn.memory_format import dense

from .folded_convolution import Activation, FoldedConvolution, is_foldable
from .folded_over_time import FoldedFramesConvolution, FoldedTemporalConvolution

_OF_NORMS = ("weight", "bias", "running_mean", "running_var")


def inference_middle(layer: nn.Module, bn: BatchNormModule | None) -> nn.Module:
    """Return what computes ``relu(bn(layer(x)))``, or ``layer(x)`` of a layer without a norm.

    Everything is copied. A layer or a part of it that is not known runs as it is.

    Raises:
        TypeError: `bn` is no batch norm.
    """
    if type(layer) is TEA and all(map(is_foldable, layer.convs)):
        return _folded_tea(layer)
    if bn is None:
        return copy.deepcopy(layer).requires_grad_(False)
    if type(layer) in _FOLDED and is_foldable(layer):
        return folded(layer, bn, activation="relu")
    if type(layer) is P3D and is_foldable(layer.spatial) and is_foldable(layer.temporal):
        return nn.Sequential(folded(layer.spatial), folded(layer.temporal, bn, activation="relu"))
    if type(layer) is GST and is_foldable(layer.spatial) and is_foldable(layer.temporal):
        return _InferenceGST(layer, bn)
    if type(layer) is TAM and is_foldable(layer.conv):
        adaptive = copy.deepcopy(layer.adaptive).requires_grad_(False)
        return nn.Sequential(adaptive, folded(layer.conv, bn, activation="relu"))
    return _NormalizedLayer(layer, bn)


_FOLDED = {
    nn.Conv2d: FoldedConvolution,
    TemporalConv2d: FoldedTemporalConvolution,
    FramesConv3d: FoldedFramesConvolution,
}


def folded(
    convolution: nn.Conv2d | nn.Conv3d,
    norm: BatchNormModule | None = None,
    *,
    activation: Activation = "none",
) -> FoldedConvolution:
    """Return the folded convolution for the type of a convolution."""
    return _FOLDED[type(convolution)](convolution, norm, activation=activation)


class _NormalizedLayer(nn.Module):
    """``relu(bn(layer(x)))`` of a layer that is not known."""

    def __init__(self, layer: nn.Module, bn: BatchNormModule) -> None:
        super().__init__()
        self.layer, self.bn = copy.deepcopy((layer, bn))
        self.bn_relu = BNReLU()
        self.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn_relu(self.layer(x), self.bn)


class _InferenceGST(nn.Module):
    """Either path has its part of the batch norm."""

    def __init__(self, gst: GST, bn: BatchNormModule) -> None:
        super().__init__()
        self.equal_split = gst.equal_split
        channels = gst.spatial.out_channels
        norms = _part_of(bn, slice(channels)), _part_of(bn, slice(channels, None))
        self.spatial = folded(gst.spatial, norms[0], activation="relu")
        self.temporal = folded(gst.temporal, norms[1], activation="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spatial_x = temporal_x = x
        if self.equal_split:
            spatial_x, temporal_x = map(dense, x.chunk(2, dim=1))
        return torch.cat((self.spatial(spatial_x), self.temporal(temporal_x)), dim=1)


def _part_of(norm: BatchNormModule, channels: slice) -> BatchNormModule:
    part = copy.deepcopy(norm).requires_grad_(False)
    for name in _OF_NORMS:
        value = getattr(part, name)
        if value is not None:
            value.data = value[channels]
    part.num_features = len(part.running_mean)
    return part


def _folded_tea(layer: TEA) -> TEA:
    tea = copy.deepcopy(layer).requires_grad_(False)
    for index, (conv, bn) in enumerate(zip(layer.convs, layer.bns, strict=True)):
        tea.convs[index] = folded(conv, bn, activation="relu")
        tea.bns[index] = nn.Identity()
    tea.relu = nn.Identity()
    return tea
