"""What this installation is and which backends it would use."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from . import _C, cuda_library
from .backends import BACKENDS, ENVIRONMENT_VARIABLE, forced_backend, why_not

__version__ = _C.build_info()["version"]


def show_config() -> None:
    """Print how the package was built, what the processor runs, and which backends can run."""
    build = _C.build_info()
    forced = forced_backend()
    lines = [
        f"stc_ops {build['version']}",
        f"  torch             {torch.__version__} (needed: {build['torch_abi_target']} or later)",
        f"  compiler          {build['compiler']}",
        f"  CPU kernels       {', '.join(build['cpu_isas'])}; in use: {build['cpu_isa_in_use']}",
        f"  CUDA kernels      {_cuda_kernels(build)}",
        f"  Triton            {_triton()}",
        f"  threads           {torch.get_num_threads()}",
        f"  forced backend    {forced or f'none ({ENVIRONMENT_VARIABLE} is not set)'}",
        "  backends",
    ]
    gpus = [
        f"{each}:{index}"
        for each in ("cuda", "xpu")
        for index in range(torch.get_device_module(each).device_count())
    ]
    lines += [
        f"    {backend:<14}  {device}: {why_not(backend, device) or 'can run'}"
        for device in ("cpu", *gpus)
        for backend in BACKENDS
    ]
    print("\n".join(lines))


def _cuda_kernels(build: dict[str, Any]) -> str:
    if not build["cuda_architectures"]:
        return f"none: {build['why_no_cuda']}"
    text = f"{', '.join(build['cuda_architectures'])}; nvcc {build['nvcc']}"
    return f"{text}; {cuda_library.WHY_NOT_LOADED or 'loaded'}"


def _triton() -> str:
    # The name of its distribution differs between builds of torch.
    return "not installed" if find_spec("triton") is None else import_module("triton").__version__
