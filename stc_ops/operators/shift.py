"""Temporal shift: part of the channels moves one frame forward or back in time."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from .checks import check_frames, check_integer, check_segments
from .registration import call_linear, compiled, memory_format_of, public, register


@public
def temporal_shift(x: torch.Tensor, num_segments: int, shift_div: int = 8) -> torch.Tensor:
    r"""Shift a part of the channels along time, as TSM does (Lin et al., ICCV 2019).

    With ``fold = C // shift_div`` and frames ``x[t]`` of one clip::

        out[t, 0:fold]       = x[t + 1, 0:fold]        (zero at the last frame)
        out[t, fold:2*fold]  = x[t - 1, fold:2*fold]   (zero at the first frame)
        out[t, 2*fold:C]     = x[t, 2*fold:C]

    One read and one write of ``x``. Differentiable any number of times.

    Args:
        x: frames ``(N*T, C, H, W)``; float32, float64, bfloat16 or float16; contiguous or
            channels_last (other strides are copied to contiguous first).
        num_segments: T, the frames of one clip.
        shift_div: one part in ``shift_div`` of the channels moves each way; at least 2.

    Returns:
        Tensor of the shape, dtype and memory format of ``x``.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: ``x`` is not 4-D, its frames do not split into clips, or an integer is too
            small.
    """
    check_frames("temporal_shift", "x", x)
    num_segments = check_segments("temporal_shift", "x", x, num_segments)
    shift_div = check_integer("temporal_shift", "shift_div", shift_div, minimum=2)
    return call_linear("temporal_shift", temporal_shift_reference, x, num_segments, shift_div)


def temporal_shift_reference(
    x: torch.Tensor, num_segments: int, shift_div: int = 8
) -> torch.Tensor:
    """Compute :func:`temporal_shift` in plain PyTorch."""
    clips = x.unflatten(0, (-1, num_segments))
    fold = x.shape[1] // shift_div
    from_next, from_previous, stay = clips.split([fold, fold, x.shape[1] - 2 * fold], dim=2)
    no_padding = (0, 0) * 3
    shifted = torch.cat(
        [
            F.pad(from_next[:, 1:], (*no_padding, 0, 1)),
            F.pad(from_previous[:, :-1], (*no_padding, 1, 0)),
            stay,
        ],
        dim=2,
    )
    return shifted.flatten(0, 1).contiguous(memory_format=memory_format_of(x))


def _fake(x: torch.Tensor, num_segments: int, shift_div: int) -> torch.Tensor:
    return torch.empty_like(x, memory_format=memory_format_of(x))


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    _, ctx.num_segments, ctx.shift_div = inputs
    ctx.memory_format = memory_format_of(output)


def _backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
    grad = grad.contiguous(memory_format=ctx.memory_format)
    return compiled.temporal_shift_backward(grad, ctx.num_segments, ctx.shift_div), None, None


def _double_backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
    grad = grad.contiguous(memory_format=ctx.memory_format)
    return compiled.temporal_shift(grad, ctx.num_segments, ctx.shift_div), None, None


register("temporal_shift", fake=_fake, setup_context=_setup_context, backward=_backward)
register(
    "temporal_shift_backward", fake=_fake, setup_context=_setup_context, backward=_double_backward
)
