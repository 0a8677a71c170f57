"""Results of fused passes that backward computes again, so that they need not be kept for it.

What a fused operator saves for its own backward, frames and small tensors, is all that its results
follow from, by one more pass. The convolutions that read these results save them nonetheless.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

Hook = Callable[[Any], Any]


class _Recomputable(NamedTuple):
    """A tensor as a view of a result of an operator.

    Attributes:
        node: of the operator in the graph; its class has a function `recompute`.
        result: the number of the result.
        geometry: size, stride and offset of the view.
    """

    node: Any
    result: int
    geometry: tuple[torch.Size, tuple[int, ...], int]


@contextlib.contextmanager
def recomputing_in_backward() -> Iterator[None]:
    """Let nothing called within keep results of fused operators for backward.

    Other tensors are saved as they would be, by the hooks of an enclosing
    ``torch.autograd.graph.saved_tensors_hooks`` where there is one. Compiled graphs are left alone:
    their compiler decides itself what to compute again.
    """
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        yield
        return
    enclosing = torch._C._autograd._top_saved_tensors_default_hooks(True)
    with torch.autograd.graph.saved_tensors_hooks(*_hooks(*enclosing or (_same, _same))):
        yield


def saved_tensors_of(ctx: Any) -> tuple[Any, ...]:
    """Return what `ctx` has saved, in the backward of an operator that can be recomputed.

    Where that has happened, it is not unpacked again: ``torch.utils.checkpoint`` forbids it.
    """
    return ctx.__dict__.pop("unpacked", None) or ctx.saved_tensors


def _same(saved: Any) -> Any:
    return saved


def _hooks(pack: Hook, unpack: Hook) -> tuple[Hook, Hook]:
    def pack_unless_recomputable(tensor: torch.Tensor) -> Any:
        result = tensor if tensor._base is None else tensor._base
        node = result.grad_fn
        if not hasattr(getattr(node, "_forward_cls", None), "recompute"):
            return pack(tensor)
        geometry = (tensor.size(), tensor.stride(), tensor.storage_offset())
        return _Recomputable(node, result.output_nr, geometry)

    def unpack_or_recompute(saved: Any) -> torch.Tensor:
        if not isinstance(saved, _Recomputable):
            return unpack(saved)
        return _recomputed(saved.node, saved.result).as_strided(*saved.geometry)

    return pack_unless_recomputable, unpack_or_recompute


def _recomputed(node: Any, result: int) -> torch.Tensor:
    # The reader of one result is followed by that of the other one, which was computed along.
    waiting = getattr(node, "recomputed", {})
    if result not in waiting:
        with torch.no_grad():
            node.unpacked = node.saved_tensors
            results = node._forward_cls.recompute(node, *node.unpacked)
        waiting = dict(enumerate(results if isinstance(results, tuple) else (results,)))
    node.recomputed = waiting
    return waiting.pop(result)
