"""What a fused operator may absorb: a module of which nobody could tell that it was not called.

Whoever exchanges a layer, hooks it or changes its forward finds it called as ever, one by one.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

import torch
from torch import nn

from stc_ops.torch_internals import children_of, has_hooks

from .batch_norm import BatchNormModule

# What a package of its own has put there does what it says, and nothing to its arguments.
_KNOWN_PACKAGES = ("torch.nn.", "stc_ops.")

Kinds: TypeAlias = type[nn.Module] | tuple[type[nn.Module], ...]


class FusibleLayer(Protocol):
    """A layer that a :class:`~stc_ops.models.Bottleneck` may run with the batch norms around it.

    A middle layer joins by having these two methods.
    """

    def can_fuse(self) -> bool:
        """Tell whether :meth:`forward_fused` computes what the layer computes now.

        False where a part that it absorbs has been exchanged or hooked, see :func:`is_plain`.
        """

    def forward_fused(
        self, u: torch.Tensor, bn_before: BatchNormModule, bn_after: BatchNormModule | None
    ) -> torch.Tensor:
        """Compute ``relu(bn_after(self(relu(bn_before(u)))))``.

        `bn_after` is None for a layer that has ``ends_normalized``: then the result is
        ``self(relu(bn_before(u)))``.
        """


def is_plain(module: nn.Module | None, kinds: Kinds) -> bool:
    """Tell whether calling `module` computes what the forward of one of `kinds` does, and no more.

    A subclass may have a forward of its own, and an instance too; hooks may see and change
    arguments, results and gradients. A parametrization counts as plain: it makes the attributes
    that are read anew.
    """
    for kind in kinds if isinstance(kinds, tuple) else (kinds,):
        if isinstance(module, kind) and type(module).forward is kind.forward:
            return _is_called_as_it_is(module)
    return False


def _is_called_as_it_is(module: nn.Module) -> bool:
    return (
        type(module).__call__ is nn.Module.__call__
        and "forward" not in module.__dict__
        and not has_hooks(module)
    )


def can_absorb_norm(norm: nn.Module) -> bool:
    """Tell whether a fused operator computes what `norm` does."""
    return is_plain(norm, (nn.BatchNorm2d, nn.SyncBatchNorm))


def can_absorb_layer(layer: nn.Module) -> bool:
    """Tell whether a fused forward of `layer` may run in the place of its forward."""
    return _has_fused_forward(type(layer)) and _is_called_as_it_is(layer) and layer.can_fuse()


def _has_fused_forward(kind: type[nn.Module]) -> bool:
    """Tell whether `kind` is a :class:`FusibleLayer`, and no base has a forward that is newer."""
    if not all(callable(getattr(kind, name, None)) for name in ("can_fuse", "forward_fused")):
        return False
    owner = next(each for each in kind.__mro__ if "forward_fused" in vars(each))
    return issubclass(owner, next(each for each in kind.__mro__ if "forward" in vars(each)))


def has_known_parts(module: nn.Module) -> bool:
    """Tell whether all of `module` is PyTorch's or this package's, as these have made it.

    So that nothing in it changes, behind PyTorch's back, a tensor that it reads.
    """
    return (
        type(module).__module__.startswith(_KNOWN_PACKAGES)
        and _is_called_as_it_is(module)
        and all(part is None or has_known_parts(part) for part in children_of(module))
    )
