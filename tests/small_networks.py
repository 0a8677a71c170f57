"""Small networks of every kind, as the tests of the models run them."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from plain_layers import randomize_norms
from torch import nn

from stc_ops.models import video_resnet
from stc_ops.nn import STC, TemporalShift

T = 4
CLASSES = 5
SIZE = {"depths": (2, 1, 1, 1), "widths": (16, 16, 16, 32)}


def convolution(width, num_segments, stride):
    return nn.Conv2d(width, width, 3, stride, 1, bias=False)


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
