"""What every operator registers with PyTorch beside its compiled kernels, and how one is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from stc_ops import _C as _C  # loading it registers schemas and CPU kernels
from stc_ops.backends import select_backend

NAMESPACE = "stc_ops"
compiled = torch.ops.stc_ops


def register(
    operator: str,
    *,
    fake: Callable[..., Any],
    setup_context: Callable[..., None],
    backward: Callable[..., Any],
) -> None:
    """Register the shape function and the derivative of `operator`."""
    name = f"{NAMESPACE}::{operator}"
    torch.library.register_fake(name, fake)
    torch.library.register_autograd(name, backward, setup_context=setup_context)


def call(operator: str, reference: Callable[..., Any], frames: torch.Tensor, *args: Any) -> Any:
    """Run `operator` on the backend chosen for the device of `frames`."""
    if select_backend(operator, frames.device) == "reference":
        return reference(frames, *args)
    return getattr(compiled, operator)(frames, *args)


def memory_format_of(frames: torch.Tensor) -> torch.memory_format:
    """Return the format in which results for `frames` come: channels_last only if it is that."""
    if not frames.is_contiguous() and frames.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def refuse_double_backward(operator: str) -> dict[str, Callable[..., Any]]:
    """Return the autograd entries of a backward operator that has no derivative of its own."""

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    def backward(ctx: Any, *grads: torch.Tensor) -> None:
        raise NotImplementedError(
            f"{operator}: double backward is not supported by the compiled kernels; "
            "use stc_ops.use_backend('reference') where second derivatives are needed"
        )

    return {"setup_context": setup_context, "backward": backward}
