"""The paper's tables as data: its own figures, and the networks of this package beside them."""

from .agreement import Agreement, agreement
from .counts import Counts
from .notes import NOTES
from .rows import AblationRow, BuiltNetwork, ComparisonRow, LayerRow, Method, RefinementRow
from .table_i import TABLE_I
from .table_ii import TABLE_II
from .table_iii import TABLE_III
from .table_iv import TABLE_IV

__all__ = [
    "NOTES",
    "TABLE_I",
    "TABLE_II",
    "TABLE_III",
    "TABLE_IV",
    "AblationRow",
    "Agreement",
    "BuiltNetwork",
    "ComparisonRow",
    "Counts",
    "LayerRow",
    "Method",
    "RefinementRow",
    "agreement",
]
