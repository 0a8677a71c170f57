"""Views of frames that eager PyTorch's operators are fast on, and writing into them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch


def format_of(frames: torch.Tensor) -> torch.memory_format:
    if not frames.is_contiguous() and frames.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def flat(frames: torch.Tensor, layout: torch.memory_format) -> torch.Tensor:
    """Return ``(F, C, H, W)`` in the order of memory: ``(F, H*W, C)`` or ``(F, C, H*W)``."""
    if layout == torch.channels_last:
        return frames.permute(0, 2, 3, 1).flatten(1, 2)
    return frames.flatten(2)


def as_clips(flat_frames: torch.Tensor, num_segments: int) -> torch.Tensor:
    return flat_frames.unflatten(0, (-1, num_segments))


def per_channel(values: torch.Tensor, layout: torch.memory_format) -> torch.Tensor:
    """Return ``(C, 1, 1)`` such that it broadcasts over what :func:`flat` returns."""
    return values.flatten() if layout == torch.channels_last else values.flatten(1)


def broadcast_gate(gate: torch.Tensor, layout: torch.memory_format) -> torch.Tensor:
    """Return gates such that they broadcast over flat frames.

    Those of frames, ``(F, C)``, over ``(F, ...)``; those of pixels, ``(N, C, H, W)``, over clips.
    """
    if gate.ndim == 2:
        return gate[:, None] if layout == torch.channels_last else gate[..., None]
    return flat(gate, layout)[:, None]


def shifted_parts(
    out: torch.Tensor, x: torch.Tensor, num_segments: int, shift_div: int | None, to_next: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor | None, slice]]:
    """Yield each part of `out`, the part of ``x`` that a shift moves there, and their channels.

    None stands for zeros. Group `to_next` of the channels goes a frame later, the other earlier.
    """
    fold = 0 if shift_div is None else x.shape[1] // shift_div
    if fold > 0:
        out_clips, clips = (frames.unflatten(0, (-1, num_segments)) for frames in (out, x))
        groups = slice(0, fold), slice(fold, 2 * fold)
        later, earlier = groups[to_next], groups[1 - to_next]
        yield out_clips[:, 1:, later], clips[:, :-1, later], later
        yield out_clips[:, 0, later], None, later
        yield out_clips[:, :-1, earlier], clips[:, 1:, earlier], earlier
        yield out_clips[:, -1, earlier], None, earlier
    rest = slice(2 * fold, None)
    yield out[:, rest], x[:, rest], rest


def write(
    out: torch.Tensor, function: Callable[..., torch.Tensor], *arguments: torch.Tensor
) -> None:
    """Write ``function(*arguments)`` into a view, in one pass."""
    if torch.compiler.is_compiling():
        # It refuses `out` that is no dense tensor, and makes one pass of this.
        out.copy_(function(*arguments))
    else:
        function(*arguments, out=out)
