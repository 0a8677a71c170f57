"""Sigmoid gates broadcast over space or time: the refinement of STC's two branches."""

from __future__ import annotations

from typing import Any

import torch

from .checks import check_frames, check_segments, checked_logits
from .registration import (
    compiled,
    implementation,
    memory_format_of,
    public,
    refuse_double_backward,
    register,
)


@public
def temporal_gate(y: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    r"""Gate every channel of every frame.

    ``z[i, c, h, w] = y[i, c, h, w] * sigmoid(logits[i, c])``

    The temporal refinement of S_T (paper, equation 1). With ``e = sigmoid(logits)`` and the
    gradient ``d`` of ``z`` the backward pass is, in one pass over the frames::

        dy = d * e            dlogits = e * (1 - e) * sum_hw d * y

    Forward: one read, one write; backward: two reads, one write. Not differentiable twice on
    compiled backends.

    Args:
        y: frames ``(N*T, C, H, W)``; float32, float64, bfloat16 or float16; contiguous or
            channels_last (other strides are copied to contiguous first).
        logits: ``(N*T, C)`` in float32 (float64 for float64 ``y``); autocast casts them.

    Returns:
        Tensor of the shape, dtype and memory format of ``y``.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: ``y`` is not 4-D, or ``logits`` has the wrong shape or device.
    """
    check_frames("temporal_gate", "y", y)
    logits = checked_logits("temporal_gate", logits, y, (y.shape[0], y.shape[1]))
    gate = implementation(
        "temporal_gate",
        (y, logits),
        reference=temporal_gate_reference,
        kernels=compiled.temporal_gate,
    )
    return gate(y, logits)


def temporal_gate_reference(y: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Compute :func:`temporal_gate` in plain PyTorch."""
    gate = torch.sigmoid(logits).to(y.dtype)
    return (y * gate[:, :, None, None]).contiguous(memory_format=memory_format_of(y))


@public
def spatial_gate(y: torch.Tensor, logits: torch.Tensor, num_segments: int) -> torch.Tensor:
    r"""Gate every channel of every pixel of a clip.

    ``z[n*T + t, c, h, w] = y[n*T + t, c, h, w] * sigmoid(logits[n, c, h, w])``

    The spatial refinement of T_S (paper, equation 2). With ``e = sigmoid(logits)`` and the
    gradient ``d`` of ``z`` the backward pass is, in one pass over the frames::

        dy = d * e            dlogits = e * (1 - e) * sum_t d * y

    Forward: one read, one write; backward: two reads, one write. Not differentiable twice on
    compiled backends.

    Args:
        y: frames ``(N*T, C, H, W)``; float32, float64, bfloat16 or float16; contiguous or
            channels_last (other strides are copied to contiguous first).
        logits: ``(N, C, H, W)`` in float32 (float64 for float64 ``y``); autocast casts them. Best
            in the memory format of ``y``, else they are copied to it.
        num_segments: T, the frames of one clip.

    Returns:
        Tensor of the shape, dtype and memory format of ``y``.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: ``y`` is not 4-D, its frames do not split into clips, or ``logits`` has the
            wrong shape or device.
    """
    check_frames("spatial_gate", "y", y)
    num_segments = check_segments("spatial_gate", "y", y, num_segments)
    shape = (y.shape[0] // num_segments, *y.shape[1:])
    logits = checked_logits("spatial_gate", logits, y, shape)
    gate = implementation(
        "spatial_gate",
        (y, logits),
        reference=spatial_gate_reference,
        kernels=compiled.spatial_gate,
    )
    return gate(y, logits, num_segments)


def spatial_gate_reference(
    y: torch.Tensor, logits: torch.Tensor, num_segments: int
) -> torch.Tensor:
    """Compute :func:`spatial_gate` in plain PyTorch."""
    gate = torch.sigmoid(logits).to(y.dtype)
    gated = y.unflatten(0, (-1, num_segments)) * gate[:, None]
    return gated.flatten(0, 1).contiguous(memory_format=memory_format_of(y))


def _fake(y: torch.Tensor, logits: torch.Tensor, *num_segments: int) -> torch.Tensor:
    return torch.empty_like(y, memory_format=memory_format_of(y))


def _backward_fake(
    grad: torch.Tensor, y: torch.Tensor, logits: torch.Tensor, *num_segments: int
) -> tuple[torch.Tensor, torch.Tensor]:
    frames_format = memory_format_of(y)
    grad_logits_format = frames_format if logits.ndim == 4 else torch.contiguous_format
    return (
        torch.empty_like(y, memory_format=frames_format),
        torch.empty_like(logits, memory_format=grad_logits_format),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    y, logits, *ctx.num_segments = inputs
    ctx.save_for_backward(y, logits)


def _temporal_backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return compiled.temporal_gate_backward(grad, *ctx.saved_tensors)


def _spatial_backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
    return *compiled.spatial_gate_backward(grad, *ctx.saved_tensors, *ctx.num_segments), None


for _operator, _derivative in (
    ("temporal_gate", _temporal_backward),
    ("spatial_gate", _spatial_backward),
):
    register(_operator, fake=_fake, setup_context=_setup_context, backward=_derivative)
    register(f"{_operator}_backward", fake=_backward_fake, **refuse_double_backward(_operator))
