"""Small networks of every kind, as the tests of the models run them."""

from __future__ import annotations

from copy import deepcopy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from comparisons import EXACT, assert_close, assert_no_less_accurate
from torch import nn

import stc_ops
from stc_ops.models import video_resnet
from stc_ops.nn import GST, P3D, STC, STM, TAM, TEA, TIN, FramesConv3d, TemporalShift

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
# With the layers that the paper compares with.
RELATIVES = {
    "tam": partial(video_resnet, TAM),
    "tea": partial(video_resnet, TEA, middle_widths=(32, 16, 16, 48)),
    "tin": partial(video_resnet, convolution, entry_layer=TIN),
    "stm": partial(video_resnet, STM),
    "c3d": partial(video_resnet, frames_convolution),
    "p3d": partial(video_resnet, P3D),
    "gst": partial(video_resnet, GST),
    "gst-large": partial(video_resnet, partial(GST, equal_split=False)),
}
every_network = pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS.keys())


def norms_of(model):
    return [each for each in model.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]


def small(build, dtype=torch.float64, **arguments):
    """A small network in evaluation mode in which every part matters to the logits.

    Its norms have the statistics of the activations, and those are small beside a wrong eps; the
    gates are neither open nor shut; residual paths and identities are of one size. All its
    numbers are exact in bfloat16, so that in every dtype the network is the same.
    """
    model = build(CLASSES, T, **SIZE, **arguments).double()
    _scale_convolutions(model)
    _take_statistics(model)
    with torch.no_grad():
        for value in (*model.parameters(), *model.buffers()):
            value.copy_(value.bfloat16())
    return model.to(dtype).eval()


NORMALIZED = (
    "conv1.weight",
    "spatial.conv.weight",
    "temporal.conv.weight",
    "conv3.weight",
    "downsample.0.weight",
)


def _scale_convolutions(model):
    """Make what is normalized small, and what enters the sigmoids as large as it was."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(".gate_network.gate.weight"):
                weight.mul_(10)
            elif name.endswith(NORMALIZED):
                weight.mul_(0.1)


def _take_statistics(model):
    norms = norms_of(model)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad(), stc_ops.use_backend("reference"):
        model.train()(random_clips(clips=4))
    for name, norm in model.named_modules():
        if norm in norms:
            norm.momentum = momenta.pop(0)
            norm.num_batches_tracked.zero_()
            _randomize(norm, 0.5 if name.endswith("bn3") else 1.0)


def _randomize(norm, size):
    """Move statistics and parameters by about a third, and the weight to about `size`."""
    deviation = norm.running_var.sqrt()
    norm.running_mean += 0.3 * deviation * torch.randn_like(deviation)
    norm.running_var *= torch.empty_like(deviation).uniform_(0.5, 1.5)
    nn.init.uniform_(norm.weight, 0.5 * size, 1.5 * size)
    nn.init.normal_(norm.bias, std=0.3)


def random_clips(clips=2, size=(32, 32), dtype=torch.float64):
    """Frames unlike those before and after them, and unlike from corner to corner."""
    coarse = F.interpolate(torch.randn(clips * T, 3, 4, 4), size, mode="bilinear")
    return (2 * coarse + 0.5 * torch.randn(clips * T, 3, *size)).bfloat16().to(dtype)


def unfused_copy(model):
    copy = deepcopy(model)
    copy.fused = False
    return copy


def assert_same_step(model, plain, frames):
    """Assert that both have the same outputs, gradients and, afterwards, state."""
    model.zero_grad()
    plain.zero_grad()
    out, expected = model(frames), plain(frames)
    assert_close(out, expected, EXACT)
    grad = torch.randn_like(out)
    out.backward(grad)
    expected.backward(grad)
    for (name, weight), other in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert_close(weight.grad, other.grad, EXACT, f"gradient of {name}")
    assert_close(model.state_dict(), plain.state_dict(), EXACT, "state")


def logits_in(dtype, model, frames):
    """Logits of plain layers in a dtype."""
    plain = unfused_copy(model).to(dtype)
    with torch.no_grad(), stc_ops.use_backend("reference"):
        return plain(frames.to(dtype))


def assert_accurate(out, model, frames):
    """Assert that 16-bit logits are about as accurate as those of plain layers in their dtype.

    What rounds, in STM's network in bfloat16, as errors of 1.4 % of the logits: the results of
    convolutions 0.7 %, of norms 0.6 %, of blocks 0.4 %, running statistics 0.4 %, and more than any
    of these the weights, 1.0 %. Parameters of `model` and `frames` are therefore exact in bfloat16,
    and what is left differs by chance from one order of steps to another: no fixed bound fits all.
    """
    plain, exact = (logits_in(dtype, model, frames) for dtype in (out.dtype, torch.float64))
    assert_no_less_accurate(out, plain, exact)
