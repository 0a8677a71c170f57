"""Times taken in turns: each round calls all that is compared, one by one, from cold caches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

SECONDS_PER_ROW = 0.3
MIN_ROUNDS, MAX_ROUNDS = 11, 41
# Overwritten before every timed call, so that none finds its inputs in a cache by chance.
EVICTED_BYTES = 64 * 2**20


def timed(function: Callable[[], object]) -> float:
    """Return the seconds of one call, its results freed within."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def time_in_turns(
    benchmark, run: Callable[[], object], beside: Mapping[str, Callable[[], object]]
) -> dict[str, float]:
    """Let `benchmark` time `run`, and return times `run` is faster than each function in `beside`.

    That is the ratio of medians over rounds in each of which all are called once.
    """
    evicting = torch.empty(EVICTED_BYTES, dtype=torch.uint8)
    times: dict[str, list[float]] = {name: [] for name in beside}
    warm_up = sum(min(timed(each) for _ in range(2)) for each in (run, *beside.values()))
    rounds = min(max(int(SECONDS_PER_ROW / warm_up), MIN_ROUNDS), MAX_ROUNDS)

    def time_the_others() -> None:
        for name, function in beside.items():
            evicting.fill_(0)
            times[name].append(timed(function))
        evicting.fill_(0)

    benchmark.pedantic(run, setup=time_the_others, rounds=rounds)
    median = benchmark.stats.stats.median
    return {name: statistics.median(each) / median for name, each in times.items()}
