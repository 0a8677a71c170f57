"""Time, memory and differences of functions, as `stc-ops bench` and the benchmarks measure them."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import nn

from .memory import keep_freed_memory
from .operators.checks import accumulation_dtype

EVICTED_CPU_BYTES = 64 * 2**20

NamedTensors: TypeAlias = Mapping[str, torch.Tensor]


class StreamMoment:
    """Now on the current CUDA stream: when all that was launched on it before is done.

    It can be subtracted from a later one, which gives seconds; only that waits for the device.
    """

    def __init__(self) -> None:
        """See the class."""
        self.event = torch.cuda.Event(enable_timing=True)
        self.event.record()

    def __sub__(self, earlier: StreamMoment) -> float:
        """Return the seconds since `earlier`."""
        self.event.synchronize()
        return earlier.event.elapsed_time(self.event) / 1e3


def clock_of(device: str) -> Callable[[], Any]:
    """Return a function that gives points in time of a device, whose differences are seconds."""
    return StreamMoment if device == "cuda" else time.perf_counter


def evicted_bytes(device: str) -> int:
    """Return how much to overwrite so that no call finds its inputs in a cache by chance."""
    if device == "cuda":
        return 2 * torch.cuda.get_device_properties().L2_cache_size
    return EVICTED_CPU_BYTES


def allocator() -> str:
    """Let freed memory be kept, if the environment has no wishes, and return what is in force.

    Else each round pays page faults, which vary from run to run by more than most differences.
    """
    if tunables := os.environ.get("GLIBC_TUNABLES"):
        return tunables
    return "freed memory kept" if keep_freed_memory() else "default"


def seconds_of(function: Callable[[], object], now: Callable[[], Any]) -> float:
    """Return the seconds of one call by the clock `now`, its results freed within.

    On a GPU they are the device's. It is idle before, but for what evicts the caches, behind which
    the first launches hide; so every call has the same start.
    """
    start = now()
    function()
    return now() - start


def seconds_in_turns(
    functions: Mapping[str, Callable[[], object]],
    device: str,
    rounds: int,
    on_round: Callable[[], None],
) -> dict[str, list[float]]:
    """Return the seconds of each function in each of several rounds, which call all of them once.

    So whatever else the machine does weighs on all alike. Each call starts from cold caches.
    """
    evicting = torch.empty(evicted_bytes(device), dtype=torch.uint8, device=device)
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            evicting.fill_(0)
            seconds[name].append(seconds_of(function, clock_of(device)))
        on_round()
    return seconds


def peak_bytes(function: Callable[[], object], device: str) -> int:
    """Return how much memory a call has allocated at most, beside what was allocated before it.

    It is what tensors and PyTorch's own buffers take. What allocators and libraries keep besides is
    not counted: a process on a CPU grows by up to a third more.
    """
    return _cuda_peak_bytes(function) if device == "cuda" else _cpu_peak_bytes(function)


def _cuda_peak_bytes(function: Callable[[], object]) -> int:
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    function()
    return torch.cuda.max_memory_allocated() - before


def _cpu_peak_bytes(function: Callable[[], object]) -> int:
    with _silent_stderr(), torch.autograd.profiler.profile(profile_memory=True) as profile:
        function()
    changes = [event for event in profile.kineto_results.events() if event.name() == "[memory]"]
    allocated = peak = 0
    for change in sorted(changes, key=lambda event: event.start_ns()):
        allocated += change.nbytes()
        peak = max(peak, allocated)
    return peak


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    # PyTorch's profiler tells the stderr of the process, not Python's, when it starts and stops.
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)


def saved_bytes(model: nn.Module, frames: torch.Tensor) -> int:
    """Return the bytes that a forward of `model` saves for backward, beside its parameters."""
    parameters = {each.untyped_storage().data_ptr() for each in model.parameters()}
    storages: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda saved: saved):
        # Alive until all is counted, so that no address is used twice.
        logits = model(frames)
    del logits
    return sum(size for address, size in storages.items() if address not in parameters)


class Tolerance(NamedTuple):
    """How far a tensor may be from the exact one, relative to the norm of that.

    Attributes:
        at_least: in any case.
        of_plain: times as far as plain PyTorch in the same dtype, where that is farther.
        at_most: in no case more: a tensor of zeros is 1 from any other.
    """

    at_least: float
    of_plain: float
    at_most: float = 0.9


def first_difference(
    actual: NamedTensors, exact: NamedTensors, plain: NamedTensors, tolerance: Tolerance
) -> str | None:
    """Say which result is the first that differs from the exact one by too much, or return None.

    Each is judged by itself, so that none is too small beside the others to be seen.

    Args:
        actual: results by their names.
        exact: the same in a wider dtype, or what is taken for right.
        plain: the same as plain PyTorch computes it in the dtype of `actual`.
        tolerance: of each.
    """
    if unshared := [*(actual.keys() ^ exact.keys()), *(plain.keys() ^ exact.keys())]:
        return f"only one of them has {min(unshared)}"
    errors, of_plain = relative_errors(actual, exact), relative_errors(plain, exact)
    for name, error in errors.items():
        limit = max(tolerance.at_least, tolerance.of_plain * of_plain[name])
        limit = min(limit, tolerance.at_most)
        # NaN is no more right than what is too far.
        if not error <= limit:
            return f"{name} by {error:.3g} of its norm, and {limit:.3g} is allowed"
    return None


def relative_errors(actual: NamedTensors, expected: NamedTensors) -> dict[str, float]:
    """Return the norm of the difference of each tensor over the norm of the one expected.

    It is infinite where their shapes are not the same.
    """
    return {name: _relative_error(actual[name], want) for name, want in expected.items()}


def _relative_error(got: torch.Tensor, want: torch.Tensor) -> float:
    if got.shape != want.shape:
        return math.inf
    dtype = accumulation_dtype(want.dtype)
    want = want.detach().to(dtype)
    difference = torch.linalg.vector_norm(got.detach().to(dtype) - want).item()
    norm = torch.linalg.vector_norm(want).item()
    if norm == 0:
        return math.inf if difference > 0 else difference
    return difference / norm
