"""torch.compile as a user who wants speed calls it: for shapes that stay, in one graph."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch._dynamo import lookup_backend

# Graphs that were compiled in this process. What counts it is part of the compiler, so nothing is
# compiled without being counted.
_graphs = 0


def start_over() -> None:
    """Forget all that was compiled, and which sizes were seen to change."""
    torch._dynamo.reset()


def compile_static(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` in one compiled graph for the very sizes that it is called with.

    Other sizes compile anew. Left alone, PyTorch compiles for sizes that may change as soon as it
    has seen two, such as those of two settings or of two networks that share a ``forward``.
    """
    return torch.compile(function, fullgraph=True, dynamic=False, backend=_inductor)


@contextlib.contextmanager
def nothing_compiled() -> Iterator[None]:
    """Raise an AssertionError if anything was compiled within: it would have been timed."""
    before = _graphs
    yield
    if _graphs != before:
        raise AssertionError(f"{_graphs - before} graphs were compiled while times were taken")


def _inductor(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
    global _graphs
    _graphs += 1
    if any(isinstance(size, torch.SymInt) for each in inputs for size in _sizes(each)):
        raise AssertionError("compiled for sizes that may change")
    return lookup_backend("inductor")(graph, inputs)


def _sizes(value: Any) -> tuple[Any, ...]:
    return tuple(value.shape) if isinstance(value, torch.Tensor) else (value,)
