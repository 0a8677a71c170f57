"""STC-ResNet-50 on clips of 8 frames of 224 x 224 pixels: training steps and evaluation."""

from __future__ import annotations

import pytest
from networks import EVALUATION, TRAINING, measure_network, rows, settings


@pytest.mark.parametrize("backend", rows(TRAINING))
@pytest.mark.parametrize("setting", settings(1, 2), ids=str)
def test_training_step(benchmark, setting, backend, with_compile):
    measure_network(benchmark, backend, setting, TRAINING, with_compile)


@pytest.mark.parametrize("backend", rows(EVALUATION))
@pytest.mark.parametrize("setting", settings(1, 2), ids=str)
def test_eval_forward(benchmark, setting, backend, with_compile):
    measure_network(benchmark, backend, setting, EVALUATION, with_compile)
