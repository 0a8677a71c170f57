"""Image weights into video networks: what is copied, what is sliced, what is refused."""

from __future__ import annotations

import re
from functools import partial

import pytest
import torch
from small_networks import convolution, frames_convolution
from torch import nn

from stc_ops.models import (
    i3d_resnet50,
    load_imagenet_weights,
    stc_resnet50,
    tsn_resnet50,
    video_resnet,
)
from stc_ops.nn import GST, P3D, STC, TemporalConv2d

SIZE = {"depths": (1, 2, 1, 1), "widths": (8, 16, 16, 16)}
BLOCKS = ("layer1.0", "layer2.0", "layer2.1", "layer3.0", "layer4.0")


def image_network(num_classes=10):
    """A network whose entries are exactly torchvision's, with statistics that are no defaults."""
    model = video_resnet(
        lambda width, num_segments, stride: nn.Conv2d(width, width, 3, stride, 1, bias=False),
        num_classes,
        **SIZE,
    )
    for name, buffer in model.named_buffers():
        buffer.copy_(torch.rand(buffer.shape) + 1 if buffer.ndim else torch.tensor(7))
        assert name.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")
    return model.state_dict()


def stc_network(num_classes=5, **stc):
    return video_resnet(partial(STC, **stc), num_classes, **SIZE)


def copy_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_entries(model, source, result):
    """Assert that every entry has the value that `result` says, and is listed once."""
    entries = model.state_dict()
    filled = (*result.loaded, *result.sliced, *result.inflated)
    assert sorted(entries) == sorted((*filled, *result.random))
    for name in result.loaded:
        origin = re.sub(r"\.spatial(\.conv)?", "", name)
        assert torch.equal(entries[name], source[origin])
    for name in result.sliced:
        kernel = source[re.sub(r"\.spatial(\.conv)?", "", name)]
        out_channels, in_channels = entries[name].shape[:2]
        assert torch.equal(entries[name], kernel[:out_channels, :in_channels])
    for name in result.inflated:
        for step in entries[name].unbind(2):
            assert torch.equal(step, source[name] / 3)


@pytest.mark.parametrize(
    "stc",
    [{}, {"reduction": 2}, {"equal_split": True}, {"alpha": 0.5}],
    ids=["stc", "light", "equal", "half"],
)
def test_stc_takes_a_slice_of_each_3x3_kernel(stc):
    model, source = stc_network(**stc), image_network()
    initial = copy_of(model)
    result = load_imagenet_weights(model, source)
    assert_entries(model, source, result)
    assert set(result.sliced) == {f"{block}.conv2.spatial.conv.weight" for block in BLOCKS}
    assert set(result.unused) == {"fc.weight", "fc.bias"}
    new = ("gate_network", "temporal.conv")
    assert set(result.random) == {
        name for name in initial if name.startswith("fc.") or any(part in name for part in new)
    }
    for name in result.random:
        assert torch.equal(model.state_dict()[name], initial[name])


def test_equal_split_slices_inputs_and_outputs_differently():
    model, source = stc_network(equal_split=True), image_network()
    load_imagenet_weights(model, source)
    kernel = model.layer4[0].conv2.spatial.conv.weight
    assert torch.equal(kernel, source["layer4.0.conv2.weight"][:12, :8])


def test_stc_of_only_spatial_branches_takes_whole_kernels():
    model, source = stc_network(alpha=1), image_network()
    result = load_imagenet_weights(model, source)
    assert_entries(model, source, result)
    assert result.sliced == ()
    assert {f"{block}.conv2.spatial.conv.weight" for block in BLOCKS} <= set(result.loaded)


def test_stc_of_only_temporal_branches_takes_no_kernels():
    model, source = stc_network(alpha=0), image_network()
    result = load_imagenet_weights(model, source)
    assert_entries(model, source, result)
    assert result.sliced == ()
    assert {f"{block}.conv2.weight" for block in BLOCKS} <= set(result.unused)


OF_OTHER_NETWORKS = {
    "c3d": (frames_convolution, "inflated", "conv2.weight"),
    "p3d": (P3D, "loaded", "conv2.spatial.weight"),
    "gst": (GST, "sliced", "conv2.spatial.weight"),
    "gst-large": (partial(GST, equal_split=False), "sliced", "conv2.spatial.weight"),
}


