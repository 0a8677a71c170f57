"""The fused operators as layers that take the batch norms, and the gates, which a network has.

They hold no parameters and no layers: the state dict of the network, the conversion of its batch
norms to ``nn.SyncBatchNorm`` and which of them train stay what they are without these layers.

Where a fused operator cannot do what the modules do, since a norm is of another kind, has hooks or
a forward of its own, and where ``torch.fx`` records, they call the modules one by one instead.
"""

from __future__ import annotations

import torch
from torch import nn

from stc_ops.operators import (
    bn_add_relu,
    bn_relu,
    bn_relu_shift,
    bn_relu_shift_split,
    refine_bn_relu,
    temporal_shift,
)
from stc_ops.operators.checks import check_integer

from .absorption import can_absorb_norm
from .batch_norm import batch_norm_of
from .gate_network import can_absorb_gates
from .memory_format import dense
from .refinement import refine_in_space, refine_in_time
from .tracing import is_traced


def _run_one_by_one(
    layer: str, frames: torch.Tensor | tuple[torch.Tensor | None, ...], *norms: nn.Module
) -> bool:
    """Tell whether `norms` are called, as modules that no fused operator absorbs."""
    for norm in norms:
        if not isinstance(norm, nn.Module):
            raise TypeError(f"{layer}: bn must be a module, got {type(norm).__name__}")
    frames = frames if isinstance(frames, tuple) else (frames,)
    return is_traced(*frames) or not all(map(can_absorb_norm, norms))


class BNReLU(nn.Module):
    """Batch norm and ReLU in one pass: :func:`stc_ops.bn_relu` without parameters."""

    def forward(self, u: torch.Tensor, bn: nn.Module) -> torch.Tensor:
        """Return ``relu(bn(u))`` of frames ``(N*T, C, H, W)``; same shape, dtype, memory format.

        Raises:
            TypeError: an argument has the wrong type or dtype.
            ValueError: ``u`` is not 4-D or `bn` does not fit.
        """
        if _run_one_by_one("BNReLU", u, bn):
            return torch.relu(bn(u))
        return bn_relu(u, batch_norm_of(bn))


class BNReLUShift(nn.Module):
    """Batch norm, ReLU and temporal shift in one pass, for TSM-style networks.

    :func:`stc_ops.bn_relu_shift` without parameters.

    Args:
        num_segments: T, the frames of one clip.
        shift_div: one part in ``shift_div`` of the channels moves each way; at least 2.

    Raises:
        TypeError: an argument is no integer.
        ValueError: an argument is too small.
    """

    def __init__(self, num_segments: int, shift_div: int = 8) -> None:
        """See the class."""
        super().__init__()
        num_segments = check_integer("BNReLUShift", "num_segments", num_segments, minimum=1)
        shift_div = check_integer("BNReLUShift", "shift_div", shift_div, minimum=2)
        self.num_segments = num_segments
        self.shift_div = shift_div

    def forward(self, u: torch.Tensor, bn: nn.Module) -> torch.Tensor:
        """Return ``shift(relu(bn(u)))`` of frames ``(N*T, C, H, W)``; same shape, dtype, format.

        Raises:
            TypeError: an argument has the wrong type or dtype.
            ValueError: ``u`` is not 4-D, its frames do not split into clips, or `bn` does not fit.
        """
        if _run_one_by_one("BNReLUShift", u, bn):
            return temporal_shift(torch.relu(bn(u)), self.num_segments, self.shift_div)
        return bn_relu_shift(u, batch_norm_of(bn), self.num_segments, self.shift_div)

    def extra_repr(self) -> str:
        """Return the arguments as ``print(module)`` shows them."""
        return f"num_segments={self.num_segments}, shift_div={self.shift_div}"


