"""What holds for the results of every fused operator on every backend."""

from __future__ import annotations

import pytest
import torch
from backend_cases import on_compiled_backends
from cases import (
    MEMORY_FORMATS,
    TOLERANCES,
    Clips,
    every_dtype,
    every_format,
    every_stride,
    with_thread_counts,
)
from fused_cases import (
    FUSED,
    MODES,
    every_call,
    every_fused_case,
    make_problem,
)
from fused_oracle import assert_results, check_problem, fused_oracle, run_problem
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import stc_ops

SMALL = Clips(2, 3, 8, 4, 5)


@every_call()
@every_format
def test_results_match_the_oracle(backend, case, clips, mode, memory_format):
    check_problem(make_problem(case, clips, mode, memory_format=memory_format), backend)


@every_call({"medium": Clips(2, 4, 24, 7, 6)})
@every_dtype
@every_format
def test_results_match_the_oracle_in_every_dtype(backend, case, clips, mode, dtype, memory_format):
    check_problem(make_problem(case, clips, mode, dtype, memory_format), backend)


@every_call({"small": SMALL}, modes=["training", "frozen"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bit_parameters(backend, case, clips, mode, dtype):
    problem = make_problem(case, clips, mode, dtype, parameter_dtype=dtype)
    expected, gradients = fused_oracle(problem)
    actual = run_problem(problem, gradients)
    assert all(each.dtype == dtype for each in actual.values())
    # The gate networks are PyTorch's convolutions, here of 16-bit values.
    assert_results(actual, expected, "reference", dtype)


@given(
    clips=st.builds(
        Clips,
        batch=st.integers(0, 3),
        num_segments=st.integers(1, 9),
        channels=st.integers(1, 40),
        height=st.integers(1, 9),
        width=st.integers(1, 9),
    ),
    name=st.sampled_from(sorted(FUSED)),
    mode=st.sampled_from(sorted(MODES)),
    dtype=st.sampled_from(sorted(TOLERANCES, key=str)),
    memory_format=st.sampled_from(sorted(MEMORY_FORMATS)),
)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_shape(backend, clips, name, mode, dtype, memory_format):
    # Of fewer values the variance may be tiny, and rounding all there is.
    values_per_channel = clips.batch * clips.num_segments * clips.height * clips.width
    assume(not MODES[mode].training or values_per_channel == 0 or values_per_channel >= 8)
    problem = make_problem(FUSED[name], clips, MODES[mode], dtype, MEMORY_FORMATS[memory_format])
    check_problem(problem, backend)


@every_call({"small": SMALL})
@every_format
def test_results_have_the_dtypes_and_formats_of_the_inputs(
    backend, case, clips, mode, memory_format
):
    problem = make_problem(case, clips, mode, torch.bfloat16, memory_format)
    _, gradients = fused_oracle(problem)
    for name, result in run_problem(problem, gradients).items():
        if name.startswith("output"):
            assert result.dtype == torch.bfloat16
            assert result.is_contiguous(memory_format=memory_format)
        elif name.startswith("gradient"):
            tensor = problem.tensors[name.removeprefix("gradient of ")]
            assert result.dtype == tensor.dtype
            # The strides of other gradients are PyTorch's own affair.
            if backend != "reference" and tensor.shape[0] == clips.frames[0]:
                assert result.stride() == tensor.stride()


FORMAT_PAIRS = [list(MEMORY_FORMATS), list(reversed(MEMORY_FORMATS))]


@pytest.mark.parametrize("formats", FORMAT_PAIRS, ids="-then-".join)
@pytest.mark.parametrize("name", ["refine", "refine-light", "add", "add-two-norms"])
def test_frames_of_two_formats(backend, name, formats):
    problem = make_problem(FUSED[name], SMALL, MODES["training"])
    problem = problem.replaced(
        {
            frames: problem.tensors[frames].contiguous(memory_format=MEMORY_FORMATS[each])
            for frames, each in zip(problem.frames(), formats, strict=True)
        }
    )
    check_problem(problem, backend)
    expected = "nhwc" if problem.case.operator is stc_ops.refine_bn_relu else formats[0]
    (out,) = problem.outputs()
    assert out.is_contiguous(memory_format=MEMORY_FORMATS[expected])


@every_fused_case
@every_stride
@every_format
def test_strided_frames(backend, case, make_strided, memory_format):
    problem = make_problem(case, SMALL, MODES["training"], memory_format=memory_format)
    check_problem(problem.map_frames(make_strided), backend)


# Plain PyTorch has wrong gradients there: F.batch_norm of channels_last frames, torch 2.13.
@on_compiled_backends
@every_fused_case
@every_format
def test_strided_parameters_and_statistics(backend, case, memory_format):
    def every_second(tensor):
        return torch.stack([tensor, tensor], -1)[..., 0]

    problem = make_problem(case, SMALL, MODES["training"], memory_format=memory_format)
    expected, gradients = fused_oracle(problem)
    strided = problem.map(lambda each: each if each.ndim == 4 else every_second(each))
    for name, each in strided.statistics.items():
        strided.statistics[name] = every_second(each)
    assert not any(each.is_contiguous() for each in strided.statistics.values())
    found = torch.autograd.grad(
        strided.outputs(),
        list(strided.tensors.values()),
        [each.float() for each in gradients],
    )
    for name, each in zip(strided.tensors, found, strict=True):
        want = expected[f"gradient of {name}"]
        torch.testing.assert_close(each.double(), want, rtol=2e-5, atol=2e-4)
    for name, each in strided.statistics.items():
        torch.testing.assert_close(each.double(), expected[name], rtol=2e-5, atol=2e-5)


def with_sums_of_one_term(problem):
    """Return `problem` with gate weights that pick one value, whatever order PyTorch sums in."""
    picking = {}
    for name, weight in problem.tensors.items():
        if "gate" in name:
            picking[name] = torch.zeros_like(weight)
            centre = [size // 2 for size in weight.shape[2:]]
            for i in range(min(weight.shape[:2])):
                picking[name][(i, i, *centre)] = 2.0
    return problem.replaced(picking)


@on_compiled_backends
@every_call({"medium": Clips(2, 8, 40, 19, 23)}, modes=["training", "frozen"])
@every_format
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bits_do_not_depend_on_threads_or_runs(backend, case, clips, mode, memory_format, dtype):
    problem = with_sums_of_one_term(make_problem(case, clips, mode, dtype, memory_format))
    _, gradients = fused_oracle(problem)
    first, *others = with_thread_counts(lambda: run_problem(problem, gradients))
    for other in others:
        for name, want in first.items():
            # The gradients of gate weights are sums of PyTorch's.
            assert torch.equal(other[name], want) or "gate_weights" in name, name


@on_compiled_backends
@every_call({"medium": Clips(2, 8, 40, 19, 23)}, modes=["training", "frozen"])
@every_format
def test_two_runs_give_the_same_bits(backend, case, clips, mode, memory_format):
    problem = make_problem(case, clips, mode, memory_format=memory_format)
    _, gradients = fused_oracle(problem)
    first, second = (run_problem(problem, gradients) for _ in range(2))
    for name, want in first.items():
        assert torch.equal(second[name], want), name


@every_call({"small": SMALL})
def test_without_gradients_the_outputs_are_the_same(backend, case, clips, mode):
    problem = make_problem(case, clips, mode)
    with torch.no_grad():
        without = problem.fresh().outputs()
    assert not any(each.requires_grad for each in without)
    torch.testing.assert_close(without, problem.outputs(), rtol=0, atol=0)


def check_special_value(problem, value):
    with torch.no_grad():
        for name in problem.frames():
            problem.tensors[name][1, 0, 0, 0] = value
    plain = problem.fresh()
    with stc_ops.use_backend("reference"), torch.no_grad():
        pre_activations = problem.case.pre_activations(**plain.arguments())
    expected = [torch.relu(each) for each in pre_activations]
    outputs = problem.outputs()
    torch.testing.assert_close(list(outputs), expected, rtol=1e-4, atol=1e-4, equal_nan=True)
    for name, want in plain.statistics.items():
        torch.testing.assert_close(problem.statistics[name], want, equal_nan=True)


@every_call({"small": SMALL})
def test_nan_passes_as_in_plain_layers(backend, case, clips, mode):
    check_special_value(make_problem(case, clips, mode), torch.nan)


# What a gate network makes of infinities is the affair of its convolutions.
@every_call({"small": SMALL}, [name for name in FUSED if not FUSED[name].is_gated(SMALL)])
@pytest.mark.parametrize("value", [torch.inf, -torch.inf])
def test_infinity_passes_as_in_plain_layers(backend, case, clips, mode, value):
    check_special_value(make_problem(case, clips, mode), value)
