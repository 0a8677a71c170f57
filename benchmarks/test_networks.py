"""STC-ResNet-50 on clips of 8 frames of 224 x 224 pixels: training steps and evaluation."""

from __future__ import annotations

import pytest
from networks import EVALUATION, ROWS, TRAINING, VARIANTS, measure_network, settings


def rows(mode):
    """Return the variants of a network in `mode`; one that cannot run here is a skip with why."""
    return [
        pytest.param(name, marks=pytest.mark.skip(reason=why_not)) if why_not else name
        for name in ROWS[mode]
        for why_not in (VARIANTS[name].why_not,)
    ]


@pytest.mark.parametrize("backend", rows(TRAINING))
@pytest.mark.parametrize("setting", settings(1, 2), ids=str)
def test_training_step(benchmark, setting, backend, with_compile):
    measure_network(benchmark, backend, setting, TRAINING, with_compile)


@pytest.mark.parametrize("backend", rows(EVALUATION))
@pytest.mark.parametrize("setting", settings(1, 2), ids=str)
def test_eval_forward(benchmark, setting, backend, with_compile):
    measure_network(benchmark, backend, setting, EVALUATION, with_compile)