class BNReLUShiftSplit(nn.Module):
    """Batch norm, ReLU, temporal shift and split in one pass: what STC's convolutions read.

    :func:`stc_ops.bn_relu_shift_split` without parameters. With ``v = relu(bn(u))`` and
    ``split = (a, b)``::

        spatial  = temporal_shift(v[:, :a], num_segments, shift_div)
        temporal = v[:, a:, ::stride, ::stride]

    Args:
        split: a and b; together the channels of ``u``.
        num_segments: T, the frames of one clip.
        stride: of the pixels in `temporal`.
        shift_div: one part in ``shift_div`` of the first a channels moves each way; at least 2, or
            None for no shift.

    Raises:
        TypeError: an argument that must be an integer is none.
        ValueError: an argument is too small, or `split` is no pair.
    """

    def __init__(
        self,
        split: tuple[int, int],
        num_segments: int,
        stride: int = 1,
        shift_div: int | None = 8,
    ) -> None:
        """See the class."""
        super().__init__()
        if len(split) != 2:
            raise ValueError(f"BNReLUShiftSplit: split must be two integers, got {split}")
        self.split = tuple(
            check_integer("BNReLUShiftSplit", "split", channels, minimum=0) for channels in split
        )
        num_segments = check_integer("BNReLUShiftSplit", "num_segments", num_segments, minimum=1)
        stride = check_integer("BNReLUShiftSplit", "stride", stride, minimum=1)
        if shift_div is not None:
            shift_div = check_integer("BNReLUShiftSplit", "shift_div", shift_div, minimum=2)
        self.num_segments = num_segments
        self.stride = stride
        self.shift_div = shift_div

    def forward(self, u: torch.Tensor, bn: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        """Map frames ``(N*T, a + b, H, W)`` to the inputs of the two convolutions.

        Returns:
            ``(N*T, a, H, W)`` and ``(N*T, b, ceil(H/stride), ceil(W/stride))``, in the dtype and
            memory format of ``u``.

        Raises:
            TypeError: an argument has the wrong type or dtype.
            ValueError: ``u`` is not 4-D, has other channels, its frames do not split into clips, or
                `bn` does not fit.
        """
        if _run_one_by_one("BNReLUShiftSplit", u, bn):
            activated = torch.relu(bn(u))
            spatial, temporal = activated[:, : self.split[0]], activated[:, self.split[0] :]
            if self.shift_div is not None:
                spatial = temporal_shift(spatial, self.num_segments, self.shift_div)
            return dense(spatial), dense(temporal[:, :, :: self.stride, :: self.stride])
        return bn_relu_shift_split(
            u, batch_norm_of(bn), self.split, self.num_segments, self.stride, self.shift_div
        )

    def extra_repr(self) -> str:
        """Return the arguments as ``print(module)`` shows them."""
        return (
            f"split={self.split}, num_segments={self.num_segments}, stride={self.stride}, "
            f"shift_div={self.shift_div}"
        )


class RefineBNReLU(nn.Module):
    """STC's refinements, concatenation, batch norm and ReLU: all behind its convolutions.

    :func:`stc_ops.refine_bn_relu` without parameters:
    ``out = relu(bn(cat(TR(spatial_y), SR(temporal_y))))`` (paper, equations 1 to 3); see
    :class:`TemporalRefinement` for TR and :class:`SpatialRefinement` for SR.

    Args:
        num_segments: T, the frames of one clip.

    Raises:
        TypeError: `num_segments` is no integer.
        ValueError: `num_segments` is below 1.
    """

    def __init__(self, num_segments: int) -> None:
        """See the class."""
        super().__init__()
        num_segments = check_integer("RefineBNReLU", "num_segments", num_segments, minimum=1)
        self.num_segments = num_segments

    def forward(
        self,
        spatial_y: torch.Tensor | None,
        temporal_y: torch.Tensor | None,
        bn: nn.Module,
        temporal_gates: nn.Module | None = None,
        spatial_gates: nn.Module | None = None,
    ) -> torch.Tensor:
        """Map frames ``(N*T, a, H, W)`` and ``(N*T, b, H, W)`` to ``(N*T, a + b, H, W)``.

        Args:
            spatial_y: what S_T's convolution returns, or None where there is no S_T.
            temporal_y: what T_S's convolution returns, or None where there is no T_S.
            bn: the normalization of the ``a + b`` channels.
            temporal_gates: the gate network of TR, a :class:`GateNetwork` of ``nn.Conv1d`` or what
                maps context ``(N, C, T)`` to logits as that does; None for no TR.
            spatial_gates: the gate network of SR, a :class:`GateNetwork` of ``nn.Conv2d`` or what
                maps context ``(N, C, H, W)`` to logits as that does; None for no SR.

        Returns:
            Frames in the dtype of the branches; channels_last if a branch is.

        Raises:
            TypeError: an argument has the wrong type or dtype, or the branches differ in dtype.
            ValueError: both branches are None or do not fit each other, frames do not split into
                clips, or `bn` or a gate network does not fit.
        """
        gates = (temporal_gates, spatial_gates)
        if _run_one_by_one("RefineBNReLU", (spatial_y, temporal_y), bn) or not all(
            gate is None or can_absorb_gates(gate) for gate in gates
        ):
            return torch.relu(bn(self._refined(spatial_y, temporal_y, *gates)))
        return refine_bn_relu(
            spatial_y,
            temporal_y,
            batch_norm_of(bn),
            self.num_segments,
            () if temporal_gates is None else temporal_gates.weights,
            () if spatial_gates is None else spatial_gates.weights,
        )

    def extra_repr(self) -> str:
        """Return the argument as ``print(module)`` shows it."""
        return f"num_segments={self.num_segments}"

    def _refined(
        self,
        spatial_y: torch.Tensor | None,
        temporal_y: torch.Tensor | None,
        temporal_gates: nn.Module | None,
        spatial_gates: nn.Module | None,
    ) -> torch.Tensor:
        refined = [spatial_y, temporal_y]
        if spatial_y is not None and temporal_gates is not None:
            refined[0] = refine_in_time(spatial_y, temporal_gates, self.num_segments)
        if temporal_y is not None and spatial_gates is not None:
            refined[1] = refine_in_space(temporal_y, spatial_gates, self.num_segments)
        return torch.cat([each for each in refined if each is not None], dim=1)


class BNAddReLU(nn.Module):
    """Batch norm, residual sum and ReLU in one pass: the end of a residual block.

    :func:`stc_ops.bn_add_relu` without parameters.
    """

    def forward(
        self,
        w: torch.Tensor,
        bn: nn.Module,
        identity: torch.Tensor,
        identity_bn: nn.Module | None = None,
    ) -> torch.Tensor:
        """Return ``relu(bn(w) + identity)``, or ``relu(bn(w) + identity_bn(identity))``.

        Args:
            w: frames ``(N*T, C, H, W)``, what the last convolution of a block returns.
            bn: the normalization of ``w``.
            identity: frames of the shape and dtype of ``w``; the block's input, or what the
                convolution of a downsample branch returns.
            identity_bn: the normalization of `identity`, or None to add it as it is.

        Returns:
            Tensor of the shape, dtype and memory format of ``w``.

        Raises:
            TypeError: an argument has the wrong type or dtype.
            ValueError: ``w`` is not 4-D, `identity` has another shape or device, or a normalization
                does not fit.
        """
        norms = [bn] if identity_bn is None else [bn, identity_bn]
        if _run_one_by_one("BNAddReLU", w, *norms):
            if identity_bn is not None:
                identity = identity_bn(identity)
            return torch.relu(bn(w) + identity)
        identity_norm = None if identity_bn is None else batch_norm_of(identity_bn)
        return bn_add_relu(w, batch_norm_of(bn), identity, identity_norm)
