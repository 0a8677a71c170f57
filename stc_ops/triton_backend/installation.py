"""Registers the Triton kernels, and says for each call whether it takes them.

PyTorch has one kernel per operator and type of device. Where that is a compiled one, what is
registered in its place asks which of both a call wants: that depends on the device of its tensors,
and on what the calling thread forces.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import torch

from stc_ops import _C as _C  # loading it registers schemas and CPU kernels
from stc_ops.torch_internals import hand_to_backward, handed_to_backward, has_kernel

from .architectures import architecture_of, why_not_architecture

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
    "fused": tuple(
        operator + kind
        for operator in ("bn_relu_shift_split", "refine_bn_relu", "bn_add_relu")
        for kind in ("", "_training", "_backward")
    ),
}


def interprets() -> bool:
    """Whether Triton's interpreter runs the kernels, which it does on CPU tensors only."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def why_not_compiled(device: torch.device) -> str | None:
    """Say why Triton cannot compile kernels for a device, which need not be here, or None."""
    if find_spec("triton") is None:
        return "triton is not installed"
    if device.type not in ("cuda", "xpu"):
        return f"Triton compiles nothing for '{device.type}'"
    if interprets():
        return f"it runs on '{device.type}' tensors only without TRITON_INTERPRET=1"
    return why_not_architecture(architecture_of(device))


def why_not(device: torch.device) -> str | None:
    """Say why Triton kernels cannot run on tensors of a device, or return None."""
    if find_spec("triton") is None:
        return "triton is not installed"
    if device.type not in DISPATCH_KEYS:
        return f"there is no Triton for tensors on '{device.type}'"
    if device.type == "cpu":
        only = "it runs on 'cpu' tensors only with TRITON_INTERPRET=1"
        return None if interprets() else only
    if not interprets() and not torch.get_device_module(device.type).is_available():
        return f"this machine has no {device.type.upper()} device"
    return why_not_compiled(device)


class Registry:
    """The registered Triton kernels: those of a type of device are there while anybody holds them.

    Args:
        is_chosen: says whether Triton kernels are what a device takes when nothing is forced.
    """

    def __init__(self, is_chosen: Callable[[torch.device], bool]) -> None:
        """See the class."""
        self._is_chosen = is_chosen
        self._lock = threading.Lock()
        self._holders: Counter[str] = Counter()
        self._libraries: dict[str, torch.library.Library] = {}

    def hold(self, device_type: str) -> None:
        """Have the kernels of a type of device registered."""
        with self._lock:
            self._holders[device_type] += 1
            if device_type not in self._libraries:
                library = torch.library.Library("stc_ops", "IMPL")
                register(library, device_type, self.takes_triton)
                self._libraries[device_type] = library

    def release(self, device_type: str) -> None:
        """Undo one `hold`; the last one takes the kernels away."""
        with self._lock:
            self._holders[device_type] -= 1
            if self._holders[device_type] == 0:
                self._libraries.pop(device_type)._destroy()

    def hold_all(self) -> tuple[str, ...]:
        """Hold the kernels of all types of devices that they can run on, and return these."""
        held = tuple(filter(_can_run_on_any, DISPATCH_KEYS))
        for device_type in held:
            self.hold(device_type)
        return held

    def takes_triton(self, device: torch.device) -> bool:
        """Whether a call of this thread, on tensors of a device, takes the Triton kernels."""
        forced = _forced()
        return self._is_chosen(device) if forced is None else forced

    @contextlib.contextmanager
    def forcing(self, wanted: bool) -> Iterator[None]:
        """Let the calls of this thread take the Triton kernels, or those that are compiled."""
        before = _forced()
        held = self.hold_all() if wanted else ()
        _force(wanted)
        try:
            yield
        finally:
            _force(before)
            for device_type in held:
                self.release(device_type)


# PyTorch takes what is kept under this name along to the threads that run a backward pass: they
# take the kernels that the thread which started it takes.
_FORCED = "stc_ops.takes_triton"


def _force(wanted: bool | None) -> None:
    hand_to_backward(_FORCED, wanted)


def _forced() -> bool | None:
    return handed_to_backward(_FORCED)


def _can_run_on_any(device_type: str) -> bool:
    if device_type == "cpu":
        return why_not(torch.device("cpu")) is None
    count = torch.get_device_module(device_type).device_count()
    return any(why_not(torch.device(device_type, index)) is None for index in range(count))


def register(
    library: torch.library.Library, device_type: str, takes_triton: Callable[[torch.device], bool]
) -> None:
    """Register the Triton kernels for a type of device; what does not take them is passed on."""
    key = DISPATCH_KEYS[device_type]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Warning only once for all operators")
        for family, operators in OPERATORS.items():
            for operator in operators:
                run = _chooser(operator, key, _launcher(family, operator), takes_triton)
                library.impl(operator, run, key, allow_override=True, with_keyset=True)


def _chooser(
    operator: str,
    key: str,
    launcher: Callable[..., Any],
    takes_triton: Callable[[torch.device], bool],
) -> Callable[..., Any]:
    name = f"stc_ops::{operator}"
    if not has_kernel(name, key):
        return lambda keyset, *arguments: launcher(*arguments)
    compiled = torch.library.get_kernel(name, key)

    def run(keyset: Any, *arguments: Any) -> Any:
        tensors = (each for each in arguments if isinstance(each, torch.Tensor))
        if takes_triton(next(tensors).device):
            return launcher(*arguments)
        return compiled.call_boxed(keyset, *arguments)

    return run


def _launcher(family: str, operator: str) -> Callable[..., Any]:
    def run(*arguments: Any) -> Any:
        return getattr(importlib.import_module(f".{family}", __package__), operator)(*arguments)

    return run
