"""What holds for the gradients of every fused operator, beyond the matrix of the results."""

from __future__ import annotations

import pytest
import torch
from backend_cases import on_compiled_backends
from cases import Clips, every_format
from fused_cases import (
    FUSED,
    MODES,
    every_call,
    every_mode,
    make_problem,
)
from fused_oracle import assert_results, frames_dtype, fused_oracle, run_problem

import stc_ops

SMALL = Clips(2, 3, 8, 4, 5)
TINY = Clips(2, 2, 4, 2, 1)


def away_from_kinks(case, clips, mode, memory_format, margin=1e-3):
    """Return a float64 problem whose pre-activations no finite difference carries over zero."""
    for seed in range(1000):
        torch.manual_seed(seed)
        problem = make_problem(case, clips, mode, torch.float64, memory_format)
        with torch.no_grad(), stc_ops.use_backend("reference"):
            pre_activations = case.pre_activations(**problem.fresh().arguments())
        # Zeros are what the shift pads with.
        smallest = [each[each != 0].abs().min() for each in pre_activations if each.numel()]
        if min(smallest) > margin:
            return problem
    raise AssertionError("no seed keeps away from the kinks of the ReLU")


def outputs_by_tensors(problem):
    """Return a function of the differentiable tensors, and the tensors."""

    def outputs(*tensors):
        fresh = problem.fresh()
        fresh.tensors.update(zip(problem.tensors, tensors, strict=True))
        # gradcheck takes no outputs without elements.
        return tuple(each for each in fresh.outputs() if each.numel())

    return outputs, tuple(problem.tensors.values())


@on_compiled_backends
@every_call({"tiny": TINY}, modes=["training", "training-bare", "frozen"])
@every_format
def test_gradcheck(backend, case, clips, mode, memory_format):
    problem = away_from_kinks(case, clips, mode, memory_format)
    assert torch.autograd.gradcheck(*outputs_by_tensors(problem))


@every_call({"tiny": Clips(1, 2, 3, 2, 1)}, modes=["training", "frozen"])
def test_double_backward_works_on_the_reference(case, clips, mode):
    problem = away_from_kinks(case, clips, mode, torch.contiguous_format, margin=1e-2)
    with stc_ops.use_backend("reference"):
        assert torch.autograd.gradgradcheck(*outputs_by_tensors(problem))


@on_compiled_backends
@every_call({"small": SMALL}, modes=["training", "frozen"])
@pytest.mark.parametrize("reduce", [torch.sum, lambda out: (out**2).sum()], ids=["sum", "squares"])
def test_double_backward_on_compiled_kernels_is_refused_by_name(backend, case, clips, mode, reduce):
    problem = make_problem(case, clips, mode)
    first = next(iter(problem.tensors.values()))
    # The gradient of a plain sum is constant at the outputs, but not at the inputs.
    total = sum(reduce(each) for each in problem.outputs())
    (gradient,) = torch.autograd.grad(total, first, create_graph=True)
    name = case.operator.__name__
    if name.startswith("bn_relu"):  # all of them are bn_relu_shift_split, with fewer arguments
        name = "bn_relu_shift_split"
    message = (
        f"{name}: double backward is not supported by the compiled kernels; "
        "use stc_ops.use_backend('reference') where second derivatives are needed"
    )
    with pytest.raises(NotImplementedError) as error:
        gradient.sum().backward()
    assert str(error.value) == message


STRIDED_GRADIENTS = {
    "transposed-plane": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "other-format": lambda x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    "channel-slice": lambda x: torch.cat([x, x], 1)[:, x.shape[1] :],
    "every-second": lambda x: torch.stack([x, x], -1)[..., 1],
}


@every_call({"small": SMALL}, modes=["training", "frozen"])
@every_format
@pytest.mark.parametrize("make_strided", STRIDED_GRADIENTS.values(), ids=STRIDED_GRADIENTS.keys())
def test_strided_output_gradients(backend, case, clips, mode, memory_format, make_strided):
    problem = make_problem(case, clips, mode, torch.float64, memory_format)
    expected, gradients = fused_oracle(problem)
    strided = [make_strided(each) for each in gradients]
    found = torch.autograd.grad(problem.outputs(), list(problem.tensors.values()), strided)
    for name, got in zip(problem.tensors, found, strict=True):
        torch.testing.assert_close(got, expected[f"gradient of {name}"], rtol=1e-10, atol=1e-10)


@every_call({"small": SMALL}, modes=["training", "frozen"])
@every_format
def test_expanded_output_gradients_as_sum_gives_them(backend, case, clips, mode, memory_format):
    problem = make_problem(case, clips, mode, torch.float64, memory_format)
    wanted = list(problem.tensors.values())
    outputs = problem.outputs()
    found = torch.autograd.grad(sum(each.sum() for each in outputs), wanted, retain_graph=True)
    ones = [torch.ones_like(each) for each in outputs]
    torch.testing.assert_close(found, torch.autograd.grad(outputs, wanted, ones))


