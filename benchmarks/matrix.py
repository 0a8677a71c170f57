"""What is measured: operators, stage shapes, dtypes, memory formats, bytes of each pass."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

import stc_ops
from stc_ops.operators.checks import accumulation_dtype

MEMORY_FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
STAGES = ((64, 56), (128, 28), (256, 14), (512, 7))


class Setting(NamedTuple):
    """Frames of one ResNet-50 stage: N clips of T frames with C channels of H x H pixels."""

    clips: int
    num_segments: int
    channels: int
    height: int
    dtype: str
    memory_format: str

    def __str__(self) -> str:
        shape = f"{self.clips}x{self.num_segments}x{self.channels}x{self.height}x{self.height}"
        return f"{self.dtype}-{self.memory_format}-{shape}"

    @property
    def frames_shape(self) -> tuple[int, ...]:
        return (self.clips * self.num_segments, self.channels, self.height, self.height)

    @functools.lru_cache(maxsize=1)  # noqa: B019 - one entry, for the rows of one setting in turn
    def frames(self) -> torch.Tensor:
        frames = torch.randn(self.frames_shape).to(DTYPES[self.dtype])
        return frames.contiguous(memory_format=MEMORY_FORMATS[self.memory_format])


def settings() -> Iterator[Setting]:
    """Yield every stage and batch in float32, and the other dtypes at N = 8, T = 8."""
    for memory_format in MEMORY_FORMATS:
        for channels, height in STAGES:
            for clips, num_segments in ((1, 8), (1, 16), (8, 8), (8, 16)):
                yield Setting(clips, num_segments, channels, height, "float32", memory_format)
            for dtype in DTYPES:
                if dtype != "float32":
                    yield Setting(8, 8, channels, height, dtype, memory_format)


class Traffic(NamedTuple):
    """Bytes that a pass has to read and to write at least."""

    read: int
    written: int


class Operator(NamedTuple):
    """A public operator, its registered backward, and what their passes move."""

    run: Callable[..., torch.Tensor]
    backward: Callable[..., torch.Tensor | tuple[torch.Tensor, ...]]
    small_shape: Callable[[Setting], tuple[int, ...]]
    takes_small_tensor: bool
    traffic: Callable[[int, int], dict[str, Traffic]]

    def inputs(self, setting: Setting) -> list[torch.Tensor]:
        frames = setting.frames()
        if not self.takes_small_tensor:
            return [frames]
        logits = torch.randn(self.small_shape(setting), dtype=accumulation_dtype(frames.dtype))
        if logits.ndim == 4:
            logits = logits.contiguous(memory_format=MEMORY_FORMATS[setting.memory_format])
        return [frames, logits]

    def passes(self, setting: Setting, mode: str) -> list[Traffic]:
        dtype = DTYPES[setting.dtype]
        frames = torch.Size(setting.frames_shape).numel() * dtype.itemsize
        small = torch.Size(self.small_shape(setting)).numel() * accumulation_dtype(dtype).itemsize
        traffic = self.traffic(frames, small)
        return list(traffic.values()) if mode == "both" else [traffic[mode.split("-")[0]]]


def _shift_traffic(frames: int, small: int) -> dict[str, Traffic]:
    return {"forward": Traffic(frames, frames), "backward": Traffic(frames, frames)}


def _pool_traffic(frames: int, small: int) -> dict[str, Traffic]:
    return {"forward": Traffic(frames, small), "backward": Traffic(small, frames)}


def _gate_traffic(frames: int, small: int) -> dict[str, Traffic]:
    return {
        "forward": Traffic(frames + small, frames),
        "backward": Traffic(2 * frames + small, frames + small),
    }


def _per_frame(setting: Setting) -> tuple[int, ...]:
    return setting.frames_shape[:2]


def _per_clip(setting: Setting) -> tuple[int, ...]:
    return (setting.clips, *setting.frames_shape[1:])


def _format(setting: Setting) -> tuple[torch.dtype, torch.memory_format]:
    return DTYPES[setting.dtype], MEMORY_FORMATS[setting.memory_format]


registered = torch.ops.stc_ops

OPERATORS = {
    "temporal_shift": Operator(
        lambda s, x: stc_ops.temporal_shift(x, s.num_segments),
        lambda s, grad, x: registered.temporal_shift_backward(grad, s.num_segments, 8),
        _per_frame,
        False,
        _shift_traffic,
    ),
    "spatial_pool": Operator(
        lambda s, y: stc_ops.spatial_pool(y),
        lambda s, grad, y: registered.spatial_pool_backward(grad, *y.shape[2:], *_format(s)),
        _per_frame,
        False,
        _pool_traffic,
    ),
    "temporal_pool": Operator(
        lambda s, y: stc_ops.temporal_pool(y, s.num_segments),
        lambda s, grad, y: registered.temporal_pool_backward(grad, s.num_segments, *_format(s)),
        _per_clip,
        False,
        _pool_traffic,
    ),
    "temporal_gate": Operator(
        lambda s, y, logits: stc_ops.temporal_gate(y, logits),
        lambda s, grad, y, logits: registered.temporal_gate_backward(grad, y, logits),
        _per_frame,
        True,
        _gate_traffic,
    ),
    "spatial_gate": Operator(
        lambda s, y, logits: stc_ops.spatial_gate(y, logits, s.num_segments),
        lambda s, grad, y, logits: registered.spatial_gate_backward(
            grad, y, logits, s.num_segments
        ),
        _per_clip,
        True,
        _gate_traffic,
    ),
}
