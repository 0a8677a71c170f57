"""Parameters and multiply-accumulates of a network, counted as the paper counts them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn
from torch.func import functional_call

from stc_ops.backends import use_backend
from stc_ops.nn import (
    BNAddReLU,
    BNReLU,
    BNReLUShift,
    BNReLUShiftSplit,
    GlobalAvgPool,
    RefineBNReLU,
    TemporalRefinement,
)

# What they absorb is not called, and so not counted.
_FUSED_LAYERS = (BNAddReLU, BNReLU, BNReLUShift, BNReLUShiftSplit, RefineBNReLU)


class Cost(NamedTuple):
    """The size of a network: ``parameters``, and ``macs`` (multiply-accumulates) of one forward."""

    parameters: int
    macs: int


def cost(model: nn.Module, input_shape: Sequence[int]) -> Cost:
    """Count parameters and multiply-accumulates by the rules of thop 0.0.31 (paper, section IV-A).

    Per call of a layer without children::

        convolution             out.numel * (in_channels / groups * kernel [+ 1 for a bias])
        linear                  out.numel * in_features
        batch norm (eval)       2 * in.numel
        average pool            out.numel
        adaptive average pool   out.numel * (window + 1)

    All else is free: activations, gates, shifts, concatenations, means. The paper's figures take
    the pool before the classifier for an average pool, the spatial pool of a temporal refinement
    for an adaptive one, and the temporal pool of a spatial refinement for a mean.

    The forward runs on the meta device, so no weights are read and no arithmetic is done; `model`
    is left as it was.

    Args:
        model: any network of layers as above and of layers without parameters.
        input_shape: of its input, ``(N*T, 3, H, W)`` for the networks of :mod:`stc_ops.models`.

    Raises:
        ValueError: the forward calls a layer that has parameters but no rule above, or one of the
            fused layers, which absorb what would be counted. The networks of
            :mod:`stc_ops.models` run layer by layer here.
    """
    macs = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        nonlocal macs
        macs += _macs(module, inputs[0], out)

    with _hooked(model, count), _evaluating(model):
        _run_on_meta(model, input_shape)
    return Cost(sum(parameter.numel() for parameter in model.parameters()), macs)


def _macs(module: nn.Module, x: torch.Tensor, out: torch.Tensor) -> int:
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        inputs = module.in_channels // module.groups * math.prod(module.kernel_size)
        return out.numel() * (inputs + (module.bias is not None))
    if isinstance(module, nn.Linear):
        return out.numel() * module.in_features
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
        return 2 * x.numel()
    if isinstance(module, (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, GlobalAvgPool)):
        return out.numel()
    if isinstance(module, TemporalRefinement):
        pooled = math.prod(x.shape[:2])
        return x.numel() + pooled
    if isinstance(module, (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)):
        window = math.prod(x.shape[2:]) // math.prod(out.shape[2:])
        return out.numel() * (window + 1)
    if next(module.parameters(), None) is not None or isinstance(module, _FUSED_LAYERS):
        raise ValueError(f"cost: model must have layers with a counting rule, got {module}")
    return 0


@contextmanager
def _hooked(model: nn.Module, hook: Callable[..., None]) -> Iterator[None]:
    handles = [
        module.register_forward_hook(hook)
        for module in model.modules()
        if isinstance(module, TemporalRefinement) or next(module.children(), None) is None
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _run_on_meta(model: nn.Module, input_shape: Sequence[int]) -> None:
    tensors = {
        name: tensor.to("meta")
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
    }
    dtype = next((t.dtype for t in tensors.values() if t.is_floating_point()), torch.float32)
    frames = torch.empty(tuple(input_shape), dtype=dtype, device="meta")
    # A forced compiled backend could not run there, and operators are free whoever runs them.
    with torch.no_grad(), use_backend("reference"):
        functional_call(model, tensors, (frames,))
