"""What is said to somebody who passes the wrong thing to a fused operator, word for word."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from backend_cases import every_backend_of_cpu_tensors
from torch import nn

import stc_ops

FRAMES = torch.zeros(6, 4, 2, 3)
SPATIAL, TEMPORAL = FRAMES[:, :3], FRAMES[:, 3:]
PIXEL = FRAMES[:1, :, :1, :1]
FRAME_GATE = torch.zeros(4, 4, 3)
PIXEL_GATE = torch.zeros(4, 4, 3, 3)


def norm(**changed):
    attributes = {
        "weight": torch.ones(4),
        "bias": torch.zeros(4),
        "running_mean": torch.zeros(4),
        "running_var": torch.ones(4),
        "training": True,
    }
    return stc_ops.BatchNorm(**attributes | changed)


def split(u=FRAMES, bn=None, split=(3, 1), num_segments=3, **options):
    return stc_ops.bn_relu_shift_split(u, bn or norm(), split, num_segments, **options)


def refine(spatial_y=SPATIAL, temporal_y=TEMPORAL, temporal=(), spatial=(), bn=None, segments=3):
    return stc_ops.refine_bn_relu(spatial_y, temporal_y, bn or norm(), segments, temporal, spatial)


def add(w=FRAMES, identity=FRAMES, bn=None, identity_bn=None):
    return stc_ops.bn_add_relu(w, bn or norm(), identity, identity_bn)


ERRORS = {
    "split-not-a-tensor": (
        lambda: split([1.0]),
        TypeError,
        "bn_relu_shift_split: u must be a torch.Tensor, got list",
    ),
    "split-dtype": (
        lambda: split(FRAMES.int()),
        TypeError,
        "bn_relu_shift_split: u must be one of float32, float64, bfloat16, float16, got int32",
    ),
    "split-dimensions": (
        lambda: split(FRAMES[0]),
        ValueError,
        "bn_relu_shift_split: u must have 4 dimensions (N*T, C, H, W), got 3 with shape (4, 2, 3)",
    ),
    "split-segments": (
        lambda: split(num_segments=4),
        ValueError,
        "bn_relu_shift_split: u must hold a multiple of num_segments=4 frames, "
        "got 6 in shape (6, 4, 2, 3)",
    ),
    "split-stride": (
        lambda: split(stride=0),
        ValueError,
        "bn_relu_shift_split: stride must be at least 1, got 0",
    ),
    "split-stride-float": (
        lambda: split(stride=2.0),
        TypeError,
        "bn_relu_shift_split: stride must be an int, got float",
    ),
    "split-shift-div": (
        lambda: split(shift_div=1),
        ValueError,
        "bn_relu_shift_split: shift_div must be at least 2, got 1",
    ),
    "split-sum": (
        lambda: split(split=(3, 2)),
        ValueError,
        "bn_relu_shift_split: split must be two integers that add up to 4 channels, got (3, 2)",
    ),
    "split-three": (
        lambda: split(split=(2, 1, 1)),
        ValueError,
        "bn_relu_shift_split: split must be two integers that add up to 4 channels, got (2, 1, 1)",
    ),
    "split-negative": (
        lambda: split(split=(5, -1)),
        ValueError,
        "bn_relu_shift_split: split must be at least 0, got -1",
    ),
    "split-float": (
        lambda: split(split=(3.0, 1)),
        TypeError,
        "bn_relu_shift_split: split must be an int, got float",
    ),
    "norm-shape": (
        lambda: split(bn=norm(weight=torch.ones(3))),
        ValueError,
        "bn_relu_shift_split: bn.weight must have shape (4,), got (3,)",
    ),
    "norm-device": (
        lambda: split(bn=norm(bias=torch.zeros(4, device="meta"))),
        ValueError,
        "bn_relu_shift_split: bn.bias must be on cpu, got meta",
    ),
    "norm-without-statistics": (
        lambda: split(bn=norm(running_mean=None, running_var=None, training=False)),
        ValueError,
        "bn_relu_shift_split: bn must have running statistics unless it is training",
    ),
    "bn-relu-dtype": (
        lambda: stc_ops.bn_relu(FRAMES.int(), norm()),
        TypeError,
        "bn_relu: u must be one of float32, float64, bfloat16, float16, got int32",
    ),
    "bn-relu-shift-dimensions": (
        lambda: stc_ops.bn_relu_shift(FRAMES[0], norm(), 3),
        ValueError,
        "bn_relu_shift: u must have 4 dimensions (N*T, C, H, W), got 3 with shape (4, 2, 3)",
    ),
    "refine-nothing": (
        lambda: refine(None, None),
        ValueError,
        "refine_bn_relu: spatial_y or temporal_y must be given, got None for both",
    ),
    "refine-not-a-tensor": (
        lambda: refine(temporal_y=1.0),
        TypeError,
        "refine_bn_relu: temporal_y must be a torch.Tensor, got float",
    ),
    "refine-dimensions": (
        lambda: refine(temporal_y=TEMPORAL[0]),
        ValueError,
        "refine_bn_relu: temporal_y must have 4 dimensions (N*T, C, H, W), "
        "got 3 with shape (1, 2, 3)",
    ),
    "refine-segments": (
        lambda: refine(segments=4),
        ValueError,
        "refine_bn_relu: spatial_y must hold a multiple of num_segments=4 frames, "
        "got 6 in shape (6, 3, 2, 3)",
    ),
    "refine-pixels": (
        lambda: refine(temporal_y=TEMPORAL[:, :, :1]),
        ValueError,
        "refine_bn_relu: temporal_y must have the frames, pixels and device of spatial_y, "
        "(6, 3, 2, 3) on cpu, got (6, 1, 1, 3) on cpu",
    ),
    "refine-frames": (
        lambda: refine(temporal_y=TEMPORAL[:3]),
        ValueError,
        "refine_bn_relu: temporal_y must have the frames, pixels and device of spatial_y, "
        "(6, 3, 2, 3) on cpu, got (3, 1, 2, 3) on cpu",
    ),
    "refine-device": (
        lambda: refine(temporal_y=TEMPORAL.to("meta")),
        ValueError,
        "refine_bn_relu: temporal_y must have the frames, pixels and device of spatial_y, "
        "(6, 3, 2, 3) on cpu, got (6, 1, 2, 3) on meta",
    ),
    "refine-norm": (
        lambda: refine(temporal_y=None),
        ValueError,
        "refine_bn_relu: bn.weight must have shape (3,), got (4,)",
    ),
    "refine-gate-of-no-branch": (
        lambda: refine(FRAMES, None, spatial=(PIXEL_GATE,)),
        ValueError,
        "refine_bn_relu: spatial_gate_weights must be () where their branch is None",
    ),
    "refine-gate-shape": (
        lambda: refine(FRAMES, None, temporal=(PIXEL_GATE,)),
        ValueError,
        "refine_bn_relu: temporal_gate_weights must have shapes ((4, 4, 3),), got ((4, 4, 3, 3),)",
    ),
    "refine-gate-of-one-dimension": (
        lambda: refine(None, FRAMES, spatial=(FRAME_GATE[0, 0],)),
        ValueError,
        "refine_bn_relu: spatial_gate_weights must have shapes ((4, 4, 3, 3),), got ((3,),)",
    ),
    "refine-light-gate-shape": (
        lambda: refine(FRAMES, None, temporal=(FRAME_GATE[:2], FRAME_GATE[:, :2])),
        ValueError,
        "refine_bn_relu: temporal_gate_weights must have shapes ((2, 4, 1), (4, 2, 3)), "
        "got ((2, 4, 3), (4, 2, 3))",
    ),
    "refine-three-gates": (
        lambda: refine(FRAMES, None, temporal=(FRAME_GATE,) * 3),
        ValueError,
        "refine_bn_relu: temporal_gate_weights must have shapes ((4, 4, 1), (4, 4, 3)), "
        "got ((4, 4, 3), (4, 4, 3), (4, 4, 3))",
    ),
    "add-not-a-tensor": (
        lambda: add(identity=1.0),
        TypeError,
        "bn_add_relu: identity must be a torch.Tensor, got float",
    ),
    "add-dimensions": (
        lambda: add(FRAMES[0], FRAMES[0]),
        ValueError,
        "bn_add_relu: w must have 4 dimensions (N*T, C, H, W), got 3 with shape (4, 2, 3)",
    ),
    "add-shape": (
        lambda: add(identity=SPATIAL),
        ValueError,
        "bn_add_relu: identity must have the shape and device of w, (6, 4, 2, 3) on cpu, "
        "got (6, 3, 2, 3) on cpu",
    ),
    "add-device": (
        lambda: add(identity=FRAMES.to("meta")),
        ValueError,
        "bn_add_relu: identity must have the shape and device of w, (6, 4, 2, 3) on cpu, "
        "got (6, 4, 2, 3) on meta",
    ),
    "add-norm": (
        lambda: add(bn=norm(bias=torch.zeros(5))),
        ValueError,
        "bn_add_relu: bn.bias must have shape (4,), got (5,)",
    ),
    "add-identity-norm": (
        lambda: add(identity_bn=norm(running_var=torch.zeros(5))),
        ValueError,
        "bn_add_relu: identity_bn.running_var must have shape (4,), got (5,)",
    ),
    "add-identity-norm-without-statistics": (
        lambda: add(identity_bn=norm(running_mean=None, running_var=None, training=False)),
        ValueError,
        "bn_add_relu: identity_bn must have running statistics unless it is training",
    ),
}


@every_backend_of_cpu_tensors
@pytest.mark.parametrize(("call", "error", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_error_names_operator_argument_expected_and_got(backend, call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


NAMED = {
    "split-integer": (lambda: split(split=4), "bn_relu_shift_split: split must"),
    "split-dtype-of-branches": (
        lambda: refine(temporal_y=TEMPORAL.double()),
        "refine_bn_relu: temporal_y must be float32 .* got float64",
    ),
    "add-dtype": (
        lambda: add(identity=FRAMES.bfloat16()),
        "bn_add_relu: identity must be float32 .* got bfloat16",
    ),
    "bn-relu-norm": (
        lambda: stc_ops.bn_relu(FRAMES, norm(weight=torch.ones(3))),
        "bn_relu: bn.weight must",
    ),
    "bn-relu-shift-segments": (
        lambda: stc_ops.bn_relu_shift(FRAMES, norm(), 4),
        "bn_relu_shift: u must",
    ),
    "no-norm": (lambda: stc_ops.bn_add_relu(FRAMES, None, FRAMES), "bn_add_relu: bn must"),
    "norm-module": (
        lambda: stc_ops.bn_relu(FRAMES, nn.BatchNorm2d(4)),
        "bn_relu.*: bn must be .*, got BatchNorm2d",
    ),
    "norm-list": (lambda: split(bn=norm(weight=[1.0] * 4)), "bn_relu_shift_split: bn.weight must"),
    "norm-integers": (
        lambda: split(bn=norm(weight=torch.ones(4).int())),
        "bn_relu_shift_split: bn.weight must",
    ),
    "norm-one-statistic": (
        lambda: split(bn=norm(running_var=None)),
        "bn_relu_shift_split: bn.*running_var",
    ),
    "norm-momentum": (lambda: split(bn=norm(momentum=None)), "bn_relu_shift_split: bn.momentum"),
    "norm-eps": (lambda: split(bn=norm(eps=0.0)), "bn_relu_shift_split: bn.eps must"),
    "gate-tensor": (
        lambda: refine(FRAMES, None, temporal=FRAME_GATE),
        "refine_bn_relu: temporal_gate_weights must",
    ),
    "gate-none": (
        lambda: refine(FRAMES, None, temporal=None),
        "refine_bn_relu: temporal_gate_weights must",
    ),
    "gate-list": (
        lambda: refine(FRAMES, None, temporal=([1.0],)),
        "refine_bn_relu: temporal_gate_weights",
    ),
    "gate-integers": (
        lambda: refine(FRAMES, None, temporal=(FRAME_GATE.int(),)),
        "refine_bn_relu: temporal_gate_weights",
    ),
    "gate-device": (
        lambda: refine(FRAMES, None, temporal=(FRAME_GATE.to("meta"),)),
        "refine_bn_relu: temporal_gate_weights",
    ),
    "gate-dtypes": (
        lambda: refine(FRAMES, None, temporal=(FRAME_GATE[:2, :, :1], FRAME_GATE[:, :2].double())),
        "refine_bn_relu: temporal_gate_weights",
    ),
}


@every_backend_of_cpu_tensors
@pytest.mark.parametrize(("call", "message"), NAMED.values(), ids=NAMED.keys())
def test_error_names_operator_and_argument(backend, call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


ONE_VALUE = {
    "bn_relu_shift_split": lambda bn: split(PIXEL, bn, num_segments=1),
    "refine_bn_relu": lambda bn: refine(PIXEL, None, bn=bn, segments=1),
    "bn_add_relu": lambda bn: add(PIXEL, PIXEL, bn),
}


@every_backend_of_cpu_tensors
@pytest.mark.parametrize("operator", ONE_VALUE)
def test_one_value_per_channel_is_refused_as_by_batch_norm(backend, operator):
    with pytest.raises(ValueError, match="Expected more than 1 value per channel") as plain:
        F.batch_norm(PIXEL, None, None, training=True)
    with pytest.raises(type(plain.value)) as caught:
        ONE_VALUE[operator](norm())
    wording = str(plain.value).replace("Expected", f"{operator}: expected")
    assert str(caught.value) == wording.replace("torch.Size([1, 4, 1, 1])", "(1, 4, 1, 1)")


@every_backend_of_cpu_tensors
@pytest.mark.parametrize("operator", ONE_VALUE)
def test_one_value_per_channel_suffices_for_running_statistics(backend, operator):
    out = ONE_VALUE[operator](norm(training=False, bias=torch.ones(4)))
    first = out[0] if isinstance(out, tuple) else out
    assert torch.equal(first, torch.ones_like(first))


@every_backend_of_cpu_tensors
def test_one_value_of_the_identity_is_refused_too(backend):
    with pytest.raises(ValueError, match="expected more than 1 value per channel when training"):
        add(PIXEL, PIXEL, norm(training=False), norm())


@every_backend_of_cpu_tensors
def test_refusals_leave_the_running_statistics(backend):
    bn = norm()
    with pytest.raises(ValueError, match="identity_bn"):
        add(bn=bn, identity_bn=norm(weight=torch.ones(5)))
    assert torch.equal(bn.running_mean, torch.zeros(4))
    assert torch.equal(bn.running_var, torch.ones(4))
