"""Frames and what is kept per group of their elements, as kernels take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from stc_ops.operators.checks import accumulation_dtype
from stc_ops.operators.registration import memory_format_of

from .launch import Splits, Tile, launch_map, launch_reduction, tile_of


class Frames:
    """Frames (N*T, C, H, W) in one of the two dense memory formats; others are copied."""

    def __init__(
        self,
        operator: str,
        argument: str,
        tensor: torch.Tensor,
        memory_format: torch.memory_format | None = None,
    ) -> None:
        """See the class."""
        if tensor.ndim != 4:
            raise RuntimeError(
                f"{operator}: {argument} must have 4 dimensions (N*T, C, H, W), got {tensor.ndim}"
            )
        self.memory_format = memory_format or format_of(tensor)
        self.tensor = tensor.contiguous(memory_format=self.memory_format)
        self.count, self.channels, self.height, self.width = tensor.shape
        self.pixels = self.height * self.width

    @property
    def channels_last(self) -> bool:
        """Whether channels are what is adjacent in memory."""
        return self.memory_format == torch.channels_last

    def empty(self, shape: Sequence[int], dtype: torch.dtype | None = None) -> torch.Tensor:
        """Return frames of this memory format."""
        return torch.empty(
            tuple(shape),
            dtype=dtype or self.tensor.dtype,
            device=self.tensor.device,
            memory_format=self.memory_format,
        )

    def empty_like(self) -> torch.Tensor:
        """Return frames of this shape, dtype and memory format."""
        return self.empty(self.tensor.shape)

    def tile_of(self, groups: int, rows: int, per_pixel: bool = False) -> Tile:
        """Return what programs take at once: of float64, as many bytes as of float32."""
        adjacent = not per_pixel and not self.channels_last
        return tile_of(groups, rows, adjacent, 2 if self.tensor.dtype == torch.float64 else 1)

    def groups_per_frame(self) -> Groups:
        """Return a channel of a frame as a group, of the frame's pixels."""
        return Groups(self, self.count * self.channels, self.pixels)

    def groups_per_pixel(self, num_segments: int) -> Groups:
        """Return a channel of a pixel as a group, of the frames of a clip."""
        clips = self.count // num_segments
        return Groups(self, clips * self.channels * self.pixels, num_segments, per_pixel=True)


class Groups:
    """The groups of some frames: `count`, each of `rows` elements."""

    def __init__(self, frames: Frames, count: int, rows: int, per_pixel: bool = False) -> None:
        """See the class."""
        self.frames, self.count, self.rows, self.per_pixel = frames, count, rows, per_pixel

    @property
    def tile(self) -> Tile:
        """Return what programs take at once."""
        return self.frames.tile_of(self.count, self.rows, self.per_pixel)

    @property
    def arguments(self) -> dict[str, Any]:
        """Return it as kernels take it."""
        return {
            "channels": self.frames.channels,
            "pixels": self.frames.pixels,
            "num_segments": self.rows if self.per_pixel else 1,
            "PER_PIXEL": self.per_pixel,
            "CHANNELS_LAST": self.frames.channels_last,
        }

    def map(self, kernel: Any, **arguments: Any) -> None:
        """Run a kernel that maps tiles on all rows of all groups."""
        launch_map(kernel, self.count, self.rows, self.tile, **arguments, **self.arguments)

    def splits(self) -> Splits:
        """Return how a reduction of the rows is divided among programs."""
        return Splits.filling(self.count, self.rows, self.tile)

    def reduce(self, kernel: Any, splits: Splits, **arguments: Any) -> None:
        """Run a reduction of the rows."""
        sizes = (self.count, self.rows, self.tile, splits)
        launch_reduction(kernel, *sizes, **arguments, **self.arguments)

    @property
    def memory_format(self) -> torch.memory_format:
        """Return the format in which values per group have the order of groups."""
        return self.frames.memory_format if self.per_pixel else torch.contiguous_format

    @property
    def dtype(self) -> torch.dtype:
        """Return the dtype of sums."""
        return accumulation_dtype(self.frames.tensor.dtype)

    def shape(self, sets: int = 1) -> tuple[int, ...]:
        """Return that of values per group; `sets` of them in the first dimension."""
        if not self.per_pixel:
            return sets * self.frames.count, self.frames.channels
        return sets * (self.frames.count // self.rows), *self.frames.tensor.shape[1:]

    def empty(self, sets: int = 1) -> torch.Tensor:
        """Return a value per group, in the dtype of sums; `sets` of them in the first dimension."""
        return torch.empty(
            self.shape(sets),
            dtype=self.dtype,
            device=self.frames.tensor.device,
            memory_format=self.memory_format,
        )

    def checked(self, operator: str, argument: str, values: torch.Tensor) -> torch.Tensor:
        """Return values per group in the order of groups."""
        check_like(operator, argument, values, self.shape(), self.dtype)
        return values.contiguous(memory_format=self.memory_format)


def format_of(frames: torch.Tensor) -> torch.memory_format:
    """Return the format of frames; contiguous for those without elements."""
    return memory_format_of(frames) if frames.numel() > 0 else torch.contiguous_format


def check_like(
    operator: str, argument: str, tensor: torch.Tensor, shape: Sequence[int], dtype: torch.dtype
) -> None:
    """Raise RuntimeError unless a tensor has this shape and dtype."""
    if tensor.shape != torch.Size(shape) or tensor.dtype != dtype:
        raise RuntimeError(
            f"{operator}: {argument} must be {dtype} of shape {tuple(shape)}, "
            f"got {tensor.dtype} of shape {tuple(tensor.shape)}"
        )


def check_sums_dtype(operator: str, tensor: torch.Tensor) -> None:
    """Raise RuntimeError unless a tensor is in a type that sums are kept in."""
    if tensor.dtype not in (torch.float32, torch.float64):
        raise RuntimeError(f"{operator}: expected float32 or float64")


def check_segments(operator: str, frames: torch.Tensor, num_segments: int) -> None:
    """Raise RuntimeError unless frames are clips of `num_segments` each."""
    if num_segments < 1 or frames.shape[0] % num_segments != 0:
        raise RuntimeError(
            f"{operator}: expected a multiple of num_segments={num_segments} frames, "
            f"got {frames.shape[0]}"
        )


def checked_table(
    operator: str, table: torch.Tensor, rows: int, first_channel: int, channels: int
) -> torch.Tensor:
    """Return dense rows of at least `first_channel + channels` values per channel."""
    needed = first_channel + channels
    if table.ndim != 2 or table.shape[0] != rows or first_channel < 0 or table.shape[1] < needed:
        raise RuntimeError(
            f"{operator}: expected {rows} rows of at least {needed} channels, "
            f"got {tuple(table.shape)}"
        )
    return table.contiguous()
