"""The fused operators: evaluation, training forward, backward and both, on every backend."""

from __future__ import annotations

import pytest
from fused import FUSED
from measure import measure, rows


@pytest.mark.parametrize(("mode", "backend"), rows(FUSED))
@pytest.mark.parametrize("operator", FUSED.operators)
@pytest.mark.parametrize("setting", FUSED.settings, ids=str)
def test_operator(benchmark, operator, mode, setting, backend, with_compile):
    measure(benchmark, FUSED, operator, setting, mode, backend, with_compile)
