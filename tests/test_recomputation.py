"""What fused networks keep for backward, and that computing the rest again changes nothing."""

from __future__ import annotations

import contextlib
from copy import deepcopy

import pytest
import torch
from small_networks import NETWORKS, every_network, random_clips, small
from torch.utils.checkpoint import checkpoint

import stc_ops
from stc_ops.measuring import saved_bytes
from stc_ops.models import resnet, stc_resnet50
from stc_ops.operators.recomputation import recomputing_in_backward


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
def test_gradients_are_those_of_kept_results_bit_by_bit(build, monkeypatch):
    model, frames = small(build, dropout=0.0).train(), random_clips()
    recomputed = gradients(deepcopy(model), frames)
    monkeypatch.setattr(resnet, "recomputing_in_backward", contextlib.nullcontext)
    monkeypatch.setattr(resnet, "recomputed_max_pool", lambda x, pool: pool(x))
    assert_same(recomputed, gradients(model, frames))


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
    with recomputing_in_backward():
        y = x.exp().sin()
    y.sum().backward()
    torch.testing.assert_close(x.grad, x.exp() * x.exp().cos())


def test_a_pool_of_another_kind_runs_as_it_is():
    model, frames = small(NETWORKS["stc"], dropout=0.0).train(), random_clips()
    model.maxpool = torch.nn.AvgPool2d(2)
    plain = deepcopy(model)
    plain.fused = False
    for got, want in zip(gradients(model, frames), gradients(plain, frames), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-9)
