"""Convolutions over space and time on folded frames, against conv3d on clips in five dimensions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cases import every_format
from comparisons import SINGLE, assert_close
from plain_layers import randomize_norms
from torch import nn

from stc_ops.nn import GST, P3D, FramesConv3d

T = 4


def clips_of(frames):
    return frames.unflatten(0, (-1, T)).transpose(1, 2)


def frames_of(clips):
    return clips.transpose(1, 2).flatten(0, 1)


def over_space(x, weight, stride):
    return F.conv3d(x, weight[:, :, None], stride=(1, stride, stride), padding=(0, 1, 1))


def plain_c3d(layer, x, stride):
    return F.conv3d(x, layer.weight, stride=(1, stride, stride), padding=1)


def plain_p3d(layer, x, stride):
    out = over_space(x, layer.spatial.weight, stride)
    return F.conv3d(out, layer.temporal.weight[..., None], padding=(1, 0, 0))


def plain_gst(layer, x, stride):
    left, right = (x[:, :8], x[:, 8:]) if layer.equal_split else (x, x)
    return torch.cat(
        (over_space(left, layer.spatial.weight, stride), plain_c3d(layer.temporal, right, stride)),
        1,
    )


LAYERS = {
    "c3d": (lambda stride: FramesConv3d(16, 16, T, stride), plain_c3d),
    "p3d": (lambda stride: P3D(16, T, stride), plain_p3d),
    "gst": (lambda stride: GST(16, T, stride), plain_gst),
    "gst-large": (lambda stride: GST(16, T, stride, equal_split=False), plain_gst),
}
every_layer = pytest.mark.parametrize(("build", "plain"), LAYERS.values(), ids=LAYERS.keys())


@every_format
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (5, 6)], ids=str)
@pytest.mark.parametrize("clips", [0, 1, 3])
@every_layer
def test_layer(build, plain, clips, size, stride, memory_format):
    layer = build(stride).double()
    x = torch.randn(clips * T, 16, *size, dtype=torch.float64)
    x = x.contiguous(memory_format=memory_format).requires_grad_()
    out, expected = layer(x), frames_of(plain(layer, clips_of(x), stride))
    torch.testing.assert_close(out, expected)
    assert clips == 0 or out.is_contiguous(memory_format=memory_format)
    grad = torch.randn_like(out)
    inputs = (x, *layer.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(out, inputs, grad), torch.autograd.grad(expected, inputs, grad)
    )


@every_layer
def test_channel_slices_keep_their_format(build, plain):
    layer = build(1).double()
    wide = torch.randn(2 * T, 32, 5, 6, dtype=torch.float64)
    for x in (wide, wide.contiguous(memory_format=torch.channels_last)):
        part = x[:, 8:24]
        out = layer(part)
        torch.testing.assert_close(out, frames_of(plain(layer, clips_of(part), 1)))
        assert (out.stride(1) == 1) == (x.stride(1) == 1)


@pytest.mark.parametrize("kernel_size", [(1, 1, 1), (1, 3, 5), (5, 7, 7)], ids=str)
def test_kernel_sizes(kernel_size):
    layer = FramesConv3d(3, 4, T, 2, kernel_size=kernel_size).double()
    x = torch.randn(2 * T, 3, 9, 11, dtype=torch.float64)
    padding = [size // 2 for size in kernel_size]
    expected = F.conv3d(clips_of(x), layer.weight, stride=(1, 2, 2), padding=padding)
    torch.testing.assert_close(layer(x), frames_of(expected))


@every_format
@pytest.mark.parametrize("kernel_size", [(1, 3, 3), (3, 3, 3), (5, 1, 3), (9, 3, 3)], ids=str)
@pytest.mark.parametrize(("channels", "is_small"), [(16, True), (800, False)])
def test_single_clips_in_float32(channels, is_small, kernel_size, memory_format):
    layer = FramesConv3d(channels, 4, T, 2, kernel_size=kernel_size)
    x = torch.randn(T, channels, 7, 6).contiguous(memory_format=memory_format).requires_grad_()
    assert layer._is_slow(x) == is_small
    out = layer(x)
    padding = [size // 2 for size in kernel_size]
    clips, weight = clips_of(x).double(), layer.weight.double()
    expected = frames_of(F.conv3d(clips, weight, stride=(1, 2, 2), padding=padding))
    assert_close(out.double(), expected, SINGLE)
    assert out.is_contiguous(memory_format=memory_format)
    grad, inputs = torch.randn_like(out), (x, layer.weight)
    got = torch.autograd.grad(out, inputs, grad)
    want = torch.autograd.grad(expected, inputs, grad.double())
    for each, wanted in zip(got, want, strict=True):
        assert_close(each, wanted, SINGLE, "gradient")


@every_format
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("equal_split", [True, False], ids=["gst", "gst-large"])
def test_fused_gst_between_its_norms(backend, equal_split, stride, training, memory_format):
    layer = GST(16, T, stride, equal_split=equal_split).double()
    norms = nn.ModuleList(nn.BatchNorm2d(16) for _ in range(2)).double().train(training)
    randomize_norms(norms)
    u = torch.randn(2 * T, 16, 5, 6, dtype=torch.float64)
    u = u.contiguous(memory_format=memory_format).requires_grad_()
    expected = norms[1](layer(norms[0](u).relu())).relu()
    inputs = (u, *layer.parameters(), *norms.parameters())
    grad = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, inputs, grad)
    out = layer.forward_fused(u, *norms)
    torch.testing.assert_close(out, expected)
    assert out.is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(torch.autograd.grad(out, inputs, grad), wanted)


def test_networks_of_five_axes_can_be_made_channels_last():
    layer = nn.Sequential(FramesConv3d(4, 6, T), nn.Conv2d(6, 2, 3))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    layer.to(memory_format=torch.channels_last)
    assert layer[0].weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert layer[1].weight.is_contiguous(memory_format=torch.channels_last)
    layer.double().to(memory_format=torch.contiguous_format)
    assert layer[0].weight.is_contiguous()
    assert layer[0].weight.dtype == torch.float64
    assert layer.to("meta")[0].weight.shape == (6, 4, 3, 3, 3)
    layer.to_empty(device="cpu").load_state_dict(before)
    layer.share_memory()
    assert layer[0].weight.is_shared()
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name].double())


WRONG_ARGUMENTS = {
    "even-kernel": (
        lambda: FramesConv3d(4, 4, T, kernel_size=(3, 2, 3)),
        r"FramesConv3d: kernel_size must be odd, got \(3, 2, 3\)",
    ),
    "no-stride": (lambda: FramesConv3d(4, 4, T, 0), "FramesConv3d: stride must be at least 1"),
    "no-channels": (lambda: P3D(0, T), "P3D: channels must be at least 1, got 0"),
    "only-spatial": (lambda: GST(16, T, alpha=1), "GST: alpha must be strictly between 0 and 1"),
    "only-temporal": (lambda: GST(16, T, alpha=0), "GST: alpha must be strictly between 0 and 1"),
    "uneven": (lambda: GST(10, T), "GST: alpha must split 10 channels into two integers"),
    "odd": (lambda: GST(9, T, alpha=1 / 3), "GST: equal_split needs an even number of channels"),
    "frames": (lambda: GST(16, T)(torch.zeros(6, 16, 2, 2)), "multiple of num_segments=4"),
    "channels": (lambda: GST(16, T)(torch.zeros(8, 8, 2, 2)), "GST: x must have 16 channels"),
    "clips": (lambda: FramesConv3d(2, 2, T)(torch.zeros(1, 2, 4, 2, 2)), "4 dimensions"),
}


@pytest.mark.parametrize(("call", "message"), WRONG_ARGUMENTS.values(), ids=WRONG_ARGUMENTS.keys())
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
