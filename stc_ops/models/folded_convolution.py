"""A convolution with its batch norm folded in, with activation and residual sum, for inference."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from stc_ops.nn.absorption import Kinds, can_absorb_norm, is_plain
from stc_ops.nn.batch_norm import BatchNormModule, batch_norm_of
from stc_ops.nn.tracing import one_call
from stc_ops.torch_internals import version_of

# By the names that oneDNN's convolutions have for them.
Activation: TypeAlias = Literal["none", "relu", "sigmoid"]
_IN_PLACE: Mapping[Activation, Callable[[torch.Tensor], torch.Tensor]] = {
    "none": lambda out: out,
    "relu": torch.relu_,
    "sigmoid": torch.sigmoid_,
}


class FoldedConvolution(nn.Module):
    """``activation(bn(convolution(x)) + residual)`` in one pass over the result, without gradients.

    Weights are copies, with the batch norm folded into them. On an x86 CPU with oneDNN, in float32
    and where the CPU has instructions for it in bfloat16, sum and activation run in the epilogue of
    the convolution, by the operators that the compiler of ``torch.compile`` emits, and weights are
    kept a second time in oneDNN's own layout, which the first input decides. Elsewhere, and under
    ``torch.compile`` and ``torch.export``, plain operators run.

    Args:
        convolution: over two or three axes, foldable as :func:`is_foldable` says.
        norm: what normalizes its result, by running statistics; None for no normalization.
        activation: of the result; of a sum with a residual no sigmoid.

    Raises:
        TypeError: `norm` is no batch norm.
    """

    def __init__(
        self,
        convolution: nn.Conv2d | nn.Conv3d,
        norm: BatchNormModule | None = None,
        *,
        activation: Activation = "none",
    ) -> None:
        """See the class."""
        super().__init__()
        weight, bias = _folded(convolution, norm)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.in_channels = convolution.in_channels
        self.stride = convolution.stride
        self.padding = convolution.padding
        self.dilation = convolution.dilation
        self.groups = convolution.groups
        self.activation = activation
        self._packed: tuple[torch.Tensor, int | None, torch.Tensor] | None = None

    @one_call
    def forward(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        """Map frames ``(N*T, C, H, W)`` to what the class says.

        Args:
            x: frames in the dtype of the weights.
            residual: of the shape, dtype and memory format of the result; None for no sum. It may
                be overwritten with the result, and be returned: hand over a copy of what is needed.

        Returns:
            Frames, channels_last where oneDNN runs, else in the memory format of ``x``.
        """
        if _runs_on_onednn(x) and x.dtype == self.weight.dtype:
            return self._on_onednn(x, residual)
        convolve = F.conv3d if self.weight.ndim == 5 else F.conv2d
        out = convolve(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )
        if residual is not None:
            out += residual
        return _IN_PLACE[self.activation](out)

    def _on_onednn(self, x: torch.Tensor, residual: torch.Tensor | None) -> torch.Tensor:
        convolution = (
            x,
            self._packed_for(x),
            self.bias,
            self.padding,
            self.stride,
            self.dilation,
            self.groups,
        )
        if residual is None:
            return torch.ops.mkldnn._convolution_pointwise.default(
                *convolution, self.activation, [], ""
            )
        activation = None if self.activation == "none" else self.activation
        return torch.ops.mkldnn._convolution_pointwise_.binary(
            residual, *convolution, "add", 1.0, activation, [], ""
        )

    def _packed_for(self, x: torch.Tensor) -> torch.Tensor:
        # Moving the module gives it another weight, loading a state dict other values. Another
        # shape of x seldom wants another layout, and then oneDNN converts at every call.
        state = (self.weight, version_of(self.weight))
        if self._packed is None or self._packed[0] is not state[0] or self._packed[1] != state[1]:
            packed = torch.ops.mkldnn._reorder_convolution_weight(
                self.weight, self.padding, self.stride, self.dilation, self.groups, x.shape
            )
            self._packed = (*state, packed)
        return self._packed[2]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the packed weight, which can neither be copied nor pickled."""
        return self.__dict__ | {"_packed": None}

    def extra_repr(self) -> str:
        """Return sizes and epilogue as ``print(module)`` shows them."""
        out_channels, _, *kernel = self.weight.shape
        return (
            f"{self.in_channels}, {out_channels}, kernel_size={tuple(kernel)}, "
            f"stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"groups={self.groups}, activation={self.activation}"
        )


@torch.no_grad()
def affine_rows(norm: BatchNormModule) -> torch.Tensor:
    """Return the batch norm by its running statistics as ``(4, C)`` in float64.

    Rows are scale, shift, mean and 1 / standard deviation; ``norm(x) = scale * x + shift``.

    Raises:
        TypeError: `norm` is no batch norm.
    """
    bn = batch_norm_of(norm)
    mean = bn.running_mean.double()
    inverse_deviation = torch.rsqrt(bn.running_var.double() + bn.eps)
    scale = inverse_deviation if bn.weight is None else inverse_deviation * bn.weight.double()
    shift = -mean * scale if bn.bias is None else bn.bias.double() - mean * scale
    return torch.stack((scale, shift, mean, inverse_deviation))


@torch.no_grad()
def _folded(
    convolution: nn.Conv2d | nn.Conv3d, norm: BatchNormModule | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    weight, bias = convolution.weight, convolution.bias
    if norm is None:
        return weight.clone(), None if bias is None else bias.clone()
    scale, shift, *_ = affine_rows(norm)
    if bias is not None:
        shift = shift + scale * bias.double()
    return (weight.double() * scale.view(-1, *[1] * (weight.ndim - 1))).to(weight), shift.to(weight)


def is_foldable(convolution: nn.Module, kinds: Kinds) -> bool:
    """Tell whether `convolution` is one of `kinds`, padded by zeros of given widths.

    One whose weight a parametrization makes anew at every call is none, nor is one with hooks.
    """
    return (
        is_plain(convolution, kinds)
        and not is_parametrized(convolution)
        and convolution.padding_mode == "zeros"
        and not isinstance(convolution.padding, str)
    )


def is_constant_norm(norm: nn.Module) -> bool:
    """Tell whether `norm` is a batch norm by constant statistics, without hooks."""
    return (
        can_absorb_norm(norm)
        and not is_parametrized(norm)
        and not norm.training
        and norm.running_mean is not None
    )


@functools.cache
def _onednn_dtypes() -> tuple[torch.dtype, ...]:
    # Compiled networks call these operators on x86 only, so nobody has tried them elsewhere.
    if platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available():
        return ()
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.float32, torch.bfloat16
    return (torch.float32,)


def _runs_on_onednn(x: torch.Tensor) -> bool:
    return (
        not torch.compiler.is_compiling()
        and x.device.type == "cpu"
        and x.dtype in _onednn_dtypes()
        and x.numel() > 0
        and torch.backends.mkldnn.enabled
    )
