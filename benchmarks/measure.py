"""How an operator is measured: verified first, then in turns with its floor and its competitors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import eager
import torch
from devices import DEVICES, Device, peak_memory
from matrix import (
    DTYPES,
    EVALUATION_MODE,
    MEMORY_FORMATS,
    MODES,
    Family,
    Inputs,
    Operator,
    Setting,
    Traffic,
)
from parameters import row
from timing import time_in_turns

import stc_ops
from stc_ops.backends import why_not
from stc_ops.operators.checks import accumulation_dtype

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet


class Backend(NamedTuple):
    """A way to run an operator: library, forced backend, and whether torch.compile is around it."""

    library: ModuleType
    forced: str
    compiled: bool = False


EAGER = Backend(eager, "reference")
REFERENCE = Backend(stc_ops, "reference")
COMPILED = Backend(stc_ops, "reference", compiled=True)


def _backends_on(device: Device) -> dict[str, Backend]:
    return {
        f"reference{device.suffix}": REFERENCE,
        **{name: Backend(stc_ops, name) for name in device.backends},
        f"compiled-reference{device.suffix}": COMPILED,
    }


BACKENDS = {device: _backends_on(device) for device in DEVICES}


def rows(family: Family) -> list[ParameterSet]:
    """Return the pairs of mode and backend that there are, those of a device in turn."""
    return [
        row(device, mode, name, why_not=why_not(backend.forced, device.name))
        for device, backends in BACKENDS.items()
        for mode in family.modes
        for name, backend in backends.items()
        if mode != "backward-operator" or backend.forced != "reference"
    ]


def device_and_backend(name: str) -> tuple[Device, Backend]:
    """Return where and how the rows of a backend run."""
    return next(
        (device, backends[name]) for device, backends in BACKENDS.items() if name in backends
    )


class Tolerance(NamedTuple):
    """How far two right results may differ.

    Attributes:
        relative: each value, relative to itself.
        of_size: and relative to the root of the mean square of all values.
        behind_relu: gradients behind a ReLU, all values together, relative to their norm. Where its
            argument is zero but for rounding, one result has the gradient and the other has none.
    """

    relative: float
    of_size: float
    behind_relu: float


# Both sides round: float32 in another order of summation, which for PyTorch's own batch norm of
# channels_last frames is off by 1e-4, 16-bit results to 8 or 11 bits, and plain PyTorch rounds what
# it computes between its passes to 16 bits as well.
TOLERANCES = {
    torch.float64: Tolerance(1e-10, 1e-10, 1e-10),
    torch.float32: Tolerance(1e-4, 3e-4, 1e-2),
    torch.bfloat16: Tolerance(2**-5, 2**-2, 2**-3),
    torch.float16: Tolerance(2**-8, 2**-5, 2**-5),
}


def forward_of(
    operator: Operator, setting: Setting, mode: str, backend: Backend
) -> Callable[..., list[torch.Tensor]]:
    """Return the operator as `backend` runs it."""
    run = functools.partial(operator.run, backend.library, setting, mode != EVALUATION_MODE)
    if backend.compiled:
        torch._dynamo.reset()
        run = torch.compile(run, fullgraph=True)

    def forward(*tensors: torch.Tensor) -> list[torch.Tensor]:
        with stc_ops.use_backend(backend.forced):
            return as_list(run(*tensors))

    return forward


def as_list(outputs: torch.Tensor | tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def gradients_like(outputs: list[torch.Tensor], setting: Setting) -> list[torch.Tensor]:
    """Return fixed random gradients of `outputs` in the memory format of the frames."""
    generator = torch.Generator().manual_seed(1)
    gradients = [torch.randn(out.shape, generator=generator).to(out) for out in outputs]
    layout = MEMORY_FORMATS[setting.memory_format]
    return [grad.contiguous(memory_format=layout) if grad.ndim == 4 else grad for grad in gradients]


def workload(
    operator: Operator, setting: Setting, mode: str, backend: Backend, inputs: Inputs
) -> Callable[[], list[torch.Tensor]]:
    """Return a function that does one pass of `mode` and returns all it computes."""
    forward = forward_of(operator, setting, mode, backend)
    statistics = [each.clone() for each in inputs.statistics]
    if mode in ("forward", EVALUATION_MODE):

        def run_forward() -> list[torch.Tensor]:
            with torch.no_grad():
                return forward(*inputs.differentiable, *statistics)

        return run_forward

    leaves = [tensor.detach().requires_grad_() for tensor in inputs.differentiable]
    if mode == "training-forward":
        return lambda: [*forward(*leaves, *statistics), *statistics]

    outputs = forward(*leaves, *statistics)
    gradients = gradients_like(outputs, setting)

    def run_operator() -> list[torch.Tensor]:
        return as_list(operator.backward(setting, *gradients, *inputs.differentiable))

    def run_backward() -> list[torch.Tensor]:
        return list(torch.autograd.grad(outputs, leaves, gradients, retain_graph=True))

    def run_both() -> list[torch.Tensor]:
        results = forward(*leaves, *statistics)
        return [*results, *torch.autograd.grad(results, leaves, gradients)]

    return {"backward-operator": run_operator, "backward": run_backward, "both": run_both}[
        mode.removeprefix("training-")
    ]


def floor(passes: list[Traffic], device: Device) -> Callable[[], None]:
    """Return a function that does the floor of each pass in turn.

    All passes read the same memory from its beginning, so what a pass reads again may be in a cache
    still, as it may for the operator.
    """
    values = max(traffic.read for traffic in passes) // 4
    source = torch.ones(values, dtype=torch.float32, device=device.name)
    functions = [floor_of_pass(traffic, source) for traffic in passes]

    def run() -> None:
        for function in functions:
            function()

    return run


def floor_of_pass(traffic: Traffic, source: torch.Tensor) -> Callable[[], object]:
    """Return the fastest plain pass over the same bytes that allocates what the operator does.

    Written bytes are a clone, which reads as many; bytes read beyond that are a plain sum. Where
    more is written than read, as in the pools' backward, written bytes are a fill.
    """
    read, written = traffic.read // 4, traffic.written // 4
    if written > read:
        summed = source[:read]
        return lambda: (source.new_full((written,), 2.0), summed.sum())
    cloned, summed = source[:written], source[written:read]
    return lambda: (cloned.clone(), summed.sum())


def verify(
    what: str,
    actual: list[torch.Tensor],
    expected: list[torch.Tensor],
    tolerance: Tolerance,
    behind_relu: bool,
) -> None:
    """Raise unless the results agree: no time is reported for a wrong one."""
    for number, (got, want) in enumerate(zip(actual, expected, strict=True)):
        got, want = (each.detach().to(accumulation_dtype(each.dtype)) for each in (got, want))
        norm = torch.linalg.vector_norm(want)
        difference = (got - want).abs_()
        if behind_relu:
            excess = torch.linalg.vector_norm(difference) - tolerance.behind_relu * norm
        else:
            size = norm / want.numel() ** 0.5
            excess = difference.sub_(want.abs(), alpha=tolerance.relative).max()
            excess -= tolerance.of_size * size
        # NaN is no more right than what is too far.
        if not excess <= 0:
            raise AssertionError(f"{what}: result {number} differs from eager PyTorch's")


@functools.lru_cache(maxsize=1)
def random_inputs(operator: Operator, setting: Setting, device: Device) -> Inputs:
    """Return the inputs of an operator's rows of a setting on a device, which are in turn."""
    torch.manual_seed(0)
    inputs = operator.inputs(setting)
    return Inputs(*([tensor.to(device.name) for tensor in part] for part in inputs))


