"""The gates of a network's last refinements, as the paper's figure 8 shows them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from stc_ops import use_backend
from stc_ops.nn import SpatialRefinement, TemporalRefinement


@dataclass(frozen=True)
class Gates:
    """Gates of one clip, in [0, 1], float64, on the CPU."""

    temporal: torch.Tensor
    """(C, T), of the last temporal refinement."""
    spatial: torch.Tensor
    """(C, H, W), of the last spatial refinement; the same for all frames of the clip."""


def last_gates(model: nn.Module, frames: torch.Tensor) -> Gates:
    """Run `model` on the frames (T, 3, H, W) of one clip and return the gates of its last layer."""
    temporal = _last(model, TemporalRefinement).gate_network
    spatial = _last(model, SpatialRefinement).gate_network
    logits: dict[nn.Module, torch.Tensor] = {}

    def keep(network: nn.Module, inputs: object, output: torch.Tensor) -> None:
        logits[network] = output

    hooks = [network.register_forward_hook(keep) for network in (temporal, spatial)]
    try:
        # Fused operators compute the gates without calling the gate networks.
        with torch.inference_mode(), use_backend("reference"):
            model(frames)
    finally:
        for hook in hooks:
            hook.remove()
    return Gates(_gates(logits[temporal]), _gates(logits[spatial]))


def _last(model: nn.Module, kind: type[nn.Module]) -> nn.Module:
    return [module for module in model.modules() if isinstance(module, kind)][-1]


def _gates(logits: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid(logits[0].double()).cpu()
