"""The memory format of frames that are a part of larger frames."""

from __future__ import annotations

import torch

from stc_ops.torch_internals import is_transforming

from .tracing import is_traced


def format_of_strides(frames: torch.Tensor) -> torch.memory_format:
    """Return channels_last where channels are the innermost axis, else contiguous.

    Also right for channel slices and spatial subsamples, which are dense in neither format.
    Transforms of ``torch.func`` know no formats: there it is contiguous.
    """
    if is_transforming():
        return torch.contiguous_format
    if frames.stride(1) == 1 and not frames.is_contiguous():
        return torch.channels_last
    return torch.contiguous_format


def channels_innermost(frames: torch.Tensor) -> torch.Tensor:
    """Return `frames` in channels_last, the format in which clips are cheap to see as images."""
    if is_transforming():
        return frames
    return frames.contiguous(memory_format=torch.channels_last)


def dense(frames: torch.Tensor) -> torch.Tensor:
    """Return `frames` without gaps in memory, in the format of their strides.

    What ``torch.fx`` records has no memory.
    """
    if is_traced(frames):
        return frames
    return frames.contiguous(memory_format=format_of_strides(frames))
