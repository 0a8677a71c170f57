"""What every operator registers with PyTorch beside its compiled kernels, and how one is called."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch.overrides import handle_torch_function, has_torch_function

from stc_ops import _C as _C  # loading it registers schemas and CPU kernels
from stc_ops.backends import select_backend
from stc_ops.torch_internals import has_tangent, is_transforming

Function = TypeVar("Function", bound=Callable[..., Any])

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


def shape_function(function: Function) -> Function:
    """Register a function as that of the shapes of an operator's results.

    It is called as the operator is, or so with an underscore before.
    """
    operator = function.__name__.removeprefix("_")
    torch.library.register_fake(f"{NAMESPACE}::{operator}", function)
    return function


def public(operator: Function) -> Function:
    """Let what stands in for tensors have a public operator as it has PyTorch's own functions.

    By the protocol ``__torch_function__``: subclasses of tensors, and the proxies of ``torch.fx``,
    which record one call.
    """

    @functools.wraps(operator)
    def overridable(*args: Any, **kwargs: Any) -> Any:
        given = (*args, *kwargs.values())
        if has_torch_function(given):
            return handle_torch_function(overridable, given, *args, **kwargs)
        return operator(*args, **kwargs)

    return overridable


def call_linear(
    operator: str, reference: Callable[..., Any], frames: torch.Tensor, *args: Any
) -> Any:
    """Run an `operator` that is linear on the backend chosen for the device of `frames`.

    Its derivative in forward mode is itself, and the reference's is PyTorch's.
    """
    device = frames.device
    if select_backend(operator, device) == "reference" or _needs_plain(frames):
        return reference(frames, *args)
    return getattr(compiled, operator)(frames, *args)


def _needs_plain(*tensors: torch.Tensor) -> bool:
    return has_tangent(*tensors) or is_transforming()


def implementation(
    operator: str,
    tensors: Sequence[torch.Tensor | None],
    *,
    reference: Callable[..., Any],
    kernels: Callable[..., Any],
) -> Callable[..., Any]:
    """Return what computes `operator` of `tensors` on the backend chosen for their device.

    Within transforms of ``torch.func``, of which kernels know nothing, that is the reference.

    Raises:
        NotImplementedError: the kernels were chosen, and forward-mode differentiation follows one
            of `tensors`.
    """
    device = next(each.device for each in tensors if each is not None)
    if select_backend(operator, device) == "reference":
        return reference
    if has_tangent(*tensors):
        raise NotImplementedError(
            f"{operator}: forward-mode differentiation is not supported by the compiled kernels; "
            "use stc_ops.use_backend('reference') where it is needed"
        )
    return reference if is_transforming() else kernels


def refuse_tracing(operator: str) -> None:
    """Raise inside of ``torch.jit.trace``, which cannot record a function of ``torch.autograd``."""
    if torch.jit.is_tracing():
        raise RuntimeError(
            f"{operator}: torch.jit.trace cannot record a fused operator; trace a network with "
            "fused=False (network.fused = False), or use torch.export"
        )


def memory_format_of(frames: torch.Tensor) -> torch.memory_format:
    """Return the format in which results for `frames` come: channels_last only if it is that.

    Transforms of ``torch.func`` know no formats: there it is contiguous.
    """
    if is_transforming():
        return torch.contiguous_format
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


def is_recorded(*tensors: torch.Tensor | None) -> bool:
    """Tell whether the result of an operator on `tensors` needs a place in the graph."""
    return torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in tensors
    )


def once_differentiable(operator: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make the backward of an autograd.Function refuse to be differentiated, naming `operator`."""

    def decorate(backward: Callable[..., Any]) -> Callable[..., Any]:
        def refusing(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
            if not torch.is_grad_enabled():
                return backward(ctx, *grads)
            with torch.no_grad():
                results = backward(ctx, *grads)
            if torch.compiler.is_compiling():
                return results
            # Gradients depend on the inputs even where those that come in are constants.
            source = torch.zeros((), requires_grad=True)
            return tuple(
                result if result is None else _Refusal.apply(operator, result, source)
                for result in results
            )

        return refusing

    return decorate
