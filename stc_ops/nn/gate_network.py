"""The small networks that turn pooled context into the logits of a gate."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from stc_ops.operators.checks import check_integer

from .absorption import is_plain

MINIMUM_HIDDEN_CHANNELS = 8


class GateNetwork(nn.Sequential):
    """Convolutions from pooled context to gate logits (paper, section III-A).

    The standard network is one dense convolution, kernel 3, padding 1, no bias. With a `reduction`
    r it is STC-Light's: a pointwise convolution to ``h = max(8, channels // r)`` channels, ReLU,
    and the convolution from h back to all channels.

    Args:
        convolution: ``nn.Conv1d`` for context over time, ``nn.Conv2d`` for context over space.
        channels: C of the context and of the logits.
        reduction: r, or None for the standard network.

    Raises:
        TypeError: `channels` or `reduction` is no integer.
        ValueError: `channels` or `reduction` is below 1.
    """

    def __init__(
        self,
        convolution: type[nn.Conv1d] | type[nn.Conv2d],
        channels: int,
        reduction: int | None = None,
    ) -> None:
        """See the class."""
        channels = check_integer("GateNetwork", "channels", channels, minimum=1)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        hidden = channels
        if reduction is not None:
            reduction = check_integer("GateNetwork", "reduction", reduction, minimum=1)
            hidden = max(MINIMUM_HIDDEN_CHANNELS, channels // reduction)
            layers["reduce"] = convolution(channels, hidden, 1, bias=False)
            layers["relu"] = nn.ReLU()
        layers["gate"] = convolution(hidden, channels, 3, padding=1, bias=False)
        super().__init__(layers)

    @property
    def weights(self) -> tuple[torch.Tensor, ...]:
        """``(gate,)`` or STC-Light's ``(reduce, gate)``: as :func:`stc_ops.refine_bn_relu` asks."""
        return tuple(layer.weight for layer in self if not isinstance(layer, nn.ReLU))

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Return logits of the shape and dtype of `context`, whatever the dtype of the weights."""
        weight = next(self.parameters(), context)
        return super().forward(context.to(weight.dtype)).to(context.dtype)


def can_absorb_gates(network: nn.Module) -> bool:
    """Tell whether a fused operator computes the logits of `network` from its weights.

    That is so while its layers are the ones that :class:`GateNetwork` has made.
    """
    if not is_plain(network, GateNetwork):
        return False
    layers = dict(network.named_children())
    gate, reduce, relu = layers.pop("gate", None), *map(layers.pop, ("reduce", "relu"), (None,) * 2)
    return (
        not layers
        and _is_convolution(gate, 3)
        and (reduce is None) == (relu is None)
        and (reduce is None or (_is_convolution(reduce, 1) and is_plain(relu, nn.ReLU)))
    )


def _is_convolution(layer: nn.Module | None, size: int) -> bool:
    """Tell whether `layer` is a dense convolution with a kernel of `size` around each value."""
    if not is_plain(layer, (nn.Conv1d, nn.Conv2d)):
        return False
    ones = (1,) * len(layer.kernel_size)
    return (
        layer.kernel_size == tuple(size * one for one in ones)
        and layer.stride == layer.dilation == ones
        and layer.padding == tuple(size // 2 * one for one in ones)
        and layer.padding_mode == "zeros"
        and layer.groups == 1
        and layer.bias is None
    )
