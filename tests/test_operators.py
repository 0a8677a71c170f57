"""What holds for every operator on every backend."""

from __future__ import annotations

import pytest
import torch
from cases import (
    GATES,
    MEMORY_FORMATS,
    OPERATORS,
    SHAPES,
    TOLERANCES,
    Clips,
    assert_all_close,
    every_dtype,
    every_format,
    every_operator,
    every_stride,
    oracle,
    run_with_gradients,
    with_thread_counts,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import stc_ops

every_shape = pytest.mark.parametrize("clips", SHAPES.values(), ids=SHAPES.keys())


def test_uninitialised_memory_is_nan_in_these_tests():
    assert torch.empty(3).isnan().all()


@every_operator
@every_shape
@every_dtype
@every_format
def test_output_and_gradients_match_the_oracle(backend, case, clips, dtype, memory_format):
    inputs = case.inputs(clips, dtype, memory_format)
    actual = run_with_gradients(case, clips, inputs)
    assert_all_close(actual, oracle(case, clips, inputs), case.coarse_dtype(backend, dtype))


@every_operator
@every_format
def test_output_and_gradients_keep_the_memory_format(backend, case, memory_format):
    clips = Clips(2, 3, 5, 4, 6)
    inputs = case.inputs(clips, memory_format=memory_format)
    results = run_with_gradients(case, clips, inputs)
    if backend == "reference":
        results = results[:1]  # the strides of its gradients are PyTorch's own affair
    for tensor in results:
        assert tensor.ndim != 4 or tensor.is_contiguous(memory_format=memory_format)


@every_operator
@every_format
@every_stride
def test_strided_inputs(backend, case, memory_format, make_strided):
    clips = Clips(2, 3, 6, 4, 5)
    frames, *logits = case.inputs(clips, memory_format=memory_format)
    inputs = [make_strided(frames.detach()).requires_grad_(), *logits]
    assert_all_close(run_with_gradients(case, clips, inputs), oracle(case, clips, inputs))


@every_operator
@every_format
@every_stride
def test_strided_logits(backend, case, memory_format, make_strided):
    clips = Clips(2, 3, 6, 4, 5)
    frames, *logits = case.inputs(clips, memory_format=memory_format)
    if not logits or logits[0].ndim != 4:
        logits = [each.detach().t().contiguous().t().requires_grad_() for each in logits]
    else:
        logits = [make_strided(logits[0].detach()).requires_grad_()]
    inputs = [frames, *logits]
    assert_all_close(run_with_gradients(case, clips, inputs), oracle(case, clips, inputs))


@every_operator
@every_format
def test_expanded_gradient_as_sum_gives_it(backend, case, memory_format):
    clips = Clips(2, 3, 6, 4, 5)
    inputs = case.inputs(clips, memory_format=memory_format)
    gradients = torch.autograd.grad(case.run(clips, *inputs).sum(), inputs)
    ones = torch.ones_like(case.run(clips, *inputs))
    assert_all_close(list(gradients), oracle(case, clips, inputs, ones)[1:])


@every_operator
@every_format
def test_gradcheck(backend, case, memory_format):
    clips = Clips(2, 3, 8, 2, 3)
    inputs = case.inputs(clips, torch.float64, memory_format)
    assert torch.autograd.gradcheck(lambda *tensors: case.run(clips, *tensors), inputs)


LINEAR = [name for name, case in OPERATORS.items() if case.logits_shape is None]


@pytest.mark.parametrize("name", LINEAR)
@every_format
def test_double_backward_of_shift_and_pools(backend, name, memory_format):
    clips = Clips(2, 3, 8, 2, 3)
    inputs = OPERATORS[name].inputs(clips, torch.float64, memory_format)
    assert torch.autograd.gradgradcheck(
        lambda *tensors: OPERATORS[name].run(clips, *tensors), inputs
    )


@pytest.mark.parametrize("name", GATES)
def test_double_backward_of_gates_is_refused_by_name(name):
    case, clips = OPERATORS[name], Clips(2, 3, 8, 2, 3)
    inputs = case.inputs(clips)
    with stc_ops.use_backend("cpu"):
        out = case.run(clips, *inputs)
        (grad,) = torch.autograd.grad((out**2).sum(), inputs[:1], create_graph=True)
    message = (
        f"{name}: double backward is not supported by the compiled kernels; "
        "use stc_ops.use_backend('reference') where second derivatives are needed"
    )
    with pytest.raises(NotImplementedError) as error:
        grad.sum().backward()
    assert str(error.value) == message


@pytest.mark.parametrize("name", GATES)
def test_double_backward_of_gates_works_on_the_reference(name):
    clips = Clips(1, 2, 3, 2, 2)
    inputs = OPERATORS[name].inputs(clips, torch.float64)
    with stc_ops.use_backend("reference"):
        assert torch.autograd.gradgradcheck(
            lambda *tensors: OPERATORS[name].run(clips, *tensors), inputs
        )


@every_operator
@every_format
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bits_do_not_depend_on_threads_or_runs(backend, case, memory_format, dtype):
    clips = Clips(2, 8, 40, 19, 23)
    inputs = case.inputs(clips, dtype, memory_format)
    results = with_thread_counts(lambda: run_with_gradients(case, clips, inputs))
    if backend == "reference":
        assert_all_close(
            results[-1], oracle(case, clips, inputs), case.coarse_dtype(backend, dtype)
        )
        return
    for other in results[1:]:
        for got, want in zip(other, results[0], strict=True):
            assert torch.equal(got, want)


@given(
    clips=st.builds(
        Clips,
        batch=st.integers(0, 3),
        num_segments=st.integers(1, 9),
        channels=st.integers(1, 70),
        height=st.integers(1, 9),
        width=st.integers(1, 9),
    ),
    name=st.sampled_from(sorted(OPERATORS)),
    dtype=st.sampled_from(sorted(TOLERANCES, key=str)),
    memory_format=st.sampled_from(sorted(MEMORY_FORMATS)),
)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_shape(backend, clips, name, dtype, memory_format):
    case = OPERATORS[name]
    inputs = case.inputs(clips, dtype, MEMORY_FORMATS[memory_format])
    actual = run_with_gradients(case, clips, inputs)
    assert_all_close(actual, oracle(case, clips, inputs), case.coarse_dtype(backend, dtype))


@every_operator
def test_special_values_pass_as_in_plain_pytorch(backend, case):
    clips = Clips(1, 2, 16, 3, 3)
    inputs = case.inputs(clips)
    with torch.no_grad():
        inputs[0][0, :4] = torch.tensor([torch.inf, -torch.inf, torch.nan, 1e38])[:, None, None]
        if len(inputs) > 1:
            inputs[1].view(-1)[8:13] = torch.tensor([torch.inf, -torch.inf, torch.nan, -90.0, 90.0])
    actual = case.run(clips, *inputs)
    with stc_ops.use_backend("reference"):
        expected = case.run(clips, *inputs)
    torch.testing.assert_close(actual, expected, equal_nan=True)
