"""STC's refinement in the pieces that registered operators of its own are."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from .batch_norm import (
    BatchNorm,
    Normalization,
    Statistics,
    normalization,
    normalization_gradient,
)
from .checks import accumulation_dtype
from .moments import like_groups, of_frames, of_pixels
from .registration import compiled, frames_format, memory_format_of, shape_function

_Tensor = torch.Tensor
_Optional = torch.Tensor | None


class Groups(NamedTuple):
    """What the groups of a branch hold; empty what it lacks, all of it where it has no gate.

    Groups are the frames of `spatial_y`, and the pixels of a clip of `temporal_y`.

    Attributes:
        mean: of the frames, per group.
        m2: their centred second moment; where the statistics are constants there is none.
        gate: sigmoid of the logits.
        hidden: features inside of STC-Light's gate network.
    """

    mean: _Tensor
    m2: _Tensor
    gate: _Tensor
    hidden: _Tensor


SIZE = len(Groups._fields)


class Branch(NamedTuple):
    """A branch and its gate network.

    Attributes:
        y: frames, or None where there is no such branch.
        reduce: STC-Light's pointwise convolution in the gate network, or None.
        gate: the last convolution of the gate network, or None where there is none.
        num_segments: T where gates are those of frames, 0 where they are those of pixels.
    """

    y: _Optional
    reduce: _Optional
    gate: _Optional
    num_segments: int

    def given(self, values: _Tensor) -> _Optional:
        """Return values of groups if they have gates."""
        return None if self.gate is None else values


def branches_of(
    frames: tuple[_Optional, _Optional],
    gate_weights: tuple[_Optional, _Optional, _Optional, _Optional],
    num_segments: int,
) -> tuple[Branch, Branch]:
    """Return both branches, of weights reduce and gate of TR, reduce and gate of SR."""
    temporal, spatial = gate_weights[:2], gate_weights[2:]
    return Branch(frames[0], *temporal, num_segments), Branch(frames[1], *spatial, 0)


def _groups_of_batch(branch: Branch, num_segments: int) -> tuple[Groups, _Tensor]:
    """Return the groups of a branch and the ``(2, C)`` moments of its gated frames."""
    y = branch.y
    if branch.gate is None or branch.num_segments:
        mean, m2 = compiled.spatial_moments.default(y)
        size = y.shape[2] * y.shape[3]
    else:
        mean, m2 = compiled.temporal_moments.default(y, num_segments)
        size = num_segments
    if branch.gate is None:
        return no_groups(y), compiled.gated_channel_moments.default(mean, m2, None, size)[1]
    weights = (branch.reduce, branch.gate, branch.num_segments)
    logits, hidden = compiled.gate_network.default(mean, *weights)
    gate, moments = compiled.gated_channel_moments.default(mean, m2, logits, size)
    return Groups(mean, m2, gate, hidden), moments


def _groups_of_mean(branch: Branch, num_segments: int) -> Groups:
    """Return the groups of a branch where statistics are constants."""
    if branch.gate is None:
        return no_groups(branch.y)
    if branch.num_segments:
        mean = compiled.spatial_pool.default(branch.y)
    else:
        mean = compiled.temporal_pool.default(branch.y, num_segments)
    weights = (branch.reduce, branch.gate, branch.num_segments)
    logits, hidden = compiled.gate_network.default(mean, *weights)
    return Groups(mean, mean.new_empty(0), torch.sigmoid(logits), hidden)


def no_groups(y: _Tensor) -> Groups:
    """Return the groups of a branch without a gate."""
    dtype = accumulation_dtype(y.dtype)
    return Groups(*(y.new_empty(0, dtype=dtype) for _ in Groups._fields))


def refine_in_pieces(
    branches: tuple[Branch, Branch], bn: BatchNorm, num_segments: int
) -> tuple[_Tensor, Normalization, tuple[Groups, Groups]]:
    """Return ``refine_bn_relu``, its normalization, and the groups."""
    like = next(branch.y for branch in branches if branch.y is not None)
    groups, moments = [no_groups(like), no_groups(like)], []
    for i, branch in enumerate(branches):
        if branch.y is not None and bn.training:
            groups[i], of_branch = _groups_of_batch(branch, num_segments)
            moments.append(of_branch)
        elif branch.y is not None:
            groups[i] = _groups_of_mean(branch, num_segments)
    together = torch.cat(moments, 1) if bn.training else None
    count = like.shape[0] * like.shape[2] * like.shape[3]
    norm = normalization(bn, together, count, accumulation_dtype(like.dtype))
    return refined(branches, groups, norm.coefficients, num_segments), norm, tuple(groups)


def refined(
    branches: tuple[Branch, Branch],
    groups: tuple[Groups, Groups],
    coefficients: _Tensor,
    num_segments: int,
) -> _Tensor:
    """Return the result with all known that is kept per group and per channel."""
    gates = (branch.given(each.gate) for branch, each in zip(branches, groups, strict=True))
    frames = (branch.y for branch in branches)
    return compiled.refine.default(*frames, *gates, coefficients, num_segments)


def refine_backward_in_pieces(
    statistics: Statistics,
    grad: _Tensor,
    branches: tuple[Branch, Branch],
    coefficients: _Tensor,
    groups: tuple[Groups, Groups],
    num_segments: int,
) -> tuple[_Optional, ...]:
    """Return the gradients of the branches, of gamma and beta, and of the gate networks."""
    both = list(zip(branches, groups, strict=True))
    frames = [branch.y for branch in branches]
    gates = [branch.given(each.gate) for branch, each in both]
    means = [branch.given(each.mean) for branch, each in both]
    sums = compiled.refine_backward_sums.default(
        grad, *frames, *gates, *means, coefficients, num_segments
    )
    first = [0, 0 if frames[0] is None else frames[0].shape[1]]
    of_channels = [
        compiled.gated_channel_sums.default(sums[i], gates[i], means[i], coefficients, first[i])
        for i in range(2)
        if frames[i] is not None
    ]
    gradient = normalization_gradient(statistics, coefficients, torch.cat(of_channels, 1))
    sizes = (grad.shape[2] * grad.shape[3], num_segments)
    of_networks = [(None, None, None), (None, None, None)]
    for i, (branch, (mean, m2, gate, hidden)) in enumerate(both):
        if branch.gate is not None:
            channels = (coefficients, gradient.coefficients, first[i], sizes[i])
            second = None if m2.numel() == 0 else m2
            grad_logits = compiled.gate_gradient.default(sums[i], gate, mean, second, *channels)
            weights = (branch.reduce, branch.gate, branch.num_segments)
            of_networks[i] = compiled.gate_network_backward.default(
                grad_logits, mean, hidden, *weights
            )
    grad_frames = compiled.refine_backward.default(
        grad,
        *frames,
        *gates,
        *(of_network[0] for of_network in of_networks),
        coefficients,
        gradient.coefficients,
        num_segments,
    )
    of_weights = (*of_networks[0][1:], *of_networks[1][1:])
    return *grad_frames, gradient.weight, gradient.bias, *of_weights


@shape_function
def _gate_network(
    context: _Tensor, reduce: _Optional, gate: _Tensor, num_segments: int
) -> tuple[_Tensor, _Tensor]:
    return like_groups(context), hidden_shape(context, reduce, gate)


def hidden_shape(context: _Tensor, reduce: _Optional, gate: _Tensor) -> _Tensor:
    """Return the hidden features of a gate network, for shape functions."""
    if reduce is None:
        return context.new_empty(0, dtype=gate.dtype)
    shape = (context.shape[0], reduce.shape[0], *context.shape[2:])
    layout = memory_format_of(context) if context.ndim == 4 else torch.contiguous_format
    return torch.empty(shape, dtype=gate.dtype, device=context.device, memory_format=layout)


@shape_function
def _gate_network_backward(
    grad: _Tensor,
    context: _Tensor,
    hidden: _Tensor,
    reduce: _Optional,
    gate: _Tensor,
    num_segments: int,
) -> tuple[_Tensor, _Tensor, _Tensor]:
    of_reduce = gate.new_empty(0) if reduce is None else like_groups(reduce)
    return like_groups(context), of_reduce, like_groups(gate)


@shape_function
def _gated_channel_sums(
    sums: _Tensor, gate: _Optional, mean: _Optional, coefficients: _Tensor, first_channel: int
) -> _Tensor:
    return sums.new_empty((2, sums.shape[1]))


@shape_function
def _gate_gradient(sums: _Tensor, gate: _Tensor, *rest: Any) -> _Tensor:
    layout = memory_format_of(sums) if sums.ndim == 4 else torch.contiguous_format
    return torch.empty_like(gate, memory_format=layout)


@shape_function
def _refine(
    spatial_y: _Optional,
    temporal_y: _Optional,
    frame_gate: _Optional,
    pixel_gate: _Optional,
    coefficients: _Tensor,
    num_segments: int,
) -> _Tensor:
    y = temporal_y if spatial_y is None else spatial_y
    shape = (y.shape[0], coefficients.shape[1], *y.shape[2:])
    layout = frames_format(spatial_y, temporal_y)
    return torch.empty(shape, dtype=y.dtype, device=y.device, memory_format=layout)


@shape_function
def _refine_backward_sums(
    grad: _Tensor,
    spatial_y: _Optional,
    temporal_y: _Optional,
    frame_gate: _Optional,
    pixel_gate: _Optional,
    frame_mean: _Optional,
    pixel_mean: _Optional,
    coefficients: _Tensor,
    num_segments: int,
) -> tuple[_Tensor, _Tensor]:
    layout = frames_format(spatial_y, temporal_y)
    none = coefficients.new_empty(0)
    of_temporal = none
    if temporal_y is not None and pixel_gate is not None:
        of_temporal = of_pixels(temporal_y, num_segments, layout, sets=2)
    elif temporal_y is not None:
        of_temporal = of_frames(temporal_y, sets=2)
    return none if spatial_y is None else of_frames(spatial_y, sets=2), of_temporal


@shape_function
def _refine_backward(
    grad: _Tensor, spatial_y: _Optional, temporal_y: _Optional, *rest: Any
) -> tuple[_Tensor, _Tensor]:
    return grad_frames_shapes(grad, spatial_y, temporal_y)


def grad_frames_shapes(
    grad: _Tensor, spatial_y: _Optional, temporal_y: _Optional
) -> tuple[_Tensor, _Tensor]:
    """Return the gradients of both branches, for shape functions."""
    layout = frames_format(spatial_y, temporal_y)

    def like(y: _Optional) -> _Tensor:
        return grad.new_empty(0) if y is None else torch.empty_like(y, memory_format=layout)

    return like(spatial_y), like(temporal_y)
