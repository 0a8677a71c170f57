"""What a row is: frames of one stage, and an operator with what its passes read and write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch

MEMORY_FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
STAGES = ((64, 56), (128, 28), (256, 14), (512, 7))

# The passes of every mode. "backward" goes through autograd, as training does; "backward-operator"
# is the registered backward operator by itself, as "forward" is the forward operator by itself.
# The modes of training normalize by the statistics of the batch, and autograd records all of them.
MODES = {
    "forward": ("forward",),
    "backward-operator": ("backward",),
    "backward": ("backward",),
    "both": ("forward", "backward"),
    "eval-forward": ("eval",),
    "training-forward": ("forward",),
    "training-backward": ("backward",),
    "training-both": ("forward", "backward"),
}
EVALUATION_MODE = "eval-forward"


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

    def as_row(self) -> dict[str, str | int]:
        """Return what says in a table which setting a row is of."""
        return {**self._asdict(), "stage": f"{self.channels}x{self.height}"}

    @property
    def frames_shape(self) -> tuple[int, ...]:
        return (self.clips * self.num_segments, self.channels, self.height, self.height)

    def random_frames(self, channels: int | None = None) -> torch.Tensor:
        """Return random frames of the stage, with its channels or with as many as are asked for."""
        frames, stage_channels, *pixels = self.frames_shape
        values = torch.randn(frames, channels or stage_channels, *pixels).to(DTYPES[self.dtype])
        return values.contiguous(memory_format=MEMORY_FORMATS[self.memory_format])

    def frames_bytes(self) -> int:
        return torch.Size(self.frames_shape).numel() * DTYPES[self.dtype].itemsize


def every_stage(
    memory_format: str, dtype: str, batches: Iterable[tuple[int, int]]
) -> Iterator[Setting]:
    """Yield the four stages in each of `batches`, pairs (N, T)."""
    for channels, height in STAGES:
        for clips, num_segments in batches:
            yield Setting(clips, num_segments, channels, height, dtype, memory_format)


class Traffic(NamedTuple):
    """Bytes that a pass has to read and to write at least."""

    read: int
    written: int


class Inputs(NamedTuple):
    """Tensors of one call: those that have gradients, and statistics that a call may update."""

    differentiable: list[torch.Tensor]
    statistics: list[torch.Tensor]


Outputs = torch.Tensor | tuple[torch.Tensor, ...]


class Operator(NamedTuple):
    """A public operator as the benchmarks call it.

    Attributes:
        run: called with the library to call, `stc_ops` or `eager`; the setting; whether to
            normalize by batch statistics; and all inputs.
        inputs: random inputs of a setting.
        traffic: of each pass "eval", "forward" (in training where that differs) and "backward".
        backward: the registered backward operator, where there is one of that name.
    """

    run: Callable[..., Outputs]
    inputs: Callable[[Setting], Inputs]
    traffic: Callable[[Setting], dict[str, list[Traffic]]]
    backward: Callable[..., Outputs] | None = None

    def passes(self, setting: Setting, mode: str) -> list[Traffic]:
        traffic = self.traffic(setting)
        return [each for direction in MODES[mode] for each in traffic[direction]]


class Family(NamedTuple):
    """Operators that are measured alike."""

    name: str
    operators: dict[str, Operator]
    modes: tuple[str, ...]
    settings: list[Setting]
    has_relu: bool
