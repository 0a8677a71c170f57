"""The batch norm inside the fused operators: PyTorch's semantics, and no less accurate."""

from __future__ import annotations

import collections

import pytest
import torch
from backend_cases import on_compiled_backends
from cases import Clips, every_format
from fused_cases import FUSED, MODES, Problem, make_problem
from fused_oracle import fused_oracle, run_plain_layers, run_problem
from torch import nn

import stc_ops

SMALL = Clips(2, 4, 8, 3, 5)
CHANNELS = SMALL.channels


def of_the_split(x, bn):
    return torch.cat(stc_ops.bn_relu_shift_split(x, bn, (6, 2), 4, shift_div=None), 1)


def of_the_refinement(x, bn):
    return stc_ops.refine_bn_relu(*x.split((6, 2), 1), bn, 4)


def of_the_sum(x, bn):
    return stc_ops.bn_add_relu(x, bn, torch.zeros_like(x))


def of_the_identity(x, bn):
    mean, variance = x.new_zeros(CHANNELS), x.new_ones(CHANNELS)
    nothing = stc_ops.BatchNorm(None, None, mean, variance, training=False)
    return stc_ops.bn_add_relu(torch.zeros_like(x), nothing, x, bn)


every_normalization = pytest.mark.parametrize(
    "normalize", [of_the_split, of_the_refinement, of_the_sum, of_the_identity]
)


@every_normalization
@every_format
@pytest.mark.parametrize("momentum", [0.0, 0.1, 1.0])
def test_running_statistics_over_several_batches(backend, normalize, memory_format, momentum):
    layer = nn.BatchNorm2d(CHANNELS, eps=1e-2, momentum=momentum).double()
    running_mean, running_var = layer.running_mean.clone(), layer.running_var.clone()
    for training in (True, True, False, True, False):
        layer.train(training)
        x = 3 * torch.randn(SMALL.frames, dtype=torch.float64) + 2
        x = x.contiguous(memory_format=memory_format)
        bn = stc_ops.BatchNorm(
            layer.weight, layer.bias, running_mean, running_var, training, momentum, eps=1e-2
        )
        torch.testing.assert_close(normalize(x, bn), layer(x).relu())
        torch.testing.assert_close(running_mean, layer.running_mean)
        torch.testing.assert_close(running_var, layer.running_var)


@every_normalization
@every_format
@pytest.mark.parametrize("given", ["weight", "bias", "running_mean", "weight, bias"])
@pytest.mark.parametrize("training", [True, False])
def test_some_parameters_or_statistics_only(backend, normalize, memory_format, given, training):
    x = torch.randn(SMALL.frames, dtype=torch.float64).contiguous(memory_format=memory_format)
    x.requires_grad_()
    parameters = {
        name: torch.randn(CHANNELS, dtype=torch.float64, requires_grad=True)
        if name in given
        else None
        for name in ("weight", "bias")
    }
    statistics = {"running_mean": None, "running_var": None}
    if not training or given == "running_mean":
        statistics["running_mean"] = torch.randn(CHANNELS, dtype=torch.float64)
        statistics["running_var"] = torch.rand(CHANNELS, dtype=torch.float64) + 0.1
    copies = {name: each if each is None else each.clone() for name, each in statistics.items()}
    out = normalize(x, stc_ops.BatchNorm(**parameters, **statistics, training=training))
    expected = torch.relu(nn.functional.batch_norm(x, **parameters, **copies, training=training))
    torch.testing.assert_close(out, expected)
    assert statistics.keys() == copies.keys()
    torch.testing.assert_close(statistics, copies)
    inputs = [x, *(each for each in parameters.values() if each is not None)]
    gradient = torch.randn_like(out)
    torch.testing.assert_close(
        torch.autograd.grad(out, inputs, gradient), torch.autograd.grad(expected, inputs, gradient)
    )


