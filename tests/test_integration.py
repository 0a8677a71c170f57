"""Every operator inside torch.compile, torch.export, autocast and opcheck."""

from __future__ import annotations

import pytest
import torch
from cases import (
    GATES,
    OPERATORS,
    Clips,
    assert_all_close,
    every_format,
    every_operator,
    oracle,
    run_with_gradients,
)
from registered_calls import UNRECORDED, registered_calls

import stc_ops

CLIPS = Clips(2, 4, 16, 5, 3)


REGISTERED = sorted(registered_calls(CLIPS, torch.contiguous_format))


def test_every_registered_operator_is_checked():
    schemas = torch._C._jit_get_all_schemas()
    names = {s.name.removeprefix("stc_ops::") for s in schemas if s.name.startswith("stc_ops::")}
    assert names == set(REGISTERED)


def assert_opcheck(name, arguments):
    results = torch.library.opcheck(getattr(torch.ops.stc_ops, name).default, arguments)
    assert set(results.values()) == {"SUCCESS"}


@every_format
@pytest.mark.parametrize("name", REGISTERED)
def test_opcheck(name, memory_format):
    assert_opcheck(name, registered_calls(CLIPS, memory_format)[name])


# The gates' backward has no derivative and says so.
DIFFERENTIABLE = [
    name
    for name in REGISTERED
    if name not in (*UNRECORDED, *(f"{gate}_backward" for gate in GATES))
]


@every_format
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_opcheck_with_gradients(name, memory_format):
    arguments = registered_calls(CLIPS, memory_format)[name]
    assert_opcheck(
        name, [a.requires_grad_() if isinstance(a, torch.Tensor) else a for a in arguments]
    )


PERMUTATIONS = {
    "nchw": (0, 1, 2, 3),
    "nhwc": (0, 2, 3, 1),
    "chwn": (1, 2, 3, 0),
    "wnhc": (3, 0, 2, 1),
}


@pytest.mark.parametrize("permutation", PERMUTATIONS.values(), ids=PERMUTATIONS.keys())
@pytest.mark.parametrize("name", REGISTERED)
@pytest.mark.parametrize("clips", [CLIPS, Clips(1, 4, 1, 3, 3), Clips(2, 2, 5, 1, 1)])
def test_fake_kernels_promise_the_real_strides(name, permutation, clips):
    inverse = torch.tensor(permutation).argsort().tolist()
    arguments = [
        a.permute(permutation).contiguous().permute(inverse)
        if isinstance(a, torch.Tensor) and a.ndim == 4
        else a
        for a in registered_calls(clips, torch.contiguous_format)[name]
    ]
    operator = getattr(torch.ops.stc_ops, name)
    real = operator(*arguments)
    with torch._subclasses.FakeTensorMode() as mode:
        fakes = [mode.from_tensor(a) if isinstance(a, torch.Tensor) else a for a in arguments]
        fake = operator(*fakes)
    real, fake = (out if isinstance(out, tuple) else (out,) for out in (real, fake))
    for got, want in zip(fake, real, strict=True):
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        # Compiled code does not ask for the stride of a dimension of one element.
        strides = zip(got.stride(), want.stride(), want.shape, strict=True)
        assert all(fake == real for fake, real, size in strides if size > 1)


@every_operator
@every_format
def test_compile_fullgraph(backend, case, memory_format):
    torch._dynamo.reset()
    inputs = case.inputs(CLIPS, memory_format=memory_format)
    compiled = case._replace(
        run=torch.compile(case.run, fullgraph=True, backend="aot_eager", dynamic=False)
    )
    actual = run_with_gradients(compiled, CLIPS, inputs)
    assert_all_close(actual, oracle(case, CLIPS, inputs), torch.float32)


def test_compile_with_inductor(backend):
    torch._dynamo.reset()

    def refine(y, logits):
        shifted = stc_ops.temporal_shift(torch.relu(y), CLIPS.num_segments)
        gated = stc_ops.temporal_gate(shifted, logits + stc_ops.spatial_pool(shifted))
        context = stc_ops.temporal_pool(gated, CLIPS.num_segments)
        return stc_ops.spatial_gate(gated, context, CLIPS.num_segments)

    inputs = OPERATORS["temporal_gate"].inputs(CLIPS, memory_format=torch.channels_last)
    expected = refine(*inputs)
    expected_gradients = torch.autograd.grad(expected.sum(), inputs)
    actual = torch.compile(refine, fullgraph=True)(*inputs)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(torch.autograd.grad(actual.sum(), inputs), expected_gradients)


@every_operator
def test_compile_with_a_changing_batch_makes_no_wrong_result(backend, case):
    torch._dynamo.reset()
    compiled = case._replace(
        run=torch.compile(case.run, fullgraph=True, backend="aot_eager", dynamic=True)
    )
    for batch in (2, 3, 5):
        clips = CLIPS._replace(batch=batch)
        inputs = case.inputs(clips)
        actual = run_with_gradients(compiled, CLIPS, inputs)
        assert_all_close(actual, oracle(case, clips, inputs), torch.float32)


@every_operator
def test_export_with_a_dynamic_batch(backend, case):
    class Model(torch.nn.Module):
        def forward(self, *inputs):
            return case.run(CLIPS, *inputs)

    inputs = [tensor.detach() for tensor in case.inputs(CLIPS)]
    clips = torch.export.Dim("clips", min=1, max=64)
    frames = CLIPS.num_segments * clips
    batches = [clips if tensor.shape[0] == CLIPS.batch else frames for tensor in inputs]
    shapes = {"inputs": tuple({0: batch} for batch in batches)}
    exported = torch.export.export(Model(), tuple(inputs), dynamic_shapes=shapes)
    other = CLIPS._replace(batch=5)
    other_inputs = [tensor.detach() for tensor in case.inputs(other)]
    expected = case.run(other, *other_inputs)
    torch.testing.assert_close(exported.module()(*other_inputs), expected)


@every_operator
def test_autocast(backend, case):
    inputs = case.inputs(CLIPS)
    low = [tensor.detach().bfloat16().requires_grad_() for tensor in inputs]
    with torch.autocast(torch.get_default_device().type, dtype=torch.bfloat16):
        actual = run_with_gradients(case, CLIPS, low)
    assert_all_close(actual, oracle(case, CLIPS, low), torch.bfloat16)


@pytest.mark.parametrize("name", ["temporal_gate", "spatial_gate"])
def test_gradient_of_autocast_logits_keeps_their_dtype(backend, name):
    frames, logits = OPERATORS[name].inputs(CLIPS)
    logits = logits.detach().bfloat16().requires_grad_()
    with torch.autocast(torch.get_default_device().type, dtype=torch.bfloat16):
        out = OPERATORS[name].run(CLIPS, frames, logits)
    assert out.dtype == torch.float32
    assert torch.autograd.grad(out.sum(), logits)[0].dtype == torch.bfloat16
