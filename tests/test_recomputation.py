"""What fused networks keep for backward, and that computing the rest again changes nothing."""

from __future__ import annotations

import gc
from copy import deepcopy
from functools import partial

import pytest
import torch
from small_networks import NETWORKS, every_network, random_clips, small
from torch import nn
from torch.utils.checkpoint import checkpoint

import stc_ops
from stc_ops.measuring import saved_bytes
from stc_ops.models import stc_resnet50, video_resnet


@pytest.fixture(autouse=True)
def kernels():
    """The reference backend never runs the fused operators."""
    with stc_ops.use_backend("cpu"):
        yield


def gradients(model, frames):
    model.zero_grad()
    model(frames).square().sum().backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def assert_same(actual, expected):
    for got, want in zip(actual, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0)


def test_at_most_seven_tenths_of_the_layer_by_layer_bytes_are_saved():
    model = stc_resnet50(num_classes=174, num_segments=8).train()
    model.to(memory_format=torch.channels_last)
    frames = torch.randn(8, 3, 224, 224).to(memory_format=torch.channels_last)
    plain = deepcopy(model)
    plain.fused = False
    assert saved_bytes(model, frames) <= 0.70 * saved_bytes(plain, frames)


@every_network
def test_gradients_are_those_of_kept_results_bit_by_bit(build):
    model, frames = small(build, dropout=0.0).train(), random_clips()
    recomputed = gradients(deepcopy(model), frames)
    model.recompute = False
    assert_same(recomputed, gradients(model, frames))


@every_network
def test_the_switch_decides_what_is_kept(build):
    model, frames = small(build, dropout=0.0).train(), random_clips()
    saved = saved_bytes(model, frames)
    model.recompute = False
    assert saved < 0.95 * saved_bytes(model, frames)


def test_backward_runs_twice_over_a_retained_graph():
    model, frames = small(NETWORKS["stc"], dropout=0.0).train(), random_clips()
    loss = model(frames).square().sum()
    parameters = list(model.parameters())
    first = torch.autograd.grad(loss, parameters, retain_graph=True)
    assert_same(torch.autograd.grad(loss, parameters), first)


def test_frozen_parameters_change_no_other_gradient():
    model, frames = small(NETWORKS["stc"], dropout=0.0).train(), random_clips()
    expected = dict(zip(dict(model.named_parameters()), gradients(model, frames), strict=True))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("conv2.spatial.conv" not in name and "layer1" not in name)
    model.zero_grad()
    model(frames).square().sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, expected[name], rtol=0, atol=0)


def test_hooks_around_the_network_get_all_that_is_kept():
    model, frames = small(NETWORKS["stc"], dropout=0.0).train(), random_clips()
    expected = gradients(deepcopy(model), frames)
    with torch.autograd.graph.save_on_cpu():
        assert_same(gradients(model, frames), expected)


def test_networks_can_be_checkpointed():
    model, frames = small(NETWORKS["stc"], dropout=0.0).train(), random_clips().requires_grad_()
    twin = deepcopy(model)
    expected = gradients(model, frames)
    checkpoint(twin, frames, use_reentrant=False).square().sum().backward()
    assert_same([parameter.grad for parameter in twin.parameters()], expected)


def test_an_operator_that_is_not_fused_is_saved_as_ever():
    x = torch.randn(2, 3, requires_grad=True)
    with stc_ops.recompute_in_backward():
        y = x.exp().sin()
    y.sum().backward()
    torch.testing.assert_close(x.grad, x.exp() * x.exp().cos())


class OwnLayer(nn.Module):
    """Somebody's middle layer, which does something with what it reads."""

    def __init__(self, width, num_segments, stride):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride, 1, bias=False)

    def forward(self, x):
        return self.conv(x)


def test_changes_in_place_are_noticed_in_the_whole_network():
    class Doubled(OwnLayer):
        def forward(self, x):
            return self.conv(x).sigmoid().mul_(2)

    model = small(partial(video_resnet, Doubled))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        model(random_clips()).sum().backward()


def convolution_gradients(model, frames):
    model(frames).square().sum().backward()
    return [layer.conv.weight.grad for layer in model.modules() if isinstance(layer, OwnLayer)]


def test_layers_of_somebody_else_get_results_that_are_kept():
    class Silencing(OwnLayer):
        def forward(self, x):
            x.data[:, :4] = 0
            return self.conv(x)

    model, frames = small(partial(video_resnet, Silencing)), random_clips()
    for weight_grad in convolution_gradients(model, frames):
        assert not weight_grad[:, :4].any()
        assert weight_grad[:, 4:].any()


def test_a_changed_result_is_kept():
    conv = nn.Conv2d(4, 4, 1, bias=False).double()
    u = torch.randn(2, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    bn = stc_ops.BatchNorm(None, None, torch.zeros(4).double(), torch.ones(4).double(), False)
    with stc_ops.recompute_in_backward():
        out = stc_ops.bn_relu(u, bn)
        with torch.no_grad():
            out[:, :2] = 0
        conv(out).sum().backward()
    assert not conv.weight.grad[:, :2].any()
    assert conv.weight.grad[:, 2:].all()


def test_a_function_of_somebody_else_is_no_operator():
    class Own(torch.autograd.Function):
        recompute = None

        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    x = torch.randn(3, requires_grad=True)
    with stc_ops.recompute_in_backward():
        Own.apply(x).square().sum().backward()
    torch.testing.assert_close(x.grad, 8 * x.detach())


def test_networks_of_one_graph_after_the_other_take_no_more_memory():
    model, frames = small(NETWORKS["stc"], dropout=0.0).train(), random_clips()

    def tensors():
        return sum(isinstance(each, torch.Tensor) for each in gc.get_objects())

    gc.disable()
    try:
        model(frames)
        before = tensors()
        for _ in range(3):
            model(frames)
        assert tensors() <= before
    finally:
        gc.enable()


def test_a_pool_of_another_kind_runs_as_it_is():
    model, frames = small(NETWORKS["stc"], dropout=0.0).train(), random_clips()
    model.maxpool = torch.nn.AvgPool2d(2)
    plain = deepcopy(model)
    plain.fused = False
    for got, want in zip(gradients(model, frames), gradients(plain, frames), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-9)
