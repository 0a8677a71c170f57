"""What `stc-ops bench models` prints and writes."""

from __future__ import annotations

import csv
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from stc_ops import measuring

from .bench_models import Row

MEBI = 2**20
# Columns of the file, and the fields of `Machine` in them.
OF_MACHINE = {"machine": "name", "backend": "backend", "torch": "torch", "allocator": "allocator"}


class Machine(NamedTuple):
    """Where rows were measured.

    Attributes:
        name: the processor's or the GPU's.
        threads: those of the CPU that operators may use.
        backend: of the fused operators.
        torch: PyTorch's version.
        allocator: what glibc's allocator was told.
    """

    name: str
    threads: int
    backend: str
    torch: str
    allocator: str = "default"

    @classmethod
    def of(cls, device: str, backend: str) -> Machine:
        """Return what there is of a device now."""
        name = torch.cuda.get_device_name() if device == "cuda" else _processor()
        threads = torch.get_num_threads()
        return cls(name, threads, backend, torch.__version__, measuring.allocator())

    def __str__(self) -> str:
        """Return one line."""
        threads = _counted(self.threads, "thread")
        return f"{self.name}, {threads}, torch {self.torch}, backend '{self.backend}'"


class Column(NamedTuple):
    """A column of the table: its two lines of heading, and the text of a row."""

    heading: str
    unit: str
    text: Callable[[Row], str]


def _number(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}"


def _mebibytes(value: int | None) -> str:
    return "" if value is None else f"{value / MEBI:.1f}"


COLUMNS = (
    Column("network", "", lambda row: row.title),
    Column("mode", "", lambda row: row.mode),
    Column("variant", "", lambda row: row.variant),
    Column("median", "ms", lambda row: _number(1e3 * row.median_seconds, 1)),
    Column(
        "20-80 %", "ms", lambda row: f"{1e3 * row.low_seconds:.1f}-{1e3 * row.high_seconds:.1f}"
    ),
    Column("clips", "per s", lambda row: _number(row.clips_per_second, 2)),
    Column("times", "faster", lambda row: _number(row.times_faster_than_reference, 2)),
    Column("times", "TSN", lambda row: _number(row.times_tsn, 2)),
    Column("peak", "MiB", lambda row: _mebibytes(row.peak_bytes)),
    Column("saved", "MiB", lambda row: _mebibytes(row.saved_bytes)),
    Column("params", "M", lambda row: _number(row.parameters / 1e6, 3)),
    Column("MACs", "G", lambda row: _number(row.macs / 1e9, 3)),
)
LEFT_ALIGNED = 3


def table(rows: Sequence[Row], machine: Machine, rounds: int) -> str:
    """Return all rows as aligned text, with where and on what they were measured above."""
    texts = [
        [column.heading for column in COLUMNS],
        [column.unit for column in COLUMNS],
        *([column.text(row) for column in COLUMNS] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    of_rounds = f"medians of {_counted(rounds, 'round')} in turns"
    lines = [str(machine), f"{setting_of(rows[0])}, {of_rounds}", ""]
    for row in texts:
        cells = (
            text.ljust(width) if number < LEFT_ALIGNED else text.rjust(width)
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def setting_of(row: Row) -> str:
    """Return what networks were run on, as words."""
    clips, frames = _counted(row.clips, "clip"), _counted(row.num_segments, "frame")
    return f"{clips} of {frames} of {row.size}x{row.size}, {row.dtype}, channels_last"


def write_csv(rows: Sequence[Row], machine: Machine, file: Path) -> None:
    """Write the rows with a header, the fields of :class:`Row` and where they were measured.

    What is None is left empty.
    """
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*Row._fields, *OF_MACHINE])
        of_machine = [getattr(machine, field) for field in OF_MACHINE.values()]
        writer.writerows([*row, *of_machine] for row in rows)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
