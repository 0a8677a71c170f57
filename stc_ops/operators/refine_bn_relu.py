"""STC's refinements, concatenation, batch norm and ReLU: all between its convolutions and conv3."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from . import steps
from .batch_norm import (
    BatchNorm,
    Normalization,
    batch_norm_reference,
    check_batch_norm,
    normalization,
    normalization_gradient,
    tensors_of,
)
from .checks import (
    accumulation_dtype,
    autocast_to,
    check_frames,
    check_parameter,
    check_segments,
    check_tensor,
    name_of,
)
from .gate import spatial_gate_reference, temporal_gate_reference
from .pool import spatial_pool_reference, temporal_pool_reference
from .recomputation import RecomputableFunction, note_results, saved_tensors_of
from .refinement import (
    SIZE,
    Branch,
    branch_of,
    first_channels,
    gate_networks,
    network_gradients,
    sums_of_channels,
)
from .registration import (
    frames_format,
    implementation,
    once_differentiable,
    public,
    refuse_tracing,
)

GateWeights = Sequence[torch.Tensor]


@public
def refine_bn_relu(
    spatial_y: torch.Tensor | None,
    temporal_y: torch.Tensor | None,
    bn: BatchNorm,
    num_segments: int,
    temporal_gate_weights: GateWeights = (),
    spatial_gate_weights: GateWeights = (),
) -> torch.Tensor:
    r"""Refine the two branches of STC, concatenate, normalize and rectify.

    ``out = relu(bn(cat(TR(spatial_y), SR(temporal_y))))`` (paper, equations 1 to 3) with::

        TR(y) = temporal_gate(y, gate_network(spatial_pool(y)))     convolutions over T
        SR(y) = spatial_gate(y, gate_network(temporal_pool(y)))     convolutions over H, W

    A gate network is given by its weights: ``(gate,)`` is a convolution of kernel 3 and padding 1,
    ``(reduce, gate)`` STC-Light's pointwise convolution and ReLU before it, ``()`` switches the
    refinement off.

    Training: one read of the branches for their moments, from which the statistics of the gated
    frames follow, then one read and one write. Evaluation: one read for the means that the gate
    networks need, one read, one write. Backward: one pass for the sums of the normalization and of
    the gates, one that writes the gradients; gated frames, concatenation and mask are not stored.

    Args:
        spatial_y: frames ``(N*T, a, H, W)``, what S_T's convolution returns, or None where alpha is
            0; float32, float64, bfloat16 or float16; contiguous or channels_last.
        temporal_y: frames ``(N*T, b, H, W)``, what T_S's convolution returns, or None where alpha
            is 1. Where autocast has given the branches two dtypes it casts them to one that
            holds both.
        bn: the normalization of the ``a + b`` channels.
        num_segments: T, the frames of one clip.
        temporal_gate_weights: of TR: gate ``(a, h, 3)``, reduce ``(h, a, 1)``.
        spatial_gate_weights: of SR: gate ``(b, h, 3, 3)``, reduce ``(h, b, 1, 1)``.

    Returns:
        Frames ``(N*T, a + b, H, W)`` in the dtype of the branches; channels_last if a branch is.

    Raises:
        TypeError: an argument has the wrong type or dtype, or the branches differ in dtype.
        ValueError: both branches are None or they do not fit each other, frames do not split into
            clips, or `bn` or the weights do not fit.
    """
    name = "refine_bn_relu"
    refuse_tracing(name)
    branches = {"spatial_y": spatial_y, "temporal_y": temporal_y}
    given = {argument: y for argument, y in branches.items() if y is not None}
    if not given:
        raise ValueError(f"{name}: spatial_y or temporal_y must be given, got None for both")
    for argument, y in given.items():
        check_frames(name, argument, y)
        num_segments = check_segments(name, argument, y, num_segments)
    if len(given) == 2:
        widest = torch.promote_types(spatial_y.dtype, temporal_y.dtype)
        spatial_y, temporal_y = autocast_to(widest, spatial_y), autocast_to(widest, temporal_y)
        _check_alike(name, spatial_y, temporal_y)
    _check_gate(name, "temporal_gate_weights", temporal_gate_weights, spatial_y, (3,))
    _check_gate(name, "spatial_gate_weights", spatial_gate_weights, temporal_y, (3, 3))
    channels = sum(y.shape[1] for y in given.values())
    check_batch_norm(name, "bn", bn, channels, temporal_y if spatial_y is None else spatial_y)
    gate_weights = (tuple(temporal_gate_weights), tuple(spatial_gate_weights))
    tensors = (spatial_y, temporal_y, *tensors_of(bn), *gate_weights[0], *gate_weights[1])
    run = implementation(name, tensors, reference=refine_bn_relu_reference, kernels=_fused)
    return run(spatial_y, temporal_y, bn, num_segments, *gate_weights)


def _check_alike(name: str, first: torch.Tensor, last: torch.Tensor) -> None:
    if first.dtype != last.dtype:
        raise TypeError(
            f"{name}: temporal_y must be {name_of(first.dtype)} as spatial_y is, "
            f"got {name_of(last.dtype)}"
        )
    same_sizes = first.shape[0] == last.shape[0] and first.shape[2:] == last.shape[2:]
    if not same_sizes or first.device != last.device:
        raise ValueError(
            f"{name}: temporal_y must have the frames, pixels and device of spatial_y, "
            f"{tuple(first.shape)} on {first.device}, got {tuple(last.shape)} on {last.device}"
        )


def _check_gate(
    name: str,
    argument: str,
    weights: GateWeights,
    y: torch.Tensor | None,
    kernel: tuple[int, ...],
) -> None:
    if not isinstance(weights, (Sequence, nn.ParameterList)):
        raise TypeError(
            f"{name}: {argument} must be a tuple of tensors, got {type(weights).__name__}"
        )
    if len(weights) == 0:
        return
    if y is None:
        raise ValueError(f"{name}: {argument} must be () where their branch is None")
    for weight in weights:
        check_tensor(name, argument, weight)
    channels = y.shape[1]
    shapes = tuple(tuple(weight.shape) for weight in weights)
    hidden = shapes[-1][1] if shapes[-1][1:] else 0
    expected = ((hidden, channels, *(1 for _ in kernel)), (channels, hidden, *kernel))
    if len(weights) == 1:
        expected = ((channels, channels, *kernel),)
    if shapes != expected:
        raise ValueError(f"{name}: {argument} must have shapes {expected}, got {shapes}")
    for weight, shape in zip(weights, shapes, strict=True):
        check_parameter(name, argument, weight, shape, y)
    if weights[0].dtype != weights[-1].dtype:
        raise TypeError(
            f"{name}: {argument} must have one dtype, got {name_of(weights[0].dtype)} and "
            f"{name_of(weights[-1].dtype)}"
        )


def refine_bn_relu_reference(
    spatial_y: torch.Tensor | None,
    temporal_y: torch.Tensor | None,
    bn: BatchNorm,
    num_segments: int,
    temporal_gate_weights: GateWeights = (),
    spatial_gate_weights: GateWeights = (),
) -> torch.Tensor:
    """Compute :func:`refine_bn_relu` in plain PyTorch."""
    refined = []
    if spatial_y is not None:
        refined.append(_temporal_refinement(spatial_y, num_segments, temporal_gate_weights))
    if temporal_y is not None:
        refined.append(_spatial_refinement(temporal_y, num_segments, spatial_gate_weights))
    out = torch.relu(batch_norm_reference(torch.cat(refined, dim=1), bn))
    return out.contiguous(memory_format=frames_format(spatial_y, temporal_y))


def _temporal_refinement(y: torch.Tensor, num_segments: int, weights: GateWeights) -> torch.Tensor:
    if not weights:
        return y
    context = spatial_pool_reference(y).unflatten(0, (-1, num_segments)).transpose(1, 2)
    logits = _gate_logits(F.conv1d, context, weights).transpose(1, 2).flatten(0, 1)
    return temporal_gate_reference(y, logits)


def _spatial_refinement(y: torch.Tensor, num_segments: int, weights: GateWeights) -> torch.Tensor:
    if not weights:
        return y
    context = temporal_pool_reference(y, num_segments)
    return spatial_gate_reference(y, _gate_logits(F.conv2d, context, weights), num_segments)


def _gate_logits(
    convolve: Callable[..., torch.Tensor], context: torch.Tensor, weights: GateWeights
) -> torch.Tensor:
    *reduce, gate = weights
    logits = context.to(gate.dtype)
    for weight in reduce:
        logits = torch.relu(convolve(logits, weight))
    return convolve(logits, gate, padding=1).to(context.dtype)


class _Refine(RecomputableFunction):
    """The pass that writes the result, and the two passes back."""

    @staticmethod
    def forward(
        ctx: Any,
        spatial_y: torch.Tensor | None,
        temporal_y: torch.Tensor | None,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        temporal_reduce: torch.Tensor | None,
        temporal_gate: torch.Tensor | None,
        spatial_reduce: torch.Tensor | None,
        spatial_gate: torch.Tensor | None,
        norm: Normalization,
        num_segments: int,
        branches: tuple[Branch, Branch],
    ) -> torch.Tensor:
        gate_weights = (temporal_reduce, temporal_gate, spatial_reduce, spatial_gate)
        ctx.save_for_backward(
            spatial_y, temporal_y, norm.coefficients, *branches[0], *branches[1], *gate_weights
        )
        ctx.statistics, ctx.num_segments = norm.statistics, num_segments
        gates = (branch.gate for branch in branches)
        out = steps.refine(spatial_y, temporal_y, *gates, norm.coefficients, num_segments)
        note_results(ctx, out)
        return out

    @staticmethod
    def recompute(
        ctx: Any,
        spatial_y: torch.Tensor | None,
        temporal_y: torch.Tensor | None,
        coefficients: torch.Tensor,
        *groups: torch.Tensor | None,
    ) -> torch.Tensor:
        gates = Branch(*groups[:SIZE]).gate, Branch(*groups[SIZE : 2 * SIZE]).gate
        return steps.refine(spatial_y, temporal_y, *gates, coefficients, ctx.num_segments)

    @staticmethod
    @once_differentiable("refine_bn_relu")
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        spatial_y, temporal_y, coefficients, *groups_and_weights = saved_tensors_of(ctx)
        groups, gate_weights = groups_and_weights[: 2 * SIZE], groups_and_weights[2 * SIZE :]
        branches = (Branch(*groups[:SIZE]), Branch(*groups[SIZE:]))
        networks = gate_networks(gate_weights, ctx.num_segments)
        frames, gates = (spatial_y, temporal_y), [branch.gate for branch in branches]
        means = (branch.mean for branch in branches)
        sums = steps.refine_backward_sums(
            grad, *frames, *gates, *means, coefficients, ctx.num_segments
        )
        gradient = normalization_gradient(
            ctx.statistics, coefficients, sums_of_channels(frames, branches, sums, coefficients)
        )
        group_sizes = (grad.shape[2] * grad.shape[3], ctx.num_segments)
        of_networks = [
            network_gradients(
                branch, network, of_groups, coefficients, gradient.coefficients, first, size
            )
            for branch, network, of_groups, first, size in zip(
                branches, networks, sums, first_channels(frames), group_sizes, strict=True
            )
        ]
        grad_frames = steps.refine_backward(
            grad,
            *frames,
            *gates,
            *(of_network.context for of_network in of_networks),
            coefficients,
            gradient.coefficients,
            ctx.num_segments,
        )
        return (
            *(None if y is None else each for y, each in zip(frames, grad_frames, strict=True)),
            *gradient.of_parameters(ctx.needs_input_grad[2:4]),
            *of_networks[0].weights,
            *of_networks[1].weights,
            *(None,) * 3,
        )


def _fused(
    spatial_y: torch.Tensor | None,
    temporal_y: torch.Tensor | None,
    bn: BatchNorm,
    num_segments: int,
    temporal_gate_weights: GateWeights,
    spatial_gate_weights: GateWeights,
) -> torch.Tensor:
    frames = (spatial_y, temporal_y)
    given = [y for y in frames if y is not None]
    if any(y.numel() == 0 for y in given) and bn.process_group is None:
        return refine_bn_relu_reference(
            spatial_y, temporal_y, bn, num_segments, temporal_gate_weights, spatial_gate_weights
        )
    training = bn.training
    gate_weights = (*_padded(temporal_gate_weights), *_padded(spatial_gate_weights))
    networks = gate_networks(gate_weights, num_segments)
    with torch.no_grad(), torch.autocast(given[0].device.type, enabled=False):
        branches, moments = zip(
            *(
                branch_of(y, network, training, num_segments)
                for y, network in zip(frames, networks, strict=True)
            ),
            strict=True,
        )
        moments = torch.cat([each for each in moments if each is not None], 1) if training else None
    pixels = given[0].shape[2] * given[0].shape[3]
    dtype = accumulation_dtype(given[0].dtype)
    norm = normalization(bn, moments, given[0].shape[0] * pixels, dtype)
    return _Refine.apply(
        *frames,
        norm.weight,
        norm.bias,
        *gate_weights,
        norm,
        num_segments,
        branches,
    )


def _padded(weights: GateWeights) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Return the weights of a gate network as a pair of reduce and gate, None for what it lacks."""
    return (*(None,) * (2 - len(weights)), *weights)
