"""When two computations of the feature matrix count as the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import torch
from torch import nn

# The same arithmetic in another order: rounding in float64, through some twenty layers.
TOLERANCES = {
    torch.float64: {"rtol": 1e-9, "atol": 1e-9},
    torch.float32: {"rtol": 1e-3, "atol": 1e-4},
}


def assert_same(actual: torch.Tensor, expected: torch.Tensor, name: str = "result") -> None:
    torch.testing.assert_close(
        actual, expected, **TOLERANCES[expected.dtype], msg=lambda text: f"{name}: {text}"
    )


def assert_same_gradients(module: nn.Module, other: nn.Module) -> None:
    """Compare the gradients of all parameters, each by itself and relative to its size."""
    twins = dict(other.named_parameters())
    for name, parameter in module.named_parameters():
        expected = twins[name].grad
        if parameter.grad is None or expected is None:
            assert parameter.grad is expected, name
            continue
        size = expected.abs().max().clamp(min=1e-3)
        assert_same(parameter.grad / size, expected / size, f"gradient of {name}")


def assert_same_step(module: nn.Module, plain, inputs: Sequence[torch.Tensor]) -> None:
    """Compare results, gradients of parameters and of frames, and what is left in the state."""
    out, expected = (
        run(*(each.detach().requires_grad_() for each in inputs)) for run in (module, plain)
    )
    assert_same(out, expected)
    weights = torch.randn_like(out)
    (out * weights).sum().backward()
    (expected * weights).sum().backward()
    assert_same_gradients(module, plain.module)
    for name, value in plain.module.state_dict().items():
        assert_same(module.state_dict()[name].double(), value.double(), name)


def in_four_threads(run: Callable[[], None]) -> None:
    """Call `run` in four threads at once, and fail where one of them does."""
    failures: list[BaseException] = []

    def noting_failures() -> None:
        try:
            run()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=noting_failures) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
