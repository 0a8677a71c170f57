"""How ``torch.fx`` sees the layers: one call each, as it sees PyTorch's own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Forward = Callable[..., torch.Tensor]


def is_traced(*frames: torch.Tensor | None) -> bool:
    """Tell whether ``torch.fx`` records what is done to `frames`."""
    return any(isinstance(each, torch.fx.Proxy) for each in frames)


def one_call(forward: Forward) -> Forward:
    """Let ``torch.fx`` record one call of the layer: what is within depends on the tensors."""

    @functools.wraps(forward)
    def recorded(self: nn.Module, x: torch.Tensor, *args: Any) -> torch.Tensor:
        if is_traced(x):
            path = x.tracer.path_of_module(self)
            return x.tracer.create_proxy("call_module", path, (x, *args), {})
        return forward(self, x, *args)

    return recorded
