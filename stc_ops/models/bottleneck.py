"""The block of the networks: the bottleneck of torchvision's ResNet, fused or layer by layer."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from stc_ops.backends import select_backend
from stc_ops.nn import BNAddReLU, BNReLU
from stc_ops.nn.absorption import can_absorb_layer, can_absorb_norm, has_known_parts, is_plain
from stc_ops.nn.tracing import is_traced
from stc_ops.operators.recomputation import recompute_in_backward
from stc_ops.torch_internals import has_tangent, is_transforming

EXPANSION = 4


class Bottleneck(nn.Module):
    """Residual block: 1x1 convolution, middle layer with the stride, 1x1 convolution.

    ``out = relu(bn3(conv3(relu(bn2(conv2(relu(bn1(conv1(entry(x))))))))) + downsample(x))``, the
    bottleneck of torchvision's ResNet with ``conv2`` exchanged and with a layer at the entrance.
    Behind a middle layer that has a true attribute ``ends_normalized``, as :class:`~stc_ops.nn.TEA`
    has, there is no ``bn2`` and no ReLU: it ends in batch norms and ReLUs of its own.

    Args:
        in_channels: channels of ``x``.
        width: channels of the middle layer.
        stride: of `middle`, and so of the block.
        middle: the layer in the place of the 3x3 convolution.
        entry: what the residual path sees first, such as TSM's
            :class:`~stc_ops.nn.TemporalShift`, or an identity.
        out_channels: channels of the result; None for 4 times `width`.

    Attributes:
        fused: whether to run :mod:`stc_ops.nn`'s fused layers in the place of ``bn1`` to ``bn3``,
            the ReLUs and the residual sum, and the fused forward of a middle layer that is a
            :class:`~stc_ops.nn.FusibleLayer`; True unless set. What they cannot absorb is called:
            norms other than ``nn.BatchNorm2d`` and ``nn.SyncBatchNorm``, activations other than
            ``nn.ReLU``, layers that have hooks or a forward of their own. The reference backend
            runs the layers one by one in any case.
        recompute: whether backward computes results of the fused operators again, by one pass each,
            so that they are not kept for it; True unless set. See
            :func:`stc_ops.recompute_in_backward`. Those that a layer of yours reads are kept.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        middle: nn.Module,
        entry: nn.Module,
        out_channels: int | None = None,
    ) -> None:
        """See the class."""
        super().__init__()
        if out_channels is None:
            out_channels = width * EXPANSION
        self.entry = entry
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = middle
        self.bn2 = None if getattr(middle, "ends_normalized", False) else nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.bn_relu = BNReLU()
        self.bn_add_relu = BNAddReLU()
        self.fused = True
        self.recompute = True
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map frames ``(N*T, in_channels, H, W)`` to ``(N*T, out_channels, H/s, W/s)``."""
        if self.fused and has_fused_kernels(x):
            return self._forward_fused(x)
        identity = self._identity(x)
        out = self.relu(self.bn1(self.conv1(self.entry(x))))
        out = self.conv2(out)
        if self.bn2 is not None:
            out = self.relu(self.bn2(out))
        out = self.bn3(self.conv3(out))
        # What a norm of somebody else, or a hook, has seen is not changed in place.
        out = out.add_(identity) if can_absorb_norm(self.bn3) else out + identity
        return self.relu(out)

    def _forward_fused(self, x: torch.Tensor) -> torch.Tensor:
        out = self._middle(self.conv1(self.entry(x)))
        with self._recomputing(self.conv3):
            w = self.conv3(out)
        if not is_plain(self.relu, nn.ReLU):
            return self.relu(self.bn3(w) + self._identity(x))
        if self._ends_in_norm(self.downsample):
            convolution, identity_bn = self.downsample
            return self.bn_add_relu(w, self.bn3, convolution(x), identity_bn)
        return self.bn_add_relu(w, self.bn3, self._identity(x))

    def _middle(self, u: torch.Tensor) -> torch.Tensor:
        with self._recomputing(self.conv2):
            if self._absorbs_middle():
                return self.conv2.forward_fused(u, self.bn1, self.bn2)
            out = self._activated(u, self.bn1)
            out = self.conv2(out)
        return out if self.bn2 is None else self._activated(out, self.bn2)

    def _activated(self, u: torch.Tensor, norm: nn.Module) -> torch.Tensor:
        if is_plain(self.relu, nn.ReLU):
            return self.bn_relu(u, norm)
        return self.relu(norm(u))

    def _identity(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.downsample is None else self.downsample(x)

    def _absorbs_middle(self) -> bool:
        return (
            is_plain(self.relu, nn.ReLU)
            and can_absorb_norm(self.bn1)
            and (self.bn2 is None or can_absorb_norm(self.bn2))
            and can_absorb_layer(self.conv2)
        )

    def _recomputing(self, reader: nn.Module) -> AbstractContextManager[None]:
        """Return where `reader` is called: it keeps no results of fused operators, if it is known.

        What a layer of somebody else does to the memory of its argument cannot be known.
        """
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return nullcontext()
        if self.recompute and has_known_parts(reader):
            return recompute_in_backward()
        return nullcontext()

    @staticmethod
    def _ends_in_norm(downsample: nn.Module | None) -> bool:
        return (
            is_plain(downsample, nn.Sequential)
            and len(downsample) == 2
            and can_absorb_norm(downsample[1])
        )


def has_fused_kernels(frames: torch.Tensor) -> bool:
    """Tell whether the fused operators are more than plain PyTorch for `frames`.

    Where they are not, running the layers one by one costs nothing and lets hooks, such as those
    of :func:`stc_ops.cost.cost`, see every layer. So does ``torch.fx``, which records layers.
    """
    if is_traced(frames) or is_transforming() or has_tangent(frames):
        return False
    return select_backend("Bottleneck", frames.device) != "reference"
