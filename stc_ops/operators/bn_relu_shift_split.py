"""Batch norm, ReLU, temporal shift and split in one pass: what a block's convolutions read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .batch_norm import (
    BatchNorm,
    Normalization,
    Statistics,
    batch_norm_reference,
    check_batch_norm,
    coefficients_shape,
    frames_normalization,
    normalization_gradient,
    note_updates,
    parameters_of,
    tensors_of,
)
from .checks import accumulation_dtype, check_frames, check_integer, check_segments
from .recomputation import RecomputableFunction, note_results, saved_tensors_of
from .registration import (
    compiled,
    implementation,
    is_recorded,
    memory_format_of,
    once_differentiable,
    public,
    refuse_tracing,
    shape_function,
)
from .shift import temporal_shift_reference

_Tensor = torch.Tensor
_Optional = torch.Tensor | None


@public
def bn_relu_shift_split(
    u: torch.Tensor,
    bn: BatchNorm,
    split: tuple[int, int],
    num_segments: int,
    stride: int = 1,
    shift_div: int | None = 8,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Normalize, rectify, shift and split: the inputs of STC's two convolutions.

    With ``v = relu(bn(u))`` and ``split = (a, b)``::

        spatial  = temporal_shift(v[:, :a], num_segments, shift_div)
        temporal = v[:, a:, ::stride, ::stride]

    Training: one read of ``u`` for the statistics, then one read and one write. Evaluation: one
    read, one write. Backward: one pass for the two sums of the normalization, one that writes the
    gradient; neither the normalized frames nor the mask of the ReLU are stored.

    Args:
        u: frames ``(N*T, C, H, W)``, what the first convolution of a block returns; float32,
            float64, bfloat16 or float16; contiguous or channels_last.
        bn: the normalization of its C channels.
        split: channels of the two results; together C.
        num_segments: T, the frames of one clip.
        stride: of the pixels in `temporal`; T_S's convolution reads no others.
        shift_div: one part in ``shift_div`` of the first a channels moves each way; None for no
            shift.

    Returns:
        ``(N*T, a, H, W)`` and ``(N*T, b, ceil(H/stride), ceil(W/stride))``, in the dtype and
        memory format of ``u``.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: ``u`` is not 4-D, its frames do not split into clips, `split` does not add up to
            its channels, `bn` does not fit, or an integer is too small.
    """
    return _run("bn_relu_shift_split", u, bn, split, num_segments, stride, shift_div)


