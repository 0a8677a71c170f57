"""The networks: torchvision's names, the arithmetic of every block, and both backends alike."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from cases import every_format, every_low_dtype
from comparisons import EXACT, Tolerance, assert_close
from small_networks import (
    CLASSES,
    NETWORKS,
    SIZE,
    T,
    assert_accurate,
    convolution,
    every_network,
    random_clips,
    small,
)
from torch import nn

import stc_ops
from stc_ops.models import (
    stc_light_resnet50,
    stc_resnet50,
    tsm_resnet50,
    tsn_resnet50,
    video_resnet,
)
from stc_ops.nn import STC, TemporalShift


def torchvision_resnet50_shapes():
    """Entries of `torchvision.models.resnet50().state_dict()`, as its source defines them."""
    shapes = {}

    def convolution_and_norm(conv, norm, out_channels, in_channels, kernel):
        shapes[f"{conv}.weight"] = (out_channels, in_channels, kernel, kernel)
        for entry in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{entry}"] = (out_channels,)
        shapes[f"{norm}.num_batches_tracked"] = ()

    convolution_and_norm("conv1", "bn1", 64, 3, 7)
    in_channels = 64
    for stage, (depth, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], start=1):
        for block in range(depth):
            name = f"layer{stage}.{block}"
            convolution_and_norm(f"{name}.conv1", f"{name}.bn1", width, in_channels, 1)
            convolution_and_norm(f"{name}.conv2", f"{name}.bn2", width, width, 3)
            convolution_and_norm(f"{name}.conv3", f"{name}.bn3", 4 * width, width, 1)
            if block == 0:
                downsample = f"{name}.downsample"
                out_channels = 4 * width
                convolution_and_norm(
                    f"{downsample}.0", f"{downsample}.1", out_channels, in_channels, 1
                )
            in_channels = 4 * width
    shapes["fc.weight"], shapes["fc.bias"] = (1000, 2048), (1000,)
    return shapes


def shapes_of(model):
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


@pytest.mark.parametrize("builder", [tsn_resnet50, tsm_resnet50])
def test_entries_are_torchvisions(builder):
    with torch.device("meta"):
        model = builder(num_classes=1000)
    assert shapes_of(model) == torchvision_resnet50_shapes()


def test_entries_of_stc_are_torchvisions_but_for_the_middle_layers():
    with torch.device("meta"):
        model = stc_resnet50(num_classes=1000)
    expected = torchvision_resnet50_shapes()
    kernels = {name for name in expected if name.startswith("layer") and "conv2" in name}
    actual = shapes_of(model)
    middle = {name for name in actual if ".conv2." in name}
    assert {n: s for n, s in actual.items() if n not in middle} == {
        n: s for n, s in expected.items() if n not in kernels
    }
    assert {name: actual[name] for name in middle if name.startswith("layer2.0")} == {
        "layer2.0.conv2.spatial.conv.weight": (96, 96, 3, 3),
        "layer2.0.conv2.spatial.refine.gate_network.gate.weight": (96, 96, 3),
        "layer2.0.conv2.temporal.conv.weight": (32, 32, 3, 1),
        "layer2.0.conv2.temporal.refine.gate_network.gate.weight": (32, 32, 3, 3),
    }


def count(model, kind):
    return sum(isinstance(module, kind) for module in model.modules())


def test_all_sixteen_blocks_have_the_middle_layer_or_the_shift():
    with torch.device("meta"):
        stc, light, tsn, tsm = stc_resnet50(), stc_light_resnet50(), tsn_resnet50(), tsm_resnet50()
    assert count(stc, STC) == count(light, STC) == 16
    assert count(tsm, TemporalShift) == 16
    assert count(tsn, TemporalShift) == count(tsn, STC) == 0
    assert {m.shift_div for m in tsm.modules() if isinstance(m, TemporalShift)} == {8}


def test_keywords_of_stc_pass_through_the_builders():
    with torch.device("meta"):
        model = stc_light_resnet50(
            num_segments=T, alpha=0.5, reduction=2, shift=False, spatial_refinement=False
        )
    block = model.layer1[0].conv2
    assert block.spatial.conv.weight.shape == (32, 32, 3, 3)
    assert block.spatial.refine.gate_network.reduce.weight.shape == (16, 32, 1)
    assert count(model, TemporalShift) == 0
    assert isinstance(block.temporal.refine, nn.Identity)
    with pytest.raises(TypeError, match="beta"):
        stc_resnet50(beta=1)


def plain_residual_shift(frames, shift_div):
    clips = frames.unflatten(0, (-1, T))
    fold = frames.shape[1] // shift_div
    shifted = clips.clone()
    shifted[:, :, : 2 * fold] = 0
    shifted[:, :-1, :fold] = clips[:, 1:, :fold]
    shifted[:, 1:, fold : 2 * fold] = clips[:, :-1, fold : 2 * fold]
    return shifted.flatten(0, 1)


def plain_network(model, frames, shift_div):
    """The network of `model` by its parameters alone, but for its middle layers."""
    entries = dict(model.named_parameters()) | dict(model.named_buffers())

    def norm(name, x):
        mean, var, weight, bias = (
            entries[f"{name}.{entry}"][:, None, None]
            for entry in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def block(name, x, middle, stride):
        identity = x
        if f"{name}.downsample.0.weight" in entries:
            identity = F.conv2d(x, entries[f"{name}.downsample.0.weight"], stride=stride)
            identity = norm(f"{name}.downsample.1", identity)
        out = x if shift_div is None else plain_residual_shift(x, shift_div)
        out = norm(f"{name}.bn1", F.conv2d(out, entries[f"{name}.conv1.weight"])).relu()
        out = norm(f"{name}.bn2", middle(out)).relu()
        out = norm(f"{name}.bn3", F.conv2d(out, entries[f"{name}.conv3.weight"]))
        return (out + identity).relu()

    x = norm("bn1", F.conv2d(frames, entries["conv1.weight"], stride=2, padding=3)).relu()
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    for stage in (1, 2, 3, 4):
        for index, module in enumerate(getattr(model, f"layer{stage}")):
            stride = 2 if stage > 1 and index == 0 else 1
            x = block(f"layer{stage}.{index}", x, module.conv2, stride)
    logits = x.mean((2, 3)) @ entries["fc.weight"].T + entries["fc.bias"]
    return logits.unflatten(0, (-1, T)).mean(1)


@every_format
@every_network
def test_network(backend, build, memory_format):
    model = small(build).to(memory_format=memory_format)
    frames = random_clips().contiguous(memory_format=memory_format).requires_grad_()
    shift_div = 8 if build is NETWORKS["tsm"] else None
    out, expected = model(frames), plain_network(model, frames, shift_div)
    assert out.shape == (2, CLASSES)
    assert (expected - model.fc.bias).abs().min() > 1e-3
    assert_close(out, expected, EXACT)
    inputs = [frames, *model.parameters()]
    grad = torch.randn_like(out)
    for got, want in zip(
        torch.autograd.grad(out, inputs, grad),
        torch.autograd.grad(expected, inputs, grad),
        strict=True,
    ):
        assert_close(got, want, Tolerance(1e-8, 1e-8), "gradient")


def train_once(build, backend, memory_format):
    torch.manual_seed(1)
    with stc_ops.use_backend(backend):
        model = small(build, dropout=0.0).train().to(memory_format=memory_format)
        frames = random_clips().contiguous(memory_format=memory_format)
        out = model(frames)
        out.square().sum().backward()
    return out, {name: p.grad for name, p in model.named_parameters()}, model.state_dict()


@every_format
@every_network
def test_backends_train_alike(build, memory_format):
    out, grads, state = train_once(build, "cpu", memory_format)
    other_out, other_grads, other_state = train_once(build, "reference", memory_format)
    assert_close(out, other_out, EXACT)
    assert_close(grads, other_grads, Tolerance(1e-8, 1e-8), "gradients")
    assert_close(state, other_state, EXACT, "state")


def test_memory_formats_agree(backend):
    model = small(NETWORKS["stc"])
    frames = random_clips()
    expected = model(frames)
    channels_last = model.to(memory_format=torch.channels_last)
    out = channels_last(frames.contiguous(memory_format=torch.channels_last))
    assert_close(out, expected, EXACT)


def test_activations_stay_channels_last(backend):
    model = small(NETWORKS["stc"]).to(memory_format=torch.channels_last)
    formats = {}
    for name, module in model.named_modules():
        if name.count(".") <= 2 and name.startswith("layer"):
            module.register_forward_hook(
                lambda _, inputs, out, name=name: formats.update(
                    {name: out.is_contiguous(memory_format=torch.channels_last)}
                )
            )
    model(random_clips(size=(64, 64)).contiguous(memory_format=torch.channels_last))
    assert {name for name, is_channels_last in formats.items() if not is_channels_last} == set()


def test_logits_are_the_mean_over_frames():
    model = small(NETWORKS["tsn"])
    frames = random_clips()
    by_frame = video_resnet(convolution, CLASSES, 1, **SIZE).double().eval()
    by_frame.load_state_dict(model.state_dict())
    expected = by_frame(frames).unflatten(0, (2, T)).mean(1)
    torch.testing.assert_close(model(frames), expected)


def test_strides_sit_on_the_middle_layers():
    strides = []

    def middle(width, num_segments, stride):
        strides.append((width, num_segments, stride))
        return convolution(width, num_segments, stride)

    video_resnet(middle, CLASSES, T, depths=(2, 2, 1, 1), widths=(8, 16, 24, 32))
    assert strides == [(8, T, 1)] * 2 + [(16, T, 2), (16, T, 1), (24, T, 2), (32, T, 2)]


def test_dropout_comes_before_the_classifier():
    model = small(NETWORKS["tsn"], dropout=1.0)
    bias = model.fc.bias.expand(2, -1)
    torch.testing.assert_close(model.train()(random_clips()), bias)
    assert not torch.equal(model.eval()(random_clips()), bias)


def test_convolutions_have_he_initialization():
    model = video_resnet(STC, CLASSES, T, depths=(1, 1, 1, 1), widths=(64, 64, 64, 256))
    middle = model.layer4[0].conv2
    for weight, fan_out in [
        (model.conv1.weight, 64 * 49),
        (middle.spatial.conv.weight, 192 * 9),
        (middle.temporal.conv.weight, 64 * 3),
        (middle.spatial.refine.gate_network.gate.weight, 192 * 3),
    ]:
        torch.testing.assert_close(weight.std().item(), (2 / fan_out) ** 0.5, rtol=0.05, atol=0)


def test_network_compiles_as_one_graph(backend):
    model = small(NETWORKS["stc-light"])
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    frames = random_clips()
    torch.testing.assert_close(compiled(frames), model(frames))


def test_network_exports_with_any_number_of_clips(backend):
    model = small(NETWORKS["stc"])
    clips = torch.export.Dim("clips")
    exported = torch.export.export(model, (random_clips(),), dynamic_shapes=({0: T * clips},))
    frames = random_clips(clips=3)
    torch.testing.assert_close(exported.module()(frames), model(frames))


@every_low_dtype
def test_network_under_autocast(backend, dtype):
    model, frames = small(NETWORKS["stc"], torch.float32), random_clips(16, dtype=torch.float32)
    with torch.autocast(torch.get_default_device().type, dtype):
        out = model(frames)
    assert_accurate(out, model, frames)
    out.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@every_low_dtype
def test_network_in_16_bits(backend, dtype):
    model, frames = small(NETWORKS["stc"]), random_clips(16)
    out = deepcopy(model).to(dtype)(frames.to(dtype))
    assert out.dtype == dtype
    assert_accurate(out, model, frames)


def test_resnet50_classifies_clips(backend):
    model = stc_resnet50(num_segments=2).eval()
    with torch.no_grad():
        logits = model(torch.randn(4, 3, 64, 64))
    assert logits.shape == (2, 174)
    assert logits.isfinite().all()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            (7, 3, 32, 32),
            r"hold a multiple of num_segments=4 frames, got 7 in shape \(7, 3, 32, 32\)",
        ),
        ((8, 1, 32, 32), r"have 3 channels, got shape \(8, 1, 32, 32\)"),
        ((3, 32, 32), r"have 4 dimensions \(N\*T, C, H, W\), got 3 with shape"),
    ],
)
def test_wrong_frames_are_named(shape, message):
    with pytest.raises(ValueError, match=f"VideoResNet: frames must {message}"):
        small(NETWORKS["tsn"])(torch.zeros(shape))


def test_clips_may_have_an_axis_of_their_own():
    model, frames = small(NETWORKS["stc"]), random_clips()
    assert torch.equal(model(frames.unflatten(0, (-1, 4))), model(frames))
    with pytest.raises(ValueError, match=r"must have T = 4, .* got shape \(4, 2, 3, 32, 32\)"):
        model(frames.unflatten(0, (-1, 2)))


def test_frames_have_the_channels_of_the_first_convolution():
    model = small(NETWORKS["stc"])
    model.conv1 = torch.nn.Conv2d(10, 16, 7, 2, 3, bias=False).double().eval()
    flow = torch.randn(8, 10, 32, 32, dtype=torch.float64)
    assert model(flow).shape == (2, 5)
    with pytest.raises(ValueError, match=r"must have 10 channels, got shape \(8, 3, 32, 32\)"):
        model(random_clips())
    optimized = stc_ops.optimize_for_inference(model)
    torch.testing.assert_close(optimized(flow), model(flow))
    with pytest.raises(ValueError, match=r"must have 10 channels, got shape \(8, 3, 32, 32\)"):
        optimized(random_clips())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depths": (1, 1)}, r"VideoResNet: depths must have 4 integers, got \(1, 1\)"),
        ({"widths": (8, 8, 8, 0)}, "VideoResNet: widths must be at least 1, got 0"),
        ({"num_classes": 0}, "VideoResNet: num_classes must be at least 1, got 0"),
        ({"num_segments": 0}, "VideoResNet: num_segments must be at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        video_resnet(convolution, **arguments)


def test_wrong_shift_is_named():
    with pytest.raises(ValueError, match="shift_div must be at least 2, got 1"):
        tsm_resnet50(shift_div=1)
