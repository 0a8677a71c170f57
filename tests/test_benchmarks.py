"""What the benchmarks compare with computes the same, and wrong results are not measured."""

from __future__ import annotations

import eager
import measure
import pytest
import torch
from devices import CPU
from fused import FUSED
from matrix import DTYPES, MODES, Inputs, Setting, Traffic
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
        # Where nothing is recorded, passes are fewer.
        with torch.no_grad():
            outputs = measure.as_list(run(eager, *tensors))
        for got, want in zip(outputs, expected, strict=False):
            torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
            assert got.stride() == want.stride()

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
    @pytest.mark.parametrize("training", [False, True])
    def test_strides_and_shifts(self, training, stride, shift_div, memory_format):
        frames = SETTING._replace(memory_format=memory_format).random_frames()
        bn = batch_norm(training)
        self.compare(
            lambda library, u: library.bn_relu_shift_split(u, bn, (12, 4), 4, stride, shift_div),
            [frames],
            memory_format,
        )
        self.compare(
            lambda library, u: library.bn_relu_shift(u, bn, 4, shift_div), [frames], memory_format
        )

    @pytest.mark.parametrize("training", [False, True])
    def test_gates_of_two_layers_and_single_branches(self, training):
        frames = SETTING.random_frames()
        bn = batch_norm(training)
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


def batch_norm(training):
    """Normalize 16 channels, by statistics of the batch or by those given."""
    if training:
        return stc_ops.BatchNorm(None, None, None, None, training=True)
    mean, var = torch.randn(16).double(), torch.rand(16).double() + 0.5
    return stc_ops.BatchNorm(None, None, mean, var, training=False)


MUTATIONS = {
    "temporal_shift": ("no shift", "reversed"),
    "bn_relu_shift_split": ("no shift", "reversed", "eps"),
    "refine_bn_relu": ("no gate", "eps"),
    "bn_add_relu": ("eps",),
}


class Mutated:
    """The reference's operators with something left out or turned round."""

    def __init__(self, mutation):
        self.mutation = mutation

    def temporal_shift(self, x, num_segments):
        if self.mutation == "no shift":
            return x.clone()
        return stc_ops.temporal_shift(x.flip(0), num_segments).flip(0)

    def bn_relu_shift_split(self, u, bn, split, num_segments):
        if self.mutation == "reversed":
            results = stc_ops.bn_relu_shift_split(u.flip(0), bn, split, num_segments)
            return tuple(each.flip(0) for each in results)
        if self.mutation == "no shift":
            return stc_ops.bn_relu_shift_split(u, bn, split, num_segments, shift_div=None)
        return stc_ops.bn_relu_shift_split(u, bn._replace(eps=1e-2), split, num_segments)

    def refine_bn_relu(self, spatial_y, temporal_y, bn, num_segments, of_frames, of_pixels):
        if self.mutation == "no gate":
            # Its weight has a gradient of zeros.
            bn = bn._replace(bias=bn.bias + 0 * of_pixels[0].sum())
            of_pixels = ()
        else:
            bn = bn._replace(eps=1e-2)
        return stc_ops.refine_bn_relu(spatial_y, temporal_y, bn, num_segments, of_frames, of_pixels)

    def bn_add_relu(self, w, bn, identity):
        return stc_ops.bn_add_relu(w, bn._replace(eps=1e-2), identity)


every_operator_and_dtype = pytest.mark.parametrize(
    ("name", "dtype"),
    [
        (name, dtype)
        for family in (PRIMITIVES, FUSED)
        for name in family.operators
        for dtype in sorted({setting.dtype for setting in family.settings})
    ],
)


class TestVerify:
    """What is wrong is refused, however small it is beside what is right."""

    def results(self, name, dtype, mode, library=stc_ops):
        setting = Setting(2, 8, 64, 7, dtype, "nhwc")
        operator = OPERATORS[name]
        inputs = measure.random_inputs(operator, setting, CPU)
        way = measure.Way(library, "reference" if library is not stc_ops else "cpu")
        return (
            measure.workload(operator, setting, mode, way, inputs)(),
            measure.workload(operator, setting, mode, measure.EAGER, inputs)(),
            measure.exact_results(operator, setting, CPU, mode),
        )

    def verify(self, name, dtype, results):
        has_relu = name in FUSED.operators
        measure.verify("row", *results, measure.TOLERANCES[DTYPES[dtype]], has_relu)

    @every_operator_and_dtype
    def test_what_is_right_passes(self, name, dtype):
        for mode in (FUSED if name in FUSED.operators else PRIMITIVES).modes:
            self.verify(name, dtype, self.results(name, dtype, mode))

    @every_operator_and_dtype
    def test_mutations_are_refused(self, name, dtype):
        for mutation in MUTATIONS.get(name, ()):
            self.check_refused(name, dtype, mutation)

    def check_refused(self, name, dtype, mutation):
        modes = (
            ("training-both", "eval-forward") if name in FUSED.operators else ("both", "forward")
        )
        for mode in modes:
            results = self.results(name, dtype, mode, Mutated(mutation))
            with pytest.raises(AssertionError, match="row: wrong: result 0 by"):
                self.verify(name, dtype, results)

    @pytest.mark.parametrize("factor", [0.0, 0.9, float("nan"), float("inf")])
    @every_operator_and_dtype
    def test_a_single_wrong_gradient_is_refused(self, name, dtype, factor):
        mode = "training-both" if name in FUSED.operators else "both"
        right, plain, exact = self.results(name, dtype, mode)
        for gradient in (each for each in right if each.startswith(measure.GRADIENT)):
            wrong = {**right, gradient: right[gradient] * factor}
            with pytest.raises(AssertionError, match=f"row: wrong: {gradient} by"):
                self.verify(name, dtype, (wrong, plain, exact))


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
    *_, mean, var = run().values()
    torch.testing.assert_close(inputs, before, rtol=0, atol=0)
    assert not torch.equal(mean, inputs.statistics[0])
    assert not torch.equal(var, inputs.statistics[1])
