"""Global pools: the context that the gate networks of STC look at."""

from __future__ import annotations

from typing import Any

import torch

from .checks import accumulation_dtype, check_frames, check_segments
from .registration import call_linear, compiled, memory_format_of, public, register


@public
def spatial_pool(y: torch.Tensor) -> torch.Tensor:
    r"""Mean over height and width, ``out[i, c] = sum_hw y[i, c, h, w] / (H*W)``.

    The spatial context that the temporal refinement of S_T reads (paper, section III-A). One read
    of ``y``; the backward pass is one write. Differentiable any number of times.

    Args:
        y: frames ``(N*T, C, H, W)``; float32, float64, bfloat16 or float16; contiguous or
            channels_last (other strides are copied to contiguous first).

    Returns:
        ``(N*T, C)`` in float32 (float64 for float64); NaN where ``H*W`` is 0.

    Raises:
        TypeError: ``y`` is no tensor of a supported dtype.
        ValueError: ``y`` is not 4-D.
    """
    check_frames("spatial_pool", "y", y)
    return call_linear("spatial_pool", spatial_pool_reference, y)


def spatial_pool_reference(y: torch.Tensor) -> torch.Tensor:
    """Compute :func:`spatial_pool` in plain PyTorch."""
    return y.mean((2, 3), dtype=accumulation_dtype(y.dtype))


@public
def temporal_pool(y: torch.Tensor, num_segments: int) -> torch.Tensor:
    r"""Mean over the frames of each clip, ``out[n, c, h, w] = sum_t y[n*T + t, c, h, w] / T``.

    The temporal context that the spatial refinement of T_S reads (paper, section III-A). One read
    of ``y``; the backward pass is one write. Differentiable any number of times.

    Args:
        y: frames ``(N*T, C, H, W)``; float32, float64, bfloat16 or float16; contiguous or
            channels_last (other strides are copied to contiguous first).
        num_segments: T, the frames of one clip.

    Returns:
        ``(N, C, H, W)`` in float32 (float64 for float64), in the memory format of ``y``.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: ``y`` is not 4-D or its frames do not split into clips.
    """
    check_frames("temporal_pool", "y", y)
    num_segments = check_segments("temporal_pool", "y", y, num_segments)
    return call_linear("temporal_pool", temporal_pool_reference, y, num_segments)


def temporal_pool_reference(y: torch.Tensor, num_segments: int) -> torch.Tensor:
    """Compute :func:`temporal_pool` in plain PyTorch."""
    pooled = y.unflatten(0, (-1, num_segments)).mean(1, dtype=accumulation_dtype(y.dtype))
    return pooled.contiguous(memory_format=memory_format_of(y))


def _spatial_fake(y: torch.Tensor) -> torch.Tensor:
    return y.new_empty(y.shape[:2], dtype=accumulation_dtype(y.dtype))


def _spatial_setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    (y,) = inputs
    ctx.broadcast_to = (y.shape[2], y.shape[3], y.dtype, memory_format_of(y))


def _spatial_backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
    return compiled.spatial_pool_backward(grad, *ctx.broadcast_to)


def _spatial_backward_fake(
    grad: torch.Tensor,
    height: int,
    width: int,
    dtype: torch.dtype,
    memory_format: torch.memory_format,
) -> torch.Tensor:
    shape = (*grad.shape, height, width)
    return torch.empty(shape, dtype=dtype, device=grad.device, memory_format=memory_format)


def _spatial_backward_setup_context(
    ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor
) -> None:
    pass


def _spatial_double_backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    return compiled.spatial_pool(grad), None, None, None, None


def _temporal_fake(y: torch.Tensor, num_segments: int) -> torch.Tensor:
    shape = (y.shape[0] // num_segments, *y.shape[1:])
    return torch.empty(
        shape,
        dtype=accumulation_dtype(y.dtype),
        device=y.device,
        memory_format=memory_format_of(y),
    )


def _temporal_setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    y, num_segments = inputs
    ctx.broadcast_to = (num_segments, y.dtype, memory_format_of(y))


def _temporal_backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
    return compiled.temporal_pool_backward(grad, *ctx.broadcast_to), None


def _temporal_backward_fake(
    grad: torch.Tensor, num_segments: int, dtype: torch.dtype, memory_format: torch.memory_format
) -> torch.Tensor:
    shape = (grad.shape[0] * num_segments, *grad.shape[1:])
    return torch.empty(shape, dtype=dtype, device=grad.device, memory_format=memory_format)


def _temporal_backward_setup_context(
    ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor
) -> None:
    ctx.num_segments = inputs[1]


def _temporal_double_backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    return compiled.temporal_pool(grad, ctx.num_segments), None, None, None


register(
    "spatial_pool",
    fake=_spatial_fake,
    setup_context=_spatial_setup_context,
    backward=_spatial_backward,
)
register(
    "spatial_pool_backward",
    fake=_spatial_backward_fake,
    setup_context=_spatial_backward_setup_context,
    backward=_spatial_double_backward,
)
register(
    "temporal_pool",
    fake=_temporal_fake,
    setup_context=_temporal_setup_context,
    backward=_temporal_backward,
)
register(
    "temporal_pool_backward",
    fake=_temporal_backward_fake,
    setup_context=_temporal_backward_setup_context,
    backward=_temporal_double_backward,
)
