"""The branches of STC between the fused passes over their frames: moments, gates and gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from . import steps
from .gate_networks import GateGradients, ReduceAndGate, SpatialGate, TemporalGate
from .registration import compiled

Networks = tuple[TemporalGate | None, SpatialGate | None]
Frames = tuple[torch.Tensor | None, torch.Tensor | None]


class Branch(NamedTuple):
    """What the groups of a branch hold; all None where the branch has no gate.

    Groups are the frames of `spatial_y`, and the pixels of a clip of `temporal_y`.

    Attributes:
        mean: of the frames, per group.
        m2: their centred second moment; None where the statistics are constants.
        gate: sigmoid of the logits.
        hidden: features inside of STC-Light's gate network, or None.
    """

    mean: torch.Tensor | None = None
    m2: torch.Tensor | None = None
    gate: torch.Tensor | None = None
    hidden: torch.Tensor | None = None


SIZE = len(Branch._fields)


def gate_networks(weights: Sequence[torch.Tensor | None], num_segments: int) -> Networks:
    """Return the gate networks of both branches, None for those without weights.

    Args:
        weights: reduce and gate of TR, reduce and gate of SR, each of them or None.
        num_segments: T, the frames of one clip.
    """
    temporal_reduce, temporal_gate, spatial_reduce, spatial_gate = weights
    return (
        None
        if temporal_gate is None
        else TemporalGate(ReduceAndGate(temporal_reduce, temporal_gate), num_segments),
        None if spatial_gate is None else SpatialGate(ReduceAndGate(spatial_reduce, spatial_gate)),
    )


def first_channels(frames: Frames) -> tuple[int, int]:
    """Return where the channels of each branch begin in the concatenation."""
    return 0, 0 if frames[0] is None else frames[0].shape[1]


def branch_of(
    y: torch.Tensor | None,
    network: TemporalGate | SpatialGate | None,
    training: bool,
    num_segments: int,
) -> tuple[Branch, torch.Tensor | None]:
    """Return what the groups of a branch hold and, where `training`, its ``(2, C)`` moments.

    They are mean and variance of the gated frames.
    """
    if y is None or (network is None and not training):
        return Branch(), None
    per_pixel = isinstance(network, SpatialGate)
    if not training:
        mean = compiled.temporal_pool(y, num_segments) if per_pixel else compiled.spatial_pool(y)
        logits, hidden = network.forward(mean)
        return Branch(mean, None, torch.sigmoid(logits), hidden), None
    mean, m2 = steps.temporal_moments(y, num_segments) if per_pixel else steps.spatial_moments(y)
    group_size = num_segments if per_pixel else y.shape[2] * y.shape[3]
    logits, hidden = (None, None) if network is None else network.forward(mean)
    gate, moments = steps.gated_channel_moments(mean, m2, logits, group_size)
    return Branch() if network is None else Branch(mean, m2, gate, hidden), moments


def sums_of_channels(
    frames: Frames,
    branches: tuple[Branch, Branch],
    sums: tuple[torch.Tensor, torch.Tensor],
    coefficients: torch.Tensor,
) -> torch.Tensor:
    """Return the ``(2, C)`` sums over the gated frames that follow from those of the groups."""
    of_branches = [
        steps.gated_channel_sums(of_groups, branch.gate, branch.mean, coefficients, first)
        for y, branch, of_groups, first in zip(
            frames, branches, sums, first_channels(frames), strict=True
        )
        if y is not None
    ]
    return torch.cat(of_branches, dim=1)


def network_gradients(
    branch: Branch,
    network: TemporalGate | SpatialGate | None,
    sums: torch.Tensor,
    coefficients: torch.Tensor,
    grad_coefficients: torch.Tensor,
    first_channel: int,
    group_size: int,
) -> GateGradients:
    """Return the gradients of the mean of each group and of the weights of the gate network."""
    if network is None:
        return GateGradients(None, ReduceAndGate(None, None))
    grad_logits = steps.gate_gradient(
        sums,
        branch.gate,
        branch.mean,
        branch.m2,
        coefficients,
        grad_coefficients,
        first_channel,
        group_size,
    )
    with torch.autocast(sums.device.type, enabled=False):
        return network.backward(grad_logits, branch.mean, branch.hidden)
