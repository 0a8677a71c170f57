"""The operators as a good user of eager PyTorch writes them: what ratios are taken against.

The references in `stc_ops` are oracles, to be read and differentiated any number of times. What is
here computes the same in fewer or faster passes, by the means that PyTorch offers: ReLU and sum in
place where autograd allows it, reductions and products over views of three dimensions instead of
strided ones of five, TSM's published way to shift, slices copied forward and back by a
`torch.autograd.Function`, and gated branches written where their concatenation is. In evaluation
without autograd, normalization goes along with the pass before it, by ``torch.addcmul`` into
slices. Names and arguments are those of the public operators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from eager_functions import Gated, ShiftSplit
from eager_views import as_clips, broadcast_gate, flat, format_of, per_channel, shifted_parts, write

import stc_ops

GateWeights = Sequence[torch.Tensor]


def temporal_shift(x: torch.Tensor, num_segments: int, shift_div: int = 8) -> torch.Tensor:
    return shift_split(x, (x.shape[1], 0), num_segments, 1, shift_div)[0]


def spatial_pool(y: torch.Tensor) -> torch.Tensor:
    return y.mean((2, 3), dtype=_wide(y))


def temporal_pool(y: torch.Tensor, num_segments: int) -> torch.Tensor:
    layout = format_of(y)
    pooled = as_clips(flat(y, layout), num_segments).mean(1, dtype=_wide(y))
    if layout == torch.contiguous_format:
        return pooled.unflatten(2, y.shape[2:])
    return pooled.unflatten(1, y.shape[2:]).permute(0, 3, 1, 2)


def temporal_gate(y: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return Gated.apply(y, None, torch.sigmoid(logits).to(y.dtype), None, 1)


def spatial_gate(y: torch.Tensor, logits: torch.Tensor, num_segments: int) -> torch.Tensor:
    return Gated.apply(None, y, None, torch.sigmoid(logits).to(y.dtype), num_segments)


def bn_relu(u: torch.Tensor, bn: stc_ops.BatchNorm) -> torch.Tensor:
    return _batch_norm(u, bn).relu_()


def bn_relu_shift(
    u: torch.Tensor, bn: stc_ops.BatchNorm, num_segments: int, shift_div: int | None = 8
) -> torch.Tensor:
    return bn_relu_shift_split(u, bn, (u.shape[1], 0), num_segments, 1, shift_div)[0]


def bn_relu_shift_split(
    u: torch.Tensor,
    bn: stc_ops.BatchNorm,
    split: tuple[int, int],
    num_segments: int,
    stride: int = 1,
    shift_div: int | None = 8,
) -> tuple[torch.Tensor, torch.Tensor]:
    if not _is_affine(bn):
        return shift_split(bn_relu(u, bn), split, num_segments, stride, shift_div)
    layout = format_of(u)
    (scale, shift), (temporal_scale, temporal_shift) = _affine_parts(bn, u.dtype, split)
    spatial_u, temporal_u = u.split(split, dim=1)
    temporal_u = temporal_u[:, :, ::stride, ::stride]
    spatial = torch.empty_like(spatial_u, memory_format=layout)
    temporal = torch.empty_like(temporal_u, memory_format=layout)
    for out, taken, channels in shifted_parts(spatial, spatial_u, num_segments, shift_div, 1):
        if taken is None:
            out.zero_()
        else:
            write(out, torch.addcmul, shift[channels], taken, scale[channels])
    write(temporal, torch.addcmul, temporal_shift, temporal_u, temporal_scale)
    return spatial.relu_(), temporal.relu_()


def shift_split(
    v: torch.Tensor,
    split: tuple[int, int],
    num_segments: int,
    stride: int = 1,
    shift_div: int | None = 8,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first channels shifted and the others at every `stride`-th pixel, both dense."""
    return ShiftSplit.apply(v, split, num_segments, stride, shift_div)


