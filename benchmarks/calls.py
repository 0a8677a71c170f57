"""Networks of 16 blocks on tiny frames, fused and optimized, against plain PyTorch's layers."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import nn

import stc_ops
from stc_ops.measuring import NamedTensors, Tolerance, first_difference
from stc_ops.models import video_resnet

MODES = ("training-step", "eval-forward", "eval-optimized")
TRAINING, _, OPTIMIZED = MODES
ROUNDS = 41
NUM_SEGMENTS, PIXELS, WIDTHS = 8, 32, (8, 8, 8, 8)
TOLERANCE = Tolerance(1e-8, 0)

Step = Callable[[], NamedTensors]


def _convolution(width: int, num_segments: int, stride: int) -> nn.Module:
    return nn.Conv2d(width, width, 3, stride, 1, bias=False)


MIDDLE_LAYERS = {"stc": stc_ops.nn.STC, "tsn": _convolution}


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let no time be spent in handing work to threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _network(name: str, mode: str, dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(0)
    network = video_resnet(MIDDLE_LAYERS[name], 10, NUM_SEGMENTS, widths=WIDTHS, dropout=0.0)
    return network.to(dtype, memory_format=torch.channels_last).train(mode == TRAINING)


def steps(name: str, mode: str, dtype: torch.dtype) -> tuple[Step, Step]:
    """Return one step of this package's network, and one of the same layer by layer."""
    frames = torch.randn(NUM_SEGMENTS, 3, PIXELS, PIXELS, dtype=dtype)
    frames = frames.contiguous(memory_format=torch.channels_last)
    fused, plain = (_network(name, mode, dtype) for _ in range(2))
    plain.fused = False
    if mode == OPTIMIZED:
        fused = stc_ops.optimize_for_inference(fused)
    step = _train if mode == TRAINING else _evaluate
    return partial(step, fused, frames), partial(_in_plain_pytorch, step, plain, frames)


def _in_plain_pytorch(
    step: Callable[[nn.Module, torch.Tensor], NamedTensors],
    network: nn.Module,
    frames: torch.Tensor,
) -> NamedTensors:
    with stc_ops.use_backend("reference"):
        return step(network, frames)


def _train(network: nn.Module, frames: torch.Tensor) -> NamedTensors:
    # Found once: walking over the modules takes as long as a block.
    parameters = _parameters_of(network)
    for each in parameters.values():
        each.grad = None
    loss = network(frames).square().mean()
    loss.backward()
    return {"the loss": loss.detach()} | {name: each.grad for name, each in parameters.items()}


@functools.cache
def _parameters_of(network: nn.Module) -> dict[str, nn.Parameter]:
    return dict(network.named_parameters())


def _evaluate(network: nn.Module, frames: torch.Tensor) -> NamedTensors:
    with torch.no_grad():
        return {"the logits": network(frames)}


def verify(name: str, mode: str) -> None:
    """Raise unless both steps compute the same.

    In float64: where so few values are normalized, float32 sets ReLUs to other sides.
    """
    got, want = (step() for step in steps(name, mode, torch.float64))
    if difference := first_difference(got, want, want, TOLERANCE):
        raise AssertionError(f"differs from plain PyTorch: {difference}")
