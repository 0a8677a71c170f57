"""TAM, TEA, TIN and STM: against their formulas in plain PyTorch."""

from __future__ import annotations

from copy import deepcopy
from functools import partial

import pytest
import torch
from cases import every_dtype, every_format
from comparisons import EXACT, SINGLE, assert_close, assert_no_less_accurate
from plain_layers import T, assert_equal_with_gradients, clips_of, frames_of, random_frames
from plain_relatives import (
    plain_interlace,
    plain_stm,
    plain_tam,
    plain_tea,
    plain_tin,
    random_layer,
)

from stc_ops.models import video_resnet
from stc_ops.nn import STM, TAM, TEA, TIN, ChannelwiseTemporalConv2d
from stc_ops.nn.tin import interlace

C = 32


def first_tea(channels, num_segments, stride=1):
    layer = TEA(channels, num_segments, stride)
    layer.first_of_stage = True
    return layer


# name: the layer of C channels, and the same in plain PyTorch
LAYERS = {
    "tam": (partial(TAM, C, T), plain_tam),
    "tam-stride-2": (partial(TAM, C, T, 2), plain_tam),
    "tea": (partial(TEA, C, T), plain_tea),
    "tea-first": (partial(first_tea, C, T), plain_tea),
    "tea-stride-2": (partial(TEA, C, T, 2), plain_tea),
    "tin": (partial(TIN, C, T), plain_tin),
    "tin-all": (partial(TIN, C, T, shift_div=1), plain_tin),
    "stm": (partial(STM, C, T), plain_stm),
    "stm-stride-2": (partial(STM, C, T, 2), plain_stm),
}
every_layer = pytest.mark.parametrize(("build", "plain"), LAYERS.values(), ids=LAYERS.keys())
every_mode = pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])


@every_format
@every_mode
@every_layer
def test_layers_are_their_formulas(backend, build, plain, training, memory_format):
    layer = random_layer(build).train(training)
    frames = random_frames(channels=C, memory_format=memory_format).requires_grad_()
    before = deepcopy(layer.state_dict())
    inputs = [frames, *layer.parameters()]
    out, expected = layer(frames), plain(layer, frames)
    assert_equal_with_gradients(out, expected, inputs, inputs)
    assert out.is_contiguous(memory_format=memory_format)
    if not training:
        torch.testing.assert_close(layer.state_dict(), before, rtol=0, atol=0)


@every_format
@every_dtype
@every_layer
def test_layers_in_every_dtype(build, plain, dtype, memory_format):
    layer = random_layer(build).bfloat16()
    frames = random_frames(batch=16, channels=C, dtype=torch.bfloat16)
    exact = plain(deepcopy(layer).double(), frames.double())
    layer, frames = layer.to(dtype), frames.to(dtype)
    expected = plain(layer, frames)
    layer.to(memory_format=memory_format)
    frames = frames.contiguous(memory_format=memory_format)
    out = layer(frames)
    if dtype in (torch.float64, torch.float32):
        assert_close(out.double(), exact, EXACT if dtype == torch.float64 else SINGLE)
    else:
        assert_no_less_accurate(out, expected, exact)
    trained = layer.train()(frames)
    for result in (out, trained):
        assert result.dtype == dtype
        assert result.is_contiguous(memory_format=memory_format)
    trained.sum().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters())


@every_layer
def test_layers_of_no_clips_and_of_one_frame(build, plain):
    layer = random_layer(build)
    assert layer(random_frames(batch=0, channels=C)).shape[:2] == (0, C)
    single = build.func(C, 1).double().eval()
    frames = random_frames(channels=C)
    assert single(frames).shape == frames.shape


