"""The backends that tests run on, and how a test runs on one."""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from collections.abc import Iterator

import pytest
import torch
from choices import choice_of_this_test
from triton_interpreter import fast_interpreter

import stc_ops
from stc_ops.triton_backend import installation as triton_kernels

EMULATED_LIBRARY_VARIABLE = "STC_OPS_EMULATED"
EMULATED_ORDER_VARIABLE = "STC_EMULATED_ORDER"
EMULATED_ORDERS = ("forward", "reverse", "1", "2")

_interpreted = triton_kernels.interprets()
COMPILED_BACKENDS = [
    "cpu",
    "emulated_cuda",
    pytest.param("cuda", marks=pytest.mark.gpu),
    pytest.param("triton", marks=[] if _interpreted else pytest.mark.gpu),
]
EVERY_BACKEND = ["reference", *COMPILED_BACKENDS]
BACKENDS = ("reference", "cpu", "emulated_cuda", "cuda", "triton")
every_backend_of_cpu_tensors = pytest.mark.parametrize(
    "backend",
    ["reference", "cpu", "emulated_cuda", *(["triton"] if _interpreted else [])],
    indirect=True,
)
on_compiled_backends = pytest.mark.parametrize("backend", COMPILED_BACKENDS, indirect=True)


def _device_of(name: str) -> str:
    return "cuda" if name == "cuda" or (name == "triton" and not _interpreted) else "cpu"


def why_not_here(name: str) -> str | None:
    """Return why a backend cannot run here, or None if it can."""
    if name == "emulated_cuda":
        if os.environ.get(EMULATED_LIBRARY_VARIABLE) is None:
            return (
                "build it with cmake -DSTC_PYTHON=ON -DSTC_EMULATED_BOUNDARY=ON and set "
                f"{EMULATED_LIBRARY_VARIABLE} to the path of its stc_ops_emulated.so"
            )
        name = "cpu"
    return stc_ops.backends.why_not(name, _device_of(name))


@contextlib.contextmanager
def running_on(name: str) -> Iterator[None]:
    """Run on a backend, with tensors on its device; skip where it cannot run, saying why."""
    if (reason := why_not_here(name)) is not None:
        pytest.skip(f"backend {name}: {reason}")
    with contextlib.ExitStack() as stack:
        if name == "emulated_cuda":
            stack.enter_context(_emulated_cuda_kernels())
            name = "cpu"
        if name == "triton" and _interpreted:
            stack.enter_context(fast_interpreter())
        stack.enter_context(_default_device(_device_of(name)))
        stack.enter_context(stc_ops.use_backend(name))
        yield


@contextlib.contextmanager
def _default_device(device: str) -> Iterator[None]:
    if device == "cpu":
        yield
        return
    # Convolutions of gate networks and of the oracle in the precision of their dtype.
    with torch.device(device), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


@functools.cache
def _emulated_kernels() -> dict[str, torch._ops.OpOverload]:
    torch.ops.load_library(os.environ[EMULATED_LIBRARY_VARIABLE])
    operators = torch._C._dispatch_get_all_op_names()
    names = [name.split("::")[1] for name in operators if name.startswith("stc_ops_emulated::")]
    return {name: getattr(torch.ops.stc_ops_emulated, name).default for name in names}


@contextlib.contextmanager
def _emulated_cuda_kernels() -> Iterator[None]:
    """Let CPU tensors take the CUDA kernels, which the CPU runs."""
    library = torch.library.Library("stc_ops", "IMPL")
    given_order = os.environ.get(EMULATED_ORDER_VARIABLE)
    os.environ[EMULATED_ORDER_VARIABLE] = given_order or choice_of_this_test(EMULATED_ORDERS)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Warning only once for all operators")
            for name, kernel in _emulated_kernels().items():
                library.impl(name, kernel, "CPU", allow_override=True)
        yield
    finally:
        library._destroy()
        if given_order is None:
            del os.environ[EMULATED_ORDER_VARIABLE]
