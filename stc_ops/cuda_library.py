"""The library of CUDA kernels, which is loaded only where this torch can use it."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path

import torch

from . import _C

LIBRARY = Path(__file__).with_name("_cuda.so")


def _load() -> str | None:
    """Load the library, which registers its kernels, or say why there is none."""
    if not (build := _C.build_info())["cuda_architectures"]:
        return build["why_no_cuda"]
    if torch.version.cuda is None:
        return "built, but this torch has no CUDA"
    if not LIBRARY.exists():
        return f"built, but {LIBRARY} is missing"
    try:
        torch.ops.load_library(str(LIBRARY))
    except OSError as error:
        return f"built, but not loaded: {error}"
    return None


WHY_NOT_LOADED = _load()


def why_no_device() -> str | None:
    """Say why CUDA kernels can run on no device here, or return None."""
    if WHY_NOT_LOADED is not None:
        return f"there are no CUDA kernels: {WHY_NOT_LOADED}"
    if not torch.cuda.is_available():
        return "this machine has no CUDA device"
    return why_not_with_driver(_C.build_info()["nvcc"], driver_version())


@functools.cache
def why_not_on(device: torch.device) -> str | None:
    """Say why the kernels do not run on a CUDA device, or return None.

    Tensors may be traced for devices that are not here: nothing speaks against those.
    """
    if WHY_NOT_LOADED is not None:
        return f"there are no CUDA kernels: {WHY_NOT_LOADED}"
    if (device.index or 0) >= torch.cuda.device_count():
        return None
    built, driver = _C.build_info(), driver_version()
    return why_not_with_driver(built["nvcc"], driver) or why_no_code(
        built["cuda_architectures"],
        torch.cuda.get_device_capability(device),
        compiles_ptx=driver >= _major_and_minor(built["nvcc"]),
    )


def driver_version() -> tuple[int, int] | None:
    """Return the CUDA version that the driver is for, or None where there is no driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    version = ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return None
    return version.value // 1000, version.value % 1000 // 10


def why_not_with_driver(nvcc: str, driver: tuple[int, int] | None) -> str | None:
    """Say why the CUDA runtime of an nvcc, which the kernels hold, does not run with a driver.

    Within a major version it runs with every driver; drivers also run what is older.
    """
    if driver is None:
        return "the version of CUDA's driver cannot be read"
    major, _ = _major_and_minor(nvcc)
    if driver[0] >= major:
        return None
    return (
        f"its kernels were built with CUDA {nvcc}, which needs a driver for CUDA {major}, "
        f"and the driver here is for CUDA {driver[0]}.{driver[1]}"
    )


def why_no_code(
    architectures: Sequence[str], capability: tuple[int, int], compiles_ptx: bool
) -> str | None:
    """Say that no kernel was compiled for a device of this capability, or return None.

    `compiles_ptx` says whether the driver is as new as the compiler: else it knows no PTX of it.
    """
    if any(
        _runs_on(name, capability) and (compiles_ptx or name.startswith("sm_"))
        for name in architectures
    ):
        return None
    major, minor = capability
    return f"CUDA kernels were compiled for {', '.join(architectures)}, not for sm_{major}{minor}"


def _major_and_minor(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _runs_on(architecture: str, capability: tuple[int, int]) -> bool:
    """Whether sm_* code, or compute_* that a driver compiles, runs on such a device.

    What has a suffix is for one kind of devices (a) or for one family of them (f), even as PTX.
    """
    kind, number = architecture.split("_")
    made_for = divmod(int(number.rstrip("af")), 10)
    if number.endswith("a"):
        return made_for == capability
    if kind == "sm" or number.endswith("f"):
        return made_for[0] == capability[0] and made_for[1] <= capability[1]
    return made_for <= capability
