"""How kernels are launched: the device, the type of offsets, tiles, splits and tuning."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

# Beyond this many elements offsets are counted in 64 bits; the rest is for what lies beyond the end
# and is masked.
LARGEST_NARROW_SIZE = 2**31 - 2**20

# Four programs on each of the 132 multiprocessors of the largest devices.
PROGRAMS_WANTED = 528

# Elements of a tile: 16 bytes for each of 128 threads in half precision.
TILE_SIZE = 1024
ROWS_OF_COLUMNS = 16

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


def tuned(kernel: Any) -> Any:
    """Let launches of a kernel that maps tiles choose on first use how many of them they take.

    More tiles per program are more loads in flight, and fewer programs. Reductions are not tuned:
    the order of their sums would depend on what wins.
    """
    configs = [triton.Config({"STEPS": steps}, num_warps=4) for steps in (1, 2, 4, 8)]
    return triton.autotune(
        configs[1:2] if triton.knobs.runtime.interpret else configs,
        key=["BLOCK_G", "BLOCK_R"],
        prune_configs_by={"early_config_prune": _with_rows_for_their_steps},
        cache_results=True,
    )(kernel)


def _with_rows_for_their_steps(
    configs: list[triton.Config], arguments: Mapping[str, Any], **constants: Any
) -> list[triton.Config]:
    given = {**arguments, **constants}
    tiles = triton.cdiv(given["rows"], given["BLOCK_R"])
    return [config for config in configs if config.kwargs["STEPS"] <= tiles] or configs[:1]


def launch_map(kernel: Any, groups: int, rows: int, tile: Tile, **arguments: Any) -> None:
    """Run a tuned kernel on all tiles of groups and rows."""

    def grid(constants: Mapping[str, Any]) -> tuple[int]:
        along_rows = triton.cdiv(rows, tile.rows * constants["STEPS"])
        return (triton.cdiv(groups, tile.groups) * along_rows,)

    if groups * rows > 0:
        launch(kernel, grid, groups=groups, rows=rows, **tile.constants, **arguments)


def launch_reduction(
    kernel: Any, groups: int, rows: int, tile: Tile, splits: Splits, **arguments: Any
) -> None:
    """Run a kernel whose programs each add up the rows of one split for a tile of groups."""
    grid = (triton.cdiv(groups, tile.groups) * splits.count,)
    if groups > 0:
        counts = {"groups": groups, "rows": rows, "splits": splits.count}
        counts["rows_per_split"] = splits.rows
        launch(kernel, grid, **counts, **tile.constants, **arguments)


def launch(kernel: Any, grid: Callable[..., tuple[int]] | tuple[int], **arguments: Any) -> None:
    """Run a kernel on the device and the current stream of its tensors."""
    tensors = [each for each in arguments.values() if isinstance(each, torch.Tensor)]
    largest = max(tensor.numel() for tensor in tensors)
    index = tl.int64 if largest > LARGEST_NARROW_SIZE else tl.int32
    device = tensors[0].device
    options = NVIDIA_OPTIONS if device.type == "cuda" and torch.version.hip is None else {}
    with _current(device):
        run(kernel, grid, **arguments, INDEX=index, **options)


def run(kernel: Any, grid: Any, **arguments: Any) -> None:
    """Hand a launch to Triton."""
    kernel[grid](**arguments)


@contextlib.contextmanager
def _current(device: torch.device) -> Iterator[None]:
    if device.type == "cpu":
        yield
        return
    with torch.accelerator.device_index(device.index):
        yield
