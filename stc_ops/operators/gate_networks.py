"""The gate networks on pooled context, small tensors: forward and backward by library calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F


class ReduceAndGate(NamedTuple):
    """Weights of a gate network, or their gradients; `reduce` is STC-Light's, else None."""

    reduce: torch.Tensor | None
    gate: torch.Tensor | None


class GateGradients(NamedTuple):
    """Gradients of the context and of the weights; None where there is no network."""

    context: torch.Tensor | None
    weights: ReduceAndGate


class GatePass(NamedTuple):
    """A forward pass: logits, and the hidden features of STC-Light's network or None."""

    logits: torch.Tensor
    hidden: torch.Tensor | None


def _taps(context: torch.Tensor, num_segments: int) -> torch.Tensor:
    """Unfold ``(N*T, C)`` to ``(N*T, C * 3)``: each frame, the one before and the one after."""
    clips = F.pad(context.unflatten(0, (-1, num_segments)), (0, 0, 1, 1))
    return clips.unfold(1, 3, 1).flatten(0, 1).flatten(1)


def _folded(taps: torch.Tensor, num_segments: int) -> torch.Tensor:
    """Return the gradient of :func:`_taps`."""
    before, here, after = taps.unflatten(0, (-1, num_segments)).unflatten(2, (-1, 3)).unbind(3)
    grad = here.clone()
    grad[:, :-1] += before[:, 1:]
    grad[:, 1:] += after[:, :-1]
    return grad.flatten(0, 1)


class TemporalGate:
    """Convolutions over the frames of a clip, of ``(N*T, C)`` context.

    As a product of unfolded frames and the weights: on so few frames that is several times faster
    on a CPU than a one-dimensional convolution.
    """

    def __init__(self, weights: ReduceAndGate, num_segments: int) -> None:
        """See the class."""
        self.weights = weights
        self.num_segments = num_segments

    def _convolve(self, features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        if weight.shape[2] == 3:
            features = _taps(features, self.num_segments)
        return F.linear(features, weight.flatten(1))

    def _convolve_backward(
        self, grad: torch.Tensor, features: torch.Tensor, weight: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        has_taps = weight.shape[2] == 3
        inputs = _taps(features, self.num_segments) if has_taps else features
        grad_inputs = grad @ weight.flatten(1)
        grad_features = _folded(grad_inputs, self.num_segments) if has_taps else grad_inputs
        return grad_features, (grad.T @ inputs).view_as(weight)

    def forward(self, context: torch.Tensor) -> GatePass:
        """Return the logits of `context`."""
        return _forward(self._convolve, context, self.weights)

    def backward(
        self, grad: torch.Tensor, context: torch.Tensor, hidden: torch.Tensor | None
    ) -> GateGradients:
        """Return the gradients for `grad`, that of the logits."""
        return _backward(self._convolve_backward, grad, context, hidden, self.weights)


class SpatialGate:
    """Convolutions over the pixels of a clip, of ``(N, C, H, W)`` context."""

    def __init__(self, weights: ReduceAndGate) -> None:
        """See the class."""
        self.weights = weights

    def _convolve(self, features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.conv2d(features, weight, padding=weight.shape[2] // 2)

    def _convolve_backward(
        self, grad: torch.Tensor, features: torch.Tensor, weight: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        padding = [weight.shape[2] // 2] * 2
        grad_features, grad_weight, _ = torch.ops.aten.convolution_backward(
            grad, features, weight, None, [1, 1], padding, [1, 1], False, [0, 0], 1,
            [True, True, False],
        )  # fmt: skip
        return grad_features, grad_weight

    def forward(self, context: torch.Tensor) -> GatePass:
        """Return the logits of `context`."""
        return _forward(self._convolve, context, self.weights)

    def backward(
        self, grad: torch.Tensor, context: torch.Tensor, hidden: torch.Tensor | None
    ) -> GateGradients:
        """Return the gradients for `grad`, that of the logits."""
        return _backward(self._convolve_backward, grad, context, hidden, self.weights)


_Convolve = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
_ConvolveBackward = Callable[
    [torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]
]


def _forward(convolve: _Convolve, context: torch.Tensor, weights: ReduceAndGate) -> GatePass:
    features, hidden = context.to(weights.gate.dtype), None
    if weights.reduce is not None:
        features = hidden = convolve(features, weights.reduce).relu_()
    return GatePass(convolve(features, weights.gate).to(context.dtype), hidden)


def _backward(
    convolve_backward: _ConvolveBackward,
    grad: torch.Tensor,
    context: torch.Tensor,
    hidden: torch.Tensor | None,
    weights: ReduceAndGate,
) -> GateGradients:
    features = context.to(weights.gate.dtype)
    grad = grad.to(weights.gate.dtype)
    if weights.reduce is None:
        grad_context, grad_gate = convolve_backward(grad, features, weights.gate)
        return GateGradients(grad_context.to(context.dtype), ReduceAndGate(None, grad_gate))
    grad_hidden, grad_gate = convolve_backward(grad, hidden, weights.gate)
    grad_hidden = torch.ops.aten.threshold_backward(grad_hidden, hidden, 0)
    grad_context, grad_reduce = convolve_backward(grad_hidden, features, weights.reduce)
    return GateGradients(grad_context.to(context.dtype), ReduceAndGate(grad_reduce, grad_gate))
