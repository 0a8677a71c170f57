"""How tests compare results, and so what they let pass: `test_mutations.py` tests it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch


class Tolerance(NamedTuple):
    rtol: float
    atol: float


# Of float64 computed in two ways: some thousand roundings at 1e-16, of values of size one.
EXACT = Tolerance(1e-10, 1e-10)
# The same at 6e-8, of logits and activations of size one behind some 20 layers.
SINGLE = Tolerance(1e-5, 1e-5)

_factor = 1.0


@contextlib.contextmanager
def loosened(factor: float) -> Iterator[None]:
    """Let every comparison of this module accept errors that are `factor` times as large."""
    global _factor
    _factor = factor
    try:
        yield
    finally:
        _factor = 1.0


def assert_close(actual: Any, expected: Any, tolerance: Tolerance, name: str = "result") -> None:
    """Assert that tensors, or mappings or sequences of them, are equal; NaN equals NaN."""
    torch.testing.assert_close(
        actual,
        expected,
        rtol=tolerance.rtol * _factor,
        atol=tolerance.atol * _factor,
        equal_nan=True,
        msg=lambda message: f"{name}: {message}",
    )


def root_mean_square(values: torch.Tensor) -> torch.Tensor:
    return values.double().square().mean().sqrt()


# Of plain layers in 16 bits: the roundings of some 20 layers one after the other.
PLAIN_ERRORS = {torch.bfloat16: 2**-4, torch.float16: 2**-7}


def assert_no_less_accurate(
    actual: torch.Tensor, plain: torch.Tensor, exact: torch.Tensor, factor: float = 2
) -> None:
    """Assert that `actual` is about as close to `exact` as what plain layers return in its dtype.

    Errors are root mean squares over the tensor: a single value may be off by chance, in either.
    """
    assert actual.dtype == plain.dtype
    error, allowed = (root_mean_square(each.double() - exact) for each in (actual, plain))
    scale = root_mean_square(exact)
    assert allowed <= PLAIN_ERRORS[actual.dtype] * scale, f"plain layers are off by {allowed:.3g}"
    allowed *= factor * _factor
    assert error <= allowed, f"not close: off by {error:.3g} of {scale:.3g}, allowed {allowed:.3g}"