@every_layer
def test_layers_name_wrong_frames(build, plain):
    layer = build()
    with pytest.raises(ValueError, match=r"x must have 32 channels, got shape \(4, 16, 5, 5\)"):
        layer(torch.zeros(4, 16, 5, 5))
    with pytest.raises(ValueError, match="x must hold a multiple of num_segments=4 frames, got 6"):
        layer(torch.zeros(6, C, 5, 5))
    with pytest.raises(TypeError, match="x must be one of float32"):
        layer(torch.zeros(4, C, 5, 5, dtype=torch.int64))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TAM(2, T), "AdaptiveTemporalConv2d: channels must be at least 4, got 2"),
        (lambda: TAM(16, 0), "AdaptiveTemporalConv2d: num_segments must be at least 1, got 0"),
        (lambda: TAM(16, T, 0), "TAM: stride must be at least 1, got 0"),
        (lambda: TEA(8, T), "TEA: channels must be at least 16, got 8"),
        (lambda: TEA(20, T), "TEA: channels must be a multiple of 8, got 20"),
        (lambda: TEA(16, T, 0), "TEA: stride must be at least 1, got 0"),
        (lambda: TIN(24, T), "TIN: channels / shift_div must be a multiple of 4, got 24 and 4"),
        (lambda: TIN(2, T), "TIN: channels / shift_div must be a multiple of 4, got 2 and 4"),
        (lambda: TIN(16, T, 0), "TIN: shift_div must be at least 1, got 0"),
        (lambda: STM(8, T), "STM: channels must be at least 16, got 8"),
        (lambda: STM(18, T), "ChannelwiseTemporalConv2d: channels must be a multiple of 4"),
        (lambda: video_resnet(STM, middle_widths=(16,)), "middle_widths must have 4 integers"),
    ],
)
def test_wrong_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_initial_offsets_choose_frames():
    frames = random_frames(channels=6)
    clips = clips_of(frames)
    expected = torch.zeros_like(clips)
    expected[:, :2, 1:] = clips[:, :2, :-1]
    expected[:, 2:4] = clips[:, 2:4]
    expected[:, 4:, :-1] = clips[:, 4:, 1:]
    layer = ChannelwiseTemporalConv2d(6, T, (-1, 0, 1)).double()
    torch.testing.assert_close(layer(frames), frames_of(expected), rtol=0, atol=0)


# In frames; up to beyond the clip, and never near a whole number, where there are kinks.
OFFSETS = torch.tensor([[0.3, -0.4, 1.7, -2.2], [-1.5, 0.8, 3.6, -5.1]], dtype=torch.float64)


@every_format
def test_interlace_gradients(memory_format):
    frames = random_frames(channels=8, size=(2, 3), memory_format=memory_format).requires_grad_()
    weights = torch.rand(2, 4, T, dtype=torch.float64).requires_grad_()
    offsets = OFFSETS.clone().requires_grad_()
    out = interlace(frames, offsets, weights)
    expected = frames_of(plain_interlace(clips_of(frames), offsets, weights))
    inputs = [frames, offsets, weights]
    assert_equal_with_gradients(out, expected, inputs, inputs)
    assert torch.autograd.gradcheck(interlace, inputs)
    assert torch.autograd.gradgradcheck(interlace, inputs)


def test_interlace_by_whole_frames_is_a_shift():
    frames = random_frames(batch=1, channels=4)
    clips = clips_of(frames)
    expected = torch.zeros_like(clips)
    expected[:, 0] = clips[:, 0]
    expected[:, 1, 1:] = clips[:, 1, :-1]
    expected[:, 2, :-2] = clips[:, 2, 2:]
    offsets = torch.tensor([[0.0, 1.0, -2.0, 4.0]], dtype=torch.float64)
    ones = torch.ones(1, 4, T, dtype=torch.float64)
    torch.testing.assert_close(interlace(frames, offsets, ones), frames_of(expected))


def test_interlace_at_a_kink_has_the_derivative_towards_larger_offsets():
    frames = random_frames(batch=1, channels=4)
    offsets = torch.tensor([[0.0, 1.0, -2.0, -1.0]], dtype=torch.float64, requires_grad=True)
    ones = torch.ones(1, 4, T, dtype=torch.float64)
    out = interlace(frames, offsets, ones)
    grad = torch.randn_like(out)
    (slope,) = torch.autograd.grad(out, offsets, grad)
    for group in range(4):
        step = 0.25 * torch.eye(4, dtype=torch.float64)[group]
        change = interlace(frames, offsets.detach() + step, ones) - out.detach()
        torch.testing.assert_close(slope[0, group], (grad * change).sum() / 0.25)


def test_only_the_channels_of_tin_that_move_change():
    frames = random_frames(channels=C)
    out = random_layer(partial(TIN, C, T))(frames)
    assert torch.equal(out[:, C // 4 :], frames[:, C // 4 :])
    assert (out[:, : C // 4] != frames[:, : C // 4]).any((0, 2, 3)).all()
