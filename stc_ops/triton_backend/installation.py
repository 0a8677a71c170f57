"""Registers the Triton kernels: for devices without compiled ones, or in the place of these."""

from __future__ import annotations

import functools
import importlib
import os
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch

from stc_ops import _C as _C  # loading it registers schemas and CPU kernels

DISPATCH_KEYS = {"cpu": "CPU", "cuda": "CUDA", "xpu": "XPU"}

OPERATORS = {
    "shift": ("temporal_shift", "temporal_shift_backward"),
    "shift_split": ("shift_split", "shift_split_backward_sums", "shift_split_backward"),
    "moments": (
        "spatial_pool",
        "spatial_pool_backward",
        "temporal_pool",
        "temporal_pool_backward",
        "spatial_moments",
        "temporal_moments",
    ),
    "gate": ("temporal_gate", "temporal_gate_backward", "spatial_gate", "spatial_gate_backward"),
    "batch_norm": ("gated_channel_moments", "gated_channel_sums", "gate_gradient"),
    "coefficients": ("batch_norm_coefficients", "batch_norm_grad_coefficients"),
    "refine": ("refine", "refine_backward_sums", "refine_backward"),
    "residual": ("add_relu", "add_relu_backward_sums", "add_relu_backward"),
}


def interprets() -> bool:
    """Whether Triton's interpreter runs the kernels, which it does on CPU tensors only."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def can_compile_for(device_type: str) -> bool:
    """Whether Triton is there and has compilers for such devices."""
    return device_type in ("cuda", "xpu") and find_spec("triton") is not None and not interprets()


def why_not(device_type: str) -> str | None:
    """Say why Triton kernels cannot run on tensors of a device, or return None."""
    if find_spec("triton") is None:
        return "triton is not installed"
    if device_type not in DISPATCH_KEYS:
        return f"there is no Triton for tensors on '{device_type}'"
    if interprets() != (device_type == "cpu"):
        only = "with" if device_type == "cpu" else "without"
        return f"it runs on '{device_type}' tensors only {only} TRITON_INTERPRET=1"
    if device_type != "cpu" and not torch.get_device_module(device_type).is_available():
        return f"this machine has no {device_type.upper()} device"
    return None


@functools.cache
def install_for(device_type: str) -> torch.library.Library:
    """Make the Triton kernels those of a device, for good."""
    library = torch.library.Library("stc_ops", "IMPL")
    _install(library, device_type)
    return library


def replaces_compiled() -> bool:
    """Whether Triton kernels have the place of compiled ones."""
    return _replacement is not None


def replace_compiled(wanted: bool) -> None:
    """Let Triton kernels take the place of compiled ones, or end that."""
    global _replacement
    if wanted and not replaces_compiled():
        _replacement = torch.library.Library("stc_ops", "IMPL")
        for device_type in DISPATCH_KEYS:
            if why_not(device_type) is None:
                _install(_replacement, device_type)
    elif replaces_compiled() and not wanted:
        _replacement._destroy()
        _replacement = None


_replacement: torch.library.Library | None = None


def _install(library: torch.library.Library, device_type: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Warning only once for all operators")
        for family, operators in OPERATORS.items():
            for operator in operators:
                run, key = _launcher(family, operator), DISPATCH_KEYS[device_type]
                library.impl(operator, run, key, allow_override=True)


def _launcher(family: str, operator: str) -> Callable[..., Any]:
    def run(*arguments: Any) -> Any:
        return getattr(importlib.import_module(f".{family}", __package__), operator)(*arguments)

    return run
