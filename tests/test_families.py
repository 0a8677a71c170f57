"""Each operator against its formula written out as loops, and its backward as the adjoint."""

from __future__ import annotations

import math

import pytest
import torch
from backend_cases import on_compiled_backends
from cases import OPERATORS, Clips, every_format

import stc_ops

CLIPS = Clips(2, 4, 9, 3, 2)


def frames_of(memory_format):
    return torch.randn(CLIPS.frames, dtype=torch.float64).contiguous(memory_format=memory_format)


@every_format
@pytest.mark.parametrize("shift_div", [2, 3, 8, 20])
def test_temporal_shift_by_its_formula(backend, memory_format, shift_div):
    x = frames_of(memory_format)
    fold = CLIPS.channels // shift_div
    expected = torch.zeros_like(x)
    for clip in range(CLIPS.batch):
        for t in range(CLIPS.num_segments):
            for c in range(CLIPS.channels):
                source = t + 1 if c < fold else t - 1 if c < 2 * fold else t
                if 0 <= source < CLIPS.num_segments:
                    first = clip * CLIPS.num_segments
                    expected[first + t, c] = x[first + source, c]
    assert torch.equal(stc_ops.temporal_shift(x, CLIPS.num_segments, shift_div), expected)


@every_format
def test_pools_by_their_formulas(backend, memory_format):
    y = frames_of(memory_format)
    spatial = [[y[i, c].sum().item() / 6 for c in range(9)] for i in range(8)]
    torch.testing.assert_close(stc_ops.spatial_pool(y), torch.tensor(spatial, dtype=y.dtype))
    temporal = torch.stack([sum(y[4 * n + t] for t in range(4)) / 4 for n in range(2)])
    torch.testing.assert_close(stc_ops.temporal_pool(y, 4), temporal)


@every_format
def test_gates_by_their_formulas(backend, memory_format):
    y = frames_of(memory_format)
    frame_logits = torch.randn(8, 9, dtype=torch.float64)
    clip_logits = torch.randn(2, 9, 3, 2, dtype=torch.float64)
    temporal, spatial = torch.empty_like(y), torch.empty_like(y)
    for i, c, h, w in torch.cartesian_prod(*map(torch.arange, CLIPS.frames)).tolist():
        temporal[i, c, h, w] = y[i, c, h, w] / (1 + math.exp(-frame_logits[i, c]))
        spatial[i, c, h, w] = y[i, c, h, w] / (1 + math.exp(-clip_logits[i // 4, c, h, w]))
    torch.testing.assert_close(stc_ops.temporal_gate(y, frame_logits), temporal)
    torch.testing.assert_close(stc_ops.spatial_gate(y, clip_logits, 4), spatial)


@every_format
@pytest.mark.parametrize("name", ["temporal_shift", "spatial_pool", "temporal_pool"])
def test_backward_is_the_adjoint(backend, name, memory_format):
    (x,) = OPERATORS[name].inputs(CLIPS, torch.float64, memory_format)
    out = OPERATORS[name].run(CLIPS, x)
    grad = torch.randn_like(out)
    (adjoint,) = torch.autograd.grad(out, x, grad)
    torch.testing.assert_close((out * grad).sum(), (x * adjoint).sum())


def test_shift_moves_nothing_between_clips(backend):
    x = torch.zeros(8, 8, 1, 1)
    x[4:] = 1
    shifted = stc_ops.temporal_shift(x, 4, 2)
    assert shifted[:4].abs().sum() == 0


def test_sigmoid_is_accurate_for_every_size_of_logit(backend):
    logits = torch.cat([torch.linspace(-110, 110, 100_003), torch.logspace(-30, 2, 1000)])
    frames = torch.ones(logits.numel(), 1, 1, 1)
    gate = stc_ops.temporal_gate(frames, logits[:, None]).flatten()
    # Below exp(-87.3), near the smallest normal float, the kernels give zero.
    torch.testing.assert_close(gate.double(), logits.double().sigmoid(), rtol=5e-7, atol=1.3e-38)


def test_sums_of_half_precision_are_kept_in_float32(backend):
    y = torch.full((1, 1, 300, 300), 0.1, dtype=torch.float16)
    torch.testing.assert_close(stc_ops.spatial_pool(y), y[:, :, 0, 0].float(), rtol=1e-5, atol=0)


every_long_sum = pytest.mark.parametrize(
    ("channels", "size"), [(2, 512), (64, 56), (256, 112)], ids=["512", "56", "112"]
)
# Equal terms, whose rounding errors do not cancel. No level of a sum has more than some 64 of them,
# or 128 in a thread on a GPU: a few dozen roundings of 2^-24.
LONG_SUM = {"rtol": 3e-6, "atol": 0}


def equal_frames(channels, size, memory_format):
    return torch.full((1, channels, size, size), 0.1).contiguous(memory_format=memory_format)


@every_format
@every_long_sum
def test_long_sums_keep_their_digits(backend, memory_format, channels, size):
    y = equal_frames(channels, size, memory_format)
    logits = torch.zeros(1, channels, requires_grad=True)
    torch.testing.assert_close(stc_ops.spatial_pool(y), y[:, :, 0, 0], **LONG_SUM)
    (grad_logits,) = torch.autograd.grad(stc_ops.temporal_gate(y, logits), logits, y)
    exact = 0.25 * size**2 * y[0, :, :1, 0].double().T ** 2
    torch.testing.assert_close(grad_logits.double(), exact, **LONG_SUM)


@on_compiled_backends
@every_format
@every_long_sum
@pytest.mark.parametrize("operator", ["bn_relu", "refine_bn_relu", "bn_add_relu"])
def test_long_sums_of_batch_norms(backend, operator, memory_format, channels, size):
    y = equal_frames(channels, size, memory_format)
    weight, bias = (torch.full((channels,), 1.0, requires_grad=True) for _ in range(2))
    bn = stc_ops.BatchNorm(weight, bias, torch.zeros(channels), torch.ones(channels), False)
    run = {
        "bn_relu": lambda: stc_ops.bn_relu(y, bn),
        "refine_bn_relu": lambda: stc_ops.refine_bn_relu(y, None, bn, 1),
        "bn_add_relu": lambda: stc_ops.bn_add_relu(y, bn, y),
    }[operator]
    sums = torch.stack(torch.autograd.grad(run(), (bias, weight), y)).double()
    element = y[0, :, 0, 0].double()
    exact = size**2 * torch.stack((element, element**2 / (1 + bn.eps) ** 0.5))
    torch.testing.assert_close(sums, exact, **LONG_SUM)