@every_normalization
@every_format
@pytest.mark.parametrize("shape", [(0, 8, 3, 3), (4, 8, 0, 3)])
def test_a_batch_of_no_values_leaves_the_statistics(backend, normalize, memory_format, shape):
    statistics = [torch.randn(CHANNELS), torch.rand(CHANNELS)]
    copies = [each.clone() for each in statistics]
    x = torch.randn(shape).contiguous(memory_format=memory_format)
    out = normalize(x, stc_ops.BatchNorm(None, None, *statistics, training=True))
    assert out.shape == shape
    torch.testing.assert_close(statistics, copies, rtol=0, atol=0)


@every_normalization
@every_format
@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_a_constant_channel_has_no_variance(backend, normalize, memory_format, value):
    x = torch.randn(SMALL.frames)
    x[:, 2] = x[:, 7] = value
    x = x.contiguous(memory_format=memory_format).requires_grad_()
    weight, bias = torch.randn(CHANNELS, requires_grad=True), torch.rand(CHANNELS) + 0.5
    running = [torch.zeros(CHANNELS), torch.zeros(CHANNELS)]
    out = normalize(x, stc_ops.BatchNorm(weight, bias, *running, training=True, momentum=1.0))
    (grad_weight,) = torch.autograd.grad(out.sum(), weight)
    for channel in (2, 7):
        # A few roundings of the mean, over a standard deviation of sqrt(eps).
        rounding = 2**-20 * value
        error = rounding / 1e-5**0.5
        torch.testing.assert_close(
            out[:, channel], bias[channel].expand_as(out[:, channel]), rtol=1e-6, atol=error
        )
        torch.testing.assert_close(running[0][channel].item(), value, rtol=1e-6, atol=0)
        assert 0 <= running[1][channel] <= rounding**2
        assert grad_weight[channel].abs() <= out[:, channel].numel() * error


def far_from_zero(shape):
    return 1000 + torch.randn(shape)


def with_another_border_pixel(shape):
    frames = far_from_zero(shape)
    frames[:, :, 0, 0] += 500
    return frames


def with_another_first_frame(shape):
    frames = far_from_zero(shape)
    frames[0] += 500
    return frames


def root_mean_square(values):
    return values.square().mean().sqrt()


def numerically_hard(case, make_frames, memory_format) -> Problem:
    problem = make_problem(case, Clips(2, 8, 16, 14, 14), MODES["training"])
    replaced = {}
    for name, tensor in problem.tensors.items():
        if name.endswith("gate_weights[0]"):
            # What reads the context: that is a thousand times what logits should be.
            replaced[name] = tensor * 1e-3
        elif name in problem.frames() and (name != "identity" or "identity_bn" in case.norms):
            frames = make_frames(tensor.shape)
            replaced[name] = frames.contiguous(memory_format=memory_format)
    return problem.replaced(replaced)


@on_compiled_backends
@pytest.mark.parametrize(
    "make_frames", [far_from_zero, with_another_border_pixel, with_another_first_frame]
)
@pytest.mark.parametrize(
    "name",
    ["split", "split-stride-2", "refine", "refine-light", "refine-ungated", "add", "add-two-norms"],
)
@every_format
def test_no_less_accurate_than_plain_layers(backend, name, make_frames, memory_format):
    ratios = collections.defaultdict(list)
    for _ in range(5):
        problem = numerically_hard(FUSED[name], make_frames, memory_format)
        exact, gradients = fused_oracle(problem, margin=0.01)
        plain, _ = run_plain_layers(problem, gradients)
        for result, got in run_problem(problem, gradients).items():
            # Plain layers sum in float64 where they can; a few float32 roundings are no matter.
            want = exact[result]
            rounding = 2e-6 * want.abs().max()
            error = root_mean_square(got - want) + rounding
            ratios[result].append(error / (root_mean_square(plain[result] - want) + rounding))
    # Single ones vary by chance, most where sums of a thousand cancel to a gate's gradient.
    typical = {result: torch.stack(each).log().mean().exp() for result, each in ratios.items()}
    assert all(each <= 2 for each in typical.values()), typical
