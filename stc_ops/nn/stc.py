"""The spatio-temporal collaborative module."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import nn

from stc_ops.operators import bn_relu_shift_split, refine_bn_relu
from stc_ops.operators.checks import check_channels, check_integer

from .absorption import is_plain
from .batch_norm import BatchNormModule, batch_norm_of
from .branches import SpatialBranch, TemporalBranch
from .channel_split import half_of, spatial_channels
from .gate_network import can_absorb_gates
from .memory_format import format_of_strides
from .refinement import SpatialRefinement, TemporalRefinement
from .shift import TemporalShift
from .temporal_conv import TemporalConv2d
from .tracing import one_call


class STC(nn.Module):
    """Spatio-temporal collaborative module of Hao et al. (paper, section III).

    ``z = cat(S_T(x[:, :a]), T_S(x[:, a:]))`` with ``a = alpha * C`` (equation 3); see
    :class:`SpatialBranch` for S_T and :class:`TemporalBranch` for T_S. With `equal_split` it is
    STC-Equal: each branch reads half of the channels, and still writes a and ``C - a``.

    The paper's variants: STC-Light has a `reduction`; NonShift-STC no `shift`; TR-only and SR-only
    one of the two refinements; Sim-STC none of the three.

    Args:
        channels: C, in and out.
        num_segments: T, the frames of one clip.
        stride: of both convolutions, in height and width alike.
        alpha: the share of S_T, from 0 (only T_S) to 1 (only S_T), as a fraction or a float.
        reduction: STC-Light's r, or None for the standard gate networks.
        equal_split: whether both branches read C/2 channels.
        shift: whether S_T shifts.
        shift_div: one part in ``shift_div`` of S_T's channels moves each way.
        temporal_refinement: whether S_T refines.
        spatial_refinement: whether T_S refines.

    Attributes:
        spatial: S_T, or None where alpha is 0.
        temporal: T_S, or None where alpha is 1.

    Raises:
        TypeError: an argument that must be an integer is none.
        ValueError: an argument is out of range, alpha does not split the channels into integers, or
            `equal_split` has one branch only or an odd C.
    """

    def __init__(
        self,
        channels: int,
        num_segments: int,
        stride: int = 1,
        *,
        alpha: Fraction | float = Fraction(3, 4),
        reduction: int | None = None,
        equal_split: bool = False,
        shift: bool = True,
        shift_div: int = 8,
        temporal_refinement: bool = True,
        spatial_refinement: bool = True,
    ) -> None:
        """See the class."""
        super().__init__()
        channels = check_integer("STC", "channels", channels, minimum=1)
        num_segments = check_integer("STC", "num_segments", num_segments, minimum=1)
        stride = check_integer("STC", "stride", stride, minimum=1)
        spatial_out = spatial_channels("STC", channels, alpha)
        temporal_out = channels - spatial_out
        spatial_in, temporal_in = spatial_out, temporal_out
        if equal_split:
            spatial_in = temporal_in = half_of("STC", channels, alpha)
        self.channels = channels
        self.num_segments = num_segments
        self.stride = stride
        self.branch_inputs = (spatial_in, temporal_in)
        self.spatial = self.temporal = None
        if spatial_out > 0:
            self.spatial = SpatialBranch(
                spatial_in,
                spatial_out,
                num_segments,
                stride,
                reduction=reduction,
                shift=shift,
                shift_div=shift_div,
                refinement=temporal_refinement,
            )
        if temporal_out > 0:
            self.temporal = TemporalBranch(
                temporal_in,
                temporal_out,
                num_segments,
                stride,
                reduction=reduction,
                refinement=spatial_refinement,
            )

    @property
    def image_convolution(self) -> nn.Conv2d | None:
        """The convolution that starts from an image network's: S_T's, where there is one."""
        return None if self.spatial is None else self.spatial.conv

    @one_call
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map frames ``(N*T, C, H, W)`` to ``(N*T, C, ceil(H/s), ceil(W/s))``.

        float32, float64, bfloat16 or float16; contiguous or channels_last, which the result keeps.

        Raises:
            TypeError: ``x`` is no tensor of a supported dtype.
            ValueError: ``x`` is not 4-D, has other than C channels, or does not split into clips.
        """
        check_channels("STC", "x", x, self.channels)
        # A convolution's result is channels_last where its weight is, and cat takes a branch of one
        # channel for contiguous, whatever the other one is.
        return self._branches(x).contiguous(memory_format=format_of_strides(x))

    def can_fuse(self) -> bool:
        """Tell whether :meth:`forward_fused` computes what :meth:`forward` does.

        So it is while the layers that it absorbs, all but the 3x3 convolution of S_T, are as this
        class has made them, and nobody has hooked one.
        """
        spatial, temporal = self.spatial, self.temporal
        return (spatial is None or self._absorbs_spatial(spatial)) and (
            temporal is None or self._absorbs_temporal(temporal)
        )

    def _absorbs_spatial(self, branch: nn.Module) -> bool:
        return (
            is_plain(branch, SpatialBranch)
            and is_plain(branch.shift, (TemporalShift, nn.Identity))
            and self._has_its_segments(branch.shift)
            and self._absorbs_refinement(branch.refine, TemporalRefinement)
        )

    def _absorbs_temporal(self, branch: nn.Module) -> bool:
        return (
            is_plain(branch, TemporalBranch)
            and is_plain(branch.conv, TemporalConv2d)
            and self._has_its_segments(branch.conv)
            and branch.conv.spatial_stride == self.stride
            and self._absorbs_refinement(branch.refine, SpatialRefinement)
        )

    def _absorbs_refinement(self, refine: nn.Module, kind: type[nn.Module]) -> bool:
        if is_plain(refine, nn.Identity):
            return True
        return (
            is_plain(refine, kind)
            and self._has_its_segments(refine)
            and can_absorb_gates(refine.gate_network)
        )

    def _has_its_segments(self, layer: nn.Module) -> bool:
        return getattr(layer, "num_segments", self.num_segments) == self.num_segments

    def forward_fused(
        self, u: torch.Tensor, bn_before: BatchNormModule, bn_after: BatchNormModule
    ) -> torch.Tensor:
        """Compute ``relu(bn_after(self(relu(bn_before(u)))))`` by the fused operators.

        :func:`stc_ops.bn_relu_shift_split`, the two convolutions and
        :func:`stc_ops.refine_bn_relu`; right only where :meth:`can_fuse`.

        Args:
            u: frames ``(N*T, C, H, W)`` as :meth:`forward` takes them.
            bn_before: the normalization of ``u``.
            bn_after: the normalization of the result of :meth:`forward`.

        Returns:
            ``(N*T, C, ceil(H/s), ceil(W/s))`` in the memory format of ``u``.

        Raises:
            TypeError: an argument has the wrong type or dtype.
            ValueError: ``u`` is not 4-D, has other than C channels or does not split into clips, or
                a normalization does not fit.
        """
        check_channels("STC", "u", u, self.channels)
        spatial_x, temporal_x = bn_relu_shift_split(
            u,
            batch_norm_of(bn_before),
            self.branch_inputs,
            self.num_segments,
            self.stride,
            self._shift_div(),
        )
        spatial_y = None if self.spatial is None else self.spatial.conv(spatial_x)
        temporal_y = None if self.temporal is None else self.temporal.conv.convolve(temporal_x)
        out = refine_bn_relu(
            spatial_y,
            temporal_y,
            batch_norm_of(bn_after),
            self.num_segments,
            _gate_weights(self.spatial),
            _gate_weights(self.temporal),
        )
        # A convolution's result is channels_last where its weight is, and branches of one channel
        # are contiguous.
        return out.contiguous(memory_format=format_of_strides(u))

    def _shift_div(self) -> int | None:
        shift = None if self.spatial is None else self.spatial.shift
        return shift.shift_div if isinstance(shift, TemporalShift) else None

    def _branches(self, x: torch.Tensor) -> torch.Tensor:
        if self.temporal is None:
            return self.spatial(x)
        if self.spatial is None:
            return self.temporal(x)
        spatial_x, temporal_x = x.split(self.branch_inputs, dim=1)
        return torch.cat((self.spatial(spatial_x), self.temporal(temporal_x)), dim=1)


def _gate_weights(branch: SpatialBranch | TemporalBranch | None) -> tuple[torch.Tensor, ...]:
    refine = None if branch is None else branch.refine
    if isinstance(refine, (TemporalRefinement, SpatialRefinement)):
        return refine.gate_network.weights
    return ()
