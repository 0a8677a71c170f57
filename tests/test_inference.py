"""Networks optimized for inference: the same logits, the original untouched, errors by name."""

from __future__ import annotations

import pickle
from copy import deepcopy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from cases import every_format, every_low_dtype
from comparisons import EXACT, SINGLE, assert_close
from plain_layers import STC_VARIANTS, randomize_norms
from small_networks import NETWORKS, T, assert_accurate, random_clips, small
from torch import nn

import stc_ops
from stc_ops import optimize_for_inference
from stc_ops.models import Bottleneck, VideoResNet, stc_resnet50, video_resnet
from stc_ops.models.folded_convolution import FoldedConvolution
from stc_ops.nn import STC, TemporalConv2d

VARIANTS = {
    **NETWORKS,
    **{
        name: partial(video_resnet, partial(STC, **arguments))
        for name, arguments in STC_VARIANTS.items()
        if "stride" not in arguments
    },
}
every_variant = pytest.mark.parametrize("build", VARIANTS.values(), ids=VARIANTS.keys())

TOLERANCES = {torch.float64: EXACT, torch.float32: SINGLE}
every_wide_dtype = pytest.mark.parametrize("dtype", TOLERANCES, ids=str)


def snapshot(model):
    """All that a network holds, and the mode of its modules."""
    entries = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [parameter.requires_grad for parameter in model.parameters()]
    return entries, flags, [(name, type(m), m.training) for name, m in model.named_modules()]


def other_weights(model):
    with torch.no_grad():
        for value in (*model.parameters(), *model.buffers()):
            value.add_(1)


@every_format
@every_wide_dtype
@every_variant
def test_logits_are_those_of_the_original(backend, build, dtype, memory_format):
    model, frames = small(build), random_clips()
    expected = model(frames)
    optimized = optimize_for_inference(model.to(dtype))
    out = optimized(frames.to(dtype).contiguous(memory_format=memory_format))
    assert out.dtype == dtype
    assert_close(out.double(), expected, TOLERANCES[dtype])


# Weights are rounded anew where a norm is folded into them; that costs no more than the roundings
# of activations which fall away.
@every_format
@every_low_dtype
@every_variant
def test_16_bit_logits_are_those_of_the_original(build, dtype, memory_format):
    model, frames = small(build), random_clips(16)
    optimized = optimize_for_inference(deepcopy(model).to(dtype))
    out = optimized(frames.to(dtype).contiguous(memory_format=memory_format))
    assert out.dtype == dtype
    assert_accurate(out, model, frames)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (7, 5), (1, 1)], ids=str)
@pytest.mark.parametrize("clips", [0, 1, 3])
@pytest.mark.parametrize("name", ["tsm", "stc", "stc-light"])
def test_any_size_and_number_of_clips(name, clips, size):
    model = small(NETWORKS[name])
    optimized = optimize_for_inference(deepcopy(model).float())
    for frames in (random_clips(), random_clips(clips, size)):
        out, expected = optimized(frames.float()), model(frames)
        assert out.shape == expected.shape
        assert_close(out.double(), expected, SINGLE)


def test_frames_are_not_overwritten():
    frames = random_clips(dtype=torch.float32)
    before = frames.clone()
    optimized = optimize_for_inference(small(NETWORKS["stc"], torch.float32))
    torch.testing.assert_close(optimized(frames), optimized(frames), rtol=0, atol=0)
    assert torch.equal(frames, before)


@every_wide_dtype
def test_original_stays_and_later_changes_do_not_reach_the_result(dtype):
    model, frames = small(NETWORKS["stc-light"], dtype), random_clips(dtype=dtype)
    model.fc.bias.requires_grad_(False)
    before, expected = snapshot(model), model(frames)
    optimized = optimize_for_inference(model)
    out = optimized(frames)
    after = snapshot(model)
    torch.testing.assert_close(after[0], before[0], rtol=0, atol=0)
    assert after[1:] == before[1:]
    other_weights(model.train())
    assert torch.equal(optimized(frames), out)
    assert_close(out, expected, TOLERANCES[dtype])
    other_weights(optimized)
    assert snapshot(model)[0]["conv1.weight"].equal(before[0]["conv1.weight"] + 1)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("affine", [False, True])