def refine_bn_relu(
    spatial_y: torch.Tensor | None,
    temporal_y: torch.Tensor | None,
    bn: stc_ops.BatchNorm,
    num_segments: int,
    temporal_gate_weights: GateWeights = (),
    spatial_gate_weights: GateWeights = (),
) -> torch.Tensor:
    frame_gate = pixel_gate = None
    if spatial_y is not None and temporal_gate_weights:
        context = spatial_pool(spatial_y).unflatten(0, (-1, num_segments)).transpose(1, 2)
        logits = _gate_logits(F.conv1d, context, temporal_gate_weights)
        frame_gate = torch.sigmoid(logits.transpose(1, 2).flatten(0, 1)).to(spatial_y.dtype)
    if temporal_y is not None and spatial_gate_weights:
        context = temporal_pool(temporal_y, num_segments)
        logits = _gate_logits(F.conv2d, context, spatial_gate_weights)
        pixel_gate = torch.sigmoid(logits).to(temporal_y.dtype)
    if _is_affine(bn):
        branches = ((spatial_y, frame_gate, False), (temporal_y, pixel_gate, True))
        return _gated_and_normalized(branches, bn, num_segments).relu_()
    return bn_relu(Gated.apply(spatial_y, temporal_y, frame_gate, pixel_gate, num_segments), bn)


def bn_add_relu(
    w: torch.Tensor,
    bn: stc_ops.BatchNorm,
    identity: torch.Tensor,
    identity_bn: stc_ops.BatchNorm | None = None,
) -> torch.Tensor:
    if identity_bn is not None and _is_affine(bn) and _is_affine(identity_bn):
        scale, shift = _affine(bn, w.dtype)
        identity_scale, identity_shift = _affine(identity_bn, w.dtype)
        out = torch.addcmul(shift + identity_shift, w, scale)
        return out.addcmul_(identity, identity_scale).relu_()
    out = _batch_norm(w, bn)
    out += identity if identity_bn is None else _batch_norm(identity, identity_bn)
    return out.relu_()


def _gated_and_normalized(
    branches: Sequence[tuple[torch.Tensor | None, torch.Tensor | None, bool]],
    bn: stc_ops.BatchNorm,
    num_segments: int,
) -> torch.Tensor:
    """Gate and normalize each branch (frames, gate, whether it is of clips) in a pass."""
    branches = [branch for branch in branches if branch[0] is not None]
    (first, *_), split = branches[0], [y.shape[1] for y, *_ in branches]
    layout = format_of(first)
    frames, _, *pixels = first.shape
    kind = {"dtype": first.dtype, "device": first.device, "memory_format": layout}
    out = torch.empty(frames, sum(split), *pixels, **kind)
    parts = zip(out.split(split, dim=1), _affine_parts(bn, first.dtype, split), strict=True)
    for (y, gate, of_clips), (part, affine) in zip(branches, parts, strict=True):
        factor, shift = (per_channel(each, layout) for each in affine)
        views = [flat(each, layout) for each in (part, y)]
        if of_clips:
            views = [as_clips(each, num_segments) for each in views]
        if gate is not None:
            factor = broadcast_gate(gate, layout) * factor
        write(views[0], torch.addcmul, shift, views[1], factor)
    return out


def _is_affine(bn: stc_ops.BatchNorm) -> bool:
    """Tell whether normalization is one product and sum, of which autograd records nothing."""
    return not bn.training and not torch.is_grad_enabled()


def _affine(bn: stc_ops.BatchNorm, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scale and shift of the channels, ``(C, 1, 1)``."""
    scale = torch.rsqrt(bn.running_var + bn.eps)
    if bn.weight is not None:
        scale *= bn.weight
    shift = -bn.running_mean * scale
    if bn.bias is not None:
        shift += bn.bias
    return scale[:, None, None].to(dtype), shift[:, None, None].to(dtype)


def _affine_parts(
    bn: stc_ops.BatchNorm, dtype: torch.dtype, split: Sequence[int]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(zip(*(each.split(list(split)) for each in _affine(bn, dtype)), strict=True))


def _batch_norm(x: torch.Tensor, bn: stc_ops.BatchNorm) -> torch.Tensor:
    return F.batch_norm(
        x, bn.running_mean, bn.running_var, bn.weight, bn.bias, bn.training, bn.momentum, bn.eps
    )


def _gate_logits(
    convolve: Callable[..., torch.Tensor], context: torch.Tensor, weights: GateWeights
) -> torch.Tensor:
    *reduce, gate = weights
    logits = context.to(gate.dtype)
    for weight in reduce:
        logits = convolve(logits, weight).relu_()
    return convolve(logits, gate, padding=1).to(context.dtype)


def _wide(y: torch.Tensor) -> torch.dtype:
    return torch.promote_types(y.dtype, torch.float32)
