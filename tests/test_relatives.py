"""TAM, TEA, TIN and STM: against their formulas in plain PyTorch; they and others in networks."""

from __future__ import annotations

import pickle
from copy import deepcopy
from functools import partial

import pytest
import torch
from cases import every_format
from plain_layers import (
    T,
    assert_equal_with_gradients,
    clips_of,
    frames_of,
    random_frames,
    randomize_norms,
)
from plain_relatives import plain_interlace, plain_stm, plain_tam, plain_tea, plain_tin
from small_networks import (
    CLASSES,
    SIZE,
    assert_same_step,
    convolution,
    frames_convolution,
    random_clips,
    small,
    unfused_copy,
)
from torch import nn

from stc_ops.cost import cost
from stc_ops.models import (
    NETWORKS,
    Bottleneck,
    load_imagenet_weights,
    optimize_for_inference,
    tea_resnet50,
    tsn_resnet50,
    video_resnet,
)
from stc_ops.models.inference import InferenceBottleneck
from stc_ops.nn import GST, P3D, STM, TAM, TEA, TIN, ChannelwiseTemporalConv2d, FramesConv3d
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
# The same as one block with a stride, which compiles faster.
BLOCKS = {
    "tam": lambda: Bottleneck(64, 16, 2, TAM(16, T, 2), nn.Identity()),
    "tea": lambda: Bottleneck(64, 16, 2, TEA(16, T, 2), nn.Identity()),
    "tea-inner": lambda: Bottleneck(64, 16, 1, TEA(16, T), nn.Identity()),
    "tin": lambda: Bottleneck(64, 16, 2, convolution(16, T, 2), TIN(64, T)),
    "stm": lambda: Bottleneck(64, 16, 2, STM(16, T, 2), nn.Identity()),
    "c3d": lambda: Bottleneck(64, 16, 2, frames_convolution(16, T, 2), nn.Identity()),
    "gst": lambda: Bottleneck(64, 16, 2, GST(16, T, 2), nn.Identity()),
    "gst-large": lambda: Bottleneck(64, 16, 2, GST(16, T, 2, equal_split=False), nn.Identity()),
}
every_block = pytest.mark.parametrize("build", BLOCKS.values(), ids=BLOCKS.keys())
every_relative = pytest.mark.parametrize("build", RELATIVES.values(), ids=RELATIVES.keys())


def random_layer(build, dtype=torch.float64):
    """A layer none of whose weights has a special initial value."""
    layer = build().to(dtype)
    randomize_norms(layer)
    for module in layer.modules():
        if isinstance(module, ChannelwiseTemporalConv2d):
            nn.init.normal_(module.weight, std=0.5)
    return layer.eval()


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


# Of activations of size one, through a handful of convolutions.
TOLERANCES = {
    torch.float32: {"rtol": 1e-4, "atol": 1e-5},
    torch.bfloat16: {"rtol": 0.05, "atol": 0.1},
    torch.float16: {"rtol": 0.01, "atol": 0.02},
}


@every_format
@pytest.mark.parametrize("dtype", TOLERANCES, ids=lambda dtype: str(dtype)[6:])
@every_layer
def test_layers_in_other_dtypes(build, plain, dtype, memory_format):
    layer = random_layer(build)
    frames = random_frames(channels=C).to(dtype)
    expected = plain(layer, frames.double())
    layer = layer.to(dtype).to(memory_format=memory_format)
    for training in (False, True):
        out = layer.train(training)(frames.contiguous(memory_format=memory_format))
        assert out.dtype == dtype
        assert out.is_contiguous(memory_format=memory_format)
        if not training:
            torch.testing.assert_close(out.double(), expected, **TOLERANCES[dtype])
    out.sum().backward()
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


def test_networks_keep_initial_weights_that_have_a_meaning():
    tin = small(RELATIVES["tin"], torch.float32).layer1[0].entry
    assert tin.offsets.out.bias.tolist() == pytest.approx([0.5108] * 2)
    bound = (3 * tin.moving) ** -0.5
    assert tin.weights.conv.weight.abs().max() <= bound
    stm, tea = (video_resnet(layer, widths=(16,) * 4).layer1[0].conv2 for layer in (STM, TEA))
    previous, same, following = torch.eye(3).tolist()
    expected = 4 * [previous] + 8 * [same] + 4 * [following]
    assert stm.temporal.weight.flatten(1).tolist() == expected
    assert [each.weight.flatten(1).tolist() for each in tea.temporal] == [
        *[[same] * 4] * 3,
        [following] * 2 + [previous] * 2,
    ]


@every_format
@every_mode
@every_relative
def test_fused_networks_compute_the_same(build, training, memory_format):
    model = small(build, dropout=0.0).train(training).to(memory_format=memory_format)
    frames = random_clips().contiguous(memory_format=memory_format)
    before = deepcopy(model.state_dict())
    assert_same_step(model, unfused_copy(model), frames)
    if not training:
        torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


@every_block
def test_blocks_compile_as_one_graph(build):
    block = random_layer(build).train()
    eager = deepcopy(block)
    block.compile(fullgraph=True, backend="aot_eager")
    assert_same_step(block, eager, random_frames(channels=64))


@pytest.mark.parametrize("optimized", [False, True], ids=["as-is", "optimized"])
@every_block
def test_blocks_export_with_any_number_of_clips(build, optimized):
    block = random_layer(build)
    dynamic = ({0: T * torch.export.Dim("clips")},)
    frames = random_frames(channels=64)
    if optimized:
        block = InferenceBottleneck("block", block)
    with torch.no_grad():
        exported = torch.export.export(block, (frames,), dynamic_shapes=dynamic).module()
        frames = random_frames(batch=3, channels=64)
        torch.testing.assert_close(exported(frames), block(frames))


