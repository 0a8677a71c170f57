"""What calls cost: networks on frames so tiny that nearly all of their time is the host's."""

from __future__ import annotations

import statistics

import calls
import pytest
import torch
from devices import CPU
from parameters import row

from stc_ops import measuring


@pytest.mark.parametrize("network", ["stc", "tsn"])
@pytest.mark.parametrize("mode", [row(CPU, mode) for mode in calls.MODES])
def test_calls(benchmark, network, mode):
    benchmark.group = f"calls {mode}"
    with calls.one_thread():
        calls.verify(network, mode)
        run, plain = calls.steps(network, mode, torch.float32)
        if benchmark.disabled:
            benchmark(run)
            return
        times = []
        setup = lambda: times.append(measuring.seconds_of(plain, CPU.now))  # noqa: E731
        benchmark.pedantic(run, setup=setup, rounds=calls.ROUNDS, warmup_rounds=2)
    median = benchmark.stats.stats.median
    benchmark.extra_info.update(
        family="calls",
        operator=network,
        mode=mode,
        backend="cpu",
        times_plain=statistics.median(times) / median,
    )
