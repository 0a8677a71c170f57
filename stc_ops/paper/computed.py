"""The paper's tables with computed figures beside the printed ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from .agreement import Agreement, agreement
from .counts import Counts
from .rows import AblationRow, ComparisonRow, LayerRow
from .table_i import TABLE_I
from .table_ii import TABLE_II
from .table_iv import TABLE_IV

ABLATION_FRAMES = 8
C2D_PARAMETERS = 9 * 64**2


@dataclass(frozen=True)
class Figure:
    """A figure that the paper prints, None where it has a dash, and the computed one.

    The computed one is None where this package has no such network.
    """

    printed: str | None
    computed: Fraction | int | None

    @property
    def agreement(self) -> Agreement | None:
        """How the two compare; None where one is missing."""
        if self.printed is None or self.computed is None:
            return None
        return agreement(self.computed, self.printed)


@dataclass(frozen=True)
class ComputedRow:
    """One row: what it is about, its figures, and what is only quoted from the paper.

    `notes` are keys of :data:`stc_ops.paper.NOTES`.
    """

    labels: Mapping[str, str | None]
    figures: Mapping[str, Figure]
    accuracies: Mapping[str, str | None]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ComputedTable:
    """A table of the paper's; all rows have the same labels, figures and accuracies."""

    number: int
    title: str
    rows: Sequence[ComputedRow]


def computed_tables(on_row: Callable[[int, int], None]) -> list[ComputedTable]:
    """Compute Tables I, II and IV.

    Args:
        on_row: called with (rows done, rows in all).
    """
    counts = Counts()
    titles = {
        1: "Table I: parameters of the middle layer of a residual block, C = 64",
        2: "Table II: settings of alpha and r, 8 frames, Something-Something V1",
        4: "Table IV: other methods, Something-Something V1 and V2",
    }
    lines = [
        *((1, _layer_row, row) for row in TABLE_I),
        *((2, _ablation_row, row) for row in TABLE_II),
        *((4, _comparison_row, row) for row in TABLE_IV),
    ]
    rows: dict[int, list[ComputedRow]] = {number: [] for number in titles}
    for done, (number, compute, row) in enumerate(lines, start=1):
        rows[number].append(compute(row, counts))
        on_row(done, len(lines))
    return [ComputedTable(number, title, rows[number]) for number, title in titles.items()]


def _layer_row(row: LayerRow, counts: Counts) -> ComputedRow:
    parameters = counts.middle_layer_parameters(row.network)
    return ComputedRow(
        labels={"model": row.model, "formula": row.formula},
        figures={
            "parameters": Figure(row.parameters, parameters),
            "of C2D": Figure(row.percentage, Fraction(parameters, C2D_PARAMETERS)),
        },
        accuracies={},
        notes=row.notes,
    )


def _ablation_row(row: AblationRow, counts: Counts) -> ComputedRow:
    parameters, macs = counts.cost(row.network, ABLATION_FRAMES)
    return ComputedRow(
        labels={"method": row.method, "alpha": row.setting},
        figures={
            "parameters": Figure(row.parameters, parameters),
            "FLOPs": Figure(row.flops, macs),
        },
        accuracies={"top-1": row.top1, "top-5": row.top5},
        notes=row.notes,
    )


def _comparison_row(row: ComparisonRow, counts: Counts) -> ComputedRow:
    parameters, macs = _sums(row, counts)
    return ComputedRow(
        labels={
            "method": row.method.name,
            "backbone": row.method.backbone,
            "pre-training": row.method.pretraining,
            "frames": "+".join(map(str, row.frames)),
            "crops": str(row.crops),
            "clips": str(row.clips),
        },
        figures={
            "parameters": Figure(row.parameters, parameters),
            "FLOPs": Figure(row.flops, macs),
        },
        accuracies={
            "V1 top-1": row.v1_top1,
            "V1 top-5": row.v1_top5,
            "V2 top-1": row.v2_top1,
            "V2 top-5": row.v2_top5,
        },
        notes=row.method.notes,
    )


def _sums(row: ComparisonRow, counts: Counts) -> tuple[int, int] | tuple[None, None]:
    """Return parameters and MACs of all networks of an ensemble, or of the only one."""
    network = row.method.network
    if network is None:
        return None, None
    costs = [counts.cost(network, frames) for frames in row.frames]
    return sum(cost.parameters for cost in costs), sum(cost.macs for cost in costs)


def agreements(tables: Sequence[ComputedTable]) -> Iterator[Agreement]:
    """Yield the agreement of every figure that is printed and computed."""
    for table in tables:
        for row in table.rows:
            for figure in row.figures.values():
                if figure.agreement is not None:
                    yield figure.agreement
