"""Autograd and its relatives: what is recorded, saved and differentiated."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch.autograd import forward_ad
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.checkpoint import checkpoint

from .agreement import assert_same, assert_same_gradients, assert_same_step, in_four_threads
from .matrix import feature, has_parameters
from .subjects import Subject, plain


@feature()
def training_step(subject: Subject) -> None:
    module = subject.module().train()
    assert_same_step(module, plain(module), [subject.frames()])


@feature()
def evaluation_step(subject: Subject) -> None:
    module = subject.module()
    assert_same_step(module, plain(module), [subject.frames()])


@feature()
def no_grad(subject: Subject) -> None:
    module, frames = subject.module().train(), subject.frames()
    with torch.no_grad():
        assert_same(module(frames), plain(module)(frames))


@feature()
def inference_mode(subject: Subject) -> None:
    module, frames = subject.module(), subject.frames()
    expected = plain(module)(frames)
    with torch.inference_mode():
        assert_same(module(frames), expected)
        assert_same(module(frames.clone()), expected)


@feature(has_parameters)
def frozen_parameters(subject: Subject) -> None:
    module, frames = subject.module().requires_grad_(False), subject.frames().requires_grad_()
    twin = plain(module)
    (grad,) = torch.autograd.grad(module(frames).square().sum(), frames)
    (expected,) = torch.autograd.grad(twin(frames).square().sum(), frames)
    assert_same(grad, expected)


@feature()
def forward_without_backward_leaves_nothing(subject: Subject) -> None:
    module = subject.module()
    frames = subject.frames().requires_grad_()
    hidden = frames * 1
    memory = StorageWeakRef(hidden.untyped_storage())
    out = module(hidden)
    del hidden, out
    assert memory.expired()


@feature(has_parameters)
def changed_weights_are_seen(subject: Subject) -> None:
    module, frames = subject.module(), subject.frames().requires_grad_()
    if all(parameter.ndim < 4 for parameter in module.parameters()):
        return
    out = module(frames)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


@feature()
def checkpointing(subject: Subject) -> None:
    module = subject.module()
    expected, frames = plain(module), subject.frames().requires_grad_()
    expected(frames).square().sum().backward()
    for reentrant in (False, True):
        module.zero_grad()
        checkpoint(module, frames, use_reentrant=reentrant).square().sum().backward()
        assert_same_gradients(module, expected.module)


@feature()
def hooks_on_saved_tensors(subject: Subject) -> None:
    module = subject.module()
    expected, frames = plain(module), subject.frames().requires_grad_()
    expected(frames).square().sum().backward()
    with torch.autograd.graph.save_on_cpu():
        module(frames).square().sum().backward()
    assert_same_gradients(module, expected.module)


@feature()
def hooks_on_saved_tensors_forbidden(subject: Subject) -> None:
    module, frames = subject.module(), subject.frames().requires_grad_()
    with torch.autograd.graph.disable_saved_tensors_hooks("none here"):
        module(frames).sum().backward()


@feature()
def threads_over_one_graph(subject: Subject) -> None:
    module, frames = subject.module(), subject.frames().requires_grad_()
    loss = module(frames).square().sum()
    inputs = [frames, *module.parameters()]
    expected = torch.autograd.grad(loss, inputs, retain_graph=True, allow_unused=True)

    def differentiate() -> None:
        grads = torch.autograd.grad(loss, inputs, retain_graph=True, allow_unused=True)
        torch.testing.assert_close(grads, expected, rtol=0, atol=0)

    in_four_threads(differentiate)


@feature()
def func_grad(subject: Subject) -> None:
    module, frames = subject.module(), subject.frames().requires_grad_()
    twin = plain(module)
    (twin(frames).square().sum()).backward()
    parameters = dict(module.named_parameters())

    def loss(parameters: dict[str, torch.Tensor], frames: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(module, parameters, (frames,)).square().sum()

    of_parameters, of_frames = torch.func.grad(loss, (0, 1))(parameters, frames.detach())
    assert_same(of_frames, frames.grad, "gradient of frames")
    for name, parameter in parameters.items():
        parameter.grad = of_parameters[name]
    assert_same_gradients(module, twin.module)


@feature()
def func_vmap(subject: Subject) -> None:
    module, batch = subject.module(), torch.stack([subject.frames(), subject.frames()])
    expected = torch.stack([plain(module)(frames) for frames in batch])
    assert_same(torch.func.vmap(module)(batch), expected)


def _assert_tangent(subject: Subject, tangent_of) -> None:
    module, frames = subject.module(), subject.frames()
    direction = torch.randn_like(frames)
    refusal = (
        pytest.raises(NotImplementedError, match=r"^\w+: forward-mode differentiation")
        if subject.gates
        else contextlib.nullcontext()
    )
    with refusal:
        tangent = tangent_of(module, frames, direction)
        # Reverse mode is the oracle: differences step over kinks.
        weights, given = torch.randn_like(tangent), frames.requires_grad_()
        (grad,) = torch.autograd.grad((plain(module)(given) * weights).sum(), given)
        assert_same((tangent * weights).sum(), (grad * direction).sum())


@feature()
def func_jvp(subject: Subject) -> None:
    _assert_tangent(
        subject,
        lambda module, frames, direction: torch.func.jvp(module, (frames,), (direction,))[1],
    )


@feature()
def dual_numbers(subject: Subject) -> None:
    def tangent_of(module, frames, direction):
        with forward_ad.dual_level():
            out = module(forward_ad.make_dual(frames, direction))
            return forward_ad.unpack_dual(out).tangent

    _assert_tangent(subject, tangent_of)


@feature()
def infinities_and_nan(subject: Subject) -> None:
    """In evaluation, so that they do not reach all values of a channel by its statistics."""
    for value in (float("inf"), float("-inf"), float("nan")):
        module = subject.module().requires_grad_(False)
        twin, frames = plain(module), subject.frames()
        frames[1, ::3, 1, 2] = value
        results = []
        for run in (module, twin):
            given = frames.clone().requires_grad_()
            out = run(given)
            (grad,) = torch.autograd.grad(out.sum(), given)
            results.append((out, grad))
        torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9, equal_nan=True)
