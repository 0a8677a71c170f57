"""The fused layers, and STC through fused operators, against plain PyTorch in float64."""

from __future__ import annotations

from copy import deepcopy
from fractions import Fraction
from typing import NamedTuple

import pytest
import torch
from cases import every_format, every_low_dtype
from comparisons import EXACT, assert_close, assert_no_less_accurate
from plain_layers import (
    T,
    assert_equal_with_gradients,
    clips_of,
    every_variant,
    frames_of,
    plain_shift,
    plain_spatial_refinement,
    plain_stc,
    plain_temporal_refinement,
    random_frames,
    randomize_norms,
)
from torch import nn

from stc_ops.nn import (
    STC,
    BNAddReLU,
    BNReLU,
    BNReLUShift,
    BNReLUShiftSplit,
    GateNetwork,
    RefineBNReLU,
)

CHANNELS = 16
every_mode = pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])


def random_norm(training, channels=CHANNELS):
    norm = nn.BatchNorm2d(channels).double().train(training)
    randomize_norms(norm)
    return norm


def assert_same_state(module, plain):
    assert_close(module.state_dict(), plain.state_dict(), EXACT, "state")


@every_format
@every_mode
def test_bn_relu(backend, memory_format, training):
    frames = random_frames(memory_format=memory_format).requires_grad_()
    norm = random_norm(training)
    plain = deepcopy(norm)
    out, expected = BNReLU()(frames, norm), plain(frames).relu()
    inputs, plain_inputs = ([frames, *each.parameters()] for each in (norm, plain))
    assert_equal_with_gradients(out, expected, inputs, plain_inputs)
    assert_same_state(norm, plain)
    assert out.is_contiguous(memory_format=memory_format)


@every_format
@every_mode
@pytest.mark.parametrize("shift_div", [2, 3, 8])
def test_bn_relu_shift(backend, memory_format, training, shift_div):
    frames = random_frames(memory_format=memory_format).requires_grad_()
    norm = random_norm(training)
    plain = deepcopy(norm)
    out = BNReLUShift(T, shift_div)(frames, norm)
    expected = frames_of(plain_shift(clips_of(plain(frames).relu()), shift_div))
    inputs, plain_inputs = ([frames, *each.parameters()] for each in (norm, plain))
    assert_equal_with_gradients(out, expected, inputs, plain_inputs)
    assert_same_state(norm, plain)
    assert out.is_contiguous(memory_format=memory_format)


@every_format
@every_mode
@pytest.mark.parametrize("split", [(12, 4), (16, 0), (0, 16), (5, 11)], ids=str)
@pytest.mark.parametrize(("stride", "shift_div"), [(1, 8), (2, None), (3, 2)])
def test_bn_relu_shift_split(backend, memory_format, training, split, stride, shift_div):
    frames = random_frames(memory_format=memory_format).requires_grad_()
    norm = random_norm(training)
    plain = deepcopy(norm)
    parts = BNReLUShiftSplit(split, T, stride, shift_div)(frames, norm)
    spatial, temporal = plain(frames).relu().split(split, dim=1)
    if shift_div is not None and split[0] > 0:
        spatial = frames_of(plain_shift(clips_of(spatial), shift_div))
    expected = (spatial, temporal[:, :, ::stride, ::stride])
    assert [part.shape for part in parts] == [part.shape for part in expected]
    out, expected = (torch.cat([each.flatten() for each in pair]) for pair in (parts, expected))
    inputs, plain_inputs = ([frames, *each.parameters()] for each in (norm, plain))
    assert_equal_with_gradients(out, expected, inputs, plain_inputs)
    assert_same_state(norm, plain)
    assert all(part.is_contiguous(memory_format=memory_format) for part in parts)


class Branches(NamedTuple):
    """Channels of the two branches of STC, which of them are gated, and STC-Light's r."""

    channels: tuple[int, int]
    gated: tuple[bool, bool]
    reduction: int | None = None


BRANCHES = {
    "both": Branches((12, 4), (True, True)),
    "light": Branches((12, 4), (True, True), reduction=4),
    "tr-only": Branches((12, 4), (True, False)),
    "sr-only": Branches((12, 4), (False, True)),
    "ungated": Branches((12, 4), (False, False)),
    "one-channel": Branches((15, 1), (True, True)),
    "spatial": Branches((16, 0), (True, False)),
    "temporal-light": Branches((0, 16), (False, True), reduction=2),
    "temporal-ungated": Branches((0, 16), (False, False)),
}


