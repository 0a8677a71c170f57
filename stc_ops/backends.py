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

from . import cuda_library
from .torch_internals import constant_in_graphs
from .triton_backend import installation as triton_kernels

BACKENDS = ("reference", "cpu", "cuda", "triton")
ENVIRONMENT_VARIABLE = "STC_OPS_BACKEND"

_environment_choice: str | None = None
_this_thread = threading.local()


def why_not(backend: str, device: torch.device | str) -> str | None:
    """Say why `backend` cannot run on tensors of `device`, or return None when it can.

    Devices of a type may differ: without an index it is the current one.
    """
    device = with_index(torch.device(device))
    if backend == "triton":
        return triton_kernels.why_not(device)
    if backend == "cuda" and (reason := cuda_library.why_no_device()) is not None:
        return reason
    if backend != "reference" and device.type != backend:
        return f"its kernels run on {backend.upper()} tensors, and the tensor is on '{device.type}'"
    return cuda_library.why_not_on(device) if backend == "cuda" else None


def available_backends(device: torch.device | str = "cpu") -> tuple[str, ...]:
    """Return the names of the backends that can run on tensors of `device`."""
    return tuple(name for name in BACKENDS if why_not(name, device) is None)


@contextlib.contextmanager
def use_backend(backend: str) -> Iterator[None]:
    """Force `backend` for every operator that this thread calls inside.

    Backward passes, which PyTorch runs in threads of its own, take the kernels that are forced in
    the thread that starts them. Other threads are not affected.

    Raises:
        ValueError: if there is no backend of that name.
    """
    chosen = _checked(backend, "use_backend: backend")
    previous = getattr(_this_thread, "choice", None)
    of_triton = getattr(_this_thread, "of_triton", _environment_choice == "triton")
    # The reference runs no kernels: those of a backward pass stay what they are.
    wanted = of_triton if backend == "reference" else backend == "triton"
    _this_thread.choice, _this_thread.of_triton = chosen, wanted
    # Registering kernels takes longer than a call, and torch.compile cannot trace it.
    changed = wanted != of_triton
    try:
        with _triton.forcing(wanted) if changed else contextlib.nullcontext():
            yield
    finally:
        _this_thread.choice, _this_thread.of_triton = previous, of_triton


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
        return _automatic(device.type, device.index)
    if (reason := _why_not(forced, device.type, device.index)) is not None:
        raise RuntimeError(f"{operator}: backend '{forced}' was asked for, but {reason}")
    return forced


def with_index(device: torch.device) -> torch.device:
    """Return the current device of a type for one without an index, where there is any."""
    if device.index is not None or device.type not in ("cuda", "xpu"):
        return device
    module = torch.get_device_module(device.type)
    return torch.device(device.type, module.current_device()) if module.is_available() else device


# Inside of a compiled graph kernels would be registered and devices asked: torch.compile takes the
# results as they are.
@constant_in_graphs
def _automatic(device_type: str, index: int | None) -> str:
    return _chosen_once(with_index(torch.device(device_type, index)))


@constant_in_graphs
def _why_not(backend: str, device_type: str, index: int | None) -> str | None:
    return why_not(backend, torch.device(device_type, index))


@functools.cache
def _chosen_once(device: torch.device) -> str:
    if device.type == "cpu":
        return "cpu"
    if device.type == "cuda" and cuda_library.why_not_on(device) is None:
        return "cuda"
    if triton_kernels.why_not_compiled(device) is None:
        _triton.hold(device.type)
        return "triton"
    return "reference"


def _takes_triton(device: torch.device) -> bool:
    """Whether Triton's are the kernels of a device where the calling thread forces none."""
    if _environment_choice is not None:
        return _environment_choice == "triton"
    return _automatic(device.type, device.index) == "triton"


_triton = triton_kernels.Registry(_takes_triton)


def _checked(backend: str, argument: str) -> str:
    if backend not in BACKENDS:
        raise ValueError(f"{argument} must be one of {', '.join(BACKENDS)}, got {backend!r}")
    return backend


if os.environ.get(ENVIRONMENT_VARIABLE):
    _environment_choice = _checked(os.environ[ENVIRONMENT_VARIABLE], ENVIRONMENT_VARIABLE)
    if _environment_choice == "triton":
        _triton.hold_all()
