"""Results of fused passes that backward computes again, so that they need not be kept for it.

What a fused operator saves for its own backward, frames and small tensors, is all that its results
follow from, by one more pass. The convolutions that read these results save them nonetheless.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from stc_ops.torch_internals import (
    Hook,
    base_of,
    can_hook_saved_tensors,
    function_of,
    hooks_of_saved_tensors,
    version_of,
)


class RecomputableFunction(torch.autograd.Function):
    """An operator whose results follow from what it saves.

    A subclass has ``recompute(ctx, *saved)``, which returns them anew. Its forward says what its
    results are by :func:`note_results`, and its backward takes saved tensors from
    :func:`saved_tensors_of`.
    """


class _Recomputable(NamedTuple):
    """A tensor as a view of a result of an operator.

    Attributes:
        node: of the operator in the graph.
        result: the number of the result.
        geometry: size, stride and offset of the view.
    """

    node: Any
    result: int
    geometry: tuple[torch.Size, tuple[int, ...], int]


class _Kept(NamedTuple):
    """A tensor that is kept, without its place in the graph, which would keep the graph alive.

    Attributes:
        tensor: shares memory and version with the tensor that was saved.
        version: of it when it was saved.
    """

    tensor: torch.Tensor
    version: int


@contextlib.contextmanager
def recompute_in_backward() -> Iterator[None]:
    """Let nothing called within keep results of fused operators for backward.

    Where a layer within saves a result of :func:`~stc_ops.bn_relu`,
    :func:`~stc_ops.bn_relu_shift`, :func:`~stc_ops.bn_relu_shift_split` or
    :func:`~stc_ops.refine_bn_relu`, it is not kept: backward computes it again from what that
    operator saves, by one more pass. The memory of one tensor for each such layer is saved::

        with stc_ops.recompute_in_backward():
            y = self.conv2(self.bn_relu(u, self.bn1))

    A result that has been changed in place is kept. So is everything else, with PyTorch's check for
    changes in place, or by the hooks of an enclosing
    ``torch.autograd.graph.saved_tensors_hooks``. What PyTorch does not see, an assignment to
    ``result.data``, is lost: call no layers here that do that.

    Without effect in compiled graphs, whose compiler decides itself what to compute again, within
    transforms of ``torch.func``, and where ``torch.autograd.graph.disable_saved_tensors_hooks``
    forbids it.
    """
    if torch.compiler.is_compiling() or not torch.is_grad_enabled() or not can_hook_saved_tensors():
        yield
        return
    hooks = _hooks(*hooks_of_saved_tensors() or (_keep, _checked))
    with torch.autograd.graph.saved_tensors_hooks(*hooks):
        yield


def note_results(ctx: Any, *results: torch.Tensor) -> None:
    """Note in the forward of an operator what its `results` are, before anybody has them."""
    if not torch.compiler.is_compiling():
        ctx.result_versions = tuple(map(version_of, results))


def saved_tensors_of(ctx: Any) -> tuple[Any, ...]:
    """Return what `ctx` has saved, in the backward of an operator that can be recomputed.

    Where that has happened, it is not unpacked again: ``torch.utils.checkpoint`` forbids it.
    """
    if (unpacked := ctx.__dict__.pop("unpacked", None)) is None:
        return ctx.saved_tensors
    return tuple(map(_checked, unpacked))


def _keep(tensor: torch.Tensor | None) -> _Kept | None:
    return None if tensor is None else _Kept(tensor.detach(), tensor._version)


def _checked(saved: _Kept | None) -> torch.Tensor | None:
    if saved is not None and saved.tensor._version != saved.version:
        raise RuntimeError(
            "one of the variables needed for gradient computation has been modified by an inplace "
            f"operation: a tensor of shape {tuple(saved.tensor.shape)} is at version "
            f"{saved.tensor._version}; expected version {saved.version} instead"
        )
    return None if saved is None else saved.tensor


def _hooks(pack: Hook, unpack: Hook) -> tuple[Hook, Hook]:
    def pack_unless_recomputable(tensor: torch.Tensor) -> Any:
        result = base_of(tensor)
        if not _can_be_recomputed(result):
            return pack(tensor)
        geometry = (tensor.size(), tensor.stride(), tensor.storage_offset())
        return _Recomputable(result.grad_fn, result.output_nr, geometry)

    def unpack_or_recompute(saved: Any) -> torch.Tensor:
        if not isinstance(saved, _Recomputable):
            return unpack(saved)
        return _recomputed(saved.node, saved.result).as_strided(*saved.geometry)

    return pack_unless_recomputable, unpack_or_recompute


def _can_be_recomputed(result: torch.Tensor) -> bool:
    node = result.grad_fn
    function = function_of(node)
    return (
        function is not None
        and issubclass(function, RecomputableFunction)
        and node.result_versions[result.output_nr] == result._version
    )


# Threads may run backward over one retained graph, and what an operator has saved may itself be
# computed again.
_recomputing = threading.RLock()


def _recomputed(node: Any, result: int) -> torch.Tensor:
    # The reader of one result is followed by that of the other one, which was computed along.
    with _recomputing:
        waiting = node.__dict__.setdefault("recomputed", {})
        if result not in waiting:
            with torch.no_grad():
                saved = saved_tensors_of(node)
                node.unpacked = tuple(map(_keep, saved))
                results = function_of(node).recompute(node, *saved)
            waiting.update(enumerate(results if isinstance(results, tuple) else (results,)))
        return waiting.pop(result)
