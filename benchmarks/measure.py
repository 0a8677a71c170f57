"""How an operator is measured: verified first, then in turns with its floor and its competitors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import compiling
import eager
import torch
from devices import DEVICES, Device, peak_memory
from matrix import (
    DTYPES,
    EVALUATION_MODE,
    MEMORY_FORMATS,
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
from stc_ops.measuring import NamedTensors, Tolerance, first_difference

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet


class Way(NamedTuple):
    """A way to run an operator: library, forced backend, and whether torch.compile is around it."""

    library: ModuleType
    forced: str
    compiled: bool = False


REFERENCE = Way(stc_ops, "reference")
EAGER = Way(eager, "reference")
COMPILED = {
    "compiled": Way(stc_ops, "reference", compiled=True),
    "compiled_eager": Way(eager, "reference", compiled=True),
}


def rows(family: Family) -> list[ParameterSet]:
    """Return the pairs of mode and backend that there are, those of a device in turn."""
    return [
        row(device, mode, backend, why_not=why_not(backend, device.name))
        for device in DEVICES
        for mode in family.modes
        for backend in device.backends
    ]


def device_of(backend: str) -> Device:
    return next(device for device in DEVICES if backend in device.backends)


class Tolerances(NamedTuple):
    """How far each result and each gradient may be from the one in float64.

    Attributes:
        result: of results and running statistics.
        gradient: of gradients that no ReLU is behind.
        behind_relu: of the others. Where its argument is zero but for rounding, one result has the
            gradient and the other has none.
    """

    result: Tolerance
    gradient: Tolerance
    behind_relu: Tolerance


# Half as far again as eager PyTorch in the same dtype, which rounds between its passes. In any
# case, in float32, what another order of summation gives, and where a ReLU is in between the root
# of the share of values that are zero but for rounding, one in a million; in 16 bits one rounding
# of each value, of gradients two.
TOLERANCES = {
    torch.float64: Tolerances(*(Tolerance(each, 1.5) for each in (1e-12, 1e-11, 1e-10))),
    torch.float32: Tolerances(*(Tolerance(each, 1.5) for each in (3e-6, 1e-5, 2e-3))),
    torch.bfloat16: Tolerances(*(Tolerance(each, 1.5) for each in (2**-9, 2**-8, 2**-7))),
    torch.float16: Tolerances(*(Tolerance(each, 1.5) for each in (2**-12, 2**-11, 2**-8))),
}
GRADIENT = "the gradient of input"

Step = Callable[[], NamedTensors]


def forward_of(
    operator: Operator, setting: Setting, mode: str, way: Way
) -> Callable[..., list[torch.Tensor]]:
    """Return the operator as it runs that way."""
    run = functools.partial(operator.run, way.library, setting, mode != EVALUATION_MODE)
    if way.compiled:
        run = _compiled_once(operator, setting)(mode != EVALUATION_MODE, way.library)

    def forward(*tensors: torch.Tensor) -> list[torch.Tensor]:
        with stc_ops.use_backend(way.forced):
            return as_list(run(*tensors))

    return forward


@functools.lru_cache(maxsize=1)
def _compiled_once(operator: Operator, setting: Setting) -> Callable[..., Callable[..., object]]:
    """Return a function that compiles; the rows of an operator and setting, in turn, share it."""
    compiling.start_over()

    @functools.cache
    def compiled(training: bool, library: ModuleType) -> Callable[..., object]:
        return compiling.compile_static(functools.partial(operator.run, library, setting, training))

    return compiled


def as_list(outputs: torch.Tensor | tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def gradients_like(outputs: list[torch.Tensor], setting: Setting) -> list[torch.Tensor]:
    """Return fixed random gradients of `outputs` in the memory format of the frames.

    They have the eight bits of bfloat16, and so are the same in every dtype.
    """
    generator = torch.Generator().manual_seed(1)
    gradients = [torch.randn(out.shape, generator=generator).bfloat16().to(out) for out in outputs]
    layout = MEMORY_FORMATS[setting.memory_format]
    return [grad.contiguous(memory_format=layout) if grad.ndim == 4 else grad for grad in gradients]


def workload(operator: Operator, setting: Setting, mode: str, way: Way, inputs: Inputs) -> Step:
    """Return a function that does one pass of `mode` and returns all it computes, by names."""
    forward = forward_of(operator, setting, mode, way)
    statistics = [each.clone() for each in inputs.statistics]
    if mode in ("forward", EVALUATION_MODE):

        def run_forward() -> NamedTensors:
            with torch.no_grad():
                return _named("result", forward(*inputs.differentiable, *statistics))

        return run_forward

    leaves = [tensor.detach().requires_grad_() for tensor in inputs.differentiable]
    if mode == "training-forward":

        def run_recorded() -> NamedTensors:
            results = forward(*leaves, *statistics)
            return _named("result", results) | _named("statistic", statistics)

        return run_recorded

    outputs = forward(*leaves, *statistics)
    gradients = gradients_like(outputs, setting)

    def run_operator() -> NamedTensors:
        results = as_list(operator.backward(setting, *gradients, *inputs.differentiable))
        return _named(GRADIENT, results)

    def run_backward() -> NamedTensors:
        return _named(GRADIENT, torch.autograd.grad(outputs, leaves, gradients, retain_graph=True))

    def run_both() -> NamedTensors:
        results = forward(*leaves, *statistics)
        of_inputs = torch.autograd.grad(results, leaves, gradients)
        return _named("result", results) | _named(GRADIENT, of_inputs)

    return {"backward-operator": run_operator, "backward": run_backward, "both": run_both}[
        mode.removeprefix("training-")
    ]


def _named(what: str, tensors: Iterable[torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{what} {number}": each for number, each in enumerate(tensors)}


@functools.lru_cache(maxsize=1)
def exact_results(operator: Operator, setting: Setting, device: Device, mode: str) -> NamedTensors:
    """Return what the reference computes in float64 of the inputs of a row."""
    inputs = random_inputs(operator, setting, device)
    wide = Inputs(*([each.double() for each in part] for part in inputs))
    return workload(operator, setting, mode.split("-operator")[0], REFERENCE, wide)()


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
    actual: NamedTensors,
    plain: NamedTensors,
    exact: NamedTensors,
    tolerances: Tolerances,
    has_relu: bool,
) -> None:
    """Raise unless every result is right by itself: no time is reported for a wrong one."""
    of_gradients = tolerances.behind_relu if has_relu else tolerances.gradient
    for tolerance, gradients in ((tolerances.result, False), (of_gradients, True)):
        parts = (
            {name: each[name] for name in each if name.startswith(GRADIENT) == gradients}
            for each in (actual, exact, plain)
        )
        if difference := first_difference(*parts, tolerance):
            raise AssertionError(f"{what}: wrong: {difference}")


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
    backend: str,
    with_compile: bool,
) -> None:
    """Time one row in turns with its floor, with eager PyTorch, and with torch.compile of it."""
    benchmark.group = f"{name} {mode} {setting}"
    # Around backward passes too, and out of the time that is taken: forcing Triton takes a while.
    with stc_ops.use_backend(backend):
        _measure(benchmark, family, name, setting, mode, backend, with_compile)


def _measure(
    benchmark,
    family: Family,
    name: str,
    setting: Setting,
    mode: str,
    backend: str,
    with_compile: bool,
) -> None:
    operator, device = family.operators[name], device_of(backend)
    inputs = random_inputs(operator, setting, device)
    run = workload(operator, setting, mode, Way(stc_ops, backend), inputs)
    plain_mode = mode.split("-operator")[0]
    others = {"eager": workload(operator, setting, plain_mode, EAGER, inputs)}
    if with_compile and mode == plain_mode:
        for other, way in COMPILED.items():
            others[other] = workload(operator, setting, mode, way, inputs)
    exact, plain = exact_results(operator, setting, device, mode), others["eager"]()
    for each in (run, *(others[other] for other in others if other != "eager")):
        tolerances = TOLERANCES[DTYPES[setting.dtype]]
        verify(benchmark.group, each(), plain, exact, tolerances, family.has_relu)
    del exact, plain
    if benchmark.disabled:
        benchmark(run)
        return
    passes = operator.passes(setting, mode)
    with compiling.nothing_compiled():
        ratios = time_in_turns(benchmark, device, run, {"floor": floor(passes, device), **others})
    moved = sum(traffic.read + traffic.written for traffic in passes)
    benchmark.extra_info.update(
        family=family.name,
        operator=name,
        mode=mode,
        backend=backend,
        **setting.as_row(),
        gb_per_s=moved / benchmark.stats.stats.median / 1e9,
        fraction_of_floor=ratios["floor"],
    )
    if mode == plain_mode:
        benchmark.extra_info.update(
            **{f"times_{other}": ratios[other] for other in others},
            **peak_memory(device, run, others["eager"]),
        )
