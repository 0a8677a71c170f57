"""How it is measured: verified first, then in one run with its floor and with eager PyTorch."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from matrix import DTYPES, MEMORY_FORMATS, Operator, Setting, Traffic

import stc_ops

# "backward" goes through autograd, as training does; "backward-operator" is the registered backward
# operator by itself, as "forward" is the forward operator by itself.
MODES = ("forward", "backward-operator", "backward", "both")
SECONDS_PER_ROW = 0.3
MIN_ROUNDS, MAX_ROUNDS = 11, 41
# Overwritten before every timed call, so that none finds its inputs in a cache by chance.
EVICTED_BYTES = 64 * 2**20

# Both sides round: float32 in another order of summation, 16-bit results to 8 or 11 bits, and plain
# PyTorch rounds the gate and the products of the backward's sum to 16 bits as well.
RELATIVE_AND_ABSOLUTE_TOLERANCES = {
    torch.float64: (1e-10, 1e-10),
    torch.float32: (1e-4, 1e-4),
    torch.bfloat16: (2**-5, 2**-2),
    torch.float16: (2**-8, 2**-5),
}


class Backend(NamedTuple):
    """A way to run an operator: forced backend, and whether torch.compile is put around it."""

    forced: str
    compiled: bool = False


BACKENDS = {name: Backend(name) for name in stc_ops.available_backends()}
BACKENDS["compiled-reference"] = Backend("reference", compiled=True)
ROWS = [
    (mode, backend)
    for mode in MODES
    for backend in BACKENDS
    if mode != "backward-operator" or BACKENDS[backend].forced != "reference"
]


def forward_of(
    operator: Operator, setting: Setting, backend: Backend
) -> Callable[..., torch.Tensor]:
    """Return the operator as `backend` runs it."""

    def run(*tensors: torch.Tensor) -> torch.Tensor:
        return operator.run(setting, *tensors)

    if backend.compiled:
        torch._dynamo.reset()
        run = torch.compile(run, fullgraph=True)

    def forward(*tensors: torch.Tensor) -> torch.Tensor:
        with stc_ops.use_backend(backend.forced):
            return run(*tensors)

    return forward


def gradient_like(out: torch.Tensor, setting: Setting) -> torch.Tensor:
    """Return a fixed random gradient of `out` in the memory format of the frames."""
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out)
    if out.ndim == 4:
        grad = grad.contiguous(memory_format=MEMORY_FORMATS[setting.memory_format])
    return grad


def workload(
    operator: Operator, setting: Setting, mode: str, backend: Backend, inputs: list[torch.Tensor]
) -> Callable[[], list[torch.Tensor]]:
    """Return a function that does one pass of `mode` and returns all it computes."""
    forward = forward_of(operator, setting, backend)
    if mode == "forward":

        def run_forward() -> list[torch.Tensor]:
            with torch.no_grad():
                return [forward(*inputs)]

        return run_forward

    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    out = forward(*leaves)
    grad = gradient_like(out, setting)

    def run_operator() -> list[torch.Tensor]:
        gradients = operator.backward(setting, grad, *inputs)
        return list(gradients) if isinstance(gradients, tuple) else [gradients]

    def run_backward() -> list[torch.Tensor]:
        return list(torch.autograd.grad(out, leaves, grad, retain_graph=True))

    def run_both() -> list[torch.Tensor]:
        result = forward(*leaves)
        return [result, *torch.autograd.grad(result, leaves, grad)]

    return {"backward-operator": run_operator, "backward": run_backward, "both": run_both}[mode]


def floor(passes: list[Traffic]) -> Callable[[], None]:
    """Return a function that does the floor of each pass in turn."""
    functions = [floor_of_pass(traffic) for traffic in passes]

    def run() -> None:
        for function in functions:
            function()

    return run


def floor_of_pass(traffic: Traffic) -> Callable[[], object]:
    """Return the fastest plain pass over the same bytes that allocates what the operator does.

    Written bytes are a clone, which reads as many; bytes read beyond that are a plain sum. Where
    more is written than read, as in the pools' backward, written bytes are a fill.
    """

    def elements(size: int) -> torch.Tensor:
        return torch.ones(size // 4, dtype=torch.float32)

    if traffic.written > traffic.read:
        written, read = elements(traffic.written), elements(traffic.read)
        return lambda: (torch.full_like(written, 2.0), read.sum())
    cloned, summed = elements(traffic.written), elements(traffic.read - traffic.written)
    return lambda: (cloned.clone(), summed.sum())


def timed(function: Callable[[], object]) -> float:
    """Return the seconds of one call, its results freed within."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def verify(setting: Setting, actual: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    """Raise unless the outputs agree: no time is reported for a wrong result."""
    rtol, atol = RELATIVE_AND_ABSOLUTE_TOLERANCES[DTYPES[setting.dtype]]
    for got, want in zip(actual, expected, strict=True):
        excess = (got - want).abs_().sub_(want.abs(), alpha=rtol).max()
        if not excess <= atol:
            raise AssertionError(f"{setting}: outputs differ from eager PyTorch by {excess:.3g}")


def measure(benchmark, operator: Operator, setting: Setting, mode: str, backend_name: str) -> None:
    """Time one row; before each round the floor and eager PyTorch, all from cold caches."""
    torch.manual_seed(0)
    inputs = operator.inputs(setting)
    run = workload(operator, setting, mode, BACKENDS[backend_name], inputs)
    eager = workload(operator, setting, mode.split("-")[0], BACKENDS["reference"], inputs)
    verify(setting, run(), eager())
    if benchmark.disabled:
        benchmark(run)
        return
    passes = operator.passes(setting, mode)
    floor_pass = floor(passes)
    beside = {"floor": floor_pass, "eager": eager}
    evicting = torch.empty(EVICTED_BYTES, dtype=torch.uint8)
    times: dict[str, list[float]] = {name: [] for name in beside}
    warm_up = sum(min(timed(function) for _ in range(3)) for function in (run, floor_pass, eager))
    rounds = min(max(int(SECONDS_PER_ROW / warm_up), MIN_ROUNDS), MAX_ROUNDS)

    def time_the_others() -> None:
        for name, function in beside.items():
            evicting.fill_(0)
            times[name].append(timed(function))
        evicting.fill_(0)

    benchmark.pedantic(run, setup=time_the_others, rounds=rounds)
    median = benchmark.stats.stats.median
    benchmark.extra_info.update(
        gb_per_s=sum(traffic.read + traffic.written for traffic in passes) / median / 1e9,
        fraction_of_floor=statistics.median(times["floor"]) / median,
    )
    if mode != "backward-operator":
        benchmark.extra_info["times_eager"] = statistics.median(times["eager"]) / median