def _run(
    name: str,
    u: torch.Tensor,
    bn: BatchNorm,
    split: tuple[int, int] | None,
    num_segments: int,
    stride: int,
    shift_div: int | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    refuse_tracing(name)
    check_frames(name, "u", u)
    num_segments = check_segments(name, "u", u, num_segments)
    stride = check_integer(name, "stride", stride, minimum=1)
    if shift_div is not None:
        shift_div = check_integer(name, "shift_div", shift_div, minimum=2)
    channels = u.shape[1]
    if split is None:
        split = (channels, 0)
    is_pair = isinstance(split, Sequence) and len(split) == 2
    if is_pair:
        split = tuple(check_integer(name, "split", part, minimum=0) for part in split)
    if not is_pair or sum(split) != channels:
        raise ValueError(
            f"{name}: split must be two integers that add up to {channels} channels, got {split}"
        )
    check_batch_norm(name, "bn", bn, channels, u)
    run = implementation(
        name,
        (u, *tensors_of(bn)),
        reference=bn_relu_shift_split_reference,
        kernels=_fused,
    )
    return run(u, bn, split, num_segments, stride, shift_div)


def bn_relu_shift_split_reference(
    u: torch.Tensor,
    bn: BatchNorm,
    split: tuple[int, int],
    num_segments: int,
    stride: int = 1,
    shift_div: int | None = 8,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute :func:`bn_relu_shift_split` in plain PyTorch."""
    layout = memory_format_of(u)
    spatial, temporal = torch.relu(batch_norm_reference(u, bn)).split(split, dim=1)
    if shift_div is not None:
        spatial = temporal_shift_reference(spatial, num_segments, shift_div)
    temporal = temporal[:, :, ::stride, ::stride]
    return spatial.contiguous(memory_format=layout), temporal.contiguous(memory_format=layout)


Layout = tuple[int, int, int, int]


class _ShiftSplit(RecomputableFunction):
    """One registered operator each way, or its pieces where statistics are synchronized."""

    @staticmethod
    def forward(
        ctx: Any,
        u: _Tensor,
        weight: _Optional,
        bias: _Optional,
        bn: BatchNorm,
        layout: Layout,
    ) -> tuple[_Tensor, _Tensor]:
        ctx.training, ctx.layout = bn.training, layout
        results = _forward(u, (weight, bias), bn, layout)
        spatial, temporal, coefficients, ctx.statistics = results
        ctx.save_for_backward(u, coefficients)
        note_results(ctx, spatial, temporal)
        return spatial, temporal

    @staticmethod
    def recompute(ctx: Any, u: _Tensor, coefficients: _Tensor) -> tuple[_Tensor, _Tensor]:
        return compiled.shift_split.default(u, coefficients, *ctx.layout)

    @staticmethod
    @once_differentiable("bn_relu_shift_split")
    def backward(ctx: Any, grad_spatial: _Tensor, grad_temporal: _Tensor) -> tuple[_Optional, ...]:
        inputs = (grad_spatial, grad_temporal, *saved_tensors_of(ctx))
        if ctx.statistics is None:
            grad_u, *of_parameters = compiled.bn_relu_shift_split_backward.default(
                *inputs, ctx.training, *ctx.layout
            )
        else:
            grad_u, *of_parameters = split_backward_in_pieces(ctx.statistics, inputs, ctx.layout)
        needed = zip(of_parameters, ctx.needs_input_grad[1:3], strict=True)
        return grad_u, *(each if is_needed else None for each, is_needed in needed), None, None


def _forward(
    u: _Tensor, parameters: tuple[_Optional, _Optional], bn: BatchNorm, layout: Layout
) -> tuple[_Tensor, _Tensor, _Tensor, Statistics | None]:
    if bn.process_group is not None:
        spatial, temporal, norm = split_in_pieces(u, bn, layout)
        return spatial, temporal, *norm
    if not bn.training:
        return *compiled.bn_relu_shift_split.default(
            u, *parameters, *bn.arguments_of_evaluation, *layout
        ), None
    results = compiled.bn_relu_shift_split_training.default(
        u, *parameters, *bn.arguments_of_training, *layout
    )
    note_updates(bn)
    return *results, None


def split_in_pieces(
    u: _Tensor, bn: BatchNorm, layout: Layout
) -> tuple[_Tensor, _Tensor, Normalization]:
    """Return both results and the normalization, by registered operators for the pieces."""
    norm = frames_normalization(bn, u)
    return *compiled.shift_split.default(u, norm.coefficients, *layout), norm


def split_backward_in_pieces(
    statistics: Statistics, inputs: tuple[_Tensor, ...], layout: Layout
) -> tuple[_Tensor, _Tensor, _Tensor]:
    """Return the gradients of frames, gamma and beta."""
    sums = compiled.shift_split_backward_sums.default(*inputs, *layout)
    gradient = normalization_gradient(statistics, inputs[-1], sums)
    grad_u = compiled.shift_split_backward.default(*inputs, gradient.coefficients, *layout)
    return grad_u, gradient.weight, gradient.bias


def _fused(
    u: _Tensor,
    bn: BatchNorm,
    split: tuple[int, int],
    num_segments: int,
    stride: int,
    shift_div: int | None,
) -> tuple[_Tensor, _Tensor]:
    if u.numel() == 0 and bn.process_group is None:
        return bn_relu_shift_split_reference(u, bn, split, num_segments, stride, shift_div)
    fold = 0 if shift_div is None else split[0] // shift_div
    layout = (num_segments, split[0], fold, stride)
    parameters = parameters_of(bn, accumulation_dtype(u.dtype))
    if not is_recorded(u, *parameters):
        return _forward(u, parameters, bn, layout)[:2]
    return _ShiftSplit.apply(u, *parameters, bn, layout)


@shape_function
def _shift_split(
    u: _Tensor,
    coefficients: _Tensor,
    num_segments: int,
    spatial_channels: int,
    fold: int,
    stride: int,
) -> tuple[_Tensor, _Tensor]:
    frames, channels, height, width = u.shape
    layout = memory_format_of(u)
    # Rounded up, and so that a symbolic size stays what an export with dynamic sizes can tell.
    grid = ((height - 1) // stride + 1, (width - 1) // stride + 1)

    def empty(channels: int, size: tuple[int, int]) -> _Tensor:
        shape = (frames, channels, *size)
        return torch.empty(shape, dtype=u.dtype, device=u.device, memory_format=layout)

    return empty(spatial_channels, (height, width)), empty(channels - spatial_channels, grid)


@shape_function
def _shift_split_backward_sums(
    grad_spatial: _Tensor, grad_temporal: _Tensor, u: _Tensor, coefficients: _Tensor, *layout: int
) -> _Tensor:
    return coefficients.new_empty((2, u.shape[1]))


@shape_function
def _shift_split_backward(
    grad_spatial: _Tensor, grad_temporal: _Tensor, u: _Tensor, *rest: Any
) -> _Tensor:
    return torch.empty_like(u, memory_format=memory_format_of(u))


@shape_function
def _bn_relu_shift_split(u: _Tensor, *norm_and_layout: Any) -> tuple[_Tensor, _Tensor, _Tensor]:
    coefficients = coefficients_shape(u)
    return *_shift_split(u, coefficients, *norm_and_layout[-4:]), coefficients


@shape_function
def _bn_relu_shift_split_training(
    u: _Tensor, *norm_and_layout: Any
) -> tuple[_Tensor, _Tensor, _Tensor]:
    return _bn_relu_shift_split(u, *norm_and_layout)


@shape_function
def _bn_relu_shift_split_backward(
    grad_spatial: _Tensor, grad_temporal: _Tensor, u: _Tensor, coefficients: _Tensor, *rest: Any
) -> tuple[_Tensor, _Tensor, _Tensor]:
    of_parameters = (coefficients.new_empty(u.shape[1]) for _ in range(2))
    return torch.empty_like(u, memory_format=memory_format_of(u)), *of_parameters


@public
def bn_relu_shift(
    u: torch.Tensor, bn: BatchNorm, num_segments: int, shift_div: int | None = 8
) -> torch.Tensor:
    r"""Compute ``temporal_shift(relu(bn(u)), num_segments, shift_div)`` in the passes of one.

    :func:`bn_relu_shift_split` without the split, for TSM-style networks; see there for the passes,
    the arguments and the errors.
    """
    return _run("bn_relu_shift", u, bn, None, num_segments, 1, shift_div)[0]


@public
def bn_relu(u: torch.Tensor, bn: BatchNorm) -> torch.Tensor:
    r"""Compute ``relu(bn(u))`` in the passes of :func:`bn_relu_shift_split`; see there."""
    return _run("bn_relu", u, bn, None, 1, 1, None)[0]
