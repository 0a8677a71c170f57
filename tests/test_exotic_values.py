"""Infinities and NaN, in frames and in gradients: outputs and gradients are the plain layers'."""

from __future__ import annotations

import itertools

import pytest
import torch
from backend_cases import on_compiled_backends
from cases import Clips, every_dtype, every_format, every_operator, run_with_gradients
from fused_cases import Problem, every_call, make_problem
from fused_oracle import assert_results, frames_dtype, fused_oracle, run_plain_layers, run_problem

import stc_ops

SMALL = Clips(2, 3, 8, 4, 5)
every_value = pytest.mark.parametrize("value", [-torch.inf, torch.inf, torch.nan])
# Frame, channel and pixel. The first is taken out of its clip by the shift, the second lies on no
# grid of a strided split.
POSITIONS = [(0, 0, 0, 0), (1, -2, 1, 1), (2, 3, 2, 3), (-1, -1, -1, -1)]


def with_value(
    frames: torch.Tensor, positions: list[tuple[int, ...]], value: float
) -> torch.Tensor:
    changed = frames.detach().clone()
    for frame, channel, *pixel in positions:
        channel = channel if channel < 0 else channel % changed.shape[1]
        pixel = [i % size for i, size in zip(pixel, changed.shape[2:], strict=True)]
        changed[frame, channel, pixel[0], pixel[1]] = value
    return changed


def assert_same_kinds_and_values(
    actual: dict[str, torch.Tensor],
    expected: dict[str, torch.Tensor],
    backend: str,
    dtype: torch.dtype,
    same_kinds: bool = True,
) -> None:
    """Assert that what is not finite is so in both, and that all else is close.

    With `same_kinds` infinities must be infinities of the same sign, and NaN must be NaN.
    """
    finite = {name: want.isfinite() for name, want in expected.items()}
    for name, want in expected.items():
        got = actual[name].double()
        if "gate_weights" in name:
            # Beside its padding a convolution multiplies infinities with zeros, or leaves them out.
            assert got[finite[name]].isfinite().all(), name
            continue
        assert torch.equal(got.isfinite(), finite[name]), name
        if same_kinds:
            kinds = (each.masked_fill(finite[name], 0) for each in (got, want))
            torch.testing.assert_close(
                *kinds, equal_nan=True, msg=lambda message, name=name: f"{name}: {message}"
            )
    assert_results(
        {name: got.masked_fill(~finite[name], 0) for name, got in actual.items()},
        {name: want.masked_fill(~finite[name], 0) for name, want in expected.items()},
        backend,
        dtype,
    )


def check_frames(problem: Problem, backend: str, value: float) -> None:
    dtype, is_gated = frames_dtype(problem), problem.case.is_gated(problem.clips)
    # A gate looks at all channels: there one position at a time.
    attempts = [[each] for each in POSITIONS] if is_gated else [POSITIONS]
    for name, positions in itertools.product(problem.frames(), attempts):
        changed = problem.replaced({name: with_value(problem.tensors[name], positions, value)})
        expected, gradients = fused_oracle(changed)
        actual = run_problem(changed, gradients)
        assert_same_kinds_and_values(actual, expected, backend, dtype)


@on_compiled_backends
@every_call({"small": SMALL}, modes=["training", "frozen"])
@every_format
@every_value
def test_frames(backend, case, clips, mode, memory_format, value):
    check_frames(make_problem(case, clips, mode, memory_format=memory_format), backend, value)


@on_compiled_backends
@every_call({"odd": Clips(1, 3, 11, 3, 3)}, modes=["frozen"])
@every_dtype
@every_format
def test_frames_in_every_dtype(backend, case, clips, mode, dtype, memory_format):
    problem = make_problem(case, clips, mode, dtype, memory_format)
    check_frames(problem, backend, -torch.inf)


@on_compiled_backends
@every_call({"small": SMALL}, modes=["training", "frozen"])
@every_format
@every_value
def test_gradients(backend, case, clips, mode, memory_format, value):
    problem = make_problem(case, clips, mode, memory_format=memory_format)
    _, gradients = fused_oracle(problem)
    for i, gradient in enumerate(gradients):
        if gradient.numel() == 0:
            continue
        changed = [*gradients[:i], with_value(gradient, POSITIONS, value), *gradients[i + 1 :]]
        expected, _ = run_plain_layers(problem.map(torch.Tensor.double), changed)
        actual = run_problem(problem, changed)
        # Through the statistics of a batch each element gets what is infinite from the sums, times
        # its distance from the mean: a difference of infinities or not, as one rearranges it.
        same_kinds = not mode.training
        assert_same_kinds_and_values(actual, expected, backend, frames_dtype(problem), same_kinds)


@on_compiled_backends
@every_call({"small": SMALL}, modes=["frozen"])
@pytest.mark.parametrize("value", [torch.inf, torch.nan])
@pytest.mark.parametrize("name", ["running_mean", "running_var"])
def test_running_statistics(backend, case, clips, mode, name, value):
    """A batch that was not finite has left its traces."""
    problem = make_problem(case, clips, mode)
    for norm in case.norms:
        problem.statistics[f"{norm}.{name}"][1] = value
    expected, gradients = fused_oracle(problem)
    actual = run_problem(problem, gradients)
    assert_same_kinds_and_values(actual, expected, backend, frames_dtype(problem))


@on_compiled_backends
@every_operator
@every_format
@every_value
def test_pools_gates_and_shift(backend, case, memory_format, value):
    inputs = case.inputs(SMALL, memory_format=memory_format)
    with stc_ops.use_backend("reference"):
        gradient = torch.randn_like(case.run(SMALL, *inputs))
    for changed in (*inputs, gradient):
        before = changed.detach().clone()
        with torch.no_grad():
            changed[(0,) * changed.ndim] = value
            changed[-1, 1] = value
        actual = run_with_gradients(case, SMALL, inputs, gradient)
        with stc_ops.use_backend("reference"):
            expected = run_with_gradients(case, SMALL, inputs, gradient)
        torch.testing.assert_close(actual, expected, equal_nan=True)
        with torch.no_grad():
            changed.copy_(before)
