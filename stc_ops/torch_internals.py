"""Everything of PyTorch that this package uses and that PyTorch does not call public."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn.modules import module as nn_module

Hook = Callable[[Any], Any]


def constant_in_graphs(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let ``torch.compile`` call `function` while it traces, and take its result as it is.

    As ``torch.compiler.assume_constant_result`` does, which imports torch._dynamo and with it
    Triton.
    """
    function._dynamo_marked_constant = True
    return function


@constant_in_graphs
def is_transforming() -> bool:
    """Tell whether a transform of ``torch.func`` is being computed."""
    return torch._C._functorch.maybe_current_level() is not None


@constant_in_graphs
def _is_transforming_forward() -> bool:
    forward = torch._C._functorch.TransformType.Jvp
    stack = torch._C._functorch.get_interpreter_stack() or ()
    return any(interpreter.key() == forward for interpreter in stack)


def has_tangent(*tensors: torch.Tensor | None) -> bool:
    """Tell whether forward-mode differentiation follows any of `tensors`.

    Inside of ``torch.func.jvp`` all count, since other transforms within hide their tangents.
    """
    if forward_ad._current_level < 0:
        return False
    if _is_transforming_forward():
        return True
    return any(
        tensor is not None and forward_ad.unpack_dual(tensor).tangent is not None
        for tensor in tensors
    )


def can_hook_saved_tensors() -> bool:
    """Tell whether ``torch.autograd.graph.saved_tensors_hooks`` may be entered."""
    return not is_transforming() and torch._C._autograd._saved_tensors_hooks_is_enabled()


def hooks_of_saved_tensors() -> tuple[Hook, Hook] | None:
    """Return the innermost pair of ``torch.autograd.graph.saved_tensors_hooks``."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True)


def function_of(node: Any) -> type | None:
    """Return the ``torch.autograd.Function`` of a node in the graph, or None of another node."""
    return getattr(node, "_forward_cls", None)


def base_of(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor of which `tensor` is a view, or itself."""
    return tensor if tensor._base is None else tensor._base


def version_of(tensor: torch.Tensor) -> int | None:
    """Return how often `tensor` was changed in place, or None where that is not counted."""
    return None if tensor.is_inference() else tensor._version


def hand_to_backward(name: str, value: Any) -> None:
    """Keep `value` in this thread, and in those that run the backward passes that it starts."""
    torch._C._stash_obj_in_tls(name, value)


def handed_to_backward(name: str) -> Any:
    """Return what :func:`hand_to_backward` has kept here under `name`, or None."""
    return torch._C._get_obj_in_tls(name) if torch._C._is_key_in_tls(name) else None


def has_kernel(operator: str, dispatch_key: str) -> bool:
    """Tell whether an operator, with its namespace, has a kernel of its own for a key."""
    return torch._C._dispatch_has_kernel_for_dispatch_key(operator, dispatch_key)


def children_of(module: nn.Module) -> Iterable[nn.Module | None]:
    """Return the layers of `module`, without looking for one that is there twice."""
    return module._modules.values()


def has_hooks(module: nn.Module) -> bool:
    """Tell whether calling `module` runs hooks, of its own or of all modules."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or nn_module._global_forward_hooks
        or nn_module._global_forward_pre_hooks
        or nn_module._global_backward_hooks
        or nn_module._global_backward_pre_hooks
    )


def batch_norm_type() -> type[nn.Module]:
    """Return the class of all batch norms."""
    return nn.modules.batchnorm._BatchNorm


def dropout_type() -> type[nn.Module]:
    """Return the class of all layers that drop values out."""
    return nn.modules.dropout._DropoutNd