def measure(
    benchmark,
    family: Family,
    name: str,
    setting: Setting,
    mode: str,
    backend_name: str,
    with_compile: bool,
) -> None:
    """Time one row in turns with its floor, with eager PyTorch, and with torch.compile of it."""
    benchmark.group = f"{name} {mode} {setting}"
    _, backend = device_and_backend(backend_name)
    # Around backward passes too, and out of the time that is taken: forcing Triton takes a while.
    with stc_ops.use_backend(backend.forced):
        _measure(benchmark, family, name, setting, mode, backend_name, with_compile)


def _measure(
    benchmark,
    family: Family,
    name: str,
    setting: Setting,
    mode: str,
    backend_name: str,
    with_compile: bool,
) -> None:
    operator = family.operators[name]
    device, backend = device_and_backend(backend_name)
    inputs = random_inputs(operator, setting, device)
    run = workload(operator, setting, mode, backend, inputs)
    others = {"eager": workload(operator, setting, mode.split("-operator")[0], EAGER, inputs)}
    if with_compile and mode != "backward-operator" and not backend.compiled:
        others["compiled"] = workload(operator, setting, mode, COMPILED, inputs)
    tolerance = TOLERANCES[DTYPES[setting.dtype]]
    behind_relu = family.has_relu and "backward" in MODES[mode]
    expected = others["eager"]()
    for each in (run, *(others[other] for other in others if other != "eager")):
        verify(benchmark.group, each(), expected, tolerance, behind_relu)
    del expected
    if benchmark.disabled:
        benchmark(run)
        return
    passes = operator.passes(setting, mode)
    ratios = time_in_turns(benchmark, device, run, {"floor": floor(passes, device), **others})
    moved = sum(traffic.read + traffic.written for traffic in passes)
    benchmark.extra_info.update(
        family=family.name,
        operator=name,
        mode=mode,
        backend=backend_name,
        **setting.as_row(),
        gb_per_s=moved / benchmark.stats.stats.median / 1e9,
        fraction_of_floor=ratios["floor"],
    )
    if mode != "backward-operator":
        benchmark.extra_info.update(
            **{f"times_{other}": ratios[other] for other in others},
            **peak_memory(device, run, others["eager"]),
        )
