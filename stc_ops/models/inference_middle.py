"""Middle layers for inference: the batch norm and the ReLU behind them go into convolutions."""

from __future__ import annotations

import copy

import torch
from torch import nn

from stc_ops.nn import GST, P3D, TAM, TEA, BNReLU, FramesConv3d, TemporalConv2d
from stc_ops.nn.absorption import is_plain
from stc_ops.nn.batch_norm import BatchNormModule
from stc_ops.nn.memory_format import dense
from stc_ops.nn.tracing import one_call

from .folded_convolution import Activation, FoldedConvolution, is_constant_norm, is_foldable
from .folded_over_time import FoldedFramesConvolution, FoldedTemporalConvolution

_OF_NORMS = ("weight", "bias", "running_mean", "running_var")


def inference_middle(name: str, layer: nn.Module, bn: nn.Module | None) -> nn.Module:
    """Return what computes ``relu(bn(layer(x)))``, or ``layer(x)`` of a layer without a norm.

    Everything is copied. A layer or a norm that is not known, or a part of it that has been
    exchanged or hooked, runs as it is.
    """
    copy_of_layer = copied(name, layer)
    if bn is None:
        return _folded_tea(copy_of_layer) if _is_foldable_tea(layer) else copy_of_layer
    if is_constant_norm(bn):
        if _is_foldable(layer):
            return folded(layer, bn, activation="relu")
        if is_plain(layer, P3D) and _is_foldable(layer.spatial, layer.temporal):
            last = folded(layer.temporal, bn, activation="relu")
            return nn.Sequential(folded(layer.spatial), last)
        if is_plain(layer, GST) and _is_foldable(layer.spatial, layer.temporal):
            return _InferenceGST(layer, bn)
        if is_plain(layer, TAM) and _is_foldable(layer.conv):
            last = folded(layer.conv, bn, activation="relu")
            return nn.Sequential(copy_of_layer.adaptive, last)
    return _NormalizedLayer(copy_of_layer, copied(name, bn))


_FOLDED = {
    nn.Conv2d: FoldedConvolution,
    TemporalConv2d: FoldedTemporalConvolution,
    FramesConv3d: FoldedFramesConvolution,
}


def _is_foldable(*layers: nn.Module) -> bool:
    return all(is_foldable(layer, tuple(_FOLDED)) for layer in layers)


def _is_foldable_tea(layer: nn.Module) -> bool:
    return (
        is_plain(layer, TEA)
        and _is_foldable(*layer.convs)
        and all(map(is_constant_norm, layer.bns))
        and is_plain(layer.relu, nn.ReLU)
    )


def copied(name: str, module: nn.Module) -> nn.Module:
    """Return a copy of `module` that needs no gradients, with its hooks.

    Raises:
        TypeError: it holds tensors that cannot be copied, as pruned layers do.
    """
    try:
        return copy.deepcopy(module).requires_grad_(False)
    except RuntimeError as error:
        raise TypeError(
            f"optimize_for_inference: {name} must be a module that can be copied; what pruning or "
            f"the old weight_norm have left is none, see torch.nn.utils.prune.remove ({error})"
        ) from error


def folded(
    convolution: nn.Conv2d | nn.Conv3d,
    norm: BatchNormModule | None = None,
    *,
    activation: Activation = "none",
) -> FoldedConvolution:
    """Return the folded convolution for the kind of a convolution."""
    kind = next(kind for kind in _FOLDED if is_plain(convolution, kind))
    return _FOLDED[kind](convolution, norm, activation=activation)


class _NormalizedLayer(nn.Module):
    """``relu(bn(layer(x)))`` of a layer that is not known."""

    def __init__(self, layer: nn.Module, bn: nn.Module) -> None:
        super().__init__()
        self.layer, self.bn = layer, bn
        self.bn_relu = BNReLU()

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

    @one_call
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


def _folded_tea(tea: TEA) -> TEA:
    for index, (conv, bn) in enumerate(zip(tea.convs, tea.bns, strict=True)):
        tea.convs[index] = folded(conv, bn, activation="relu")
        tea.bns[index] = nn.Identity()
    tea.relu = nn.Identity()
    return tea