@pytest.mark.parametrize(
    ("middle", "how", "entry"), OF_OTHER_NETWORKS.values(), ids=OF_OTHER_NETWORKS.keys()
)
def test_kernels_go_to_the_convolutions_of_other_networks(middle, how, entry):
    model, source = video_resnet(middle, 5, **SIZE), image_network()
    result = load_imagenet_weights(model, source)
    assert_entries(model, source, result)
    assert {f"{block}.{entry}" for block in BLOCKS} <= set(getattr(result, how))
    assert set(result.unused) == {"fc.weight", "fc.bias"}


def test_an_inflated_network_sees_a_still_clip_as_the_image_network_sees_its_frame():
    num_segments = 8
    image = video_resnet(convolution, 10, 1, **SIZE).double().eval()
    image.load_state_dict(image_network())
    model = video_resnet(frames_convolution, 10, num_segments, **SIZE).double().eval()
    load_imagenet_weights(model, image.state_dict())
    features = []
    for network in (image, model):
        network.layer1.register_forward_hook(lambda _, inputs, out: features.append(out))
    frame = torch.randn(1, 3, 16, 16, dtype=torch.float64)
    image(frame)
    model(frame.expand(num_segments, -1, -1, -1))
    # Zeros around a clip reach one frame further with each convolution; before layer2 there is one.
    torch.testing.assert_close(features[1][1:-1], features[0].expand(num_segments - 2, -1, -1, -1))


def test_i3d_is_c3d_inflated():
    with torch.device("meta"):
        weights = tsn_resnet50(num_classes=1000).state_dict()
        model = i3d_resnet50(weights, num_segments=4)
    assert model.num_segments == 4
    assert model.layer1[0].conv2.weight.shape == (64, 64, 3, 3, 3)
    with pytest.raises(ValueError, match="missing entry"):
        i3d_resnet50({}, num_segments=4)


def stc_with_spatial_convolution(width, num_segments, stride, **convolution):
    middle = STC(width, num_segments, stride)
    channels = middle.spatial.conv.in_channels
    middle.spatial.conv = nn.Conv2d(channels, channels, stride=stride, **convolution)
    return middle


OTHER_MIDDLE_LAYERS = {
    "temporal": lambda width, frames, stride: TemporalConv2d(width, width, frames, stride),
    "nested": lambda width, frames, stride: nn.Sequential(nn.Conv2d(width, width, 3, stride, 1)),
    "grouped": lambda width, frames, stride: nn.Conv2d(width, width, 3, stride, 1, groups=2),
    "depthwise": lambda width, frames, stride: nn.Conv2d(width, width, 3, stride, 1, groups=width),
    "1x1": lambda width, frames, stride: nn.Conv2d(width, width, 1, stride),
    "5x5": lambda width, frames, stride: nn.Conv2d(width, width, 5, stride, 2),
    "transposed": lambda width, frames, stride: nn.ConvTranspose2d(width, width, 3, stride, 1),
    "stc-grouped": partial(stc_with_spatial_convolution, kernel_size=3, padding=1, groups=2),
    "stc-5x5": partial(stc_with_spatial_convolution, kernel_size=5, padding=2),
}


@pytest.mark.parametrize("middle", OTHER_MIDDLE_LAYERS.values(), ids=OTHER_MIDDLE_LAYERS.keys())
def test_another_middle_layer_keeps_its_initial_weights(middle):
    model, source = video_resnet(middle, 5, **SIZE), image_network()
    initial = copy_of(model)
    result = load_imagenet_weights(model, source)
    assert_entries(model, source, result)
    assert result.sliced == ()
    assert {f"{block}.conv2.weight" for block in BLOCKS} <= set(result.unused)
    inside = {name for name in initial if ".conv2." in name}
    assert inside <= set(result.random)
    for name in inside:
        assert torch.equal(model.state_dict()[name], initial[name])


@pytest.mark.parametrize("place", [torch.Tensor.to_sparse, lambda value: value.to("meta")])
def test_a_value_that_cannot_be_copied_leaves_the_model_as_it_was(place):
    model, source = stc_network(), dict(image_network())
    initial = copy_of(model)
    source["layer4.0.conv3.weight"] = place(source["layer4.0.conv3.weight"])
    with pytest.raises((RuntimeError, NotImplementedError)):
        load_imagenet_weights(model, source)
    for name, value in model.state_dict().items():
        assert torch.equal(value, initial[name])


