"""What `stc-ops check` finds out: agreement with the reference in float64, and times."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import torch

from stc_ops.backends import available_backends, use_backend
from stc_ops.measuring import NamedTensors, Tolerance, first_difference, seconds_in_turns
from stc_ops.operators.checks import accumulation_dtype

from .check_operators import OPERATORS, Shape

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
SMALL = (Shape(2, 4, 16, 5), Shape(1, 3, 7, 1))
STAGES = ((64, 56), (128, 28), (256, 14), (512, 7))
ROUNDS = 11

# Relative to the norm of each tensor. In any case what another order of summation gives, and where
# a ReLU is in between the root of the share of values that are zero but for rounding; else twice
# the distance of plain PyTorch in the same dtype, which rounds between its passes.
TOLERANCES = {
    torch.float64: Tolerance(1e-9, 2),
    torch.float32: Tolerance(2e-3, 2),
    torch.bfloat16: Tolerance(2**-7, 2),
    torch.float16: Tolerance(2**-8, 2),
}


class Agreement(NamedTuple):
    """Whether a backend agrees with the reference; `difference` says where not."""

    operator: str
    backend: str
    dtype: str
    memory_format: str
    shape: str
    training: bool
    difference: str | None


class Time(NamedTuple):
    """What an operator takes, forward and backward, and what else takes for the same.

    Attributes:
        operator, backend, dtype, memory_format, shape, training: of what.
        seconds: median over rounds.
        times_eager: how often that goes into the time of plain PyTorch.
        times_compiled: how often into that of ``torch.compile`` of plain PyTorch.
        gigabytes_per_second: of the frames that have to be read and written.
        launches: kernels on a GPU.
        launches_of_eager: those of plain PyTorch.
    """

    operator: str
    backend: str
    dtype: str
    memory_format: str
    shape: str
    training: bool
    seconds: float
    times_eager: float
    times_compiled: float | None
    gigabytes_per_second: float
    launches: int | None
    launches_of_eager: int | None


def mode_of(row: Agreement | Time) -> list[str]:
    """Return the name of the mode that batch norms are in; none where there are none."""
    if len(OPERATORS[row.operator].passes) == 1:
        return []
    return ["training" if row.training else "evaluation"]


class Case(NamedTuple):
    """An operator on tensors of a dtype and memory format; `training` of batch norms."""

    operator: str
    dtype: str
    memory_format: str
    shape: Shape
    training: bool

    def step(
        self, device: str, backend: str, exact: bool = False, compiles: bool = False
    ) -> Callable[[], NamedTensors]:
        """Return a function that runs it forward and backward and returns all that it computes.

        The same numbers every time; `exact` in float64, after they were rounded to the dtype.
        """
        inputs, run, _ = OPERATORS[self.operator]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            frames, small, running = inputs(self.shape)
        dtype, kept = DTYPES[self.dtype], accumulation_dtype(DTYPES[self.dtype])
        wide = torch.float64 if exact else None

        def placed(values: torch.Tensor, own: torch.dtype) -> torch.Tensor:
            values = values.to(own).to(device, wide or own)
            layout = FORMATS[self.memory_format]
            return values.contiguous(memory_format=layout) if values.ndim == 4 else values

        leaves = [placed(each, dtype) for each in frames], [placed(each, kept) for each in small]
        for leaf in itertools.chain(*leaves):
            leaf.requires_grad_()
        running = [placed(each, kept) for each in running]
        forward = partial(run, self.shape, self.training)
        if compiles:
            forward = torch.compile(forward, dynamic=False)

        grads: list[torch.Tensor] = []

        def step() -> NamedTensors:
            with use_backend(backend):
                results = forward(*leaves, [each.clone() for each in running])
                results = results if isinstance(results, tuple) else (results,)
                # Made by the first call, which is not timed.
                grads.extend(map(_gradient_of, results[len(grads) :]))
                of_leaves = torch.autograd.grad(results, [*leaves[0], *leaves[1]], grads)
            named = {f"result {i}": each.detach() for i, each in enumerate(results)}
            return named | {f"gradient {i}": each for i, each in enumerate(of_leaves)}

        return step


def _gradient_of(result: torch.Tensor) -> torch.Tensor:
    values = torch.arange(result.numel(), device=result.device, dtype=torch.float32)
    # Of few bits: the same in every dtype.
    return (values.mul_(0.37).sin_().mul_(16).round_() / 16).view(result.shape).to(result.dtype)


def agreement_cases(device: str) -> list[Case]:
    """Return every operator, dtype and memory format, at small shapes and at those of stages."""
    stages = [Shape(1, 8, *stage) for stage in STAGES]
    dtypes = [each for each in DTYPES if each != "float64"]
    small = _cases(DTYPES, SMALL)
    # A processor computes float64 and 16 bits at that size for minutes.
    return small + _cases(dtypes if device == "cuda" else ["float32"], stages)


def time_cases(device: str) -> list[Case]:
    """Return what is timed: at the stages, in channels_last."""
    shapes = [Shape(8 if device == "cuda" else 1, 8, *stage) for stage in STAGES]
    dtypes = ["float16", "float32"] if device == "cuda" else ["float32"]
    return [each for each in _cases(dtypes, shapes) if each.memory_format == "nhwc"]


def _cases(dtypes: Iterable[str], shapes: Sequence[Shape]) -> list[Case]:
    return [
        Case(operator, dtype, memory_format, shape, training)
        for shape in shapes
        for operator, (_, _, passes) in OPERATORS.items()
        for dtype in dtypes
        for memory_format in FORMATS
        for training in passes
    ]


def backends_of(device: str) -> tuple[str, ...]:
    """Return the backends with kernels for a device."""
    return tuple(each for each in available_backends(device) if each != "reference")


def agreement(case: Case, device: str, backend: str) -> Agreement:
    """Compare all results and gradients with the reference's in float64, one by one."""
    exact = case.step(device, "reference", exact=True)()
    plain, actual = (case.step(device, each)() for each in ("reference", backend))
    difference = first_difference(actual, exact, plain, TOLERANCES[DTYPES[case.dtype]])
    return Agreement(case.operator, backend, *_described(case), difference)


def _described(case: Case) -> tuple[str, str, str, bool]:
    return case.dtype, case.memory_format, str(case.shape), case.training


def time(case: Case, device: str, backend: str, compiles: bool) -> Time:
    """Time a forward and a backward, plain PyTorch and ``torch.compile`` of it, in turns."""
    steps = {name: case.step(device, name) for name in (backend, "reference")}
    if compiles:
        torch.compiler.reset()
        steps["compiled"] = case.step(device, "reference", compiles=True)
    for step in steps.values():
        step()
    seconds = seconds_in_turns(steps, device, ROUNDS, lambda: None)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    own = medians[backend]
    itemsize = DTYPES[case.dtype].itemsize
    moved = OPERATORS[case.operator].passes[case.training] * case.shape.elements * itemsize
    return Time(
        case.operator,
        backend,
        *_described(case),
        own,
        medians["reference"] / own,
        medians["compiled"] / own if compiles else None,
        moved / own / 1e9,
        launches_of(steps[backend], device),
        launches_of(steps["reference"], device),
    )


def launches_of(step: Callable[[], object], device: str) -> int | None:
    """Count the kernels that a step launches on a GPU; elsewhere there is no such number."""
    if device != "cuda":
        return None
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        step()
        torch.cuda.synchronize()
    kernels = torch.autograd.DeviceType.CUDA
    return sum(
        event.device_type == kernels and not event.name.startswith(("Memcpy", "Memset"))
        for event in profile.events()
    )
