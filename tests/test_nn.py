"""Every layer against plain PyTorch written from the paper's equations, in float64."""

from __future__ import annotations

from copy import deepcopy
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from cases import TOLERANCES, every_dtype, every_format, every_low_dtype
from comparisons import assert_close, assert_no_less_accurate
from plain_layers import (
    T,
    assert_same_with_gradients,
    clips_of,
    every_variant,
    frames_of,
    plain_shift,
    plain_spatial_branch,
    plain_spatial_refinement,
    plain_stc,
    plain_temporal_branch,
    plain_temporal_refinement,
    random_frames,
)
from torch import nn

from stc_ops.nn import (
    STC,
    GateNetwork,
    GlobalAvgPool,
    SpatialBranch,
    SpatialRefinement,
    TemporalBranch,
    TemporalConv2d,
    TemporalRefinement,
    TemporalShift,
)


@every_format
@every_variant
def test_stc(backend, memory_format, variant):
    module = STC(16, T, **variant).double()
    frames = random_frames(memory_format=memory_format)
    assert_same_with_gradients(module, lambda x: plain_stc(module, x, variant), frames)


@every_format
@every_variant
@pytest.mark.parametrize("size", [(6, 5), (2, 2), (1, 1)], ids=str)
def test_stc_keeps_the_memory_format(backend, memory_format, variant, size):
    frames = random_frames(size=size, memory_format=memory_format)
    out = STC(16, T, **variant).double()(frames)
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
def test_stc_keeps_the_memory_format_of_frames_unlike_its_weights(
    backend, frames_format, weights_format, variant
):
    module = STC(16, T, **variant).double().to(memory_format=weights_format)
    frames = random_frames(memory_format=frames_format)
    assert module(frames).is_contiguous(memory_format=frames_format)
    assert_same_with_gradients(module, lambda x: plain_stc(module, x, variant), frames)


