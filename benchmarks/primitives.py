"""The primitive operators and what each of their passes moves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from matrix import (
    DTYPES,
    MEMORY_FORMATS,
    Family,
    Inputs,
    Operator,
    Setting,
    Traffic,
    every_stage,
)

from stc_ops.operators.checks import accumulation_dtype

ShapeOf = Callable[[Setting], tuple[int, ...]]

registered = torch.ops.stc_ops


def _frames_only(setting: Setting) -> Inputs:
    return Inputs([setting.random_frames()], [])


def _frames_and_logits(shape_of: ShapeOf, setting: Setting) -> Inputs:
    logits = torch.randn(shape_of(setting), dtype=accumulation_dtype(DTYPES[setting.dtype]))
    if logits.ndim == 4:
        logits = logits.contiguous(memory_format=MEMORY_FORMATS[setting.memory_format])
    return Inputs([setting.random_frames(), logits], [])


def _per_frame(setting: Setting) -> tuple[int, ...]:
    return setting.frames_shape[:2]


def _per_clip(setting: Setting) -> tuple[int, ...]:
    return (setting.clips, *setting.frames_shape[1:])


def _small_bytes(shape_of: ShapeOf, setting: Setting) -> int:
    itemsize = accumulation_dtype(DTYPES[setting.dtype]).itemsize
    return torch.Size(shape_of(setting)).numel() * itemsize


def _shift_traffic(setting: Setting) -> dict[str, list[Traffic]]:
    frames = setting.frames_bytes()
    return {"forward": [Traffic(frames, frames)], "backward": [Traffic(frames, frames)]}


def _pool_traffic(shape_of: ShapeOf, setting: Setting) -> dict[str, list[Traffic]]:
    frames, small = setting.frames_bytes(), _small_bytes(shape_of, setting)
    return {"forward": [Traffic(frames, small)], "backward": [Traffic(small, frames)]}


def _gate_traffic(shape_of: ShapeOf, setting: Setting) -> dict[str, list[Traffic]]:
    frames, small = setting.frames_bytes(), _small_bytes(shape_of, setting)
    return {
        "forward": [Traffic(frames + small, frames)],
        "backward": [Traffic(2 * frames + small, frames + small)],
    }


def _format(setting: Setting) -> tuple[torch.dtype, torch.memory_format]:
    return DTYPES[setting.dtype], MEMORY_FORMATS[setting.memory_format]


OPERATORS = {
    "temporal_shift": Operator(
        run=lambda library, s, _, x: library.temporal_shift(x, s.num_segments),
        inputs=_frames_only,
        traffic=_shift_traffic,
        backward=lambda s, grad, x: registered.temporal_shift_backward(grad, s.num_segments, 8),
    ),
    "spatial_pool": Operator(
        run=lambda library, s, _, y: library.spatial_pool(y),
        inputs=_frames_only,
        traffic=partial(_pool_traffic, _per_frame),
        backward=lambda s, grad, y: registered.spatial_pool_backward(
            grad, *y.shape[2:], *_format(s)
        ),
    ),
    "temporal_pool": Operator(
        run=lambda library, s, _, y: library.temporal_pool(y, s.num_segments),
        inputs=_frames_only,
        traffic=partial(_pool_traffic, _per_clip),
        backward=lambda s, grad, y: registered.temporal_pool_backward(
            grad, s.num_segments, *_format(s)
        ),
    ),
    "temporal_gate": Operator(
        run=lambda library, s, _, y, logits: library.temporal_gate(y, logits),
        inputs=partial(_frames_and_logits, _per_frame),
        traffic=partial(_gate_traffic, _per_frame),
        backward=lambda s, grad, y, logits: registered.temporal_gate_backward(grad, y, logits),
    ),
    "spatial_gate": Operator(
        run=lambda library, s, _, y, logits: library.spatial_gate(y, logits, s.num_segments),
        inputs=partial(_frames_and_logits, _per_clip),
        traffic=partial(_gate_traffic, _per_clip),
        backward=lambda s, grad, y, logits: registered.spatial_gate_backward(
            grad, y, logits, s.num_segments
        ),
    ),
}


def _settings() -> list[Setting]:
    """Return every stage and batch in float32, and the other dtypes at N = 8, T = 8."""
    return [
        setting
        for memory_format in MEMORY_FORMATS
        for dtype in DTYPES
        for setting in every_stage(
            memory_format,
            dtype,
            ((1, 8), (1, 16), (8, 8), (8, 16)) if dtype == "float32" else ((8, 8),),
        )
    ]


PRIMITIVES = Family(
    name="primitive",
    operators=OPERATORS,
    modes=("forward", "backward-operator", "backward", "both"),
    settings=_settings(),
    has_relu=False,
)
