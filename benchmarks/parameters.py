"""Rows as parameters of pytest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from devices import CUDA, Device

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet


def row(device: Device, *values: str, why_not: str | None = None) -> ParameterSet:
    """Return a row that is timed by its device's clock, skipped with a reason if it cannot run."""
    marks = [pytest.mark.benchmark(timer=device.now)]
    if device is CUDA:
        marks.append(pytest.mark.gpu)
    if reason := device.why_not() or why_not:
        marks.append(pytest.mark.skip(reason=reason))
    return pytest.param(*values, marks=marks)
