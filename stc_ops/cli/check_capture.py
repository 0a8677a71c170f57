"""A training step that a CUDA graph captures, for `stc-ops check`."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn

from stc_ops.measuring import Tolerance, first_difference
from stc_ops.models import video_resnet
from stc_ops.nn import STC

CLASSES, CLIPS, NUM_SEGMENTS, PIXELS = 5, 4, 4, 64
STEPS = 4
SIZE = {"depths": (1, 1, 1, 1), "widths": (16, 16, 16, 32)}
TOLERANCE = Tolerance(1e-3, 0)


def captured_step_differs() -> str | None:
    """Train a small STC network by replays of one captured step, and the same without.

    Returns:
        Which parameter or buffer is another afterwards, or None.
    """
    torch.manual_seed(0)
    network = video_resnet(STC, CLASSES, NUM_SEGMENTS, dropout=0.0, **SIZE)
    network = network.cuda().to(memory_format=torch.channels_last)
    frames = torch.randn(CLIPS * NUM_SEGMENTS, 3, PIXELS, PIXELS, device="cuda")
    labels = torch.arange(CLIPS, device="cuda")
    plain, captured = network, copy.deepcopy(network)
    optimizer = _optimizer(plain)
    for _ in range(STEPS):
        _step(plain, optimizer, frames, labels)
    _train_by_replays(captured, frames, labels)
    expected = {name: each.double() for name, each in plain.state_dict().items()}
    actual = {name: each.double() for name, each in captured.state_dict().items()}
    return first_difference(actual, expected, expected, TOLERANCE)


def _optimizer(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)


def _step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    frames: torch.Tensor,
    labels: torch.Tensor,
) -> None:
    optimizer.zero_grad(set_to_none=True)
    F.cross_entropy(network(frames), labels).backward()
    optimizer.step()


def _train_by_replays(network: nn.Module, frames: torch.Tensor, labels: torch.Tensor) -> None:
    # Libraries choose their kernels before: that cannot be captured. The first steps count.
    optimizer = _optimizer(network)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            _step(network, optimizer, frames, labels)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        _step(network, optimizer, frames, labels)
    for _ in range(STEPS - 2):
        graph.replay()
    torch.cuda.synchronize()
