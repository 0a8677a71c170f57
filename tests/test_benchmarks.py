"""What the benchmarks compare with computes the same, and wrong results are not measured."""

from __future__ import annotations

import eager
import measure
import networks
import pytest
import torch
from devices import CPU
from fused import FUSED
from matrix import MODES, Inputs, Setting, Traffic
from primitives import PRIMITIVES

import stc_ops

OPERATORS = PRIMITIVES.operators | FUSED.operators
SETTING = Setting(2, 4, 16, 5, "float64", "nhwc")
every_format = pytest.mark.parametrize("memory_format", ["nhwc", "nchw"])


def outputs_and_gradients(run, tensors, memory_format):
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    outputs = measure.as_list(run(*leaves))
    layout = torch.channels_last if memory_format == "nhwc" else torch.contiguous_format
    for out in outputs:
        assert out.ndim != 4 or out.is_contiguous(memory_format=layout)
    gradients = measure.gradients_like(outputs, SETTING)
    return [*outputs, *torch.autograd.grad(outputs, leaves, gradients)]


class TestEager:
    def compare(self, run, tensors, memory_format):
        with stc_ops.use_backend("reference"):
            expected = outputs_and_gradients(
                lambda *leaves: run(stc_ops, *leaves), tensors, memory_format
            )
        actual = outputs_and_gradients(lambda *leaves: run(eager, *leaves), tensors, memory_format)
        for got, want in zip(actual, expected, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)

    @every_format
    @pytest.mark.parametrize("training", [False, True])
    @pytest.mark.parametrize("name", OPERATORS)
    def test_equals_the_reference(self, name, training, memory_format):
        operator = OPERATORS[name]
        setting = SETTING._replace(memory_format=memory_format)
        inputs = operator.inputs(setting)
        statistics = [each.double() for each in inputs.statistics]

        def run(library, *leaves):
            copies = [each.clone() for each in statistics]
            return operator.run(library, setting, training, *leaves, *copies)

        self.compare(run, [each.double() for each in inputs.differentiable], memory_format)

    @every_format
    @pytest.mark.parametrize("shift_div", [None, 2, 8])
    @pytest.mark.parametrize("stride", [1, 2])
    def test_strides_and_shifts(self, stride, shift_div, memory_format):
        frames = SETTING._replace(memory_format=memory_format).random_frames()
        bn = stc_ops.BatchNorm(None, None, None, None, training=True)
        self.compare(
            lambda library, u: library.bn_relu_shift_split(u, bn, (12, 4), 4, stride, shift_div),
            [frames],
            memory_format,
        )
        self.compare(
            lambda library, u: library.bn_relu_shift(u, bn, 4, shift_div), [frames], memory_format
        )

    def test_gates_of_two_layers_and_single_branches(self):
        frames = SETTING.random_frames()
        bn = stc_ops.BatchNorm(None, None, None, None, training=True)
        reduce, gate = torch.randn(8, 16, 1).double(), torch.randn(16, 8, 3).double()
        pixel_reduce, pixel_gate = reduce[..., None], torch.randn(16, 8, 3, 3).double()
        self.compare(
            lambda library, y, *gates: library.refine_bn_relu(y, None, bn, 4, gates),
            [frames, reduce, gate],
            "nhwc",
        )
        self.compare(
            lambda library, y, *gates: library.refine_bn_relu(None, y, bn, 4, (), gates),
            [frames, pixel_reduce, pixel_gate],
            "nhwc",
        )

    def test_takes_the_place_of_the_operators_in_networks(self, monkeypatch):
        calls = []

        def counted(w, bn, identity, identity_bn=None):
            calls.append(identity_bn)
            return eager_bn_add_relu(w, bn, identity, identity_bn)

        eager_bn_add_relu = eager.bn_add_relu
        monkeypatch.setattr(eager, "bn_add_relu", counted)
        model = stc_ops.models.video_resnet(
            stc_ops.nn.STC, num_segments=4, depths=(1, 1, 1, 1), widths=(16, 16, 16, 16)
        ).eval()
        frames = torch.randn(4, 3, 32, 32)
        expected = model(frames)
        with eager.in_place_of_the_operators("cpu"):
            actual = model(frames)
        assert len(calls) == 4
        torch.testing.assert_close(actual, expected)
        model(frames)
        assert len(calls) == 4


class TestVerify:
    tolerance = measure.TOLERANCES[torch.float32]

    @pytest.mark.parametrize("behind_relu", [False, True])
    @pytest.mark.parametrize("wrong", [0.5, float("nan"), float("inf")])
    def test_wrong_results_raise(self, wrong, behind_relu):
        want = torch.randn(1000)
        got = want.clone()
        got[3] += wrong
        with pytest.raises(AssertionError, match=r"row: result 1 differs"):
            measure.verify("row", [want, got], [want, want], self.tolerance, behind_relu)

    @pytest.mark.parametrize("wrong", [0.5, float("nan")])
    def test_wrong_networks_raise(self, wrong):
        want = torch.ones(10)
        with pytest.raises(AssertionError, match="the result differs"):
            networks.verify("network", [want + wrong], [want])
        with pytest.raises(AssertionError, match="the gradient differs"):
            networks.verify("network", [want, want + wrong], [want, want])

    def test_rounding_passes(self):
        want = torch.randn(1000)
        for behind_relu in (False, True):
            measure.verify("row", [want * (1 + 1e-6)], [want], self.tolerance, behind_relu)


class TestPasses:
    @pytest.mark.parametrize("family", [PRIMITIVES, FUSED], ids=lambda family: family.name)
    def test_every_mode_has_passes(self, family):
        for operator in family.operators.values():
            for mode in family.modes:
                assert len(operator.passes(SETTING, mode)) >= len(MODES[mode])

    def test_of_the_end_of_a_block(self):
        frames = 4 * SETTING.frames_bytes()
        assert FUSED.operators["bn_add_relu"].passes(SETTING, "training-both") == [
            Traffic(frames, 0),
            Traffic(2 * frames, frames),
            Traffic(3 * frames, frames),
            Traffic(2 * frames, frames),
        ]

    @pytest.mark.parametrize("traffic", [Traffic(800, 400), Traffic(800, 0), Traffic(40, 400)])
    def test_floor_runs(self, traffic):
        measure.floor([traffic, traffic], CPU)()


def test_each_workload_has_statistics_of_its_own():
    operator = FUSED.operators["bn_relu_shift_split"]
    inputs = operator.inputs(SETTING._replace(dtype="float32"))
    before = Inputs(*([each.clone() for each in part] for part in inputs))
    run = measure.workload(operator, SETTING, "training-forward", measure.EAGER, inputs)
    *_, mean, var = run()
    torch.testing.assert_close(inputs, before, rtol=0, atol=0)
    assert not torch.equal(mean, inputs.statistics[0])
    assert not torch.equal(var, inputs.statistics[1])


def test_fewer_bytes_are_saved_for_backward():
    setting = Setting(1, 8, 3, 64, "float32", "nhwc")
    assert networks.saved_bytes("cpu", setting) < 0.9 * networks.saved_bytes("eager", setting)
