"""The paper's tables of parameters and multiply-accumulates, recomputed."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import nn

import stc_ops
from stc_ops.cost import cost
from stc_ops.models import (
    c3d_resnet50,
    gst_large_resnet50,
    gst_resnet50,
    p3d_resnet50,
    stc_light_resnet50,
    stc_resnet50,
    tsm_resnet50,
    tsn_resnet50,
    video_resnet,
)
from stc_ops.nn import GST, P3D, STC, FramesConv3d

NO_REFINEMENT = {"temporal_refinement": False, "spatial_refinement": False}

# name: builder, its arguments, frames, parameters in millions, multiply-accumulates in billions
TABLES = {
    "TSN": (tsn_resnet50, {}, 8, "23.865", "32.878"),
    "TSM": (tsm_resnet50, {}, 8, "23.865", "32.878"),
    "C3D": (c3d_resnet50, {}, 8, "46.499", "62.473"),
    "P3D": (p3d_resnet50, {}, 8, "27.637", "37.810"),
    "GST": (gst_resnet50, {}, 8, "21.035", "29.178"),
    "GST-Large": (gst_large_resnet50, {}, 8, "29.523", "40.277"),
    # 24.862466, often seen as 24.863: rounded twice.
    "STC alpha=0": (stc_resnet50, {"alpha": 0}, 8, "27.637", "24.862"),
    "STC alpha=1/4": (stc_resnet50, {"alpha": Fraction(1, 4)}, 8, "21.978", "22.825"),
    "STC alpha=2/4": (stc_resnet50, {"alpha": Fraction(2, 4)}, 8, "20.092", "23.488"),
    "STC alpha=3/4": (stc_resnet50, {}, 8, "21.978", "26.853"),
    "STC alpha=1": (stc_resnet50, {"alpha": 1}, 8, "27.637", "32.919"),
    "STC-Equal": (stc_resnet50, {"equal_split": True}, 8, "20.092", "24.387"),
    "STC-Light r=2": (stc_light_resnet50, {"reduction": 2}, 8, "20.957", "26.796"),
    "STC-Light r=4": (stc_light_resnet50, {}, 8, "20.055", "26.764"),
    "STC-Light r=8": (stc_light_resnet50, {"reduction": 8}, 8, "19.610", "26.752"),
    "STC-Light r=16": (stc_light_resnet50, {"reduction": 16}, 8, "19.407", "26.750"),
    "Sim-STC": (stc_resnet50, {"shift": False, **NO_REFINEMENT}, 8, "19.149", "26.712"),
    "NonShift-STC": (stc_resnet50, {"shift": False}, 8, "21.978", "26.853"),
    "TR only": (stc_resnet50, {"spatial_refinement": False}, 8, "21.271", "26.737"),
    "SR only": (stc_resnet50, {"temporal_refinement": False}, 8, "19.856", "26.828"),
    "TSM, 16 frames": (tsm_resnet50, {}, 16, "23.865", "65.756"),
    "STC, 16 frames": (stc_resnet50, {}, 16, "21.978", "53.590"),
    "STC-Light, 16 frames": (stc_light_resnet50, {}, 16, "20.055", "53.490"),
}


@pytest.mark.parametrize(
    ("builder", "arguments", "frames", "parameters", "macs"), TABLES.values(), ids=TABLES.keys()
)
def test_tables_ii_to_iv(builder, arguments, frames, parameters, macs):
    with torch.device("meta"):
        model = builder(num_classes=174, num_segments=frames, **arguments)
    counted = cost(model, (frames, 3, 224, 224))
    assert f"{counted.parameters / 1e6:.3f}" == parameters
    assert f"{counted.macs / 1e9:.3f}" == macs


@pytest.mark.parametrize(
    ("layer", "parameters"),
    [
        (lambda: nn.Conv2d(64, 64, 3, bias=False), 36_864),
        (lambda: FramesConv3d(64, 64, 8), 110_592),
        (lambda: P3D(64, 8), 49_152),
        (lambda: GST(64, 8), 27_648),
        (lambda: STC(64, 8), 30_720),
        # The paper's 24,448 leaves the floor of 8 hidden channels out.
        (lambda: STC(64, 8, reduction=4), 25_088),
    ],
    ids=["C2D", "C3D", "P3D", "GST", "STC", "STC-Light"],
)
def test_table_i(layer, parameters):
    assert cost(layer(), (8, 64, 56, 56)).parameters == parameters


LAYERS = {
    "conv1d": (nn.Conv1d(4, 6, 3, bias=False), (2, 4, 9), 2 * 6 * 7 * 4 * 3),
    "conv2d-bias": (nn.Conv2d(4, 6, 3), (2, 4, 9, 5), 2 * 6 * 7 * 3 * (4 * 9 + 1)),
    "conv2d-groups": (nn.Conv2d(4, 6, 1, groups=2, bias=False), (2, 4, 9, 5), 2 * 6 * 45 * 2),
    "conv3d-stride": (nn.Conv3d(4, 6, 2, 2, bias=False), (1, 4, 4, 4, 4), 6 * 8 * 4 * 8),
    "linear": (nn.Linear(5, 7), (3, 5), 3 * 5 * 7),
    "batch-norm": (nn.BatchNorm2d(4), (2, 4, 3, 3), 2 * 72),
    "average-pool": (nn.AvgPool2d(3), (2, 4, 6, 6), 2 * 4 * 4),
    "adaptive-average-pool": (nn.AdaptiveAvgPool2d(2), (2, 4, 6, 6), 2 * 4 * 4 * 10),
    "relu": (nn.ReLU(), (2, 4), 0),
    "twice": (nn.Sequential(*[nn.Linear(5, 5)] * 2), (3, 5), 2 * 75),
}


@pytest.mark.parametrize(("layer", "shape", "macs"), LAYERS.values(), ids=LAYERS.keys())
def test_rules_of_layers(layer, shape, macs):
    assert cost(layer, shape) == (sum(p.numel() for p in layer.parameters()), macs)


def small_network():
    return video_resnet(STC, 5, 4, depths=(1, 1, 1, 1), widths=(16, 16, 16, 16))


def state_of(model):
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    hooks = [len(module._forward_hooks) for module in model.modules()]
    return tensors, modes, hooks


def assert_unchanged(model, before):
    tensors, modes, hooks = state_of(model)
    assert modes == before[1]
    assert hooks == before[2]
    for name, tensor in tensors.items():
        assert torch.equal(tensor, before[0][name])


def test_model_is_left_as_it_was():
    model = small_network()
    model.layer1.eval()
    before = state_of(model)
    cost(model, (4, 3, 32, 32))
    assert_unchanged(model, before)


def test_model_is_left_as_it_was_by_a_failing_forward():
    model = small_network()
    before = state_of(model)
    with pytest.raises(ValueError, match="multiple of num_segments=4"):
        cost(model, (5, 3, 32, 32))
    assert_unchanged(model, before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_counts_are_those_of_any_dtype_mode_and_backend(backend, dtype):
    model, forced = small_network(), stc_ops.backends.forced_backend()
    expected = cost(model.eval(), (4, 3, 32, 32))
    assert cost(model.train().to(dtype), (4, 3, 32, 32)) == expected
    assert stc_ops.backends.forced_backend() == forced


def test_layers_without_a_rule_are_named():
    with pytest.raises(ValueError, match=r"cost: model must have .* got LayerNorm"):
        cost(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), (2, 4))


def test_fused_layers_are_an_error():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn, self.bn_relu = nn.BatchNorm2d(4), stc_ops.nn.BNReLU()

        def forward(self, frames):
            return self.bn_relu(frames, self.bn)

    with pytest.raises(ValueError, match=r"cost: model must have .* got BNReLU\(\)"):
        cost(Block(), (2, 4, 3, 3))
