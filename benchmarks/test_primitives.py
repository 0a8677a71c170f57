"""The primitive operators: forward, backward and both, on every backend that can run."""

from __future__ import annotations

import pytest
from measure import measure, rows
from primitives import PRIMITIVES


@pytest.mark.parametrize(("mode", "backend"), rows(PRIMITIVES))
@pytest.mark.parametrize("operator", PRIMITIVES.operators)
@pytest.mark.parametrize("setting", PRIMITIVES.settings, ids=str)
def test_operator(benchmark, operator, mode, setting, backend, with_compile):
    measure(benchmark, PRIMITIVES, operator, setting, mode, backend, with_compile)
