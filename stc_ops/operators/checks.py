"""Validation shared by all operators: it runs before any kernel and names what was wrong."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from numbers import Integral
from typing import Any

import torch

SUPPORTED_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of sums, moments and logits: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def check_tensor(operator: str, argument: str, value: torch.Tensor) -> None:
    """Raise TypeError unless `value` is a strided tensor of a supported dtype."""
    if not isinstance(value, torch.Tensor):
        raise TypeError(
            f"{operator}: {argument} must be a torch.Tensor, got {type(value).__name__}"
        )
    if value.dtype not in SUPPORTED_DTYPES:
        expected = ", ".join(str(dtype).removeprefix("torch.") for dtype in SUPPORTED_DTYPES)
        raise TypeError(
            f"{operator}: {argument} must be one of {expected}, got {name_of(value.dtype)}"
        )
    if value.layout != torch.strided:
        raise TypeError(f"{operator}: {argument} must be strided, got {name_of(value.layout)}")


def check_frames(operator: str, argument: str, frames: torch.Tensor) -> None:
    """Raise unless `frames` is a (N*T, C, H, W) tensor of a supported dtype."""
    check_tensor(operator, argument, frames)
    if frames.ndim != 4:
        raise ValueError(
            f"{operator}: {argument} must have 4 dimensions (N*T, C, H, W), "
            f"got {frames.ndim} with shape {tuple(frames.shape)}"
        )


def check_channels(operator: str, argument: str, frames: torch.Tensor, channels: int) -> None:
    """Raise unless `frames` is a (N*T, C, H, W) tensor of a supported dtype with C `channels`."""
    check_frames(operator, argument, frames)
    if frames.shape[1] != channels:
        raise ValueError(
            f"{operator}: {argument} must have {channels} channels, got shape {tuple(frames.shape)}"
        )


def check_integer(operator: str, argument: str, value: int, minimum: int) -> int:
    """Return `value` as Python's int; raise unless it is an integer of at least `minimum`."""
    if type(value) is int and value >= minimum:
        return value
    if isinstance(value, bool) or not isinstance(value, (Integral, torch.SymInt)):
        raise TypeError(f"{operator}: {argument} must be an int, got {type(value).__name__}")
    if value < minimum:
        raise ValueError(f"{operator}: {argument} must be at least {minimum}, got {value}")
    return value if isinstance(value, torch.SymInt) else int(value)


def check_segments(operator: str, argument: str, frames: torch.Tensor, num_segments: int) -> int:
    """Return `num_segments`; raise unless `frames` split into clips of so many."""
    num_segments = check_integer(operator, "num_segments", num_segments, minimum=1)
    if frames.shape[0] % num_segments != 0:
        raise ValueError(
            f"{operator}: {argument} must hold a multiple of num_segments={num_segments} frames, "
            f"got {frames.shape[0]} in shape {tuple(frames.shape)}"
        )
    return num_segments


def checked_logits(
    operator: str, logits: torch.Tensor, frames: torch.Tensor, shape: tuple[int, ...]
) -> torch.Tensor:
    """Return `logits`, of `shape` and on the device of `frames`, in the accumulation dtype.

    Autocast runs the convolutions that produce logits in low precision, so under autocast they are
    cast here; elsewhere another dtype is a TypeError.
    """
    check_tensor(operator, "logits", logits)
    if tuple(logits.shape) != shape:
        raise ValueError(
            f"{operator}: logits must have shape {shape} for y of shape {tuple(frames.shape)}, "
            f"got {tuple(logits.shape)}"
        )
    if logits.device != frames.device:
        raise ValueError(f"{operator}: logits must be on {frames.device}, got {logits.device}")
    expected = accumulation_dtype(frames.dtype)
    logits = autocast_to(expected, logits)
    if logits.dtype == expected:
        return logits
    raise TypeError(
        f"{operator}: logits must be {name_of(expected)} for y of {name_of(frames.dtype)}, "
        f"got {name_of(logits.dtype)}"
    )


def check_parameter(
    operator: str,
    argument: str,
    parameter: torch.Tensor,
    shape: tuple[int, ...],
    frames: torch.Tensor,
) -> None:
    """Raise unless `parameter` has `shape` and goes with `frames` in device and dtype.

    The dtype is that of the frames, or that of sums over them.
    """
    if not _goes_with(parameter, shape, frames):
        _refuse_parameter(operator, argument, parameter, shape, frames)


def _goes_with(parameter: torch.Tensor, shape: tuple[int, ...], frames: torch.Tensor) -> bool:
    # A network asks some hundred times per step: one expression, and what is wrong only if it is.
    return (
        isinstance(parameter, torch.Tensor)
        and parameter.shape == shape
        and parameter.device == frames.device
        and parameter.layout == torch.strided
        and parameter.dtype in (frames.dtype, accumulation_dtype(frames.dtype))
    )


def _refuse_parameter(
    operator: str,
    argument: str,
    parameter: torch.Tensor,
    shape: tuple[int, ...],
    frames: torch.Tensor,
) -> None:
    check_tensor(operator, argument, parameter)
    if tuple(parameter.shape) != shape:
        raise ValueError(
            f"{operator}: {argument} must have shape {shape}, got {tuple(parameter.shape)}"
        )
    if parameter.device != frames.device:
        raise ValueError(
            f"{operator}: {argument} must be on {frames.device}, got {parameter.device}"
        )
    raise TypeError(
        f"{operator}: {argument} must be {name_of(accumulation_dtype(frames.dtype))} for "
        f"frames of {name_of(frames.dtype)}, got {name_of(parameter.dtype)}"
    )


def autocast_to(dtype: torch.dtype, tensor: torch.Tensor) -> torch.Tensor:
    """Return `tensor`, under autocast in `dtype`: there layers before differ in what they return.

    A tensor that no operator takes, of integers say, stays what it is.
    """
    if tensor.dtype == dtype or tensor.dtype not in SUPPORTED_DTYPES:
        return tensor
    return tensor.to(dtype) if _is_autocast_enabled(tensor.device.type) else tensor


def without_autocast(device_type: str) -> AbstractContextManager[Any]:
    """Return a context in which what runs on a device is computed in the dtypes that are given."""
    if not _is_autocast_enabled(device_type):
        return nullcontext()
    return torch.autocast(device_type, enabled=False)


def _is_autocast_enabled(device_type: str) -> bool:
    # Of a device that has no autocast, such as meta, the second question is an error.
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)


def name_of(dtype: torch.dtype | torch.layout) -> str:
    """Return the name of `dtype` as messages have it."""
    return str(dtype).removeprefix("torch.")
