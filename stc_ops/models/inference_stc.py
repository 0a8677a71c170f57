"""STC between the batch norms of its block, for inference."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils import skip_init
from torch.nn.utils.parametrize import is_parametrized

from stc_ops.backends import select_backend
from stc_ops.nn import STC, GateNetwork, TemporalConv2d
from stc_ops.nn.absorption import is_plain
from stc_ops.nn.batch_norm import BatchNormModule
from stc_ops.nn.refinement import SpatialRefinement, TemporalRefinement
from stc_ops.nn.tracing import one_call
from stc_ops.operators import spatial_pool, temporal_pool
from stc_ops.operators.checks import accumulation_dtype
from stc_ops.operators.registration import compiled

from .folded_convolution import FoldedConvolution, affine_rows, is_foldable
from .folded_over_time import FoldedTemporalConvolution


class InferenceSTC(nn.Module):
    """``relu(bn_after(stc(relu(bn_before(u)))))`` with all prepared that does not depend on ``u``.

    These are the passes of :meth:`stc_ops.nn.STC.forward_fused`; but in the late stages, where
    frames are small, the coefficients of the normalizations and the layouts of the weights, made
    anew at every call, take longer than the passes.

    Args:
        stc: in evaluation mode; it is copied, as the normalizations are.
        bn_before: the normalization of ``u``.
        bn_after: the normalization of the result of `stc`.

    Raises:
        TypeError: a normalization is no batch norm.
    """

    def __init__(self, stc: STC, bn_before: BatchNormModule, bn_after: BatchNormModule) -> None:
        """See the class."""
        super().__init__()
        # What the reference backend runs.
        self.stc, self.bn_before, self.bn_after = copy.deepcopy((stc, bn_before, bn_after))
        self.requires_grad_(False)
        dtype = accumulation_dtype(bn_before.running_mean.dtype)
        self.register_buffer("before", affine_rows(bn_before).to(dtype))
        self.register_buffer("after", affine_rows(bn_after).to(dtype))
        shift_div = stc._shift_div()
        self.fold = 0 if shift_div is None else stc.branch_inputs[0] // shift_div
        self.spatial = self.temporal = self.frame_gate = self.pixel_gate = None
        if stc.spatial is not None:
            self.spatial = FoldedConvolution(stc.spatial.conv)
            if isinstance(stc.spatial.refine, TemporalRefinement):
                network = stc.spatial.refine.gate_network
                self.frame_gate = _FrameGate(network, stc.num_segments, dtype)
        if stc.temporal is not None:
            self.temporal = FoldedTemporalConvolution(stc.temporal.conv)
            if isinstance(stc.temporal.refine, SpatialRefinement):
                self.pixel_gate = _Gate(stc.temporal.refine.gate_network, dtype)

    @staticmethod
    def takes(layer: nn.Module) -> bool:
        """Tell whether `layer` is an STC whose layers are as that class has made them."""
        return (
            is_plain(layer, STC)
            and layer.can_fuse()
            and not any(map(is_parametrized, layer.modules()))
            and (layer.spatial is None or is_foldable(layer.spatial.conv, nn.Conv2d))
            and (layer.temporal is None or is_foldable(layer.temporal.conv, TemporalConv2d))
        )

    @one_call
    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """Map frames ``(N*T, C, H, W)`` to ``(N*T, C, ceil(H/s), ceil(W/s))``."""
        if u.numel() == 0 or select_backend("InferenceSTC", u.device) == "reference":
            return self.stc.forward_fused(u, self.bn_before, self.bn_after)
        stc, num_segments = self.stc, self.stc.num_segments
        spatial_x, temporal_x = compiled.shift_split.default(
            u, self.before, num_segments, stc.branch_inputs[0], self.fold, stc.stride
        )
        spatial_y = temporal_y = frame_gate = pixel_gate = None
        if self.spatial is not None:
            spatial_y = self.spatial(spatial_x)
            if self.frame_gate is not None:
                frame_gate = self.frame_gate(spatial_pool(spatial_y))
        if self.temporal is not None:
            temporal_y = self.temporal.convolve(temporal_x)
            if self.pixel_gate is not None:
                pixel_gate = self.pixel_gate(temporal_pool(temporal_y, num_segments))
        return compiled.refine.default(
            spatial_y, temporal_y, frame_gate, pixel_gate, self.after, num_segments
        )


class _Gate(nn.Sequential):
    """Gates of channels from their means, both ``(N, C, H, W)``, in pixels or in frames."""

    def __init__(self, network: GateNetwork, dtype: torch.dtype) -> None:
        *reduce, gate = (
            _over_image(layer).to(dtype) for layer in network if not isinstance(layer, nn.ReLU)
        )
        layers = [FoldedConvolution(layer, activation="relu") for layer in reduce]
        super().__init__(*layers, FoldedConvolution(gate, activation="sigmoid"))


class _FrameGate(_Gate):
    """Gates of channels in frames from their means ``(N*T, C)``: the frames are a column."""

    def __init__(self, network: GateNetwork, num_segments: int, dtype: torch.dtype) -> None:
        super().__init__(network, dtype)
        self.num_segments = num_segments

    def forward(self, mean: torch.Tensor) -> torch.Tensor:
        columns = mean.reshape(-1, self.num_segments, 1, mean.shape[1]).permute(0, 3, 1, 2)
        return super().forward(columns).permute(0, 2, 3, 1).reshape(mean.shape)


def _over_image(convolution: nn.Conv1d | nn.Conv2d) -> nn.Conv2d:
    """Return a copy of a gate network's layer that takes images, of columns one over time."""
    if isinstance(convolution, nn.Conv2d):
        return copy.deepcopy(convolution)
    (size,), (padding,) = convolution.kernel_size, convolution.padding
    filters, channels, _ = convolution.weight.shape
    # Random weights would take numbers from the generator of whoever calls.
    image = skip_init(
        nn.Conv2d, channels, filters, (size, 1), padding=(padding, 0), bias=False, device="cpu"
    )
    image.weight = nn.Parameter(convolution.weight.detach()[..., None].clone())
    return image