@every_wide_dtype
def test_folded_convolution(dtype, affine, bias):
    convolution = nn.Conv2d(8, 12, 3, 2, (2, 1), dilation=2, groups=4, bias=bias).double()
    norm = nn.BatchNorm2d(12, affine=affine).double().eval()
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    if affine:
        randomize_norms(norm)
    x = random_clips(1, (9, 11)).repeat(1, 3, 1, 1)[:, :8]
    y = norm(convolution(x))
    residual = torch.randn_like(y)
    plain = FoldedConvolution(convolution.to(dtype), norm)
    folded = FoldedConvolution(convolution.to(dtype), norm, activation="relu")
    layout = {"memory_format": torch.channels_last}
    x, given = (value.to(dtype).contiguous(**layout) for value in (x, residual))
    tolerance = TOLERANCES[dtype]
    assert_close(folded(x).double(), F.relu(y), tolerance)
    assert_close(plain(x, given.clone()).double(), y + residual, tolerance)
    assert_close(folded(x, given).double(), F.relu(y + residual), tolerance)
    assert "12, kernel_size=(3, 3), stride=(2, 2), padding=(2, 1), dilation=(2, 2)" in repr(folded)


def test_onednn_can_be_switched_off():
    model, frames = small(NETWORKS["stc"], torch.float32), random_clips(dtype=torch.float32)
    optimized = optimize_for_inference(model)
    with torch.backends.mkldnn.flags(enabled=False):
        plain = optimized(frames)
        assert all(each._packed is None for each in optimized.modules() if hasattr(each, "_packed"))
    assert_close(plain, optimized(frames), SINGLE)


def test_results_need_no_gradients():
    model = optimize_for_inference(small(NETWORKS["stc"], torch.float32))
    frames = random_clips(dtype=torch.float32).requires_grad_()
    out = model(frames)
    assert not out.requires_grad
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            assert torch.equal(model(frames), out)