def test_all_of_an_image_network_fits_its_own_kind():
    source = image_network()
    model = video_resnet(
        lambda width, num_segments, stride: nn.Conv2d(width, width, 3, stride, 1, bias=False),
        10,
        **SIZE,
    )
    result = load_imagenet_weights(model, source)
    assert set(result.loaded) == set(source)
    assert result.sliced == result.random == result.unused == ()
    assert_entries(model, source, result)


def test_the_classifier_is_loaded_when_the_classes_agree():
    model, source = stc_network(num_classes=10), image_network(num_classes=10)
    result = load_imagenet_weights(model, source)
    assert {"fc.weight", "fc.bias"} <= set(result.loaded)
    assert result.unused == ()
    assert_entries(model, source, result)


def test_checkpoints_without_batch_counts_fit():
    source = {k: v for k, v in image_network().items() if not k.endswith("num_batches_tracked")}
    model = stc_network()
    result = load_imagenet_weights(model, source)
    assert_entries(model, source, result)
    assert "bn1.num_batches_tracked" in result.random


def test_parameters_still_require_gradients_and_keep_their_dtype():
    model, source = stc_network().bfloat16(), image_network()
    load_imagenet_weights(model, source)
    assert all(p.requires_grad and p.dtype == torch.bfloat16 for p in model.parameters())
    assert torch.equal(model.conv1.weight, source["conv1.weight"].bfloat16())


WRONG = {
    "unknown": (
        lambda source: source.update({"module.conv1.weight": torch.zeros(1)}),
        "unknown entry module.conv1.weight",
    ),
    "missing": (lambda source: source.pop("bn1.weight"), "missing entry bn1.weight"),
    "missing-classifier": (lambda source: source.pop("fc.bias"), "missing entry fc.bias"),
    "shape": (
        lambda source: source.update({"conv1.weight": torch.zeros(8, 1, 7, 7)}),
        r"conv1.weight must have shape \(8, 3, 7, 7\), got \(8, 1, 7, 7\)",
    ),
    "kernel": (
        lambda source: source.update({"layer2.1.conv2.weight": torch.zeros(32, 32, 3, 3)}),
        r"layer2.1.conv2.weight must have shape \(16, 16, 3, 3\), got \(32, 32, 3, 3\)",
    ),
    "features": (
        lambda source: source.update({"fc.weight": torch.zeros(10, 512)}),
        r"fc.weight must have shape \(10, 64\), got \(10, 512\)",
    ),
    "classes": (
        lambda source: source.update({"fc.bias": torch.zeros(9)}),
        r"fc.bias must have shape \(10,\), got \(9,\)",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_entries_are_named_and_nothing_is_loaded(spoil, message):
    model, source = stc_network(), dict(image_network())
    initial = copy_of(model)
    spoil(source)
    with pytest.raises(ValueError, match=f"load_imagenet_weights: state_dict: .*{message}"):
        load_imagenet_weights(model, source)
    for name, value in model.state_dict().items():
        assert torch.equal(value, initial[name])


def test_all_problems_are_named_at_once():
    source = dict(image_network())
    del source["bn1.weight"]
    source["bn1.scale"] = torch.zeros(8)
    with pytest.raises(ValueError, match=r"unknown entry bn1\.scale; missing entry bn1\.weight"):
        load_imagenet_weights(stc_network(), source)


def test_many_problems_are_counted():
    model, source = stc_network(), {f"module.{k}": v for k, v in image_network().items()}
    with pytest.raises(ValueError, match=r"^load_imagenet_weights: state_dict: ") as caught:
        load_imagenet_weights(model, source)
    message = str(caught.value)
    assert "unknown entry module.conv1.weight, module.bn1.weight, module.bn1.bias and " in message
    assert "; missing entry conv1.weight, bn1.weight, bn1.bias and " in message
    assert len(message) < 300


def test_many_wrong_shapes_are_counted():
    source = {name: value[None] for name, value in image_network().items()}
    with pytest.raises(
        ValueError, match=r"conv1\.weight must have shape .* and \d+ more$"
    ) as caught:
        load_imagenet_weights(stc_network(), source)
    assert len(str(caught.value)) < 400


def test_resnet50_into_stc_resnet50():
    with torch.device("meta"):
        source, model = tsn_resnet50(num_classes=1000).state_dict(), stc_resnet50()
    result = load_imagenet_weights(model, source)
    assert len(result.sliced) == 16
    assert len(result.loaded) == len(source) - 16 - 2
    assert len(result.random) == 16 * 3 + 2
