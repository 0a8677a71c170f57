"""The devices that rows are measured on: what is told of each one's time, caches and memory."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from results import ON_GPU
from torch.utils import collect_env

from stc_ops import measuring


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


def _why_not_cuda() -> str | None:
    return None if torch.cuda.is_available() else "this machine has no CUDA device"


CPU = Device(
    name="cpu",
    backends=("cpu",),
    suffix="",
    now=measuring.clock_of("cpu"),
    evicted_bytes=functools.partial(measuring.evicted_bytes, "cpu"),
    peak_bytes=None,
    why_not=lambda: None,
)
CUDA = Device(
    name="cuda",
    backends=("cuda", "triton"),
    suffix=ON_GPU,
    now=measuring.clock_of("cuda"),
    evicted_bytes=functools.partial(measuring.evicted_bytes, "cuda"),
    peak_bytes=functools.partial(measuring.peak_bytes, device="cuda"),
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
