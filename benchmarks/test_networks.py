"""STC-ResNet-50 on clips of 8 frames of 224 x 224 pixels: training steps and evaluation."""

from __future__ import annotations

import pytest
from devices import CPU
from networks import measure_network, measure_recomputation, rows, settings
from parameters import row
from ways import EVALUATION, TRAINING


@pytest.mark.parametrize("backend", rows(TRAINING))
@pytest.mark.parametrize("setting", settings(1, 2), ids=str)
def test_training_step(benchmark, setting, backend, with_compile):
    measure_network(benchmark, backend, setting, TRAINING, with_compile)


@pytest.mark.parametrize("backend", rows(EVALUATION))
@pytest.mark.parametrize("setting", settings(1, 2), ids=str)
def test_eval_forward(benchmark, setting, backend, with_compile):
    measure_network(benchmark, backend, setting, EVALUATION, with_compile)


@pytest.mark.parametrize("network", [row(CPU, each) for each in ("stc", "tsn", "c3d")])
@pytest.mark.parametrize("setting", settings(1), ids=str)
def test_recomputation(benchmark, setting, network):
    measure_recomputation(benchmark, network, setting)
