"""The choice of backend: automatic by device, or forced by environment or context manager.

Every operator has the same backends: `reference` is plain PyTorch and runs anywhere, `cpu` and
`cuda` are compiled kernels. Automatic choice takes the compiled kernels wherever they exist for the
tensor's device, else the reference.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import torch

from .cuda_library import WHY_NOT_LOADED, why_no_device

BACKENDS = ("reference", "cpu", "cuda")
ENVIRONMENT_VARIABLE = "STC_OPS_BACKEND"

_environment_choice: str | None = None
_this_thread = threading.local()
_compiled_for = {"cpu": "cpu"} | ({"cuda": "cuda"} if WHY_NOT_LOADED is None else {})


def why_not(backend: str, device: torch.device | str) -> str | None:
    """Say why `backend` cannot run on tensors of `device`, or return None when it can."""
    device_type = torch.device(device).type
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

    Raises:
        ValueError: if there is no backend of that name.
    """
    previous = getattr(_this_thread, "choice", None)
    _this_thread.choice = _checked(backend, "use_backend: backend")
    try:
        yield
    finally:
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
        return _compiled_for.get(device.type, "reference")
    if (reason := why_not(forced, device)) is not None:
        raise RuntimeError(f"{operator}: backend '{forced}' was asked for, but {reason}")
    return forced


def _checked(backend: str, argument: str) -> str:
    if backend not in BACKENDS:
        raise ValueError(f"{argument} must be one of {', '.join(BACKENDS)}, got {backend!r}")
    return backend


if os.environ.get(ENVIRONMENT_VARIABLE):
    _environment_choice = _checked(os.environ[ENVIRONMENT_VARIABLE], ENVIRONMENT_VARIABLE)
