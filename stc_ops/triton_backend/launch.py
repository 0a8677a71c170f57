"""How kernels are launched: the device, the type of offsets, tiles, splits and steps."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

# Beyond this many elements offsets are counted in 64 bits; the rest is for what lies beyond the end
# and is masked.
LARGEST_NARROW_SIZE = 2**31 - 2**20

# Of the largest devices, and of those that do not tell.
MULTIPROCESSORS = 132
PROGRAMS_PER_MULTIPROCESSOR = 4
PROGRAMS_WANTED = PROGRAMS_PER_MULTIPROCESSOR * MULTIPROCESSORS

# Elements of a tile: 16 bytes for each of a program's threads in half precision.
THREADS = 128
TILE_SIZE = 1024
ROWS_OF_COLUMNS = 16

# Of each tensor a program has at most so much in flight, in so many tiles.
BYTES_OF_PROGRAM = 2**14
MOST_STEPS = 8

# Left to itself, ptxas spills a register here and there to fit one block more.
NVIDIA_OPTIONS = {"maxnreg": 128}


class Tile(NamedTuple):
    """The groups and rows that a program takes at once."""

    groups: int
    rows: int

    @property
    def constants(self) -> dict[str, int]:
        """Return it as kernels take it."""
        return {"BLOCK_G": self.groups, "BLOCK_R": self.rows}


def tile_of(groups: int, rows: int, rows_are_adjacent: bool, share: int = 1) -> Tile:
    """Return what programs take at once of so many groups and rows.

    Where rows are adjacent a tile is as long as there are rows; else neighbouring groups are what
    is adjacent, at least 64 of them. It is a `share`-th of the usual size.
    """
    size = TILE_SIZE // share
    longest = size if rows_are_adjacent else ROWS_OF_COLUMNS // share
    block_rows = min(triton.next_power_of_2(max(rows, 1)), longest)
    return Tile(min(size // block_rows, triton.next_power_of_2(max(groups, 1))), block_rows)


class Splits(NamedTuple):
    """How the rows of a reduction are divided among programs: `count` times up to `rows` rows."""

    count: int
    rows: int

    @staticmethod
    def filling(groups: int, rows: int, tile: Tile) -> Splits:
        """Return as many as a device needs to be busy.

        They depend on the shape alone: on every device sums have the same order.
        """
        programs = max(1, triton.cdiv(groups, tile.groups))
        most = triton.cdiv(rows, 4 * tile.rows)
        wanted = max(1, min(triton.cdiv(PROGRAMS_WANTED, programs), most))
        per_split = Splits.of(wanted, rows, tile).rows
        return Splits(max(1, triton.cdiv(rows, per_split)), per_split)

    @staticmethod
    def of(count: int, rows: int, tile: Tile) -> Splits:
        """Return `count` splits, the last of which may be empty."""
        tiles = triton.cdiv(max(rows, 1), tile.rows)
        return Splits(count, triton.cdiv(tiles, count) * tile.rows)


def steps_of(groups: int, rows: int, tile: Tile, itemsize: int, multiprocessors: int) -> int:
    """Return how many tiles along the rows each program of a map takes: a power of two.

    More tiles are more loads in flight and less that is read anew, as long as the programs keep
    the device busy and what is in flight fits into registers. Which number it is changes no result.
    """
    tiles = triton.cdiv(rows, tile.rows)
    programs = triton.cdiv(groups, tile.groups) * tiles
    busy = programs // (PROGRAMS_PER_MULTIPROCESSOR * multiprocessors)
    fitting = BYTES_OF_PROGRAM // (tile.groups * tile.rows * itemsize)
    return 1 << max(1, min(tiles, busy, fitting, MOST_STEPS)).bit_length() - 1


def launch_map(kernel: Any, groups: int, rows: int, tile: Tile, **arguments: Any) -> None:
    """Run a kernel that maps tiles on all tiles of groups and rows."""
    if groups * rows == 0:
        return
    largest = max(_tensors_in(arguments), key=torch.Tensor.numel)
    multiprocessors = gpu_of(largest.device).multiprocessors
    steps = steps_of(groups, rows, tile, largest.element_size(), multiprocessors)
    grid = (triton.cdiv(groups, tile.groups) * triton.cdiv(rows, tile.rows * steps),)
    launch(kernel, grid, groups=groups, rows=rows, STEPS=steps, **tile.constants, **arguments)


def launch_reduction(
    kernel: Any, groups: int, rows: int, tile: Tile, splits: Splits, **arguments: Any
) -> None:
    """Run a kernel whose programs each add up the rows of one split for a tile of groups."""
    grid = (triton.cdiv(groups, tile.groups) * splits.count,)
    if groups > 0:
        counts = {"groups": groups, "rows": rows, "splits": splits.count}
        counts["rows_per_split"] = splits.rows
        launch(kernel, grid, **counts, **tile.constants, **arguments)


def launch(kernel: Any, grid: tuple[int], **arguments: Any) -> None:
    """Run a kernel on the device and the current stream of its tensors.

    Any tensor that it touches is an argument as a whole: the largest decides the type of offsets.
    """
    tensors = _tensors_in(arguments)
    largest = max(tensor.numel() for tensor in tensors)
    index = tl.int64 if largest > LARGEST_NARROW_SIZE else tl.int32
    gpu = gpu_of(tensors[0].device)
    with _current(tensors[0].device), _one_at_a_time:
        run(kernel, grid, **arguments, INDEX=index, **options_for(gpu.backend, gpu.warp_size))


def run(kernel: Any, grid: Any, **arguments: Any) -> None:
    """Hand a launch to Triton."""
    kernel[grid](**arguments)


def options_for(backend: str, warp_size: int) -> dict[str, Any]:
    """Return what Triton's compiler is told beside the kernel: nothing is left to its defaults."""
    options = {"num_warps": THREADS // warp_size, "enable_fp_fusion": True}
    return options | NVIDIA_OPTIONS if backend == "cuda" else options


class Gpu(NamedTuple):
    """What launches ask of a device; `backend` is the name of Triton's compiler for it."""

    backend: str
    warp_size: int
    multiprocessors: int


def gpu_of(device: torch.device) -> Gpu:
    """Return what launches ask of a device. It is asked once, and that does not wait for it."""
    return _gpu(device.type, device.index)


@functools.cache
def _gpu(device_type: str, index: int | None) -> Gpu:
    if device_type != "cuda":
        return Gpu(device_type, 32, MULTIPROCESSORS)
    properties = torch.cuda.get_device_properties(index)
    backend = "cuda" if torch.version.hip is None else "hip"
    return Gpu(backend, properties.warp_size, properties.multi_processor_count)


def _tensors_in(arguments: Mapping[str, Any]) -> list[torch.Tensor]:
    return [each for each in arguments.values() if isinstance(each, torch.Tensor)]


# Triton launches a kernel that another thread has not loaded to the end, and its interpreter keeps
# the program that runs in one place for all threads.
_one_at_a_time = threading.Lock()


@contextlib.contextmanager
def _current(device: torch.device) -> Iterator[None]:
    if device.type == "cpu":
        yield
        return
    with torch.accelerator.device_index(device.index):
        yield