@pytest.mark.parametrize("name", NETWORKS)
def test_autocast_changes_nothing(name):
    model = optimize_for_inference(small(NETWORKS[name], torch.float32))
    frames = random_clips(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(frames)
    assert torch.equal(out, model(frames))


def test_copies_and_pickles():
    model = optimize_for_inference(small(NETWORKS["stc"], torch.float32))
    frames = random_clips(dtype=torch.float32)
    out = model(frames)
    assert torch.equal(deepcopy(model)(frames), out)
    assert torch.equal(pickle.loads(pickle.dumps(model))(frames), out)


@pytest.mark.parametrize("name", NETWORKS)
def test_compiles_as_one_graph(name):
    model = optimize_for_inference(small(NETWORKS[name], torch.float32))
    frames = random_clips(dtype=torch.float32)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert_close(compiled(frames), model(frames), SINGLE)


@pytest.mark.parametrize("name", NETWORKS)
def test_exports_with_any_number_of_clips(name):
    model = optimize_for_inference(small(NETWORKS[name], torch.float32))
    frames = random_clips(dtype=torch.float32)
    dynamic = ({0: T * torch.export.Dim("clips")},)
    exported = torch.export.export(model, (frames,), dynamic_shapes=dynamic).module()
    frames = random_clips(3, dtype=torch.float32)
    assert_close(exported(frames), model(frames), SINGLE)


def test_block_may_have_any_middle_layer():
    def middle(width, num_segments, stride):
        return nn.Sequential(nn.Conv2d(width, width, 1, stride), nn.GELU())

    def padded(width, num_segments, stride):
        return nn.Conv2d(width, width, 3, stride, 1, bias=False, padding_mode="reflect")

    for layer in (middle, padded):
        model, frames = small(partial(video_resnet, layer)), random_clips()
        torch.testing.assert_close(optimize_for_inference(model)(frames), model(frames))


def test_features_that_hooks_keep_stay():
    optimized = optimize_for_inference(small(NETWORKS["tsn"], torch.float32))
    kept = []
    for layer in (optimized.network.layer1[0], optimized.network.layer1[0].conv3):
        layer.register_forward_hook(lambda _, arguments, out: kept.append((out, out.clone())))
    optimized(random_clips(dtype=torch.float32))
    assert len(kept) == 2
    for features, copy in kept:
        assert torch.equal(features, copy)


def test_state_dicts_are_whole():
    one, other = (optimize_for_inference(small(NETWORKS["stc"], torch.float32)) for _ in range(2))
    frames = random_clips(dtype=torch.float32)
    assert not torch.equal(one(frames), other(frames))
    one.load_state_dict(other.state_dict())
    assert torch.equal(one(frames), other(frames))
    with pytest.raises(RuntimeError, match="Missing key"):
        one.load_state_dict(small(NETWORKS["stc"], torch.float32).state_dict())


@pytest.mark.parametrize("cast", [nn.Module.bfloat16, nn.Module.half, nn.Module.double])
def test_casts_are_refused_by_name(cast):
    optimized = optimize_for_inference(small(NETWORKS["stc"], torch.float32))
    with pytest.raises(TypeError, match="InferenceVideoResNet: weights must stay float32, got"):
        cast(optimized)
    frames = random_clips(dtype=torch.float32)
    assert torch.equal(optimized.float().cpu()(frames), optimized(frames))


def test_convolution_over_time_as_middle_layer():
    def middle(width, num_segments, stride):
        return TemporalConv2d(width, width, num_segments, stride)

    model, frames = small(partial(video_resnet, middle)), random_clips()
    state = torch.get_rng_state()
    optimized = optimize_for_inference(model)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(optimized(frames), model(frames), rtol=1e-10, atol=1e-12)


def test_training_mode_is_refused_by_name():
    model = small(NETWORKS["stc"])
    model.layer2[0].bn1.train()
    with pytest.raises(ValueError, match=r"model\.layer2\.0\.bn1 is in training mode; call"):
        optimize_for_inference(model)
    optimized = optimize_for_inference(model.eval())
    assert not any(module.training for module in optimized.eval().modules())
    with pytest.raises(RuntimeError, match="InferenceVideoResNet: it cannot be trained"):
        optimized.train()


def test_norm_without_running_statistics_is_refused_by_name():
    model = small(NETWORKS["stc"])
    model.layer3[0].bn2 = nn.BatchNorm2d(16, track_running_stats=False).double().eval()
    with pytest.raises(ValueError, match=r"model\.layer3\.0\.bn2 has no running statistics"):
        optimize_for_inference(model)


class OtherBlock(Bottleneck):
    def forward(self, x):
        return super().forward(x) + 1


def exchanged(owner, name, module):
    model = small(NETWORKS["stc"])
    setattr(model.get_submodule(owner), name, module.double().eval())
    return model


def hooked(name):
    model = small(NETWORKS["stc"])
    model.get_submodule(name).register_forward_hook(lambda module, arguments, out: out + 1)
    return model


def parametrized(name):
    model = small(NETWORKS["stc"])
    nn.utils.parametrizations.weight_norm(model.get_submodule(name))
    return model.eval()


OTHER_KINDS = {
    "model must be a VideoResNet .* got Linear": lambda: nn.Linear(1, 1),
    r"layer1\.0 must be a Bottleneck .* got OtherBlock": lambda: exchanged(
        "layer1", "0", OtherBlock(16, 16, 1, STC(16, T), nn.Identity())
    ),
    r"layer1\.0\.conv3 must be a Conv2d .* got Identity": lambda: exchanged(
        "layer1.0", "conv3", nn.Identity()
    ),
    r"layer1\.0\.conv1 must be padded by zeros": lambda: exchanged(
        "layer1.0", "conv1", nn.Conv2d(16, 16, 3, padding="same")
    ),
    r"layer1\.0\.bn3 must be a BatchNorm2d .* got GroupNorm": lambda: exchanged(
        "layer1.0", "bn3", nn.GroupNorm(1, 64)
    ),
    r"layer1\.0\.relu must be a ReLU .* got SiLU": lambda: exchanged("layer1.0", "relu", nn.SiLU()),
    r"layer1\.0\.bn1 must have no hooks": lambda: hooked("layer1.0.bn1"),
    r"layer2 must have no hooks": lambda: hooked("layer2"),
    r"layer1\.0\.conv3 must have no parametrization": lambda: parametrized("layer1.0.conv3"),
    r"layer1\.0\.downsample must be a Sequential .* got Conv2d": lambda: exchanged(
        "layer1.0", "downsample", nn.Conv2d(16, 64, 1)
    ),
}


@pytest.mark.parametrize("make", OTHER_KINDS.values(), ids=OTHER_KINDS.keys())
def test_other_kinds_are_refused_by_name(make, request):
    (message,) = (text for text, each in OTHER_KINDS.items() if each is make)
    with pytest.raises(TypeError, match=message):
        optimize_for_inference(make())


def test_errors_of_the_network_are_those_of_the_original():
    optimized = optimize_for_inference(small(NETWORKS["stc"], torch.float32))
    with pytest.raises(TypeError, match=r"VideoResNet: frames must be a torch\.Tensor, got list"):
        optimized([1.0])
    with pytest.raises(ValueError, match="VideoResNet: frames must hold a multiple of"):
        optimized(torch.zeros(T + 1, 3, 8, 8))


def test_full_size_network_in_evaluation_mode_by_default_names():
    model = stc_resnet50(num_segments=2).eval()
    optimized = optimize_for_inference(model)
    assert isinstance(optimized.network, VideoResNet)
    assert stc_ops.models.optimize_for_inference is optimize_for_inference
