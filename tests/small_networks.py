"""Small networks of every kind, as the tests of the models run them."""

from __future__ import annotations

from copy import deepcopy
from functools import partial

import pytest
import torch
from plain_layers import randomize_norms
from torch import nn

from stc_ops.models import video_resnet
from stc_ops.nn import STC, FramesConv3d, TemporalShift

T = 4
CLASSES = 5
SIZE = {"depths": (2, 1, 1, 1), "widths": (16, 16, 16, 32)}


def convolution(width, num_segments, stride):
    return nn.Conv2d(width, width, 3, stride, 1, bias=False)


def frames_convolution(width, num_segments, stride):
    return FramesConv3d(width, width, num_segments, stride)


def shift(in_channels, num_segments):
    return TemporalShift(num_segments)


NETWORKS = {
    "tsn": partial(video_resnet, convolution),
    "tsm": partial(video_resnet, convolution, entry_layer=shift),
    "stc": partial(video_resnet, STC),
    "stc-light": partial(video_resnet, partial(STC, reduction=4)),
    "stc-equal": partial(video_resnet, partial(STC, equal_split=True)),
}
every_network = pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS.keys())


def small(build, dtype=torch.float64, **arguments):
    """A small network in evaluation mode, with normalizations that are not the initial ones."""
    model = build(CLASSES, T, **SIZE, **arguments).to(dtype).eval()
    randomize_norms(model)
    return model


def random_clips(clips=2, size=(32, 32), dtype=torch.float64):
    return torch.randn(clips * T, 3, *size, dtype=dtype)


def unfused_copy(model):
    copy = deepcopy(model)
    copy.fused = False
    return copy


def assert_same_step(model, plain, frames):
    """Assert that both have the same outputs, gradients and, afterwards, state."""
    tolerance = {"rtol": 1e-10, "atol": 1e-10}
    model.zero_grad()
    plain.zero_grad()
    out, expected = model(frames), plain(frames)
    torch.testing.assert_close(out, expected, **tolerance)
    grad = torch.randn_like(out)
    out.backward(grad)
    expected.backward(grad)
    for (name, weight), other in zip(model.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(
            weight.grad, other.grad, **tolerance, msg=lambda text, name=name: f"{name}: {text}"
        )
    torch.testing.assert_close(model.state_dict(), plain.state_dict(), **tolerance)