@every_relative
def test_networks_for_inference(build):
    model, frames = small(build), random_clips()
    expected = model(frames)
    for dtype, tolerance in TOLERANCES.items():
        optimized = optimize_for_inference(deepcopy(model).to(dtype))
        out = optimized(frames.to(dtype).contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(out.double(), expected, **tolerance)
        assert torch.equal(optimized(frames.to(dtype)), deepcopy(optimized)(frames.to(dtype)))
    torch.testing.assert_close(optimize_for_inference(model)(frames), expected)


def test_norms_behind_known_middle_layers_are_folded():
    left = {}
    for name, build in RELATIVES.items():
        optimized = optimize_for_inference(small(build))
        norms = {
            module_name.split(".middle.")[1].split(".")[0]
            for module_name, module in optimized.named_modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm)
        }
        left[name] = norms
    # TAM's and TEA's are within small networks on means; STM ends in a sum.
    assert left.pop("tam") == {"0"}
    assert left.pop("tea") == {"excitation"}
    assert left.pop("stm") == {"bn"}
    assert set().union(*left.values()) == set()


class OtherConvolution(FramesConv3d):
    def forward(self, x):
        return super().forward(x) + 1


def test_unknown_kinds_of_known_layers_run_as_they_are():
    def padded(width, num_segments, stride):
        layer = GST(width, num_segments, stride)
        layer.spatial.padding_mode = "reflect"
        return layer

    def other(width, num_segments, stride):
        return OtherConvolution(width, width, num_segments, stride)

    for middle in (padded, other):
        model, frames = small(partial(video_resnet, middle)), random_clips()
        torch.testing.assert_close(optimize_for_inference(model)(frames), model(frames))


@every_relative
def test_networks_under_autocast(build):
    model = small(build, torch.float32, dropout=0.0).train()
    frames = random_clips(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(frames)
    out.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert all(p.grad.dtype == torch.float32 for p in model.parameters())


@every_relative
def test_networks_copy_and_pickle(build):
    model, frames = small(build), random_clips()
    out = model(frames)
    for copy in (deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(copy(frames), out)


@every_relative
def test_all_parameters_learn(build):
    model, frames = small(build, dropout=0.0).train(), random_clips()
    initial = deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    nn.functional.cross_entropy(model(frames), torch.tensor([0, 1])).backward()
    optimizer.step()
    moved = {name for name, p in model.named_parameters() if (p != initial[name]).any()}
    # All hidden units of a small offset network may be at rest.
    assert {n for n, _ in model.named_parameters() if ".offsets." not in n} <= moved


def test_block_of_tea_has_no_norm_behind_the_middle_layer():
    block = Bottleneck(64, 24, 1, TEA(24, T), nn.Identity(), 64).double().eval()
    randomize_norms(block)
    assert not any(name.startswith("bn2") for name in block.state_dict())
    x = torch.randn(2 * T, 64, 5, 5, dtype=torch.float64)
    middle = plain_tea(block.conv2, block.bn1(block.conv1(x)).relu())
    expected = (block.bn3(block.conv3(middle)) + x).relu()
    for fused in (True, False):
        block.fused = fused
        torch.testing.assert_close(block(x), expected)


def test_only_first_blocks_of_tea_have_separate_groups():
    with torch.device("meta"):
        model = tea_resnet50()
    first = [name for name, each in model.named_modules() if getattr(each, "first_of_stage", False)]
    assert first == [f"layer{stage}.0.conv2" for stage in (1, 2, 3, 4)]


# network: parameters in millions and multiply-accumulates in billions of 8 frames, for 174 and for
# 400 classes, and multiply-accumulates of 16 frames, for 174. Published, with 8 and 16 frames: TIN
# 24.3 and 34.0, 67.0; TAM 25.6 and 33.0, 66.0; STM 24.0 and 33.3, 66.5; TEA 24.5 and 35.0, 70.0.
COUNTS = {
    "tin": ("23.896", "32.878", "24.359", "32.882", "65.756"),
    "tam": ("25.127", "32.889", "25.590", "32.892", "65.778"),
    "stm": ("24.035", "33.193", "24.498", "33.197", "66.386"),
    "tea": ("24.456", "34.744", "24.919", "34.747", "69.487"),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name):
    counted = []
    for classes, frames in ((174, 8), (400, 8), (174, 16)):
        with torch.device("meta"):
            model = NETWORKS[name].builder(classes, frames)
        parameters, macs = cost(model, (frames, 3, 224, 224))
        counted += [f"{parameters / 1e6:.3f}", f"{macs / 1e9:.3f}"]
    assert (*counted[:4], counted[5]) == COUNTS[name]


@pytest.mark.parametrize("name", ["tam", "stm", "tin"])
def test_image_weights_reach_the_3x3_convolutions(name):
    image = video_resnet(convolution, CLASSES, **SIZE).state_dict()
    model = RELATIVES[name](CLASSES, **SIZE)
    result = load_imagenet_weights(model, image)
    assert result.sliced == result.unused == ()
    assert len(result.loaded) == len(image)
    inside = "" if name == "tin" else ".conv"
    kernel = model.state_dict()[f"layer2.0.conv2{inside}.weight"]
    assert torch.equal(kernel, image["layer2.0.conv2.weight"])
    new = {"tam": ".adaptive.", "stm": (".temporal.", ".motion."), "tin": ".entry."}[name]
    new = (new,) if isinstance(new, str) else new
    assert all(any(part in entry for part in new) for entry in result.random)


def test_tea_refuses_weights_of_a_narrower_network():
    image = tsn_resnet50().state_dict()
    with pytest.raises(ValueError, match=r"layer1\.0\.conv1\.weight must have shape \(104, 64"):
        load_imagenet_weights(tea_resnet50(), image)
