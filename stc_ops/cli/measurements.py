"""Times of networks for `stc-ops plot`: measured before, or now."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from stc_ops.models import NETWORKS

from .bench_models import EVALUATION, MODES, measure
from .bench_networks import FUSED, OPTIMIZED, REFERENCE, Setting
from .csv_file import CsvRow, read_csv
from .errors import CommandError

OF_THIS_PACKAGE = (FUSED, OPTIMIZED)
VARIANTS = (*OF_THIS_PACKAGE, REFERENCE)
# Times can be compared only where these are the same.
SETTING = ("clips", "size", "dtype", "device", "threads")
COLUMNS = ("network", "mode", "variant", "num_segments", *SETTING, "median_seconds")


class Measurements(NamedTuple):
    """Seconds of one clip in evaluation, by network and frames, and what they were measured on.

    They are of the fastest variant of this package.
    """

    seconds: Mapping[tuple[str, int], float]
    setting: Mapping[str, str]


def measure_now(names: Sequence[str], on_round: Callable[[int, int], None]) -> Measurements:
    """Measure networks as `stc-ops bench models --mode eval` does, which takes minutes.

    Args:
        names: of the networks, in the catalog.
        on_round: called with rounds done and rounds in all.

    Raises:
        CommandError: a network cannot run here, or a result is not the reference's.
    """
    rows = [
        row
        for row in measure(names, Setting(), (EVALUATION,), on_round=on_round)
        if row.variant in OF_THIS_PACKAGE
    ]
    return Measurements(
        _fastest((row.network, row.num_segments, row.median_seconds / row.clips) for row in rows),
        {column: str(getattr(rows[0], column)) for column in SETTING},
    )


def read_measurements(paths: Sequence[Path]) -> Measurements:
    """Read what `stc-ops bench models` wrote.

    Args:
        paths: of one or more files, such as one for 8 frames and one for 16.

    Raises:
        CommandError: if a file cannot be read or has no such rows, or they are of several settings.
    """
    rows = [row for path in paths for row in _rows_of_interest(path)]
    setting = {column: _the_same_in_all(rows, column) for column in SETTING}
    return Measurements(_fastest(_network_frames_and_seconds(row) for row in rows), setting)


def _fastest(measured: Iterable[tuple[str, int, float]]) -> dict[tuple[str, int], float]:
    seconds: dict[tuple[str, int], float] = {}
    for name, num_segments, of_one_clip in measured:
        known = seconds.get((name, num_segments), math.inf)
        seconds[name, num_segments] = min(of_one_clip, known)
    return seconds


def _network_frames_and_seconds(row: CsvRow) -> tuple[str, int, float]:
    expected = "a positive number of seconds"
    seconds = row.number("median_seconds", math.nextafter(0, 1), 1e9, expected)
    name, num_segments = row.one_of("network", list(NETWORKS)), row.positive_integer("num_segments")
    return name, num_segments, seconds / row.positive_integer("clips")


def _rows_of_interest(path: Path) -> list[CsvRow]:
    rows = [row for row in read_csv(path, COLUMNS) if _is_of_interest(row)]
    if not rows:
        raise CommandError(
            f"'{path}' has no row of mode {EVALUATION} and variant {' or '.join(OF_THIS_PACKAGE)}"
        )
    return rows


def _is_of_interest(row: CsvRow) -> bool:
    mode, variant = row.one_of("mode", MODES), row.one_of("variant", VARIANTS)
    return mode == EVALUATION and variant in OF_THIS_PACKAGE


def _the_same_in_all(rows: Sequence[CsvRow], column: str) -> str:
    first = rows[0]
    for row in rows:
        if row.values[column] != first.values[column]:
            expected = f"'{first.values[column]}' as in '{first.path}' line {first.line}"
            raise row.error(column, expected)
    return first.values[column]
