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


def implementation(
    operator: str,
    device: torch.device,
    *,
    reference: Callable[..., Any],
    fused: Callable[..., Any],
) -> Callable[..., Any]:
    """Return what computes a fused `operator` on the backend chosen for `device`."""
    return reference if select_backend(operator, device) == "reference" else fused


def memory_format_of(frames: torch.Tensor) -> torch.memory_format:
    """Return the format in which results for `frames` come: channels_last only if it is that."""
    if not frames.is_contiguous() and frames.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def frames_format(*frames: torch.Tensor | None) -> torch.memory_format:
    """Return channels_last if that is the format of any of `frames`, else contiguous."""
    formats = [memory_format_of(each) for each in frames if each is not None]
    channels_last = torch.channels_last in formats
    return torch.channels_last if channels_last else torch.contiguous_format


def _double_backward_error(operator: str) -> NotImplementedError:
    return NotImplementedError(
        f"{operator}: double backward is not supported by the compiled kernels; "
        "use stc_ops.use_backend('reference') where second derivatives are needed"
    )


def refuse_double_backward(operator: str) -> dict[str, Callable[..., Any]]:
    """Return the autograd entries of a backward operator that has no derivative of its own."""

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    def backward(ctx: Any, *grads: torch.Tensor) -> None:
        raise _double_backward_error(operator)

    return {"setup_context": setup_context, "backward": backward}


class _Refusal(torch.autograd.Function):
    """An identity whose derivative is an error."""

    @staticmethod
    def forward(ctx: Any, operator: str, grad: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        ctx.operator = operator
        return grad.view_as(grad)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> None:
        raise _double_backward_error(ctx.operator)


def once_differentiable(operator: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make the backward of an autograd.Function refuse to be differentiated, naming `operator`."""

    def decorate(backward: Callable[..., Any]) -> Callable[..., Any]:
        def refusing(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
            with torch.no_grad():
                results = backward(ctx, *grads)
            if not torch.is_grad_enabled() or torch.compiler.is_compiling():
                return results
            # Gradients depend on the inputs even where those that come in are constants.
            source = torch.zeros((), requires_grad=True)
            return tuple(
                result if result is None else _Refusal.apply(operator, result, source)
                for result in results
            )

        return refusing

    return decorate
