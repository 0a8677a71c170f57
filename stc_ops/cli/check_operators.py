"""The operators as `stc-ops check` calls them, with arguments that fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch

import stc_ops

Tensors = Sequence[torch.Tensor]


class Shape(NamedTuple):
    """Frames: N clips of T frames with C channels of H x H pixels."""

    clips: int
    num_segments: int
    channels: int
    size: int

    def __str__(self) -> str:
        """Return it as tables have it."""
        return f"{self.clips}x{self.num_segments}x{self.channels}x{self.size}x{self.size}"

    @property
    def elements(self) -> int:
        """Return how many elements frames have."""
        return self.clips * self.num_segments * self.channels * self.size**2

    def frames(self, channels: int | None = None) -> torch.Tensor:
        """Return random frames, of as many channels as are asked for."""
        count = self.clips * self.num_segments
        return torch.randn(count, channels or self.channels, self.size, self.size)


class Inputs(NamedTuple):
    """Random arguments: `frames`, `small` tensors with gradients too, and `running` statistics."""

    frames: list[torch.Tensor]
    small: list[torch.Tensor]
    running: list[torch.Tensor]


class Operator(NamedTuple):
    """An operator.

    Attributes:
        inputs: of a shape, in float32.
        run: called with shape, whether batch norms train, and the three kinds of inputs.
        passes: tensors of the size of frames that a forward and a backward have to read and write,
            by whether batch norms train.
    """

    inputs: Callable[[Shape], Inputs]
    run: Callable[..., torch.Tensor | tuple[torch.Tensor, ...]]
    passes: dict[bool, int]


def _branches(shape: Shape) -> tuple[int, int]:
    spatial = 3 * shape.channels // 4
    return spatial, shape.channels - spatial


def _normalized(frames: int, norms: int, shape: Shape) -> Inputs:
    def per_channel(values: Callable[[int], torch.Tensor]) -> torch.Tensor:
        return values(shape.channels)

    parameters = [(per_channel(torch.rand) + 0.5, per_channel(torch.randn)) for _ in range(norms)]
    running = [(0.1 * per_channel(torch.randn), per_channel(torch.rand)) for _ in range(norms)]
    return Inputs(
        [shape.frames() for _ in range(frames)],
        [each for pair in parameters for each in pair],
        [each for pair in running for each in pair],
    )


def _split(
    stride: int, shape: Shape, training: bool, frames: Tensors, small: Tensors, running: Tensors
) -> tuple[torch.Tensor, ...]:
    bn = stc_ops.BatchNorm(*small, *running, training)
    return stc_ops.bn_relu_shift_split(*frames, bn, _branches(shape), shape.num_segments, stride)


def _refine_inputs(hidden: int | None, shape: Shape) -> Inputs:
    spatial, temporal = _branches(shape)

    def weights(channels: int, *kernel: int) -> list[torch.Tensor]:
        taps = torch.Size(kernel).numel()
        if hidden is None:
            return [torch.randn(channels, channels, *kernel) / (channels * taps) ** 0.5]
        reduce = torch.randn(hidden, channels, *(1 for _ in kernel)) / channels**0.5
        return [reduce, torch.randn(channels, hidden, *kernel) / (hidden * taps) ** 0.5]

    _, parameters, running = _normalized(0, 1, shape)
    frames = [shape.frames(spatial), shape.frames(temporal)]
    return Inputs(frames, [*parameters, *weights(spatial, 3), *weights(temporal, 3, 3)], running)


def _refine(
    shape: Shape, training: bool, frames: Tensors, small: Tensors, running: Tensors
) -> torch.Tensor:
    weight, bias, *gates = small
    half = len(gates) // 2
    bn = stc_ops.BatchNorm(weight, bias, *running, training)
    return stc_ops.refine_bn_relu(
        *frames, bn, shape.num_segments, tuple(gates[:half]), tuple(gates[half:])
    )


def _add(
    shape: Shape, training: bool, frames: Tensors, small: Tensors, running: Tensors
) -> torch.Tensor:
    w, identity = frames
    norms = [
        stc_ops.BatchNorm(*small[i : i + 2], *running[i : i + 2], training)
        for i in range(0, len(small), 2)
    ]
    return stc_ops.bn_add_relu(w, norms[0], identity, *norms[1:])


def _frames_only(shape: Shape) -> Inputs:
    return Inputs([shape.frames()], [], [])


def _with_logits(shape_of: Callable[[Shape], tuple[int, ...]], shape: Shape) -> Inputs:
    return Inputs([shape.frames()], [torch.randn(shape_of(shape))], [])


def _per_frame(shape: Shape) -> tuple[int, ...]:
    return shape.clips * shape.num_segments, shape.channels


def _per_clip(shape: Shape) -> tuple[int, ...]:
    return shape.clips, shape.channels, shape.size, shape.size


OPERATORS = {
    "temporal_shift": Operator(
        _frames_only,
        lambda s, _, x, *__: stc_ops.temporal_shift(*x, s.num_segments),
        {False: 4},
    ),
    "spatial_pool": Operator(
        _frames_only, lambda s, _, x, *__: stc_ops.spatial_pool(*x), {False: 2}
    ),
    "temporal_pool": Operator(
        _frames_only,
        lambda s, _, x, *__: stc_ops.temporal_pool(*x, s.num_segments),
        {False: 2},
    ),
    "temporal_gate": Operator(
        partial(_with_logits, _per_frame),
        lambda s, _, x, logits, __: stc_ops.temporal_gate(*x, *logits),
        {False: 5},
    ),
    "spatial_gate": Operator(
        partial(_with_logits, _per_clip),
        lambda s, _, x, logits, __: stc_ops.spatial_gate(*x, *logits, s.num_segments),
        {False: 5},
    ),
    "bn_relu_shift_split": Operator(
        partial(_normalized, 1, 1), partial(_split, 1), {True: 8, False: 7}
    ),
    "bn_relu_shift_split, stride 2": Operator(
        partial(_normalized, 1, 1), partial(_split, 2), {True: 8, False: 7}
    ),
    "refine_bn_relu": Operator(partial(_refine_inputs, None), _refine, {True: 8, False: 8}),
    "refine_bn_relu, light": Operator(partial(_refine_inputs, 8), _refine, {True: 8, False: 8}),
    "bn_add_relu": Operator(partial(_normalized, 2, 1), _add, {True: 11, False: 10}),
    "bn_add_relu, identity normalized": Operator(
        partial(_normalized, 2, 2), _add, {True: 15, False: 13}
    ),
}