@every_format
@every_mode
@pytest.mark.parametrize("branches", BRANCHES.values(), ids=BRANCHES.keys())
def test_refine_bn_relu(backend, memory_format, training, branches):
    norm = random_norm(training)
    plain = deepcopy(norm)
    kinds = ((nn.Conv1d, plain_temporal_refinement), (nn.Conv2d, plain_spatial_refinement))
    ys, gates, refined, inputs = [], [], [], []
    for width, gated, (convolution, plain_refinement) in zip(*branches[:2], kinds, strict=True):
        y = random_frames(channels=width, memory_format=memory_format).requires_grad_()
        network = GateNetwork(convolution, width, branches.reduction).double() if gated else None
        ys.append(y if width else None)
        gates.append(network)
        weights = list(network.parameters()) if gated else []
        refined.append(frames_of(plain_refinement(clips_of(y), weights)) if gated else y)
        inputs += [y, *weights] if width else []
    out = RefineBNReLU(T)(*ys, norm, *gates)
    expected = plain(torch.cat(refined, 1)).relu()
    assert_equal_with_gradients(
        out, expected, [*inputs, *norm.parameters()], [*inputs, *plain.parameters()]
    )
    assert_same_state(norm, plain)
    assert out.is_contiguous(memory_format=memory_format)


@every_format
@every_mode
@pytest.mark.parametrize("downsamples", [False, True])
def test_bn_add_relu(backend, memory_format, training, downsamples):
    w, identity = (random_frames(memory_format=memory_format).requires_grad_() for _ in range(2))
    norms = nn.ModuleList([random_norm(training), random_norm(training)][: 1 + downsamples])
    plain = deepcopy(norms)
    out = BNAddReLU()(w, norms[0], identity, *norms[1:])
    residual = plain[1](identity) if downsamples else identity
    expected = (plain[0](w) + residual).relu()
    inputs, plain_inputs = ([w, identity, *each.parameters()] for each in (norms, plain))
    assert_equal_with_gradients(out, expected, inputs, plain_inputs)
    assert_same_state(norms, plain)
    assert out.is_contiguous(memory_format=memory_format)


def stc_between_norms(variant, training=True, channels=CHANNELS):
    """The norm before STC, STC, and the norm after it."""
    norms = random_norm(training, channels), random_norm(training, channels)
    stc = STC(channels, T, **variant).double().train(training)
    return nn.ModuleList([norms[0], stc, norms[1]])


def fused_stc(modules, u):
    before, stc, after = modules
    return stc.forward_fused(u, before, after)


def assert_fused_stc_is_plain(modules, variant, u):
    plain = deepcopy(modules)
    before, stc, after = plain
    expected = after(plain_stc(stc, before(u).relu(), variant)).relu()
    inputs, plain_inputs = ([u, *each.parameters()] for each in (modules, plain))
    out = fused_stc(modules, u)
    assert_equal_with_gradients(out, expected, inputs, plain_inputs)
    assert_same_state(modules, plain)
    return out


@every_format
@every_mode
@every_variant
def test_fused_stc(backend, memory_format, training, variant):
    modules = stc_between_norms(variant, training)
    u = random_frames(memory_format=memory_format).requires_grad_()
    out = assert_fused_stc_is_plain(modules, variant, u)
    assert out.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("trained", [0, 2], ids=["before", "after"])
def test_fused_stc_with_one_frozen_norm(backend, trained):
    modules = stc_between_norms({}, training=False)
    modules[trained].train()
    assert_fused_stc_is_plain(modules, {}, random_frames().requires_grad_())
    tracked = [modules[norm].num_batches_tracked.item() for norm in (0, 2)]
    assert tracked == ([1, 0] if trained == 0 else [0, 1])


@every_format
@every_variant
@pytest.mark.parametrize("size", [(2, 2), (1, 1)], ids=str)
def test_fused_stc_of_few_pixels_keeps_the_memory_format(backend, memory_format, variant, size):
    u = random_frames(size=size, memory_format=memory_format)
    out = fused_stc(stc_between_norms(variant), u)
    assert out.is_contiguous(memory_format=memory_format)


@every_format
@pytest.mark.parametrize("equal_split", [False, True])
def test_fused_stc_of_two_channels_keeps_the_memory_format(backend, memory_format, equal_split):
    variant = {"alpha": Fraction(1, 2), "equal_split": equal_split}
    u = random_frames(channels=2, memory_format=memory_format).requires_grad_()
    out = assert_fused_stc_is_plain(stc_between_norms(variant, channels=2), variant, u)
    assert out.is_contiguous(memory_format=memory_format)


@every_variant
@pytest.mark.parametrize(
    ("frames_format", "weights_format"),
    [
        (torch.contiguous_format, torch.channels_last),
        (torch.channels_last, torch.contiguous_format),
    ],
    ids=["nchw-frames", "nhwc-frames"],
)
def test_fused_stc_keeps_the_format_of_frames_unlike_its_weights(
    backend, frames_format, weights_format, variant
):
    modules = stc_between_norms(variant).to(memory_format=weights_format)
    u = random_frames(memory_format=frames_format).requires_grad_()
    out = assert_fused_stc_is_plain(modules, variant, u)
    assert out.is_contiguous(memory_format=frames_format)


@every_format
def test_fused_stc_of_a_channel_slice(backend, memory_format):
    modules = stc_between_norms({}, training=False)
    part = random_frames(channels=20, memory_format=memory_format)[:, 4:]
    out = fused_stc(modules, part)
    torch.testing.assert_close(out, fused_stc(modules, part.contiguous()))
    assert out.is_contiguous(memory_format=memory_format)


