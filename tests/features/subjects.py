"""What the feature matrix tries: every layer and every network, one line each."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import NamedTuple

import torch
from plain_layers import randomize_norms
from torch import nn

import stc_ops
from stc_ops import models
from stc_ops.nn import (
    GST,
    P3D,
    STC,
    STM,
    TAM,
    TEA,
    TIN,
    AdaptiveTemporalConv2d,
    BNAddReLU,
    BNReLU,
    BNReLUShift,
    BNReLUShiftSplit,
    ChannelwiseTemporalConv2d,
    FramesConv3d,
    GateNetwork,
    GlobalAvgPool,
    MotionExcitation,
    RefineBNReLU,
    SpatialBranch,
    SpatialRefinement,
    TemporalBranch,
    TemporalConv2d,
    TemporalRefinement,
    TemporalShift,
)

T = 4
CHANNELS = 32


class Subject(NamedTuple):
    """A layer or a network.

    Attributes:
        build: makes it.
        shape: of the frames that it takes.
        is_network: whether it has the switches `fused` and `recompute`.
        is_canonical: whether it is the paper's network.
        gates: whether it calls operators that refuse forward-mode differentiation.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, ...] = (2 * T, CHANNELS, 6, 5)
    is_network: bool = False
    is_canonical: bool = False
    gates: bool = False

    def module(self, dtype: torch.dtype = torch.float64) -> nn.Module:
        """Make it in evaluation mode, with normalizations that are not the initial ones."""
        torch.manual_seed(0)
        module = self.build().to(dtype).eval()
        randomize_norms(module)
        return module

    def frames(self, clips: int = 2, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        return torch.randn(clips * T, *self.shape[1:], dtype=dtype)


def plain(module: nn.Module) -> Callable[..., torch.Tensor]:
    """A copy that runs in plain PyTorch, layer by layer."""
    copy = deepcopy(module)
    if isinstance(copy, models.VideoResNet):
        copy.fused = False

    def run(*arguments: torch.Tensor) -> torch.Tensor:
        with stc_ops.use_backend("reference"):
            return copy(*arguments)

    run.module = copy
    return run


class _WithNorms(nn.Module):
    """A fused layer with the batch norms and gates that it is given."""

    def __init__(self, layer: nn.Module, gates: int | None = None, norms: int = 1) -> None:
        super().__init__()
        self.layer = layer
        self.norms = nn.ModuleList(nn.BatchNorm2d(CHANNELS) for _ in range(norms))
        self.gates = nn.ModuleList()
        if gates is not None:
            kinds = ((nn.Conv1d, gates), (nn.Conv2d, CHANNELS - gates))
            self.gates.extend(GateNetwork(kind, channels, 2) for kind, channels in kinds)


class Activated(_WithNorms):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x, self.norms[0])


class Split(_WithNorms):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spatial, temporal = self.layer(x, self.norms[0])
        return torch.cat((spatial.flatten(1), temporal.flatten(1)), 1)


class Refined(_WithNorms):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branches = x[:, :-8].contiguous(), x[:, -8:].contiguous()
        return self.layer(*branches, self.norms[0], *self.gates)


class Added(_WithNorms):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x, self.norms[0], x.flip(3), *self.norms[1:])


LAYERS = {
    "TemporalShift": Subject(partial(TemporalShift, T)),
    "GlobalAvgPool": Subject(GlobalAvgPool),
    "TemporalConv2d": Subject(partial(TemporalConv2d, CHANNELS, 8, T, 2)),
    "ChannelwiseTemporalConv2d": Subject(partial(ChannelwiseTemporalConv2d, CHANNELS, T, (1, -1))),
    "AdaptiveTemporalConv2d": Subject(partial(AdaptiveTemporalConv2d, CHANNELS, T), gates=True),
    "FramesConv3d": Subject(partial(FramesConv3d, CHANNELS, 8, T, 2)),
    "P3D": Subject(partial(P3D, CHANNELS, T, 2)),
    "TemporalRefinement": Subject(partial(TemporalRefinement, CHANNELS, T), gates=True),
    "SpatialRefinement": Subject(partial(SpatialRefinement, CHANNELS, T, 4), gates=True),
    "SpatialBranch": Subject(partial(SpatialBranch, CHANNELS, 8, T), gates=True),
    "TemporalBranch": Subject(partial(TemporalBranch, CHANNELS, 8, T, 2), gates=True),
    "STC": Subject(partial(STC, CHANNELS, T, 2), gates=True),
    "GST": Subject(partial(GST, CHANNELS, T)),
    "STM": Subject(partial(STM, CHANNELS, T)),
    "TAM": Subject(partial(TAM, CHANNELS, T), gates=True),
    "TEA": Subject(partial(TEA, CHANNELS, T), gates=True),
    "TIN": Subject(partial(TIN, CHANNELS, T)),
    "MotionExcitation": Subject(partial(MotionExcitation, CHANNELS, T), gates=True),
    "BNReLU": Subject(lambda: Activated(BNReLU()), gates=True),
    "BNReLUShift": Subject(lambda: Activated(BNReLUShift(T)), gates=True),
    "BNReLUShiftSplit": Subject(lambda: Split(BNReLUShiftSplit((24, 8), T, 2)), gates=True),
    "RefineBNReLU": Subject(lambda: Refined(RefineBNReLU(T), gates=24), gates=True),
    "BNAddReLU": Subject(lambda: Added(BNAddReLU(), norms=2), gates=True),
}
# They hold no frames: a function, a protocol, and what a refinement calls on pooled context.
NO_FRAMES = {"batch_norm_of", "FusibleLayer", "GateNetwork"}


def _network(middle: Callable[..., nn.Module], **arguments: object) -> Subject:
    build = partial(
        models.video_resnet,
        middle,
        5,
        T,
        depths=(1, 1, 1, 1),
        widths=(16, 16, 16, 16),
        dropout=0.0,
        **arguments,
    )
    return Subject(
        build,
        (2 * T, 3, 64, 64),
        is_network=True,
        is_canonical=middle is STC,
        gates=middle in (STC, TAM, TEA) or isinstance(middle, partial),
    )


def _convolution(channels: int, num_segments: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, stride, 1, bias=False)


def _over_time(channels: int, num_segments: int, stride: int) -> nn.Conv2d:
    return TemporalConv2d(channels, channels, num_segments, stride)


def _over_both(channels: int, num_segments: int, stride: int) -> nn.Conv3d:
    return FramesConv3d(channels, channels, num_segments, stride)


NETWORKS = {
    "tsn": _network(_convolution),
    "tsm": _network(_convolution, entry_layer=lambda _, segments: TemporalShift(segments)),
    "tin": _network(_convolution, entry_layer=partial(TIN, shift_div=2)),
    "temporal-conv": _network(_over_time),
    "c3d": _network(_over_both),
    "p3d": _network(P3D),
    "gst": _network(GST),
    "stm": _network(STM),
    "tea": _network(TEA),
    "tam": _network(TAM),
    "stc": _network(STC),
    "stc-light": _network(partial(STC, reduction=4)),
    "stc-alpha-1": _network(partial(STC, alpha=1)),
}
SUBJECTS = LAYERS | NETWORKS
