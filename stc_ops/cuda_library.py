"""The library of CUDA kernels, which is loaded only where this torch can use it."""

from __future__ import annotations

import functools
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
    """Say why no CUDA kernel can run here, or return None."""
    if WHY_NOT_LOADED is not None:
        return f"there are no CUDA kernels: {WHY_NOT_LOADED}"
    if not torch.cuda.is_available():
        return "this machine has no CUDA device"
    return why_no_code()


@functools.cache
def why_no_code() -> str | None:
    """Say which of the devices here is one that no kernel was compiled for, or return None."""
    names = _C.build_info()["cuda_architectures"]
    for index in range(torch.cuda.device_count()):
        capability = torch.cuda.get_device_capability(index)
        if not any(_runs_on(name, capability) for name in names):
            major, minor = capability
            return f"CUDA kernels were compiled for {', '.join(names)}, not for sm_{major}{minor}"
    return None


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
