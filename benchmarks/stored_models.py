"""What `stc-ops bench models` has written, read again."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from stc_ops.cli.bench_models import Row
from stc_ops.cli.bench_report import OF_MACHINE, Machine
from stc_ops.cli.csv_file import CsvRow, read_csv
from stc_ops.cli.output_file import whole_file

TYPES = typing.get_type_hints(Row)
COLUMNS = (*Row._fields, *OF_MACHINE)


class StoredRow(NamedTuple):
    """What the README says of a row."""

    network: str
    variant: str
    clips: int
    num_segments: int
    times_tsn: float | None


def read_models(paths: Sequence[Path]) -> list[StoredRow]:
    """Return the rows of all files.

    Raises:
        CommandError: a file cannot be read, or is none of `stc-ops bench models`.
    """
    return [
        StoredRow(*(getattr(row, field) for field in StoredRow._fields))
        for path in paths
        for row, _ in _rows(path)
    ]


def draw_models(path: Path, figure: Path) -> None:
    """Draw the rows of a file as `stc-ops bench models --plot` does.

    Raises:
        CommandError: the file cannot be read, or `figure` cannot be written.
    """
    from stc_ops.cli.bench_figure import draw_rows

    rows, machines = zip(*_rows(path), strict=True)
    with whole_file(figure) as file:
        draw_rows(rows, machines[0]).savefig(file, format="png")


def _rows(path: Path) -> Iterator[tuple[Row, Machine]]:
    for row in read_csv(path, COLUMNS):
        of_machine = {field: row.values[column] for column, field in OF_MACHINE.items()}
        parsed = Row(**{field: _value(row, field) for field in Row._fields})
        yield parsed, Machine(threads=parsed.threads, **of_machine)


def _value(row: CsvRow, field: str) -> object:
    text, kinds = row.values[field], typing.get_args(TYPES[field]) or (TYPES[field],)
    if text == "" and type(None) in kinds:
        return None
    try:
        return kinds[0](text)
    except ValueError as error:
        raise row.error(field, "a number") from error