@every_call({"small": SMALL}, modes=["training", "frozen"])
def test_gradient_of_one_tensor_alone(backend, case, clips, mode):
    problem = make_problem(case, clips, mode, memory_format=torch.channels_last)
    expected, gradients = fused_oracle(problem)
    for name in problem.tensors:
        alone = problem.fresh()
        for other, tensor in alone.tensors.items():
            tensor.requires_grad_(other == name)
        actual = run_problem(alone, gradients)
        assert f"gradient of {name}" in actual
        wanted = {key: expected[key] for key in actual}
        assert_results(actual, wanted, backend, frames_dtype(problem))


@pytest.mark.parametrize("name", ["split", "split-stride-2", "split-no-shift"])
@pytest.mark.parametrize("used", [0, 1])
@every_mode
def test_gradient_through_one_of_two_outputs(backend, name, used, mode):
    problem = make_problem(FUSED[name], SMALL, mode, torch.float64)
    _, gradients = fused_oracle(problem)
    wanted = list(problem.tensors.values())
    outputs = problem.outputs()
    found = torch.autograd.grad(outputs[used], wanted, gradients[used], retain_graph=True)
    gradients[1 - used].zero_()
    torch.testing.assert_close(found, torch.autograd.grad(outputs, wanted, gradients))


def test_one_tensor_as_both_addends(backend):
    problem = make_problem(FUSED["add-two-norms"], SMALL, MODES["training"], torch.float64)
    w = problem.tensors["w"]
    norms = {name: problem.batch_norm(name) for name in ("bn", "identity_bn")}
    out = stc_ops.bn_add_relu(w, identity=w, **norms)
    expected = torch.relu(problem.case.pre_activations(w, identity=w, **norms)[0])
    torch.testing.assert_close(out, expected)
    gradient = torch.randn_like(out)
    torch.testing.assert_close(
        torch.autograd.grad(out, w, gradient), torch.autograd.grad(expected, w, gradient)
    )


def test_at_a_pre_activation_of_zero_the_relu_passes_no_gradient(backend):
    u = torch.zeros(4, 8, 3, 3, requires_grad=True)
    parameters = [torch.ones(8, requires_grad=True), torch.zeros(8, requires_grad=True)]
    bn = stc_ops.BatchNorm(*parameters, torch.zeros(8), torch.ones(8), training=False)
    for outputs in (
        stc_ops.bn_relu_shift_split(u, bn, (6, 2), 4),
        (stc_ops.refine_bn_relu(u, None, bn, 4),),
        (stc_ops.bn_add_relu(u, bn, u, bn),),
    ):
        total = sum(each.sum() for each in outputs)
        for gradient in torch.autograd.grad(total, [u, *parameters]):
            assert torch.equal(gradient, torch.zeros_like(gradient))


@every_call({"small": SMALL}, modes=["training", "frozen"])
def test_a_second_backward_gives_the_same(backend, case, clips, mode):
    problem = make_problem(case, clips, mode)
    total = sum((each * each).sum() for each in problem.outputs())
    wanted = list(problem.tensors.values())
    first = torch.autograd.grad(total, wanted, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(total, wanted), first, rtol=0, atol=0)


@on_compiled_backends
@every_call({"small": SMALL}, modes=["training", "frozen"])
def test_normalized_frames_changed_before_the_backward_are_noticed(backend, case, clips, mode):
    problem = make_problem(case, clips, mode)
    for name in problem.frames():
        if name == "identity" and "identity_bn" not in case.norms:
            continue
        fresh = problem.replaced({name: problem.tensors[name].clone()})
        outputs = fresh.outputs()
        with torch.no_grad():
            fresh.tensors[name].mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            sum(each.sum() for each in outputs).backward()


@on_compiled_backends
@every_call({"wide": Clips(2, 8, 64, 12, 10)}, modes=["training", "frozen"])
@every_format
def test_only_inputs_and_outputs_of_convolutions_are_saved(
    backend, case, clips, mode, memory_format
):
    problem = make_problem(case, clips, mode, memory_format=memory_format)
    saved = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        outputs = problem.outputs()
    given = list(problem.tensors.values())
    if case.operator is stc_ops.bn_add_relu:
        # The mask is read off the result, and the next convolution saves it as well.
        given.append(outputs[0])
        if "identity_bn" not in case.norms:
            del given[problem.frames().index("identity")]
    for tensor in given:
        saved.pop(tensor.untyped_storage().data_ptr(), None)
    # Mean, second moment and gate of every pixel of a clip of eight frames take 3/8.
    full_size = problem.tensors[problem.frames()[0]].untyped_storage().nbytes()
    assert sum(saved.values()) < full_size / 2
