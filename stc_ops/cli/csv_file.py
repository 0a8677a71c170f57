"""CSV files that a user gives, with errors that name the line."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .errors import CommandError


class CsvRow(NamedTuple):
    """A row of `path`: its values by column."""

    path: Path
    line: int
    values: Mapping[str, str]

    def error(self, column: str, expected: str) -> CommandError:
        """Return what is wrong with the value of a column."""
        got = self.values[column]
        return CommandError(
            f"'{self.path}' line {self.line}: {column} must be {expected}, got '{got}'"
        )

    def one_of(self, column: str, expected: Sequence[str]) -> str:
        """Return a value that must be one of several."""
        if self.values[column] not in expected:
            raise self.error(column, f"one of {', '.join(expected)}")
        return self.values[column]

    def positive_integer(self, column: str) -> int:
        """Return a value that must be an integer, at least 1."""
        text = self.values[column]
        # int() takes signs, underscores and digits of all scripts as well.
        if not (text.isascii() and text.isdigit() and int(text) >= 1):
            raise self.error(column, "an integer, at least 1")
        return int(text)

    def number(self, column: str, lowest: float, highest: float, expected: str) -> float:
        """Return a value that must be a number in ``[lowest, highest]``."""
        try:
            number = float(self.values[column])
        except ValueError as error:
            raise self.error(column, expected) from error
        if not lowest <= number <= highest:
            raise self.error(column, expected)
        return number


def read_csv(path: Path, columns: Sequence[str]) -> list[CsvRow]:
    """Read a file whose first line names at least `columns`.

    Raises:
        CommandError: if it cannot be read, has other columns, or no rows.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, [value.strip() for value in values]) for values in reader]
    except OSError as error:
        raise CommandError(f"cannot read '{path}': {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CommandError(f"'{path}' is not CSV in UTF-8") from error
    lines = [(number, values) for number, values in lines if any(values)]
    if not lines:
        raise CommandError(f"'{path}' is empty")
    (first, titles), *rest = lines
    missing = [column for column in columns if column not in titles]
    if missing:
        raise CommandError(
            f"'{path}' line {first}: must name the columns {', '.join(columns)}, "
            f"got {', '.join(titles)}"
        )
    if not rest:
        raise CommandError(f"'{path}' has no rows below its columns")
    return [_row(path, number, titles, values) for number, values in rest]


def _row(path: Path, line: int, titles: Sequence[str], values: Sequence[str]) -> CsvRow:
    if len(values) != len(titles):
        raise CommandError(
            f"'{path}' line {line}: must have {len(titles)} values, got {len(values)}"
        )
    return CsvRow(path, line, dict(zip(titles, values, strict=True)))
