"""Batch norm, ReLU, temporal shift and split in one pass: what a block's convolutions read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from . import steps
from .batch_norm import (
    BatchNorm,
    Normalization,
    batch_norm_reference,
    check_batch_norm,
    frames_normalization,
    normalization_gradient,
    tensors_of,
)
from .checks import check_frames, check_integer, check_segments
from .recomputation import RecomputableFunction, note_results, saved_tensors_of
from .registration import (
    implementation,
    memory_format_of,
    once_differentiable,
    public,
    refuse_tracing,
)
from .shift import temporal_shift_reference


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


class _ShiftSplit(RecomputableFunction):
    """The pass that writes the results, and the two passes back."""

    @staticmethod
    def forward(
        ctx: Any,
        u: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        norm: Normalization,
        layout: tuple[int, ...],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.save_for_backward(u, norm.coefficients)
        ctx.statistics, ctx.layout = norm.statistics, layout
        results = steps.shift_split(u, norm.coefficients, *layout)
        note_results(ctx, *results)
        return results

    @staticmethod
    def recompute(
        ctx: Any, u: torch.Tensor, coefficients: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return steps.shift_split(u, coefficients, *ctx.layout)

    @staticmethod
    @once_differentiable("bn_relu_shift_split")
    def backward(
        ctx: Any, grad_spatial: torch.Tensor, grad_temporal: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        u, coefficients = saved_tensors_of(ctx)
        inputs = (grad_spatial, grad_temporal, u, coefficients)
        sums = steps.shift_split_backward_sums(*inputs, *ctx.layout)
        gradient = normalization_gradient(ctx.statistics, coefficients, sums)
        grad_u = steps.shift_split_backward(*inputs, gradient.coefficients, *ctx.layout)
        return grad_u, *gradient.of_parameters(ctx.needs_input_grad[1:3]), None, None


def _fused(
    u: torch.Tensor,
    bn: BatchNorm,
    split: tuple[int, int],
    num_segments: int,
    stride: int,
    shift_div: int | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    if u.numel() == 0 and bn.process_group is None:
        return bn_relu_shift_split_reference(u, bn, split, num_segments, stride, shift_div)
    fold = 0 if shift_div is None else split[0] // shift_div
    norm = frames_normalization(bn, u)
    layout = (num_segments, split[0], fold, stride)
    return _ShiftSplit.apply(u, norm.weight, norm.bias, norm, layout)


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
