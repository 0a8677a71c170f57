"""STC's refinements, concatenation, batch norm and ReLU: all between its convolutions and conv3."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .batch_norm import (
    BatchNorm,
    batch_norm_reference,
    check_batch_norm,
    coefficients_shape,
    note_updates,
    parameters_of,
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
    without_autocast,
)
from .gate import spatial_gate_reference, temporal_gate_reference
from .moments import like_groups, of_frames, of_pixels
from .pool import spatial_pool_reference, temporal_pool_reference
from .recomputation import RecomputableFunction, note_results, saved_tensors_of
from .refinement import (
    SIZE,
    Groups,
    branches_of,
    grad_frames_shapes,
    hidden_shape,
    refine_backward_in_pieces,
    refine_in_pieces,
    refined,
)
from .registration import (
    compiled,
    frames_format,
    implementation,
    is_recorded,
    memory_format_of,
    once_differentiable,
    public,
    refuse_tracing,
    shape_function,
)

_Tensor = torch.Tensor
_Optional = torch.Tensor | None
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
    """One registered operator each way, or its pieces where statistics are synchronized."""

    @staticmethod
    def forward(
        ctx: Any,
        spatial_y: _Optional,
        temporal_y: _Optional,
        weight: _Optional,
        bias: _Optional,
        temporal_reduce: _Optional,
        temporal_gate: _Optional,
        spatial_reduce: _Optional,
        spatial_gate: _Optional,
        bn: BatchNorm,
        num_segments: int,
    ) -> _Tensor:
        frames = (spatial_y, temporal_y)
        gate_weights = (temporal_reduce, temporal_gate, spatial_reduce, spatial_gate)
        ctx.training, ctx.num_segments = bn.training, num_segments
        results = _forward(frames, (weight, bias), gate_weights, bn, num_segments)
        out, coefficients, *groups, ctx.statistics = results
        ctx.save_for_backward(*frames, coefficients, *groups, *gate_weights)
        note_results(ctx, out)
        return out

    @staticmethod
    def recompute(
        ctx: Any, spatial_y: _Optional, temporal_y: _Optional, coefficients: _Tensor, *rest: Any
    ) -> _Tensor:
        branches = branches_of((spatial_y, temporal_y), rest[2 * SIZE :], ctx.num_segments)
        return refined(branches, _groups_in(rest), coefficients, ctx.num_segments)

    @staticmethod
    @once_differentiable("refine_bn_relu")
    def backward(ctx: Any, grad: _Tensor) -> tuple[_Optional, ...]:
        spatial_y, temporal_y, coefficients, *rest = saved_tensors_of(ctx)
        frames, gate_weights = (spatial_y, temporal_y), rest[2 * SIZE :]
        with without_autocast(_device_type_of(*frames)):
            if ctx.statistics is None:
                gradients = compiled.refine_bn_relu_backward.default(
                    grad, *frames, coefficients, *rest, ctx.training, ctx.num_segments
                )
            else:
                gradients = refine_backward_in_pieces(
                    ctx.statistics,
                    grad,
                    branches_of(frames, gate_weights, ctx.num_segments),
                    coefficients,
                    _groups_in(rest),
                    ctx.num_segments,
                )
        needed = zip(gradients, ctx.needs_input_grad, strict=False)
        return *(gradient if is_needed else None for gradient, is_needed in needed), None, None


def _forward(
    frames: tuple[_Optional, _Optional],
    parameters: tuple[_Optional, _Optional],
    gate_weights: Sequence[_Optional],
    bn: BatchNorm,
    num_segments: int,
) -> tuple[Any, ...]:
    """Return the result, coefficients, what is kept per group, and statistics in pieces."""
    inputs = (*frames, *parameters)
    with without_autocast(_device_type_of(*frames)):
        if bn.process_group is not None:
            branches = branches_of(frames, gate_weights, num_segments)
            out, norm, groups = refine_in_pieces(branches, bn, num_segments)
            return out, norm.coefficients, *groups[0], *groups[1], norm.statistics
        if not bn.training:
            return *compiled.refine_bn_relu.default(
                *inputs, *bn.arguments_of_evaluation, *gate_weights, num_segments
            ), None
        results = compiled.refine_bn_relu_training.default(
            *inputs, *bn.arguments_of_training, *gate_weights, num_segments
        )
    note_updates(bn)
    return *results, None


def _groups_in(rest: Sequence[Any]) -> tuple[Groups, Groups]:
    return Groups(*rest[:SIZE]), Groups(*rest[SIZE : 2 * SIZE])


def _device_type_of(spatial_y: _Optional, temporal_y: _Optional) -> str:
    return (temporal_y if spatial_y is None else spatial_y).device.type


def _fused(
    spatial_y: _Optional,
    temporal_y: _Optional,
    bn: BatchNorm,
    num_segments: int,
    temporal_gate_weights: GateWeights,
    spatial_gate_weights: GateWeights,
) -> _Tensor:
    given = [y for y in (spatial_y, temporal_y) if y is not None]
    if any(y.numel() == 0 for y in given) and bn.process_group is None:
        return refine_bn_relu_reference(
            spatial_y, temporal_y, bn, num_segments, temporal_gate_weights, spatial_gate_weights
        )
    parameters = parameters_of(bn, accumulation_dtype(given[0].dtype))
    gate_weights = (*_padded(temporal_gate_weights), *_padded(spatial_gate_weights))
    if not is_recorded(spatial_y, temporal_y, *parameters, *gate_weights):
        return _forward((spatial_y, temporal_y), parameters, gate_weights, bn, num_segments)[0]
    return _Refine.apply(spatial_y, temporal_y, *parameters, *gate_weights, bn, num_segments)


def _padded(weights: GateWeights) -> tuple[_Optional, _Optional]:
    """Return the weights of a gate network as a pair of reduce and gate, None for what it lacks."""
    return (*(None,) * (2 - len(weights)), *weights)


@shape_function
def _refine_bn_relu(
    spatial_y: _Optional, temporal_y: _Optional, *norm_and_weights: Any
) -> tuple[_Tensor, ...]:
    return _results(spatial_y, temporal_y, *norm_and_weights[-5:], training=False)


@shape_function
def _refine_bn_relu_training(
    spatial_y: _Optional, temporal_y: _Optional, *norm_and_weights: Any
) -> tuple[_Tensor, ...]:
    return _results(spatial_y, temporal_y, *norm_and_weights[-5:], training=True)


def _results(
    spatial_y: _Optional,
    temporal_y: _Optional,
    temporal_reduce: _Optional,
    temporal_gate: _Optional,
    spatial_reduce: _Optional,
    spatial_gate: _Optional,
    num_segments: int,
    training: bool,
) -> tuple[_Tensor, ...]:
    y = temporal_y if spatial_y is None else spatial_y
    channels = sum(each.shape[1] for each in (spatial_y, temporal_y) if each is not None)
    shape, layout = (y.shape[0], channels, *y.shape[2:]), frames_format(spatial_y, temporal_y)
    out = torch.empty(shape, dtype=y.dtype, device=y.device, memory_format=layout)

    def groups(gate: _Optional, reduce: _Optional, like: Callable[[], _Tensor]) -> list[_Tensor]:
        def none() -> _Tensor:
            return y.new_empty(0, dtype=accumulation_dtype(y.dtype))

        if gate is None:
            return [none() for _ in range(SIZE)]
        mean = like()
        return [mean, like() if training else none(), like(), hidden_shape(mean, reduce, gate)]

    def per_pixel() -> _Tensor:
        return of_pixels(temporal_y, num_segments, memory_format_of(temporal_y))

    return (
        out,
        coefficients_shape(out),
        *groups(temporal_gate, temporal_reduce, lambda: of_frames(spatial_y)),
        *groups(spatial_gate, spatial_reduce, per_pixel),
    )


@shape_function
def _refine_bn_relu_backward(
    grad: _Tensor,
    spatial_y: _Optional,
    temporal_y: _Optional,
    coefficients: _Tensor,
    *rest: Any,
) -> tuple[_Tensor, ...]:
    of_weights = (
        grad.new_empty(0) if weight is None else like_groups(weight) for weight in rest[8:12]
    )
    of_parameters = (coefficients.new_empty(coefficients.shape[1]) for _ in range(2))
    return *grad_frames_shapes(grad, spatial_y, temporal_y), *of_parameters, *of_weights
