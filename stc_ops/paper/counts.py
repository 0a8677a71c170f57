"""Parameters and multiply-accumulates of the networks in the tables."""

from __future__ import annotations

import torch
from torch import nn

from stc_ops.cost import Cost, cost
from stc_ops.models import NETWORKS

from .rows import BuiltNetwork

NUM_CLASSES = 174
"""Of Something-Something V1."""
PIXELS = 224
"""The height and width of a frame."""


class Counts:
    """Counts networks on the meta device, each of them once."""

    def __init__(self) -> None:
        """Nothing is counted yet."""
        self._costs: dict[tuple[object, ...], Cost] = {}

    def cost(self, network: BuiltNetwork, num_segments: int) -> Cost:
        """Count one clip of `num_segments` frames; see :func:`stc_ops.cost.cost`."""
        setting = (network.name, num_segments, *sorted(network.keywords.items()))
        if setting not in self._costs:
            frames = (num_segments, 3, PIXELS, PIXELS)
            self._costs[setting] = cost(_on_meta(network, num_segments), frames)
        return self._costs[setting]

    def middle_layer_parameters(self, network: BuiltNetwork) -> int:
        """Count the layer in the place of the first bottleneck's 3x3 convolution, C = 64."""
        layer = _on_meta(network, num_segments=8).layer1[0].conv2
        return sum(parameter.numel() for parameter in layer.parameters())


def _on_meta(network: BuiltNetwork, num_segments: int) -> nn.Module:
    with torch.device("meta"):
        return NETWORKS[network.name].builder(NUM_CLASSES, num_segments, **network.keywords)
