"""The refinements of STC: a branch's features, gated by context pooled over the other axis."""

from __future__ import annotations

import torch
from torch import nn

from stc_ops.operators import spatial_gate, spatial_pool, temporal_gate, temporal_pool
from stc_ops.operators.checks import check_integer

from .gate_network import GateNetwork
from .tracing import one_call


class TemporalRefinement(nn.Module):
    """Gate each channel of each frame by its clip's context over time (paper, equation 1).

    ``z = y * sigmoid(gate_network(mean over H, W of y))``, where `gate_network` maps
    ``(N, C, T)`` to logits ``(N, C, T)`` by a dense convolution over T.

    Args:
        channels: C.
        num_segments: T, the frames of one clip.
        reduction: STC-Light's r, or None for the standard gate network.

    Raises:
        TypeError: an argument is no integer.
        ValueError: an argument is below 1.
    """

    def __init__(self, channels: int, num_segments: int, reduction: int | None = None) -> None:
        """See the class."""
        super().__init__()
        num_segments = check_integer("TemporalRefinement", "num_segments", num_segments, minimum=1)
        self.num_segments = num_segments
        self.gate_network = GateNetwork(nn.Conv1d, channels, reduction)

    @one_call
    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """Return ``y``, frames ``(N*T, C, H, W)``, gated; same shape, dtype, memory format."""
        return refine_in_time(y, self.gate_network, self.num_segments)

    def extra_repr(self) -> str:
        """Return the arguments as ``print(module)`` shows them."""
        return f"num_segments={self.num_segments}"


class SpatialRefinement(nn.Module):
    """Gate each pixel of a clip by its context over space (paper, equation 2).

    ``z = y * sigmoid(gate_network(mean over T of y))``, where `gate_network` maps
    ``(N, C, H, W)`` to logits ``(N, C, H, W)`` by a dense 3x3 convolution, once per clip.

    Args:
        channels: C.
        num_segments: T, the frames of one clip.
        reduction: STC-Light's r, or None for the standard gate network.

    Raises:
        TypeError: an argument is no integer.
        ValueError: an argument is below 1.
    """

    def __init__(self, channels: int, num_segments: int, reduction: int | None = None) -> None:
        """See the class."""
        super().__init__()
        num_segments = check_integer("SpatialRefinement", "num_segments", num_segments, minimum=1)
        self.num_segments = num_segments
        self.gate_network = GateNetwork(nn.Conv2d, channels, reduction)

    @one_call
    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """Return ``y``, frames ``(N*T, C, H, W)``, gated; same shape, dtype, memory format."""
        return refine_in_space(y, self.gate_network, self.num_segments)

    def extra_repr(self) -> str:
        """Return the arguments as ``print(module)`` shows them."""
        return f"num_segments={self.num_segments}"


def refine_in_time(y: torch.Tensor, gate_network: nn.Module, num_segments: int) -> torch.Tensor:
    """Return :class:`TemporalRefinement` of ``y`` by a gate network."""
    context = spatial_pool(y).unflatten(0, (-1, num_segments)).transpose(1, 2)
    logits = gate_network(context).transpose(1, 2).flatten(0, 1)
    return temporal_gate(y, logits)


def refine_in_space(y: torch.Tensor, gate_network: nn.Module, num_segments: int) -> torch.Tensor:
    """Return :class:`SpatialRefinement` of ``y`` by a gate network."""
    return spatial_gate(y, gate_network(temporal_pool(y, num_segments)), num_segments)
