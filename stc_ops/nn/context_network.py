"""Small networks on pooled context, which is wider than the weights of a network in bfloat16."""

from __future__ import annotations

import torch
from torch import nn


def apply_to_context(network: nn.Module, context: torch.Tensor) -> torch.Tensor:
    """Return ``network(context)`` in the dtype of `context`, whatever the dtype of the weights."""
    weight = next(network.parameters(), context)
    return network(context.to(weight.dtype)).to(context.dtype)
