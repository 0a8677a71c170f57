"""The library of CUDA kernels, which is loaded only where this torch can use it."""

from __future__ import annotations

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
    return None
