"""Batch norm, residual sum and ReLU in one pass: the end of a bottleneck."""

from __future__ import annotations

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
from .checks import autocast_to, check_frames, name_of
from .registration import (
    implementation,
    memory_format_of,
    once_differentiable,
    public,
    refuse_tracing,
)


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
    """The pass that writes the result, and the two passes back."""

    @staticmethod
    def forward(
        ctx: Any,
        w: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        identity: torch.Tensor,
        norm: Normalization,
    ) -> torch.Tensor:
        out = steps.add_relu(w, identity, norm.coefficients, None)
        ctx.save_for_backward(w, out, norm.coefficients)
        ctx.statistics = norm.statistics
        return out

    @staticmethod
    @once_differentiable("bn_add_relu")
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        w, out, coefficients = ctx.saved_tensors
        sums, grad_identity = steps.add_relu_backward_sums(grad, out, w, None, coefficients, None)
        gradient = normalization_gradient(ctx.statistics, coefficients, sums)
        grad_w, _ = steps.add_relu_backward(
            grad_identity, None, w, None, coefficients, None, gradient.coefficients, None
        )
        return grad_w, *gradient.of_parameters(ctx.needs_input_grad[1:3]), grad_identity, None


class _AddNormalizedReLU(torch.autograd.Function):
    """The same where the identity is normalized too."""

    @staticmethod
    def forward(
        ctx: Any,
        w: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        identity: torch.Tensor,
        identity_weight: torch.Tensor | None,
        identity_bias: torch.Tensor | None,
        norm: Normalization,
        identity_norm: Normalization,
    ) -> torch.Tensor:
        coefficients = (norm.coefficients, identity_norm.coefficients)
        out = steps.add_relu(w, identity, *coefficients)
        ctx.save_for_backward(w, out, identity, *coefficients)
        ctx.statistics, ctx.identity_statistics = norm.statistics, identity_norm.statistics
        return out

    @staticmethod
    @once_differentiable("bn_add_relu")
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        w, out, identity, coefficients, identity_coefficients = ctx.saved_tensors
        inputs = (grad, out, w, identity, coefficients, identity_coefficients)
        sums, _ = steps.add_relu_backward_sums(*inputs)
        of_w = normalization_gradient(ctx.statistics, coefficients, sums[:2])
        of_identity = normalization_gradient(
            ctx.identity_statistics, identity_coefficients, sums[::2]
        )
        grad_w, grad_identity = steps.add_relu_backward(
            *inputs, of_w.coefficients, of_identity.coefficients
        )
        return (
            grad_w,
            *of_w.of_parameters(ctx.needs_input_grad[1:3]),
            grad_identity,
            *of_identity.of_parameters(ctx.needs_input_grad[4:6]),
            None,
            None,
        )


def _fused(
    w: torch.Tensor, bn: BatchNorm, identity: torch.Tensor, identity_bn: BatchNorm | None
) -> torch.Tensor:
    norms = (bn,) if identity_bn is None else (bn, identity_bn)
    if w.numel() == 0 and all(each.process_group is None for each in norms):
        return bn_add_relu_reference(w, bn, identity, identity_bn)
    norm = frames_normalization(bn, w)
    if identity_bn is None:
        return _AddReLU.apply(w, norm.weight, norm.bias, identity, norm)
    of_identity = frames_normalization(identity_bn, identity)
    return _AddNormalizedReLU.apply(
        w,
        norm.weight,
        norm.bias,
        identity,
        of_identity.weight,
        of_identity.bias,
        norm,
        of_identity,
    )
