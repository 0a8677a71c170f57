"""The paper's tables as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence

from stc_ops.paper import NOTES
from stc_ops.paper.agreement import NEAR_PERCENT, Agreement, in_unit, parse_figure
from stc_ops.paper.computed import ComputedRow, ComputedTable, Figure, agreements

MISSING = "-"
DECIMALS = {"": 0, "%": 2, "M": 3, "G": 3}


def markdown(tables: Sequence[ComputedTable]) -> str:
    """Return all tables, what is counted in them, and their notes."""
    found = Counter(agreements(tables))
    counts = ", ".join(f"{found[agreement]} {agreement.value}" for agreement in Agreement)
    introduction = (
        "Parameters and FLOPs as the paper prints them and as this package counts them: "
        "multiply-accumulates by thop's rules (`stc_ops.cost`), 174 classes, frames of 224 x 224, "
        "of one crop of one clip; the paper's factors for crops and clips stand behind them. A "
        "computed figure is a match if it has the paper's digits when it is rounded to as many, "
        f"near if it is within {NEAR_PERCENT} %, else a mismatch; '{MISSING}' is no figure in the "
        f"paper, or no such network in this package. In all: {counts}."
    )
    sections = [_section(table) for table in tables]
    return "\n\n".join(["# The paper's tables, computed", introduction, *sections])


def comma_separated(table: ComputedTable) -> str:
    """Return a table with exact counts, empty where there is none."""
    first = table.rows[0]
    titles = [_csv_name(label) for label in first.labels]
    for name in map(_csv_name, first.figures):
        titles += [f"{name}_paper", f"{name}_computed", f"{name}_agreement"]
    titles += [f"{_csv_name(name)}_quoted" for name in first.accuracies]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*titles, "notes"])
    for row in table.rows:
        writer.writerow(
            [
                *row.labels.values(),
                *(cell for figure in row.figures.values() for cell in _csv_cells(figure)),
                *row.accuracies.values(),
                " ".join(NOTES[note] for note in row.notes),
            ]
        )
    return text.getvalue()


def _csv_name(title: str) -> str:
    return title.lower().replace(" ", "_").replace("-", "")


def _csv_cells(figure: Figure) -> list[str | float | None]:
    computed = figure.computed
    return [
        figure.printed,
        computed if computed is None or isinstance(computed, int) else float(computed),
        None if figure.agreement is None else figure.agreement.value,
    ]


def _section(table: ComputedTable) -> str:
    first = table.rows[0]
    notes = list(dict.fromkeys(note for row in table.rows for note in row.notes))
    titles = list(first.labels)
    for name in first.figures:
        titles += [f"{name}, paper", f"{name}, computed"]
    titles += [f"{name}, quoted" for name in first.accuracies]
    lines = [[*_cells(row), _references(row, notes)] for row in table.rows]
    parts = [f"## {table.title}", _aligned([[*titles, "notes"], *lines])]
    if first.accuracies:
        parts.append("Accuracies (%) are quoted from the paper; nothing here was trained.")
    if notes:
        parts.append("\n".join(f"{number}. {NOTES[note]}" for number, note in enumerate(notes, 1)))
    return "\n\n".join(parts)


def _cells(row: ComputedRow) -> list[str]:
    cells = [label or MISSING for label in row.labels.values()]
    for figure in row.figures.values():
        cells += [figure.printed or MISSING, _computed(figure)]
    return cells + [accuracy or MISSING for accuracy in row.accuracies.values()]


def _computed(figure: Figure) -> str:
    if figure.agreement is None:
        return MISSING
    _, unit, factors = parse_figure(figure.printed)
    number = f"{in_unit(figure.computed, unit):,.{DECIMALS[unit]}f}{unit}{factors}"
    return f"{number} {figure.agreement.value}"


def _references(row: ComputedRow, notes: Sequence[str]) -> str:
    return ", ".join(str(notes.index(note) + 1) for note in row.notes)


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |"
        for line in (lines[0], rule, *lines[1:])
    )
