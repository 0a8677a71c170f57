"""The operators and the reference, side by side on one input."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from stc_ops import use_backend

ROUNDS = 5


@dataclass(frozen=True)
class Comparison:
    """What a network gives with the default backend and with the reference."""

    operator_logits: torch.Tensor
    reference_logits: torch.Tensor
    operator_seconds: float
    reference_seconds: float

    @property
    def largest_difference(self) -> float:
        """Largest absolute difference between the two outputs."""
        return (self.operator_logits - self.reference_logits).abs().max().item()


def compare_with_reference(
    model: nn.Module, frames: torch.Tensor, on_run: Callable[[int, int], None]
) -> Comparison:
    """Run `model` on `frames` with the default backend and with the reference, in turns.

    Each runs once to warm up, which gives the outputs, and `ROUNDS` times more, of which the median
    time is taken; taking turns lets whatever else the machine does weigh on both alike.
    """
    backends = (contextlib.nullcontext, lambda: use_backend("reference"))
    runs = len(backends) * (1 + ROUNDS)
    outputs: list[torch.Tensor] = []
    seconds: list[float] = []
    for run in range(runs):
        with torch.inference_mode(), backends[run % 2]():
            start = time.perf_counter()
            # Fetching the logits waits for a GPU, which runs behind.
            outputs.append(model(frames).cpu())
            seconds.append(time.perf_counter() - start)
        on_run(run + 1, runs)
    return Comparison(
        operator_logits=outputs[0],
        reference_logits=outputs[1],
        operator_seconds=statistics.median(seconds[2::2]),
        reference_seconds=statistics.median(seconds[3::2]),
    )
