"""The architectures of GPUs that Triton has compilers for."""

from __future__ import annotations

import torch

OLDEST_CAPABILITY = (7, 0)

# Those that both Triton 3.8 and 3.9 compile for: 3.9 gave up gfx10.
AMD_ARCHITECTURES = (
    *("gfx906", "gfx908", "gfx90a", "gfx942", "gfx950"),
    *("gfx1100", "gfx1101", "gfx1102", "gfx1103", "gfx1150", "gfx1151", "gfx1152", "gfx1153"),
    *("gfx1200", "gfx1201", "gfx1250"),
)


def architecture_of(device: torch.device) -> str | None:
    """Return sm_* or gfx* of a GPU, or None of one that is not here or that has no such name."""
    if device.type != "cuda" or (device.index or 0) >= torch.cuda.device_count():
        return None
    if torch.version.hip is not None:
        return torch.cuda.get_device_properties(device).gcnArchName.split(":")[0]
    major, minor = torch.cuda.get_device_capability(device)
    return f"sm_{major}{minor}"


def why_not_architecture(architecture: str | None) -> str | None:
    """Say why Triton compiles nothing for an architecture, or return None.

    Those without a name are Intel's, of which Triton takes all that PyTorch takes.
    """
    if architecture is None:
        return None
    if architecture.startswith("sm_"):
        capability = divmod(int(architecture.removeprefix("sm_")), 10)
        supported = capability >= OLDEST_CAPABILITY
    else:
        supported = architecture in AMD_ARCHITECTURES
    return None if supported else f"Triton does not compile for {architecture}"
