"""Table III: with and without the refinements, Something-Something V1."""

from __future__ import annotations

from .rows import RefinementRow

TABLE_III = (
    RefinementRow("0", False, False, "12.3"),
    RefinementRow("0", False, True, "24.9"),
    RefinementRow("3/4", False, False, "46.9"),
    RefinementRow("3/4", True, False, "48.1"),
    RefinementRow("3/4", False, True, "47.8"),
    RefinementRow("3/4", True, True, "48.3"),
    RefinementRow("1", False, False, "45.6"),
    RefinementRow("1", True, False, "47.3"),
)
