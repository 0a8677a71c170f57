"""The points of `stc-ops plot tradeoff`: quoted accuracies, counted and measured costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from stc_ops.models import NETWORKS
from stc_ops.paper import TABLE_II, TABLE_IV, BuiltNetwork, Counts
from stc_ops.paper.computed import ABLATION_FRAMES

from .csv_file import CsvRow, read_csv
from .errors import CommandError

OF_THIS_PACKAGE = ("fused", "optimized")
VARIANTS = (*OF_THIS_PACKAGE, "reference")
MODES = ("eval", "training")
# Times can be compared only where these are the same.
SETTING = ("clips", "size", "dtype", "device", "threads")
COLUMNS = ("network", "mode", "variant", "num_segments", *SETTING, "median_seconds")


class Accuracy(NamedTuple):
    """A top-1 accuracy on Something-Something V1 that the paper has for one crop of one clip."""

    network: BuiltNetwork
    num_segments: int
    top1: float
    table: str
    pretraining: str

    @property
    def setting(self) -> tuple[str, int]:
        """The network's name and the frames, by which costs are known."""
        return self.network.name, self.num_segments

    @property
    def title(self) -> str:
        """The name of the network in figures."""
        return NETWORKS[self.network.name].title


class Measurements(NamedTuple):
    """Seconds of one clip in evaluation, by network and frames, and what they were measured on."""

    seconds: Mapping[tuple[str, int], float]
    setting: Mapping[str, str]


def one_clip_accuracies() -> list[Accuracy]:
    """Return Table IV's, and Table II's of the networks of which it has none."""
    accuracies = [
        Accuracy(
            row.method.network, row.frames[0], float(row.v1_top1), "IV", row.method.pretraining
        )
        for row in TABLE_IV
        if row.method.network and len(row.frames) == row.crops == row.clips == 1
    ]
    found = {accuracy.network.name for accuracy in accuracies}
    return accuracies + [
        Accuracy(row.network, ABLATION_FRAMES, float(row.top1), "II", "ImageNet")
        for row in TABLE_II
        if row.network.name not in found
    ]


def counted_macs(
    accuracies: Sequence[Accuracy], on_count: Callable[[int, int], None]
) -> dict[tuple[str, int], int]:
    """Return the multiply-accumulates of one clip, by network and frames."""
    counts, macs = Counts(), {}
    for done, accuracy in enumerate(accuracies, start=1):
        counted = counts.cost(accuracy.network, accuracy.num_segments)
        macs[accuracy.setting] = counted.macs
        on_count(done, len(accuracies))
    return macs


def read_measurements(paths: Sequence[Path]) -> Measurements:
    """Read what `stc-ops bench models` wrote; of each network the fastest variant of this package.

    Args:
        paths: of one or more files, such as one for 8 frames and one for 16.

    Raises:
        CommandError: if a file cannot be read or has no such rows, or they are of several settings.
    """
    rows = [row for path in paths for row in _rows_of_interest(path)]
    setting = {column: _the_same_in_all(rows, column) for column in SETTING}
    seconds: dict[tuple[str, int], float] = {}
    for row in rows:
        measured = row.one_of("network", list(NETWORKS)), row.positive_integer("num_segments")
        expected = "a positive number of seconds"
        of_all = row.number("median_seconds", math.nextafter(0, 1), 1e9, expected)
        of_one = of_all / row.positive_integer("clips")
        seconds[measured] = min(of_one, seconds.get(measured, math.inf))
    return Measurements(seconds, setting)


def _rows_of_interest(path: Path) -> list[CsvRow]:
    rows = [row for row in read_csv(path, COLUMNS) if _is_of_interest(row)]
    if not rows:
        raise CommandError(
            f"'{path}' has no row of mode eval and variant {' or '.join(OF_THIS_PACKAGE)}"
        )
    return rows


def _is_of_interest(row: CsvRow) -> bool:
    mode, variant = row.one_of("mode", MODES), row.one_of("variant", VARIANTS)
    return mode == "eval" and variant in OF_THIS_PACKAGE


def _the_same_in_all(rows: Sequence[CsvRow], column: str) -> str:
    first = rows[0]
    for row in rows:
        if row.values[column] != first.values[column]:
            expected = f"'{first.values[column]}' as in '{first.path}' line {first.line}"
            raise row.error(column, expected)
    return first.values[column]
