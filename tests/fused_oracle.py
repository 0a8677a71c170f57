"""What the fused operators should return: plain layers in float64, and tolerances beside them."""

from __future__ import annotations

import torch
from comparisons import Tolerance, assert_close
from fused_cases import PreActivations, Problem

import stc_ops


def frames_dtype(problem: Problem) -> torch.dtype:
    return problem.tensors[problem.frames()[0]].dtype


# Where a pre-activation is this close to zero, rounding decides whether the ReLU passes it: its
# error is a few roundings of values of size one, of the 16-bit ones in plain PyTorch, which rounds
# what lies between two operators.
RELU_MARGINS = {
    torch.float64: 1e-9,
    torch.float32: 1e-4,
    torch.bfloat16: 2**-4,
    torch.float16: 2**-7,
}


def output_gradients(pre_activations: PreActivations, margin: float) -> list[torch.Tensor]:
    """Fixed random gradients, exact in every dtype, zero where rounding decides the ReLU."""
    generator = torch.Generator(torch.get_default_device()).manual_seed(1)
    return [
        torch.randn(each.shape, generator=generator).bfloat16().double()
        * ~(each.detach().abs() <= margin)
        for each in pre_activations
    ]


def collect_results(
    problem: Problem, outputs: tuple[torch.Tensor, ...], gradients: list[torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return outputs, gradients of what requires them, and running statistics, by name."""
    results = {f"output {i}": each.detach() for i, each in enumerate(outputs)}
    wanted = {name: each for name, each in problem.tensors.items() if each.requires_grad}
    in_format = [torch.empty_like(o).copy_(g) for o, g in zip(outputs, gradients, strict=True)]
    found = torch.autograd.grad(outputs, list(wanted.values()), in_format)
    results |= {f"gradient of {name}": each for name, each in zip(wanted, found, strict=True)}
    return results | problem.statistics


def run_problem(problem: Problem, gradients: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the results of the operator, on running statistics as they were."""
    fresh = problem.fresh()
    return collect_results(fresh, fresh.outputs(), gradients)


def run_plain_layers(
    problem: Problem, gradients: list[torch.Tensor] | None = None, margin: float = 0.0
) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    """Return the results of plain layers, and the gradients they are for: random ones if None."""
    fresh = problem.fresh()
    with stc_ops.use_backend("reference"):
        pre_activations = fresh.case.pre_activations(**fresh.arguments())
    gradients = gradients or output_gradients(pre_activations, margin)
    outputs = tuple(torch.relu(each) for each in pre_activations)
    return collect_results(fresh, outputs, gradients), gradients


def fused_oracle(
    problem: Problem, margin: float | None = None
) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    """Return the results of plain layers in float64, and gradients to run the operator with."""
    margin = margin or RELU_MARGINS[frames_dtype(problem)]
    return run_plain_layers(problem.map(torch.Tensor.double), margin=margin)


# `rtol` is relative to an element, `atol` to the largest one of its tensor where that is above one:
# sums over a batch cancel.
COMPILED_TOLERANCES = {
    # A few thousand values of size one, each rounded at 1e-16, over a standard deviation of 0.1.
    torch.float64: Tolerance(1e-11, 1e-11),
    # The same at 6e-8; gate networks and statistics add a few roundings each.
    torch.float32: Tolerance(1e-5, 1e-5),
    # Everything inside is float32, and the result is rounded once, to 8 or 11 bits; a sum may fall
    # on the other side of a tie.
    torch.bfloat16: Tolerance(2**-7, 1e-5),
    torch.float16: Tolerance(2**-10, 1e-5),
}
# Plain PyTorch rounds what lies between two operators, and the terms of the sums over it.
PLAIN_TOLERANCES = COMPILED_TOLERANCES | {
    torch.float32: Tolerance(3e-5, 3e-5),
    torch.bfloat16: Tolerance(2**-5, 2**-5),
    torch.float16: Tolerance(2**-7, 2**-7),
}


def assert_results(
    actual: dict[str, torch.Tensor],
    expected: dict[str, torch.Tensor],
    backend: str,
    dtype: torch.dtype,
) -> None:
    """Assert that the results of a call on frames of `dtype` are those of the oracle."""
    assert actual.keys() == expected.keys()
    for name, want in expected.items():
        got = actual[name]
        tolerance = (
            PLAIN_TOLERANCES[dtype] if backend == "reference" else COMPILED_TOLERANCES[got.dtype]
        )
        size = want.abs().nan_to_num().amax().clamp(min=1).item() if want.numel() else 1
        assert_close(got.double(), want, tolerance._replace(atol=tolerance.atol * size), name)


def check_problem(problem: Problem, backend: str) -> None:
    """Assert that the operator, on the chosen `backend`, returns what the oracle does."""
    expected, gradients = fused_oracle(problem)
    assert_results(run_problem(problem, gradients), expected, backend, frames_dtype(problem))
