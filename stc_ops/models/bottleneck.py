"""The block of the networks: the bottleneck of torchvision's ResNet, fused or layer by layer."""

from __future__ import annotations

import torch
from torch import nn

from stc_ops.backends import select_backend
from stc_ops.nn import GST, STC, TEA, BNAddReLU, BNReLU

EXPANSION = 4


class Bottleneck(nn.Module):
    """Residual block: 1x1 convolution, middle layer with the stride, 1x1 convolution.

    ``out = relu(bn3(conv3(relu(bn2(conv2(relu(bn1(conv1(entry(x))))))))) + downsample(x))``, the
    bottleneck of torchvision's ResNet with ``conv2`` exchanged and with a layer at the entrance.
    Behind a :class:`~stc_ops.nn.TEA`, which ends in batch norms and ReLUs of its own, there is no
    ``bn2`` and no ReLU.

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
            the ReLUs, the residual sum and all of an :class:`~stc_ops.nn.STC` or
            :class:`~stc_ops.nn.GST` but its convolutions;
            True unless set. They know ``nn.BatchNorm2d`` and ``nn.SyncBatchNorm`` only, and forward
            hooks of the layers that they replace do not run. The reference backend runs the layers
            one by one in any case.
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
        self.bn2 = None if isinstance(middle, TEA) else nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.bn_relu = BNReLU()
        self.bn_add_relu = BNAddReLU()
        self.fused = True
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
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(self.entry(x))))
        out = self.conv2(out)
        if self.bn2 is not None:
            out = self.relu(self.bn2(out))
        out = self.bn3(self.conv3(out))
        out += identity
        return self.relu(out)

    def _forward_fused(self, x: torch.Tensor) -> torch.Tensor:
        u = self.conv1(self.entry(x))
        if isinstance(self.conv2, (STC, GST)):
            out = self.conv2.forward_fused(u, self.bn1, self.bn2)
        elif isinstance(self.conv2, TEA):
            out = self.conv2.forward_fused(u, self.bn1)
        else:
            out = self.bn_relu(self.conv2(self.bn_relu(u, self.bn1)), self.bn2)
        w = self.conv3(out)
        if self.downsample is not None:
            convolution, identity_bn = self.downsample
            return self.bn_add_relu(w, self.bn3, convolution(x), identity_bn)
        # Under autocast x may be wider than what a convolution returns.
        return self.bn_add_relu(w, self.bn3, x.to(w.dtype))


def has_fused_kernels(frames: torch.Tensor) -> bool:
    """Tell whether the fused operators are more than plain PyTorch for `frames`.

    Where they are not, running the layers one by one costs nothing and lets hooks, such as those
    of :func:`stc_ops.cost.cost`, see every layer.
    """
    return select_backend("Bottleneck", frames.device) != "reference"
