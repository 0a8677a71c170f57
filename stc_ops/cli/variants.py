"""The points of `stc-ops plot shift-and-refinement`: a user's results, and the paper's own."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from stc_ops.paper import TABLE_II, TABLE_III

from .csv_file import CsvRow, read_csv
from .errors import CommandError

VARIANTS = ("Sim-STC", "NonShift-STC", "STC")
ALPHAS = {"0": 0, "1/4": Fraction(1, 4), "2/4": Fraction(2, 4), "3/4": Fraction(3, 4), "1": 1}
COLUMNS = ("variant", "alpha", "top1")

Results = Mapping[str, Mapping[Fraction, float]]
"""Top-1 accuracies, in percent, by variant and alpha."""


def read_results(path: Path) -> Results:
    """Read a file of the columns variant, alpha and top1.

    Raises:
        CommandError: if it cannot be read, or a value is wrong, or comes twice.
    """
    results: dict[str, dict[Fraction, float]] = {}
    for row in read_csv(path, COLUMNS):
        variant, alpha = row.one_of("variant", VARIANTS), _alpha(row)
        points = results.setdefault(variant, {})
        if alpha in points:
            raise CommandError(
                f"'{path}' line {row.line}: {variant} must come once for every alpha, got "
                f"alpha = {row.values['alpha']} again"
            )
        points[alpha] = row.number("top1", 0, 100, "a percentage from 0 to 100")
    return results


def _alpha(row: CsvRow) -> Fraction:
    try:
        alpha = Fraction(row.values["alpha"])
    except (ValueError, ZeroDivisionError):
        alpha = None
    if alpha not in ALPHAS.values():
        raise row.error("alpha", f"one of {', '.join(ALPHAS)}")
    return alpha


def quoted_results() -> Results:
    """Return what the paper's tables have of its figure 7, 8 frames, Something-Something V1.

    Table II has STC. At alpha = 0 there is nothing to shift, so Table III's row without refinements
    is Sim-STC's and NonShift-STC is STC; at alpha = 1 Sim-STC is TSN. All other rows of Table III
    keep the shift.
    """
    standard = {
        Fraction(row.setting): float(row.top1)
        for row in TABLE_II
        if row.network.name == "stc" and row.network.keywords.keys() == {"alpha"}
    }
    simple = next(
        float(row.top1)
        for row in TABLE_III
        if row.alpha == "0" and not (row.temporal_refinement or row.spatial_refinement)
    )
    tsn = next(float(row.top1) for row in TABLE_II if row.network.name == "tsn")
    return {
        "Sim-STC": {Fraction(0): simple, Fraction(1): tsn},
        "NonShift-STC": {Fraction(0): standard[Fraction(0)]},
        "STC": standard,
    }
