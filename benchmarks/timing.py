"""Times taken in turns: each round calls all that is compared, one by one, from cold caches."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

import torch
from devices import Device

from stc_ops.measuring import seconds_of

SECONDS_PER_ROW = 0.3
MIN_ROUNDS, MAX_ROUNDS = 11, 41


def time_in_turns(
    benchmark,
    device: Device,
    run: Callable[[], object],
    beside: Mapping[str, Callable[[], object]],
) -> dict[str, float]:
    """Let `benchmark` time `run`, and return times `run` is faster than each function in `beside`.

    That is the ratio of medians over rounds in each of which all are called once. The clock of
    `benchmark` has to be that of `device`: see :func:`parameters.row`.
    """
    evicting = torch.empty(device.evicted_bytes(), dtype=torch.uint8, device=device.name)
    times: dict[str, list[float]] = {name: [] for name in beside}
    warm_up = sum(
        min(seconds_of(each, device.now) for _ in range(2)) for each in (run, *beside.values())
    )
    rounds = min(max(int(SECONDS_PER_ROW / warm_up), MIN_ROUNDS), MAX_ROUNDS)

    def time_the_others() -> None:
        for name, function in beside.items():
            evicting.fill_(0)
            times[name].append(seconds_of(function, device.now))
        evicting.fill_(0)

    benchmark.pedantic(run, setup=time_the_others, rounds=rounds)
    median = benchmark.stats.stats.median
    return {name: statistics.median(each) / median for name, each in times.items()}