@every_format
@every_low_dtype
def test_fused_stc_under_autocast(backend, memory_format, dtype):
    modules = stc_between_norms({"reduction": 2}).bfloat16().float()
    u = random_frames(batch=16, dtype=torch.bfloat16).to(dtype)
    u = u.contiguous(memory_format=memory_format).requires_grad_()
    before, stc, after = deepcopy(modules).double()
    exact = after(stc(before(u.double()).relu())).relu()
    before, stc, after = deepcopy(modules)
    with torch.autocast(torch.get_default_device().type, dtype):
        out = fused_stc(modules, u)
        plain = after(stc(before(u).relu())).relu()
    assert out.dtype == dtype
    assert_no_less_accurate(out, plain, exact)
    out.float().square().sum().backward()
    assert u.grad.isfinite().all()
    assert all(weight.grad.dtype == torch.float32 for weight in modules.parameters())


@every_format
@every_mode
def test_fused_stc_compiles_as_one_graph(backend, memory_format, training):
    modules = stc_between_norms({"stride": 2, "reduction": 2}, training)
    plain = deepcopy(modules)
    compiled = torch.compile(lambda u: fused_stc(modules, u), fullgraph=True, backend="aot_eager")
    u = random_frames(memory_format=memory_format).requires_grad_()
    out, expected = compiled(u), fused_stc(plain, u)
    assert out.stride() == expected.stride()
    inputs, plain_inputs = ([u, *each.parameters()] for each in (modules, plain))
    assert_equal_with_gradients(out, expected, inputs, plain_inputs)
    assert_same_state(modules, plain)


@pytest.mark.parametrize("convolution", [nn.Conv1d, nn.Conv2d])
def test_gate_networks_give_their_weights_in_order(convolution):
    standard, light = GateNetwork(convolution, 16), GateNetwork(convolution, 16, reduction=2)
    assert standard.weights == (standard.gate.weight,)
    assert light.weights == (light.reduce.weight, light.gate.weight)


LAYERS = {
    "BNReLU()": BNReLU(),
    "BNReLUShift(num_segments=4, shift_div=8)": BNReLUShift(T),
    "BNReLUShiftSplit(split=(12, 4), num_segments=4, stride=2, shift_div=None)": BNReLUShiftSplit(
        [12, 4], T, stride=2, shift_div=None
    ),
    "RefineBNReLU(num_segments=4)": RefineBNReLU(T),
    "BNAddReLU()": BNAddReLU(),
}


@pytest.mark.parametrize(("text", "layer"), LAYERS.items(), ids=LAYERS.keys())
def test_fused_layers_have_no_state_and_print_their_arguments(text, layer):
    assert repr(layer) == text
    assert not layer.state_dict()
    assert list(layer.modules()) == [layer]


WRONG_ARGUMENTS = {
    "shift-segments": (BNReLUShift, (0,), "BNReLUShift: num_segments must be at least 1, got 0"),
    "shift-all": (BNReLUShift, (T, 1), "BNReLUShift: shift_div must be at least 2, got 1"),
    "split-in-three": (
        BNReLUShiftSplit,
        ((4, 4, 8), T),
        r"BNReLUShiftSplit: split must be two integers, got \(4, 4, 8\)",
    ),
    "negative-split": (BNReLUShiftSplit, ((-1, 17), T), "split must be at least 0, got -1"),
    "split-segments": (BNReLUShiftSplit, ((12, 4), 0), "num_segments must be at least 1, got 0"),
    "split-stride": (BNReLUShiftSplit, ((12, 4), T, 0), "stride must be at least 1, got 0"),
    "split-shift": (BNReLUShiftSplit, ((12, 4), T, 1, 1), "shift_div must be at least 2, got 1"),
    "refine-segments": (RefineBNReLU, (0,), "RefineBNReLU: num_segments must be at least 1, got 0"),
}


@pytest.mark.parametrize(
    ("layer", "arguments", "message"), WRONG_ARGUMENTS.values(), ids=WRONG_ARGUMENTS.keys()
)
def test_wrong_arguments_are_named(layer, arguments, message):
    with pytest.raises(ValueError, match=message):
        layer(*arguments)


def test_wrong_frames_of_fused_stc_are_named():
    before, stc, after = stc_between_norms({})
    with pytest.raises(
        ValueError, match=r"STC: u must have 16 channels, got shape \(8, 17, 6, 5\)"
    ):
        stc.forward_fused(random_frames(channels=17), before, after)
    with pytest.raises(ValueError, match="u must hold a multiple of num_segments=4"):
        stc.forward_fused(random_frames()[1:], before, after)
    with pytest.raises(TypeError, match=r"batch_norm_of: module must be .* got GroupNorm"):
        stc.forward_fused(random_frames(), before, nn.GroupNorm(1, CHANNELS))
