"""Threads that force backends at once: each takes its own, in backward passes too."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import stc_ops
from stc_ops import backends
from stc_ops.triton_backend import installation as triton_kernels

# More than PyTorch runs within each other in one thread: then it takes threads of its own.
DEEP = 70


@pytest.fixture
def taken(monkeypatch):
    """Return what the Triton kernels ran, with PyTorch in their place, and the threads."""
    operators = []

    def pool(y):
        return y.mean((2, 3))

    def pool_backward(grad, height, width, dtype, memory_format):
        values = (grad / (height * width))[..., None, None].to(dtype)
        return values.expand(*grad.shape, height, width).contiguous(memory_format=memory_format)

    kernels = {"spatial_pool": pool, "spatial_pool_backward": pool_backward}

    def launcher(family, operator):
        def run(*arguments):
            operators.append((operator, threading.get_ident()))
            return kernels[operator](*arguments)

        return run

    monkeypatch.setattr(triton_kernels, "_launcher", launcher)
    monkeypatch.setattr(triton_kernels, "why_not", lambda device: None)
    monkeypatch.setattr(triton_kernels, "_can_run_on_any", lambda device_type: device_type == "cpu")
    yield operators
    assert backends._triton._libraries == {}


def pools(y, backward=False):
    pooled = stc_ops.spatial_pool(y)
    torch.testing.assert_close(pooled, y.mean((2, 3)))
    if backward:
        (grad,) = torch.autograd.grad(pooled.sum(), y)
        torch.testing.assert_close(grad, torch.full_like(y, 1 / 35))


def tensor(**kwargs):
    return torch.randn(4, 3, 5, 7, **kwargs)


def in_another_thread(function, *arguments):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *arguments).result(timeout=60)


def test_a_thread_that_leaves_takes_nothing_from_another(taken):
    first, second = contextlib.ExitStack(), contextlib.ExitStack()
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:

        def run(thread, function, *arguments):
            thread.submit(function, *arguments).result(timeout=60)
            return len(taken)

        run(one, first.enter_context, stc_ops.use_backend("triton"))
        run(other, second.enter_context, stc_ops.use_backend("triton"))
        run(one, first.close)
        assert run(one, pools, tensor()) == 0
        assert run(other, pools, tensor(requires_grad=True), True) == 2
        run(other, second.close)
        assert run(other, pools, tensor()) == 2


@pytest.mark.parametrize("backend", ["cpu", "reference", None])
def test_another_thread_keeps_its_own_backend(taken, backend):
    def other():
        with stc_ops.use_backend(backend) if backend else contextlib.nullcontext():
            pools(tensor(requires_grad=True), backward=True)

    with stc_ops.use_backend("triton"):
        in_another_thread(other)
        assert taken == []
        pools(tensor())
        assert len(taken) == 1


def test_an_error_in_one_thread_leaves_another_as_it_is(taken):
    def fail():
        with pytest.raises(KeyError), stc_ops.use_backend("triton"):
            raise KeyError

    with stc_ops.use_backend("triton"):
        in_another_thread(fail)
        pools(tensor())
        with pytest.raises(ValueError, match="backend must be one of"):
            stc_ops.use_backend("tpu").__enter__()
        pools(tensor())
    assert len(taken) == 2


def test_many_threads_at_once(taken):
    def work(number):
        order = ("triton", "cpu", "triton", "reference")
        for step in range(12):
            backend = order[(number + step) % len(order)]
            with stc_ops.use_backend(backend):
                pools(tensor(requires_grad=True), backward=True)
                with stc_ops.use_backend(order[(number + step + 1) % len(order)]):
                    pools(tensor())
                pools(tensor())
            pools(tensor())

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4), timeout=120))
    # Half of the outer blocks run three operators, and half of the inner ones run one.
    assert len(taken) == 4 * 12 // 2 * 4


class _Nested(torch.autograd.Function):
    """Starts, in its backward, the backward pass of another one, and so on."""

    @staticmethod
    def forward(ctx, x, depth):
        ctx.depth = depth
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        x = tensor(requires_grad=True)
        with torch.enable_grad():
            inner = stc_ops.spatial_pool(x) if ctx.depth == 0 else _Nested.apply(x, ctx.depth - 1)
            inner.sum().backward()
        return grad, None


@pytest.mark.parametrize("backend", ["triton", "cpu"])
def test_threads_of_a_backward_pass_take_the_kernels_of_the_one_that_starts_it(taken, backend):
    out = _Nested.apply(tensor(requires_grad=True), DEEP).sum()
    in_between = stc_ops.use_backend("triton") if backend == "cpu" else contextlib.nullcontext()
    with in_between, stc_ops.use_backend(backend):
        out.backward()
    if backend == "cpu":
        assert taken == []
    else:
        (_, forward), (operator, backward) = taken
        assert operator == "spatial_pool_backward"
        assert threading.get_ident() not in (forward, backward)


def test_kernels_without_a_choice_are_those_of_the_device(taken):
    chosen = {torch.device("cpu")}
    registry = triton_kernels.Registry(lambda device: device in chosen)
    registry.hold("cpu")
    try:
        pools(tensor())
        assert len(taken) == 1
        chosen.clear()
        pools(tensor(requires_grad=True), backward=True)
        assert len(taken) == 1
    finally:
        registry.release("cpu")
