"""Batch norm, residual sum and ReLU in one pass: the end of a bottleneck."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .batch_norm import (
    NO_BATCH_NORM,
    BatchNorm,
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
from .checks import accumulation_dtype, autocast_to, check_frames, name_of
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

_Tensor = torch.Tensor
_Optional = torch.Tensor | None


@public
def bn_add_relu(
    w: torch.Tensor,
    bn: BatchNorm,
    identity: torch.Tensor,
    identity_bn: BatchNorm | None = None,
) -> torch.Tensor:
    r"""Normalize, add the residual and rectify.

    ``out = relu(bn(w) + identity)``, or ``relu(bn(w) + identity_bn(identity))`` where `identity` is
    what the convolution of a downsample branch returns.

    Training: one read of each normalized input for its statistics, then one read of both inputs and
    one write. Evaluation: the last pass alone. Backward: one pass for the sums of the
    normalizations, which also writes the gradient of an identity that is added as it is, and one
    that writes those of normalized inputs; the mask of the ReLU is read off the result.

    Args:
        w: frames ``(N*T, C, H, W)``, what the last convolution of a block returns; float32,
            float64, bfloat16 or float16; contiguous or channels_last.
        bn: the normalization of ``w``.
        identity: frames of the shape, dtype and device of ``w``; best in its memory format, else
            they are copied to it. Autocast casts them to the dtype of ``w``.
        identity_bn: the normalization of `identity`, or None to add it as it is.

    Returns:
        Tensor of the shape, dtype and memory format of ``w``.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: ``w`` is not 4-D, `identity` has another shape or device, or a normalization
            does not fit.
    """
    name = "bn_add_relu"
    refuse_tracing(name)
    check_frames(name, "w", w)
    check_frames(name, "identity", identity)
    identity = autocast_to(w.dtype, identity)
    if identity.shape != w.shape or identity.device != w.device:
        raise ValueError(
            f"{name}: identity must have the shape and device of w, {tuple(w.shape)} on "
            f"{w.device}, got {tuple(identity.shape)} on {identity.device}"
        )
    if identity.dtype != w.dtype:
        raise TypeError(
            f"{name}: identity must be {name_of(w.dtype)} as w is, got {name_of(identity.dtype)}"
        )
    check_batch_norm(name, "bn", bn, w.shape[1], w)
    if identity_bn is not None:
        check_batch_norm(name, "identity_bn", identity_bn, w.shape[1], w)
    tensors = (w, identity, *tensors_of(bn), *tensors_of(identity_bn))
    run = implementation(name, tensors, reference=bn_add_relu_reference, kernels=_fused)
    return run(w, bn, identity, identity_bn)


def bn_add_relu_reference(
    w: torch.Tensor,
    bn: BatchNorm,
    identity: torch.Tensor,
    identity_bn: BatchNorm | None = None,
) -> torch.Tensor:
    """Compute :func:`bn_add_relu` in plain PyTorch."""
    if identity_bn is not None:
        identity = batch_norm_reference(identity, identity_bn)
    out = torch.relu(batch_norm_reference(w, bn) + identity)
    return out.contiguous(memory_format=memory_format_of(w))


class _AddReLU(torch.autograd.Function):
    """One registered operator each way, or its pieces where statistics are synchronized."""

    @staticmethod
    def forward(
        ctx: Any,
        w: _Tensor,
        weight: _Optional,
        bias: _Optional,
        identity: _Tensor,
        identity_weight: _Optional,
        identity_bias: _Optional,
        bn: BatchNorm,
        identity_bn: BatchNorm | None,
    ) -> _Tensor:
        parameters = ((weight, bias), (identity_weight, identity_bias))
        ctx.training = bn.training, identity_bn is not None and identity_bn.training
        results = _forward(w, identity, parameters, bn, identity_bn)
        out, *coefficients, ctx.statistics = results
        if identity_bn is None:
            ctx.save_for_backward(w, out, coefficients[0])
        else:
            ctx.save_for_backward(w, out, coefficients[0], identity, coefficients[1])
        return out

    @staticmethod
    @once_differentiable("bn_add_relu")
    def backward(ctx: Any, grad: _Tensor) -> tuple[_Optional, ...]:
        w, out, coefficients, *of_identity = ctx.saved_tensors
        identity, identity_coefficients = of_identity or (None, None)
        inputs = (grad, out, w, identity, coefficients, identity_coefficients)
        if ctx.statistics is None:
            gradients = compiled.bn_add_relu_backward.default(*inputs, *ctx.training)
        else:
            gradients = add_backward_in_pieces(ctx.statistics, *inputs)
        needed = zip(gradients, ctx.needs_input_grad, strict=False)
        return *(gradient if is_needed else None for gradient, is_needed in needed), None, None


def _forward(
    w: _Tensor,
    identity: _Tensor,
    parameters: Sequence[tuple[_Optional, _Optional]],
    bn: BatchNorm,
    identity_bn: BatchNorm | None,
) -> tuple[_Tensor, _Tensor, _Optional, tuple[Statistics, ...] | None]:
    norms = (bn, identity_bn or NO_BATCH_NORM)
    if any(norm.process_group is not None for norm in norms):
        return add_in_pieces(w, identity, bn, identity_bn)
    if not any(norm.training for norm in norms):
        arguments = [norm.arguments_of_evaluation for norm in norms]
        return *compiled.bn_add_relu.default(
            w, identity, *parameters[0], *arguments[0], *parameters[1], *arguments[1]
        ), None
    arguments = [
        (*norm.arguments_of_training[:3], norm.training, *norm.arguments_of_training[3:])
        for norm in norms
    ]
    results = compiled.bn_add_relu_training.default(
        w, identity, *parameters[0], *arguments[0], *parameters[1], *arguments[1]
    )
    note_updates(*norms)
    return *results, None


def add_in_pieces(
    w: _Tensor, identity: _Tensor, bn: BatchNorm, identity_bn: BatchNorm | None
) -> tuple[_Tensor, _Tensor, _Optional, tuple[Statistics, ...]]:
    """Return the result, the coefficients and the statistics, by operators for the pieces."""
    norm = frames_normalization(bn, w)
    if identity_bn is None:
        out = compiled.add_relu.default(w, identity, norm.coefficients, None)
        return out, norm.coefficients, None, (norm.statistics,)
    of_identity = frames_normalization(identity_bn, identity)
    coefficients = (norm.coefficients, of_identity.coefficients)
    out = compiled.add_relu.default(w, identity, *coefficients)
    return out, *coefficients, (norm.statistics, of_identity.statistics)


def add_backward_in_pieces(
    statistics: tuple[Statistics, ...],
    grad: _Tensor,
    out: _Tensor,
    w: _Tensor,
    identity: _Optional,
    coefficients: _Tensor,
    identity_coefficients: _Optional,
) -> tuple[_Optional, ...]:
    """Return the gradients of frames, gamma and beta, and of those of the identity."""
    inputs = (grad, out, w, identity, coefficients, identity_coefficients)
    sums, of_added = compiled.add_relu_backward_sums.default(*inputs)
    of_w = normalization_gradient(statistics[0], coefficients, sums[:2])
    if identity is None:
        grad_w, _ = compiled.add_relu_backward.default(
            of_added, None, w, None, coefficients, None, of_w.coefficients, None
        )
        return grad_w, of_w.weight, of_w.bias, of_added, None, None
    of_identity = normalization_gradient(statistics[1], identity_coefficients, sums[::2])
    grad_w, grad_identity = compiled.add_relu_backward.default(
        *inputs, of_w.coefficients, of_identity.coefficients
    )
    return grad_w, of_w.weight, of_w.bias, grad_identity, of_identity.weight, of_identity.bias


def _fused(w: _Tensor, bn: BatchNorm, identity: _Tensor, identity_bn: BatchNorm | None) -> _Tensor:
    norms = (bn,) if identity_bn is None else (bn, identity_bn)
    if w.numel() == 0 and all(each.process_group is None for each in norms):
        return bn_add_relu_reference(w, bn, identity, identity_bn)
    dtype = accumulation_dtype(w.dtype)
    parameters = [parameters_of(each, dtype) for each in (bn, identity_bn or NO_BATCH_NORM)]
    if not is_recorded(w, identity, *parameters[0], *parameters[1]):
        return _forward(w, identity, parameters, bn, identity_bn)[0]
    return _AddReLU.apply(w, *parameters[0], identity, *parameters[1], bn, identity_bn)


@shape_function
def _bn_add_relu(
    w: _Tensor,
    identity: _Tensor,
    weight: _Optional,
    bias: _Optional,
    running_mean: _Optional,
    running_var: _Optional,
    eps: float,
    identity_weight: _Optional,
    identity_bias: _Optional,
    identity_running_mean: _Optional,
    *of_identity: Any,
) -> tuple[_Tensor, _Tensor, _Tensor]:
    return _normalized_shapes(w, identity_running_mean is not None)


@shape_function
def _bn_add_relu_training(
    w: _Tensor, identity: _Tensor, *norms: Any
) -> tuple[_Tensor, _Tensor, _Tensor]:
    of_identity = norms[len(norms) // 2 :]
    _, _, running_mean, _, _, training, _, _ = of_identity
    return _normalized_shapes(w, training or running_mean is not None)


def _normalized_shapes(w: _Tensor, normalizes_identity: bool) -> tuple[_Tensor, _Tensor, _Tensor]:
    coefficients = coefficients_shape(w)
    of_identity = coefficients_shape(w) if normalizes_identity else coefficients.new_empty(0)
    return _like(w), coefficients, of_identity


@shape_function
def _bn_add_relu_backward(
    grad: _Tensor,
    out: _Tensor,
    w: _Tensor,
    identity: _Optional,
    coefficients: _Tensor,
    *rest: Any,
) -> tuple[_Tensor, ...]:
    def of_parameter() -> _Tensor:
        return coefficients.new_empty(w.shape[1])

    def of_identity_parameter() -> _Tensor:
        return w.new_empty(0) if identity is None else of_parameter()

    of_identity = of_identity_parameter(), of_identity_parameter()
    return _like(w), of_parameter(), of_parameter(), _like(w), *of_identity


@shape_function
def _add_relu(
    w: _Tensor, identity: _Tensor, coefficients: _Tensor, identity_coefficients: _Optional
) -> _Tensor:
    return _like(w)


@shape_function
def _add_relu_backward_sums(
    grad: _Tensor,
    out: _Tensor,
    w: _Tensor,
    identity: _Optional,
    coefficients: _Tensor,
    identity_coefficients: _Optional,
) -> tuple[_Tensor, _Tensor]:
    if identity_coefficients is None:
        return coefficients.new_empty((2, w.shape[1])), _like(w)
    return coefficients.new_empty((3, w.shape[1])), w.new_empty(0)


@shape_function
def _add_relu_backward(
    grad: _Tensor, out: _Optional, w: _Tensor, identity: _Optional, *coefficients: _Optional
) -> tuple[_Tensor, _Tensor]:
    return _like(w), w.new_empty(0) if identity is None else _like(w)


def _like(w: _Tensor) -> _Tensor:
    return torch.empty_like(w, memory_format=memory_format_of(w))
