"""Whether a computed figure is the one that the paper prints."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal
from enum import Enum
from fractions import Fraction
from typing import NamedTuple

NEAR_PERCENT = 2
"""Figures that differ by no more are near."""

_UNITS = {"": Fraction(1), "%": Fraction(1, 100), "M": Fraction(10**6), "G": Fraction(10**9)}
_FIGURE = re.compile(r"(?P<number>[\d,]+(\.\d+)?)(?P<unit>[%MG]?)(?P<factors>( x \d+)*)")


class Agreement(Enum):
    """How a computed figure compares with a printed one."""

    MATCH = "match"
    NEAR = "near"
    MISMATCH = "mismatch"


class PrintedFigure(NamedTuple):
    """A figure of the paper's: ``26.9G x 3 x 2`` is 26.9, ``G`` and ``" x 3 x 2"``."""

    number: Decimal
    unit: str
    factors: str


def parse_figure(printed: str) -> PrintedFigure:
    """Take a printed figure apart.

    Raises:
        ValueError: it is none.
    """
    match = _FIGURE.fullmatch(printed)
    if match is None:
        raise ValueError(f"parse_figure: printed must be like '26.9G x 3 x 2', got '{printed}'")
    number = Decimal(match["number"].replace(",", ""))
    return PrintedFigure(number, match["unit"], match["factors"])


def in_unit(value: Fraction | int, unit: str) -> Decimal:
    """Return `value` as a number of `unit`: "", "%", "M" or "G"."""
    scaled = value / _UNITS[unit]
    return Decimal(scaled.numerator) / Decimal(scaled.denominator)


def agreement(computed: Fraction | int, printed: str) -> Agreement:
    """Compare a figure with the paper's, without the factors behind it.

    It is a match if, rounded once to as many digits as the paper prints, it is the same; near if
    the two differ by at most `NEAR_PERCENT` of the printed one.
    """
    number, unit, _ = parse_figure(printed)
    value = in_unit(computed, unit)
    if value.quantize(number, ROUND_HALF_UP) == number:
        return Agreement.MATCH
    is_near = 100 * abs(value - number) <= NEAR_PERCENT * number
    return Agreement.NEAR if is_near else Agreement.MISMATCH
