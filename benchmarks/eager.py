"""The operators as a good user of eager PyTorch writes them: what every ratio is taken against.

The references in `stc_ops` are oracles, to be read and differentiated any number of times. What is
here computes the same in fewer or faster passes, by the means that PyTorch offers: ReLU and sum in
place where autograd allows it, reductions and products over views of three dimensions instead of
strided ones of five, and TSM's published way to shift, slices copied forward and back by a
`torch.autograd.Function`. Names and arguments are those of the public operators.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import stc_ops
from stc_ops.operators.checks import accumulation_dtype
from stc_ops.operators.registration import memory_format_of

GateWeights = Sequence[torch.Tensor]


def temporal_shift(x: torch.Tensor, num_segments: int, shift_div: int = 8) -> torch.Tensor:
    return _ShiftSplit.apply(x, (x.shape[1], 0), num_segments, 1, shift_div)[0]


def spatial_pool(y: torch.Tensor) -> torch.Tensor:
    return y.mean((2, 3), dtype=accumulation_dtype(y.dtype))


def temporal_pool(y: torch.Tensor, num_segments: int) -> torch.Tensor:
    layout = memory_format_of(y)
    clips, pixels = _clips(y, layout, num_segments)
    pooled = clips.mean(1, dtype=accumulation_dtype(y.dtype))
    return _from_memory_order(pooled.unflatten(1, pixels), layout)


def temporal_gate(y: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    gate = torch.sigmoid(logits).to(y.dtype)
    layout = memory_format_of(y)
    if layout == torch.contiguous_format:
        return y * gate[:, :, None, None]
    gated = _in_memory_order(y, layout).flatten(1, 2) * gate[:, None]
    return _from_memory_order(gated.unflatten(1, y.shape[2:]), layout)


def spatial_gate(y: torch.Tensor, logits: torch.Tensor, num_segments: int) -> torch.Tensor:
    layout = memory_format_of(y)
    clips, pixels = _clips(y, layout, num_segments)
    gate = torch.sigmoid(_in_memory_order(logits, layout)).to(y.dtype).flatten(1)
    gated = clips * gate[:, None]
    return _from_memory_order(gated.flatten(0, 1).unflatten(1, pixels), layout)


def bn_relu(u: torch.Tensor, bn: stc_ops.BatchNorm) -> torch.Tensor:
    return _batch_norm(u, bn).relu_()


def bn_relu_shift(
    u: torch.Tensor, bn: stc_ops.BatchNorm, num_segments: int, shift_div: int | None = 8
) -> torch.Tensor:
    return temporal_shift(bn_relu(u, bn), num_segments, shift_div)


def bn_relu_shift_split(
    u: torch.Tensor,
    bn: stc_ops.BatchNorm,
    split: tuple[int, int],
    num_segments: int,
    stride: int = 1,
    shift_div: int | None = 8,
) -> tuple[torch.Tensor, torch.Tensor]:
    return _ShiftSplit.apply(bn_relu(u, bn), split, num_segments, stride, shift_div)


def refine_bn_relu(
    spatial_y: torch.Tensor | None,
    temporal_y: torch.Tensor | None,
    bn: stc_ops.BatchNorm,
    num_segments: int,
    temporal_gate_weights: GateWeights = (),
    spatial_gate_weights: GateWeights = (),
) -> torch.Tensor:
    refined = []
    if spatial_y is not None:
        if temporal_gate_weights:
            context = spatial_pool(spatial_y).unflatten(0, (-1, num_segments)).transpose(1, 2)
            logits = _gate_logits(F.conv1d, context, temporal_gate_weights)
            spatial_y = temporal_gate(spatial_y, logits.transpose(1, 2).flatten(0, 1))
        refined.append(spatial_y)
    if temporal_y is not None:
        if spatial_gate_weights:
            context = temporal_pool(temporal_y, num_segments)
            logits = _gate_logits(F.conv2d, context, spatial_gate_weights)
            temporal_y = spatial_gate(temporal_y, logits, num_segments)
        refined.append(temporal_y)
    return bn_relu(refined[0] if len(refined) == 1 else torch.cat(refined, dim=1), bn)


def bn_add_relu(
    w: torch.Tensor,
    bn: stc_ops.BatchNorm,
    identity: torch.Tensor,
    identity_bn: stc_ops.BatchNorm | None = None,
) -> torch.Tensor:
    out = _batch_norm(w, bn)
    out += identity if identity_bn is None else _batch_norm(identity, identity_bn)
    return out.relu_()


@contextlib.contextmanager
def in_place_of_the_operators(backend: str) -> Iterator[None]:
    """Let the layers and models of `stc_ops` call the functions of this module.

    They take the way of the fused operators, as with the kernels of `backend`; with the reference
    they would not.
    """
    replaced = [
        (module, operator, getattr(module, operator))
        for name, module in sys.modules.items()
        if name.startswith(("stc_ops.nn", "stc_ops.models"))
        for operator in stc_ops.operators.__all__
        if operator != "BatchNorm" and hasattr(module, operator)
    ]
    # Plain PyTorch keeps what backward reads.
    for helper in ("recomputing_in_backward", "recomputed_max_pool"):
        replaced.append((stc_ops.models.resnet, helper, getattr(stc_ops.models.resnet, helper)))
    try:
        for module, operator, _ in replaced:
            setattr(module, operator, globals()[operator])
        with stc_ops.use_backend(backend):
            yield
    finally:
        for module, operator, public in replaced:
            setattr(module, operator, public)


def recomputing_in_backward() -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def recomputed_max_pool(x: torch.Tensor, pool: nn.Module) -> torch.Tensor:
    return pool(x)


class _ShiftSplit(torch.autograd.Function):
    """Shift and split, each way one copy of every element."""

    @staticmethod
    def forward(
        v: torch.Tensor,
        split: tuple[int, int],
        num_segments: int,
        stride: int,
        shift_div: int | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        layout = memory_format_of(v)
        shifted, rest = v.split(split, dim=1)
        spatial = torch.empty_like(shifted, memory_format=layout)
        _copy_shifted(spatial, shifted, num_segments, shift_div, to_next=1)
        return spatial, rest[:, :, ::stride, ::stride].contiguous(memory_format=layout)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        v, *ctx.arguments = inputs
        ctx.shape, ctx.layout = v.shape, memory_format_of(v)

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


def _copy_shifted(
    out: torch.Tensor, x: torch.Tensor, num_segments: int, shift_div: int | None, to_next: int
) -> None:
    """Copy ``x`` to `out` with group `to_next` of the channels a frame later, the other earlier."""
    fold = 0 if shift_div is None else x.shape[1] // shift_div
    out_clips, clips = (frames.unflatten(0, (-1, num_segments)) for frames in (out, x))
    groups = slice(0, fold), slice(fold, 2 * fold)
    later, earlier = groups[to_next], groups[1 - to_next]
    out_clips[:, 1:, later] = clips[:, :-1, later]
    out_clips[:, 0, later] = 0
    out_clips[:, :-1, earlier] = clips[:, 1:, earlier]
    out_clips[:, -1, earlier] = 0
    out[:, 2 * fold :] = x[:, 2 * fold :]


def _batch_norm(x: torch.Tensor, bn: stc_ops.BatchNorm) -> torch.Tensor:
    return F.batch_norm(
        x, bn.running_mean, bn.running_var, bn.weight, bn.bias, bn.training, bn.momentum, bn.eps
    )


def _gate_logits(convolve, context: torch.Tensor, weights: GateWeights) -> torch.Tensor:
    *reduce, gate = weights
    logits = context.to(gate.dtype)
    for weight in reduce:
        logits = convolve(logits, weight).relu_()
    return convolve(logits, gate, padding=1).to(context.dtype)


def _clips(
    y: torch.Tensor, layout: torch.memory_format, num_segments: int
) -> tuple[torch.Tensor, torch.Size]:
    """Return frames as (N, T, all else), without a copy, and the sizes of that all else."""
    frames = _in_memory_order(y, layout)
    return frames.flatten(1).unflatten(0, (-1, num_segments)), frames.shape[1:]


def _in_memory_order(frames: torch.Tensor, layout: torch.memory_format) -> torch.Tensor:
    return frames.permute(0, 2, 3, 1) if layout == torch.channels_last else frames


def _from_memory_order(frames: torch.Tensor, layout: torch.memory_format) -> torch.Tensor:
    return frames.permute(0, 3, 1, 2) if layout == torch.channels_last else frames
