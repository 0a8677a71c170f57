"""Steps of the eager operators whose derivative autograd would take more passes for."""

from __future__ import annotations

from typing import Any

import torch
from eager_views import as_clips, broadcast_gate, flat, format_of, shifted_parts, write


class ShiftSplit(torch.autograd.Function):
    """Shift and split, each way one copy of every element."""

    @staticmethod
    def forward(
        v: torch.Tensor,
        split: tuple[int, int],
        num_segments: int,
        stride: int,
        shift_div: int | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        layout = format_of(v)
        shifted, rest = v.split(split, dim=1)
        spatial = torch.empty_like(shifted, memory_format=layout)
        _copy_shifted(spatial, shifted, num_segments, shift_div, to_next=1)
        # A copy even where nothing is left out: a result must be no view.
        temporal = torch.empty_like(rest[:, :, ::stride, ::stride], memory_format=layout)
        return spatial, temporal.copy_(rest[:, :, ::stride, ::stride])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        v, *ctx.arguments = inputs
        ctx.shape, ctx.layout = v.shape, format_of(v)

    @staticmethod
    def backward(
        ctx: Any, grad_spatial: torch.Tensor, grad_temporal: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        split, num_segments, stride, shift_div = ctx.arguments
        kind = {"dtype": grad_spatial.dtype, "device": grad_spatial.device}
        grad = torch.empty(ctx.shape, **kind, memory_format=ctx.layout)
        shifted, rest = grad.split(split, dim=1)
        _copy_shifted(shifted, grad_spatial, num_segments, shift_div, to_next=0)
        if stride > 1:
            rest.zero_()
        rest[:, :, ::stride, ::stride] = grad_temporal
        return grad, None, None, None, None


class Gated(torch.autograd.Function):
    """``cat(spatial_y * frame_gate, temporal_y * pixel_gate)``, without the pass of ``cat``.

    A branch may be None, and so may a gate.
    """

    @staticmethod
    def forward(
        spatial_y: torch.Tensor | None,
        temporal_y: torch.Tensor | None,
        frame_gate: torch.Tensor | None,
        pixel_gate: torch.Tensor | None,
        num_segments: int,
    ) -> torch.Tensor:
        branches = _branches(spatial_y, temporal_y, frame_gate, pixel_gate, num_segments)
        layout = format_of(branches[0][0])
        split = [y.shape[1] for y, *_ in branches]
        frames, _, *pixels = branches[0][0].shape
        kind = {"dtype": branches[0][0].dtype, "device": branches[0][0].device}
        out = torch.empty(frames, sum(split), *pixels, **kind, memory_format=layout)
        for part, (y, gate, segments) in zip(out.split(split, dim=1), branches, strict=True):
            if gate is None:
                part.copy_(y)
            else:
                views = (as_clips(flat(each, layout), segments) for each in (part, y))
                out_view, y_view = views
                write(out_view, torch.mul, y_view, _over_clips(gate, layout))
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        *tensors, ctx.num_segments = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        saved = ctx.saved_tensors
        branches = _branches(*saved, ctx.num_segments)
        layout = format_of(branches[0][0])
        parts = iter(grad.split([y.shape[1] for y, *_ in branches], dim=1))
        grads = [
            (None, None) if y is None else _gated_backward(next(parts), y, gate, segments, layout)
            for y, gate, segments in _all_branches(*saved, ctx.num_segments)
        ]
        (spatial, frame_gate), (temporal, pixel_gate) = grads
        return spatial, temporal, frame_gate, pixel_gate, None


def _all_branches(
    spatial_y: torch.Tensor | None,
    temporal_y: torch.Tensor | None,
    frame_gate: torch.Tensor | None,
    pixel_gate: torch.Tensor | None,
    num_segments: int,
) -> list[tuple[Any, Any, int]]:
    """Return frames, gates, and how many frames share a gate, of both branches."""
    return [(spatial_y, frame_gate, 1), (temporal_y, pixel_gate, num_segments)]


def _branches(*arguments: Any) -> list[tuple[torch.Tensor, torch.Tensor | None, int]]:
    return [branch for branch in _all_branches(*arguments) if branch[0] is not None]


def _over_clips(gate: torch.Tensor, layout: torch.memory_format) -> torch.Tensor:
    gate = broadcast_gate(gate, layout)
    return gate[:, None] if gate.ndim == 3 else gate


def _gated_backward(
    grad: torch.Tensor,
    y: torch.Tensor,
    gate: torch.Tensor | None,
    segments: int,
    layout: torch.memory_format,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    if gate is None:
        return grad.contiguous(memory_format=layout), None
    grad_y = torch.empty_like(y, memory_format=layout)
    grad_y_view, grad_view, y_view = (
        as_clips(flat(each, layout), segments) for each in (grad_y, grad, y)
    )
    of_clips = _over_clips(gate, layout)
    write(grad_y_view, torch.mul, grad_view, of_clips)
    grad_gate = (grad_view * y_view).sum_to_size(of_clips.shape)
    if gate.ndim == 2:
        return grad_y, grad_gate.reshape(gate.shape)
    grad_gate = grad_gate.squeeze(1)
    if layout == torch.channels_last:
        return grad_y, grad_gate.unflatten(1, gate.shape[2:]).permute(0, 3, 1, 2)
    return grad_y, grad_gate.unflatten(2, gate.shape[2:])


def _copy_shifted(
    out: torch.Tensor, x: torch.Tensor, num_segments: int, shift_div: int | None, to_next: int
) -> None:
    for part, taken, _ in shifted_parts(out, x, num_segments, shift_div, to_next):
        if taken is None:
            part.zero_()
        else:
            part.copy_(taken)
