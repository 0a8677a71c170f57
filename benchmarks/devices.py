"""The devices that rows are measured on: what is told of each one's time, caches and memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from results import ON_GPU
from torch.utils import collect_env


class Device(NamedTuple):
    """A device, and how rows are measured there.

    Attributes:
        name: torch's.
        backends: those that have kernels for it, the compiled ones first.
        suffix: what ends the names of rows that every device has.
        now: returns a point in time; the difference of two is in seconds.
        evicted_bytes: how much to overwrite before every timed call, so that none finds its inputs
            in a cache by chance.
        peak_bytes: returns how much memory a call needs at most beside what is allocated before
            it; None where nobody counts.
        why_not: says why nothing can be measured here, or returns None.
    """

    name: str
    backends: tuple[str, ...]
    suffix: str
    now: Callable[[], Any]
    evicted_bytes: Callable[[], int]
    peak_bytes: Callable[[Callable[[], object]], int] | None
    why_not: Callable[[], str | None]


class _StreamMoment:
    """Now on the current stream: when all that was launched on it before is done."""

    def __init__(self) -> None:
        self.event = torch.cuda.Event(enable_timing=True)
        self.event.record()

    def __sub__(self, earlier: _StreamMoment) -> float:
        self.event.synchronize()
        return earlier.event.elapsed_time(self.event) / 1e3


def stream_now() -> _StreamMoment:
    """Return a moment that can be subtracted from a later one; only that waits for the device."""
    return _StreamMoment()


def _twice_the_l2() -> int:
    return 2 * torch.cuda.get_device_properties().L2_cache_size


def _cuda_peak_bytes(function: Callable[[], object]) -> int:
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    function()
    return torch.cuda.max_memory_allocated() - before


def _why_not_cuda() -> str | None:
    return None if torch.cuda.is_available() else "this machine has no CUDA device"


CPU = Device(
    name="cpu",
    backends=("cpu",),
    suffix="",
    now=time.perf_counter,
    evicted_bytes=lambda: 64 * 2**20,
    peak_bytes=None,
    why_not=lambda: None,
)
CUDA = Device(
    name="cuda",
    backends=("cuda", "triton"),
    suffix=ON_GPU,
    now=stream_now,
    evicted_bytes=_twice_the_l2,
    peak_bytes=_cuda_peak_bytes,
    why_not=_why_not_cuda,
)
DEVICES = (CPU, CUDA)


def peak_memory(
    device: Device, run: Callable[[], object], eager: Callable[[], object]
) -> dict[str, float]:
    """Return the peak of `run`, and as a fraction of eager PyTorch's, where that is counted."""
    if device.peak_bytes is None:
        return {}
    peak = device.peak_bytes(run)
    return {"peak_bytes": peak, "fraction_of_peak_bytes": peak / device.peak_bytes(eager)}


def gpu_info() -> dict[str, str]:
    """Return what names the GPU and its software, nothing where there is none."""
    if not torch.cuda.is_available():
        return {}
    return {
        "gpu": torch.cuda.get_device_name(),
        "driver": collect_env.get_nvidia_driver_version(collect_env.run) or "unknown",
        "cuda": str(torch.version.cuda),
    }
