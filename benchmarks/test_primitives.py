"""The primitive operators: forward, backward and both, on every backend that can run."""

from __future__ import annotations

import pytest
from matrix import OPERATORS, settings
from measure import ROWS, measure


@pytest.mark.parametrize(("mode", "backend"), ROWS)
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("setting", settings(), ids=str)
def test_operator(benchmark, operator, mode, setting, backend):
    benchmark.group = f"{operator} {mode} {setting}"
    measure(benchmark, OPERATORS[operator], setting, mode, backend)