@every_format
@every_variant
def test_stc_of_an_empty_batch(backend, memory_format, variant):
    frames = random_frames(batch=0, memory_format=memory_format).requires_grad_()
    module = STC(16, T, **variant).double()
    out = module(frames)
    stride = variant.get("stride", 1)
    assert out.shape == (0, 16, 6 // stride, 5 if stride == 1 else 3)
    out.sum().backward()
    assert all(parameter.grad.eq(0).all() for parameter in module.parameters())


@every_format
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("reduction", [None, 4])
def test_spatial_branch(backend, memory_format, stride, reduction):
    module = SpatialBranch(16, 12, T, stride, reduction=reduction).double()

    def plain(x):
        return frames_of(plain_spatial_branch(clips_of(x), list(module.parameters()), stride, 8))

    assert_same_with_gradients(module, plain, random_frames(memory_format=memory_format))


@every_format
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("reduction", [None, 4])
def test_temporal_branch(backend, memory_format, stride, reduction):
    module = TemporalBranch(16, 12, T, stride, reduction=reduction).double()

    def plain(x):
        return frames_of(plain_temporal_branch(clips_of(x), list(module.parameters()), stride))

    assert_same_with_gradients(module, plain, random_frames(memory_format=memory_format))


@every_format
@pytest.mark.parametrize("reduction", [None, 2])
@pytest.mark.parametrize(
    ("layer", "plain_refinement"),
    [
        (TemporalRefinement, plain_temporal_refinement),
        (SpatialRefinement, plain_spatial_refinement),
    ],
)
def test_refinement(backend, memory_format, reduction, layer, plain_refinement):
    module = layer(20, T, reduction).double()

    def plain(y):
        return frames_of(plain_refinement(clips_of(y), list(module.parameters())))

    frames = random_frames(channels=20, memory_format=memory_format)
    assert_same_with_gradients(module, plain, frames)


@every_format
@pytest.mark.parametrize("shift_div", [2, 3, 8])
def test_temporal_shift(backend, memory_format, shift_div):
    frames = random_frames(memory_format=memory_format)
    assert_same_with_gradients(
        TemporalShift(T, shift_div),
        lambda x: frames_of(plain_shift(clips_of(x), shift_div)),
        frames,
    )


CONVOLUTIONS = {
    "square": (16, 16, (6, 6)),
    "more-out": (3, 7, (5, 6)),
    "one-channel": (1, 1, (4, 3)),
    "from-one-channel": (1, 4, (4, 3)),
    "one-pixel": (8, 4, (1, 1)),
}


@every_format
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(
    ("in_channels", "out_channels", "size"), CONVOLUTIONS.values(), ids=CONVOLUTIONS.keys()
)
def test_temporal_conv(memory_format, stride, in_channels, out_channels, size):
    module = TemporalConv2d(in_channels, out_channels, T, stride).double()
    frames = random_frames(channels=in_channels, size=size, memory_format=memory_format)
    assert_same_with_gradients(
        module,
        lambda x: frames_of(plain_temporal_branch(clips_of(x), [module.weight], stride)),
        frames,
    )
    format_is_ambiguous = in_channels == 1
    assert format_is_ambiguous or module(frames).is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("batch", [1, 2])
def test_temporal_conv_reads_channels_last_frames_without_a_copy(batch, monkeypatch):
    images = []
    convolve = nn.Conv2d.forward
    monkeypatch.setattr(
        nn.Conv2d, "forward", lambda module, x: images.append(x) or convolve(module, x)
    )
    frames = random_frames(batch=batch, memory_format=torch.channels_last)
    TemporalConv2d(16, 16, T).double()(frames)
    (image,) = images
    assert image.data_ptr() == frames.data_ptr()
    canonical = torch.empty((batch, 16, T, 30), memory_format=torch.channels_last)
    assert image.stride() == canonical.stride()


@every_format
@pytest.mark.parametrize("stride", [1, 2])
def test_temporal_conv_of_a_channel_slice(memory_format, stride):
    module = TemporalConv2d(4, 4, T, stride).double()
    part = random_frames(memory_format=memory_format)[:, 12:]
    out = module(part)
    torch.testing.assert_close(out, module(part.contiguous()))
    assert out.is_contiguous(memory_format=memory_format)


def test_temporal_conv_of_one_frame_uses_the_middle_tap():
    module = TemporalConv2d(4, 4, num_segments=1).double()
    frames = random_frames(channels=4)
    torch.testing.assert_close(module(frames), F.conv2d(frames, module.weight[:, :, 1:2]))


def test_temporal_conv_does_not_mix_clips():
    module = TemporalConv2d(4, 4, T).double()
    frames = random_frames(batch=3, channels=4)
    separate = [module(clip) for clip in frames.split(T)]
    torch.testing.assert_close(module(frames), torch.cat(separate))


@every_dtype
def test_global_average_pool(backend, dtype):
    frames = random_frames(dtype=dtype)
    pooled = GlobalAvgPool()(frames)
    assert pooled.dtype == dtype
    assert_close(pooled.double(), frames.double().mean((2, 3)), TOLERANCES[dtype])


@pytest.mark.parametrize(
    ("layer", "context_shape"),
    [(TemporalRefinement, (2, 16, T)), (SpatialRefinement, (2, 16, 6, 5))],
)
def test_gate_network_maps_context_to_logits(backend, layer, context_shape):
    module, frames = layer(16, T).double(), random_frames()
    seen = []
    module.gate_network.register_forward_hook(lambda _, inputs, out: seen.extend([*inputs, out]))
    out = module(frames)
    context, logits = seen
    assert context.shape == logits.shape == context_shape
    axis = -1 if layer is TemporalRefinement else 2
    gate = logits.sigmoid().reshape(2, 16, *((T, 1, 1) if axis == -1 else (1, 6, 5)))
    torch.testing.assert_close(clips_of(out), clips_of(frames) * gate)


@pytest.mark.parametrize(
    ("channels", "reduction", "hidden"), [(48, 4, 12), (16, 4, 8), (384, 16, 24), (4, 1, 8)]
)
@pytest.mark.parametrize("convolution", [nn.Conv1d, nn.Conv2d])
def test_light_gate_networks_have_at_least_eight_hidden_channels(
    channels, reduction, hidden, convolution
):
    network = GateNetwork(convolution, channels, reduction)
    dimensions = 1 if convolution is nn.Conv1d else 2
    assert {name: tuple(weight.shape) for name, weight in network.named_parameters()} == {
        "reduce.weight": (hidden, channels, *[1] * dimensions),
        "gate.weight": (channels, hidden, *[3] * dimensions),
    }


def test_only_the_branches_that_exist_are_children():
    assert {name for name, _ in STC(16, T).named_children()} == {"spatial", "temporal"}
    assert {name for name, _ in STC(16, T, alpha=1).named_children()} == {"spatial"}
    assert {name for name, _ in STC(16, T, alpha=0).named_children()} == {"temporal"}


@pytest.mark.parametrize("alpha", [0.3, 3 / 10, Fraction(3, 10)])
def test_alpha_may_be_a_float_beside_its_fraction(alpha):
    assert STC(20, T, alpha=alpha).spatial.conv.out_channels == 6


LOW_VARIANT = {"stride": 2, "reduction": 2}


def assert_stc_is_accurate(out, module, frames):
    """Assert that 16-bit results are about as accurate as those of plain layers in their dtype."""
    plain, exact = (
        plain_stc(deepcopy(module).to(dtype), frames.to(dtype), LOW_VARIANT)
        for dtype in (out.dtype, torch.float64)
    )
    assert_no_less_accurate(out, plain, exact)


@every_format
@every_low_dtype
def test_stc_in_16_bits(backend, memory_format, dtype):
    module = STC(16, T, **LOW_VARIANT).bfloat16().to(dtype)  # its weights are exact in both
    frames = random_frames(batch=16, dtype=torch.bfloat16).to(dtype)
    frames = frames.contiguous(memory_format=memory_format).requires_grad_()
    out = module(frames)
    assert out.dtype == dtype
    assert_stc_is_accurate(out, module, frames)
    out.sum().backward()
    assert frames.grad.dtype == dtype
    assert frames.grad.isfinite().all()


@every_format
@every_low_dtype
def test_stc_under_autocast(backend, memory_format, dtype):
    module = STC(16, T, **LOW_VARIANT).bfloat16().float()
    frames = random_frames(batch=16, dtype=torch.bfloat16).float()
    frames = frames.contiguous(memory_format=memory_format).requires_grad_()
    with torch.autocast(torch.get_default_device().type, dtype):
        out = module(frames)
    assert out.dtype == dtype
    assert out.is_contiguous(memory_format=memory_format)
    assert_stc_is_accurate(out, module, frames)
    out.float().sum().backward()
    assert frames.grad.dtype == torch.float32
    assert all(weight.grad.dtype == torch.float32 for weight in module.parameters())


@every_format
def test_stc_compiles_as_one_graph(backend, memory_format):
    module = STC(16, T, stride=2, reduction=2).double()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    frames = random_frames(memory_format=memory_format).requires_grad_()
    inputs = [frames, *module.parameters()]
    out, expected = compiled(frames), module(frames)
    torch.testing.assert_close(out, expected)
    assert out.stride() == expected.stride()
    for got, want in zip(
        torch.autograd.grad(out.square().sum(), inputs),
        torch.autograd.grad(expected.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(got, want)


@every_format
def test_stc_exports_with_any_number_of_clips(backend, memory_format):
    module = STC(16, T, stride=2).double()
    clips = torch.export.Dim("clips")
    exported = torch.export.export(
        module,
        (random_frames(batch=2, memory_format=memory_format),),
        dynamic_shapes=({0: T * clips},),
    ).module()
    # One clip is a program of its own: PyTorch specializes on sizes of 1.
    for batch in (2, 3, 5):
        frames = random_frames(batch=batch, memory_format=memory_format)
        torch.testing.assert_close(exported(frames), module(frames))


WRONG_ARGUMENTS = {
    "no-channels": (STC, {"channels": 0}, "STC: channels must be at least 1, got 0"),
    "no-segments": (STC, {"num_segments": 0}, "STC: num_segments must be at least 1, got 0"),
    "no-stride": (STC, {"stride": 0}, "STC: stride must be at least 1, got 0"),
    "uneven-alpha": (
        STC,
        {"alpha": 0.3},
        "STC: alpha must split 16 channels into two integers, got 0.3 and so 4.8 channels for the "
        "spatial branch",
    ),
    "almost-even-alpha": (STC, {"alpha": 0.7501}, "STC: alpha must split 16 channels"),
    "large-alpha": (STC, {"alpha": 1.5}, "STC: alpha must be between 0 and 1, got 1.5"),
    "negative-alpha": (STC, {"alpha": -0.25}, "STC: alpha must be between 0 and 1, got -0.25"),
    "no-reduction": (STC, {"reduction": 0}, "reduction must be at least 1, got 0"),
    "shift-all": (STC, {"shift_div": 1}, "shift_div must be at least 2, got 1"),
    "equal-of-one-branch": (
        STC,
        {"alpha": 1, "equal_split": True},
        "STC: equal_split needs alpha strictly between 0 and 1, got alpha=1",
    ),
    "equal-of-odd": (
        STC,
        {"channels": 15, "alpha": Fraction(1, 3), "equal_split": True},
        "STC: equal_split needs an even number of channels, got 15",
    ),
    "refinement": (TemporalRefinement, {"channels": 0}, "channels must be at least 1, got 0"),
    "refined-segments": (
        SpatialRefinement,
        {"num_segments": -1},
        "SpatialRefinement: num_segments must be at least 1, got -1",
    ),
}


@pytest.mark.parametrize(
    ("layer", "argument", "message"), WRONG_ARGUMENTS.values(), ids=WRONG_ARGUMENTS.keys()
)
def test_wrong_arguments_are_named(layer, argument, message):
    with pytest.raises(ValueError, match=message):
        layer(**{"channels": 16, "num_segments": T, **argument})


@pytest.mark.parametrize("argument", ["in_channels", "out_channels", "num_segments", "stride"])
@pytest.mark.parametrize("layer", [TemporalConv2d, TemporalBranch, SpatialBranch])
def test_wrong_integers_of_convolutions_are_named(layer, argument):
    right = {"in_channels": 8, "out_channels": 8, "num_segments": T, "stride": 1}
    with pytest.raises(ValueError, match=f"{argument} must be at least 1, got 0"):
        layer(**{**right, argument: 0})
    with pytest.raises(TypeError, match=f"{argument} must be an int, got float"):
        layer(**{**right, argument: 8.0})


def test_wrong_frames_are_named():
    with pytest.raises(
        ValueError, match=r"STC: x must have 16 channels, got shape \(8, 17, 6, 5\)"
    ):
        STC(16, T)(random_frames(channels=17, dtype=torch.float32))
    with pytest.raises(ValueError, match=r"STC: x must have 4 dimensions"):
        STC(16, T)(torch.zeros(2, 16, T, 6, 5))
    with pytest.raises(
        ValueError, match=r"TemporalConv2d: x must hold a multiple of num_segments=4"
    ):
        TemporalConv2d(16, 16, T)(torch.zeros(6, 16, 5, 5))
