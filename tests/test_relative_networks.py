"""Networks with the layers that the paper compares with, small ones and of its size."""

from __future__ import annotations

import pickle
from copy import deepcopy
from functools import partial

import pytest
import torch
from cases import every_format, every_low_dtype
from comparisons import EXACT, SINGLE, assert_close
from plain_layers import T, random_frames, randomize_norms
from plain_relatives import plain_tea, random_layer
from small_networks import (
    CLASSES,
    RELATIVES,
    SIZE,
    assert_accurate,
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
from stc_ops.nn import GST, STM, TAM, TEA, TIN, FramesConv3d

every_mode = pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
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


def test_networks_keep_initial_weights_that_have_a_meaning():
    tin = RELATIVES["tin"](CLASSES, T, **SIZE).layer1[0].entry
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
    channels_last = frames.contiguous(memory_format=torch.channels_last)
    for dtype, tolerance in ((torch.float64, EXACT), (torch.float32, SINGLE)):
        optimized = optimize_for_inference(deepcopy(model).to(dtype))
        for given in (frames.to(dtype), channels_last.to(dtype)):
            out = optimized(given)
            assert_close(out.double(), model(frames), tolerance)
            assert torch.equal(out, deepcopy(optimized)(given))


@every_low_dtype
@every_relative
def test_networks_for_inference_in_16_bits(build, dtype):
    model, frames = small(build), random_clips(16)
    optimized = optimize_for_inference(deepcopy(model).to(dtype))
    for given in (frames.to(dtype), frames.to(dtype, memory_format=torch.channels_last)):
        assert_accurate(optimized(given), model, frames)


@every_low_dtype
@every_relative
def test_networks_in_16_bits(build, dtype):
    model, frames = small(build), random_clips(16)
    with torch.no_grad():
        assert_accurate(deepcopy(model).to(dtype)(frames.to(dtype)), model, frames)


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
