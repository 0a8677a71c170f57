"""The choice of backend: automatic by device, or forced by environment or context manager.

Every operator has the same backends: `reference` is plain PyTorch and runs anywhere, `cpu` and
`cuda` are compiled kernels, `triton` are kernels that are compiled on first use. Automatic choice
takes the compiled kernels wherever they exist for the tensor's device, else Triton's, else the
reference.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Iterator

import torch

from .cuda_library import WHY_NOT_LOADED, why_no_code, why_no_device
from .triton_backend import installation as triton_kernels

BACKENDS = ("reference", "cpu", "cuda", "triton")
ENVIRONMENT_VARIABLE = "STC_OPS_BACKEND"

_environment_choice: str | None = None
_this_thread = threading.local()


def why_not(backend: str, device: torch.device | str) -> str | None:
    """Say why `backend` cannot run on tensors of `device`, or return None when it can."""
    device_type = torch.device(device).type
    if backend == "triton":
        return triton_kernels.why_not(device_type)
    if backend == "cuda" and (reason := why_no_device()) is not None:
        return reason
    if backend != "reference" and device_type != backend:
        return f"its kernels run on {backend.upper()} tensors, and the tensor is on '{device_type}'"
    return None


def available_backends(device: torch.device | str = "cpu") -> tuple[str, ...]:
    """Return the names of the backends that can run on tensors of `device`."""
    return tuple(name for name in BACKENDS if why_not(name, device) is None)


@contextlib.contextmanager
def use_backend(backend: str) -> Iterator[None]:
    """Force `backend` for every operator that this thread calls inside.

    Where a device has compiled kernels too, `triton` takes their place for all threads, so that
    backward passes, which PyTorch runs in threads of its own, take the same kernels.

    Raises:
        ValueError: if there is no backend of that name.
    """
    previous = getattr(_this_thread, "choice", None)
    _this_thread.choice = _checked(backend, "use_backend: backend")
    replaced = triton_kernels.replaces_compiled()
    # The reference runs neither, and registering kernels takes longer than a call.
    triton_kernels.replace_compiled(replaced if backend == "reference" else backend == "triton")
    try:
        yield
    finally:
        triton_kernels.replace_compiled(replaced)
        _this_thread.choice = previous


def forced_backend() -> str | None:
    """Return the backend that is forced in this thread, or None for the automatic choice."""
    return getattr(_this_thread, "choice", None) or _environment_choice


def select_backend(operator: str, device: torch.device) -> str:
    """Return the backend that `operator` takes for tensors of `device`.

    Raises:
        RuntimeError: if the forced backend cannot run there; the message says why.
    """
    forced = forced_backend()
    if forced is None:
        return _automatic(device.type)
    if (reason := why_not(forced, device)) is not None:
        raise RuntimeError(f"{operator}: backend '{forced}' was asked for, but {reason}")
    return forced


def _automatic(device_type: str) -> str:
    return _chosen_once(device_type)


# torch.compile takes the result as it is: inside, kernels are registered. This is what
# torch.compiler.assume_constant_result does, which imports torch._dynamo and with it Triton.
_automatic._dynamo_marked_constant = True


@functools.cache
def _chosen_once(device_type: str) -> str:
    if device_type == "cpu":
        return "cpu"
    if device_type == "cuda" and WHY_NOT_LOADED is None and why_no_code() is None:
        return "cuda"
    if triton_kernels.can_compile_for(device_type):
        triton_kernels.install_for(device_type)
        return "triton"
    return "reference"


def _checked(backend: str, argument: str) -> str:
    if backend not in BACKENDS:
        raise ValueError(f"{argument} must be one of {', '.join(BACKENDS)}, got {backend!r}")
    return backend


if os.environ.get(ENVIRONMENT_VARIABLE):
    _environment_choice = _checked(os.environ[ENVIRONMENT_VARIABLE], ENVIRONMENT_VARIABLE)
    triton_kernels.replace_compiled(_environment_choice == "triton")
