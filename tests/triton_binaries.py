"""What compiled Triton kernels must be like, by what their compilers tell."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import triton

KIB = 1024
MOST_SHARED_BYTES = {
    "sm_70": 96 * KIB,
    "sm_75": 64 * KIB,
    "sm_80": 163 * KIB,
    "sm_86": 99 * KIB,
    "sm_89": 99 * KIB,
    "sm_90": 227 * KIB,
    "sm_100": 227 * KIB,
    "sm_120": 99 * KIB,
    "gfx942": 64 * KIB,
    "gfx1100": 64 * KIB,
}

CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
_AMD_SPILLS = re.compile(r"\.(?:private_segment_fixed_size|[sv]gpr_spill_count):\s*(\d+)")
_NVIDIA_SPILLS = re.compile(r"(?:STACK|LOCAL):(\d+)")
_WIDE = {
    "load": re.compile(
        r"ld\.global[.\w]*\.(?:v4\.b32|v2\.b64)|(?:buffer|global)_load_(?:dwordx4|b128)"
    ),
    "store": re.compile(
        r"st\.global[.\w]*\.(?:v4\.b32|v2\.b64)|(?:buffer|global)_store_(?:dwordx4|b128)"
    ),
}


def spilled_bytes(compiled: Any, folder: Path) -> list[int]:
    """Return what the kernel keeps in memory of its own: stack frames and spilled registers."""
    if "amdgcn" in compiled.asm:
        return [int(number) for number in _AMD_SPILLS.findall(compiled.asm["amdgcn"])]
    binary = folder / "kernel.cubin"
    binary.write_bytes(compiled.asm["cubin"])
    command = [CUOBJDUMP, "--dump-resource-usage", binary]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [int(number) for number in _NVIDIA_SPILLS.findall(report)]


def moves_16_bytes(compiled: Any, what: str) -> bool:
    """Whether there are loads, or stores, of 16 bytes."""
    text = compiled.asm.get("ptx") or compiled.asm["amdgcn"]
    return _WIDE[what].search(text) is not None
