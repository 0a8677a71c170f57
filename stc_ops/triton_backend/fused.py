"""The fused operators, each from the kernels of its pieces."""

from __future__ import annotations

from typing import Any

import torch

from stc_ops.operators.batch_norm import BatchNorm, Statistics
from stc_ops.operators.bn_add_relu import add_backward_in_pieces, add_in_pieces
from stc_ops.operators.bn_relu_shift_split import split_backward_in_pieces, split_in_pieces
from stc_ops.operators.refinement import (
    Groups,
    branches_of,
    refine_backward_in_pieces,
    refine_in_pieces,
)

_Tensor = torch.Tensor
_Optional = torch.Tensor | None


def _statistics(frames: _Tensor, training: bool) -> Statistics:
    count = frames.shape[0] * frames.shape[2] * frames.shape[3] if training else 0
    return Statistics(count, None)


def _trained(
    weight: _Optional,
    bias: _Optional,
    running_mean: _Optional,
    running_var: _Optional,
    num_batches_tracked: _Optional,
    *how: Any,
) -> BatchNorm:
    training, momentum, eps = how if len(how) == 3 else (True, *how)
    running = (running_mean, running_var)
    norm = (weight, bias, *running, training, momentum, eps)
    return BatchNorm(*norm, num_batches_tracked=num_batches_tracked)


def _constant(*parameters_and_running: _Optional, eps: float) -> BatchNorm:
    return BatchNorm(*parameters_and_running, training=False, eps=eps)


def bn_relu_shift_split(u: _Tensor, *norm_and_layout: Any) -> tuple[_Tensor, ...]:
    """Compute `stc_ops::bn_relu_shift_split`."""
    *norm, eps = norm_and_layout[:-4]
    return _split(u, _constant(*norm, eps=eps), norm_and_layout[-4:])


def bn_relu_shift_split_training(u: _Tensor, *norm_and_layout: Any) -> tuple[_Tensor, ...]:
    """Compute `stc_ops::bn_relu_shift_split_training`."""
    return _split(u, _trained(*norm_and_layout[:-4]), norm_and_layout[-4:])


def _split(u: _Tensor, bn: BatchNorm, layout: tuple[int, ...]) -> tuple[_Tensor, ...]:
    spatial, temporal, norm = split_in_pieces(u, bn, layout)
    return spatial, temporal, norm.coefficients


def bn_relu_shift_split_backward(
    grad_spatial: _Tensor,
    grad_temporal: _Tensor,
    u: _Tensor,
    coefficients: _Tensor,
    training: bool,
    *layout: int,
) -> tuple[_Tensor, _Tensor, _Tensor]:
    """Compute `stc_ops::bn_relu_shift_split_backward`."""
    inputs = (grad_spatial, grad_temporal, u, coefficients)
    return split_backward_in_pieces(_statistics(u, training), inputs, layout)


def bn_add_relu(w: _Tensor, identity: _Tensor, *norms: Any) -> tuple[_Tensor, ...]:
    """Compute `stc_ops::bn_add_relu`."""
    of_w, of_identity = norms[: len(norms) // 2], norms[len(norms) // 2 :]
    bn, identity_bn = (_constant(*each[:-1], eps=each[-1]) for each in (of_w, of_identity))
    return _add(w, identity, bn, identity_bn)


def bn_add_relu_training(w: _Tensor, identity: _Tensor, *norms: Any) -> tuple[_Tensor, ...]:
    """Compute `stc_ops::bn_add_relu_training`."""
    of_w, of_identity = norms[: len(norms) // 2], norms[len(norms) // 2 :]
    return _add(w, identity, _trained(*of_w), _trained(*of_identity))


def _add(
    w: _Tensor, identity: _Tensor, bn: BatchNorm, identity_bn: BatchNorm
) -> tuple[_Tensor, ...]:
    is_given = identity_bn.training or identity_bn.running_mean is not None
    out, first, last, _ = add_in_pieces(w, identity, bn, identity_bn if is_given else None)
    return out, first, first.new_empty(0) if last is None else last


def bn_add_relu_backward(
    grad: _Tensor, out: _Tensor, w: _Tensor, *inputs_and_training: Any
) -> tuple[_Tensor, ...]:
    """Compute `stc_ops::bn_add_relu_backward`."""
    *inputs, training, identity_training = inputs_and_training
    statistics = (_statistics(w, training), _statistics(w, identity_training))
    gradients = add_backward_in_pieces(statistics, grad, out, w, *inputs)
    return tuple(w.new_empty(0) if each is None else each for each in gradients)


def refine_bn_relu(
    spatial_y: _Optional, temporal_y: _Optional, *norm_and_weights: Any
) -> tuple[_Tensor, ...]:
    """Compute `stc_ops::refine_bn_relu`."""
    *norm, eps = norm_and_weights[:-5]
    bn = _constant(*norm, eps=eps)
    return _refine((spatial_y, temporal_y), bn, *norm_and_weights[-5:])


def refine_bn_relu_training(
    spatial_y: _Optional, temporal_y: _Optional, *norm_and_weights: Any
) -> tuple[_Tensor, ...]:
    """Compute `stc_ops::refine_bn_relu_training`."""
    bn = _trained(*norm_and_weights[:-5])
    return _refine((spatial_y, temporal_y), bn, *norm_and_weights[-5:])


def _refine(
    frames: tuple[_Optional, _Optional], bn: BatchNorm, *weights_and_segments: Any
) -> tuple[_Tensor, ...]:
    *gate_weights, num_segments = weights_and_segments
    branches = branches_of(frames, gate_weights, num_segments)
    out, norm, groups = refine_in_pieces(branches, bn, num_segments)
    return out, norm.coefficients, *groups[0], *groups[1]


def refine_bn_relu_backward(
    grad: _Tensor,
    spatial_y: _Optional,
    temporal_y: _Optional,
    coefficients: _Tensor,
    *rest: Any,
) -> tuple[_Tensor, ...]:
    """Compute `stc_ops::refine_bn_relu_backward`."""
    groups, gate_weights, (training, num_segments) = rest[:8], rest[8:12], rest[12:]
    branches = branches_of((spatial_y, temporal_y), gate_weights, num_segments)
    gradients = refine_backward_in_pieces(
        _statistics(grad, training),
        grad,
        branches,
        coefficients,
        (Groups(*groups[:4]), Groups(*groups[4:])),
        num_segments,
    )
    return tuple(grad.new_empty(0) if each is None else each for each in gradients)
