"""TAM: the temporal adaptive module (Liu et al., ICCV 2021), and the layer that it makes."""

from __future__ import annotations

import torch
from torch import nn

from stc_ops.operators import spatial_pool, temporal_gate
from stc_ops.operators.checks import check_channels, check_integer, check_segments

from .context_network import apply_to_context
from .memory_format import format_of_strides
from .tracing import one_call

_TAPS = 3
_CHANNEL_REDUCTION = 4
_SEGMENT_EXPANSION = 2


class AdaptiveTemporalConv2d(nn.Module):
    """Convolve every channel over time with a kernel of its own clip (TAM).

    With the context ``p = mean over H, W of x``, of shape ``(N, C, T)``, in each clip::

        z[t, c] = x[t, c] * sigmoid(importance(p))[c, t]
        kernel[c] = softmax(aggregation(p[c]))
        out[t, c] = sum_k kernel[c, k] * z[t + k - 1, c]

    with zero frames around the clip. `importance`, the local branch, is a convolution over time of
    kernel 3 to C/4 channels, batch norm, ReLU and a pointwise convolution back to C; `aggregation`,
    the global branch, is a linear layer from T to 2T values, batch norm, ReLU and a linear layer to
    the 3 of a kernel, the same for all channels. There are no biases. The networks of
    :mod:`stc_ops.models` leave the initial weights, PyTorch's, as they are.

    The publication's formula of the global branch has no batch norm; the authors' code, whose
    layers these are, has one.

    Args:
        channels: C, at least 4.
        num_segments: T, the frames of one clip.

    Raises:
        TypeError: an argument is no integer.
        ValueError: an argument is too small.
    """

    keeps_initial_weights = True
    has_weights_of_segments = True

    def __init__(self, channels: int, num_segments: int) -> None:
        """See the class."""
        super().__init__()
        channels = check_integer(
            "AdaptiveTemporalConv2d", "channels", channels, minimum=_CHANNEL_REDUCTION
        )
        num_segments = check_integer(
            "AdaptiveTemporalConv2d", "num_segments", num_segments, minimum=1
        )
        self.channels = channels
        self.num_segments = num_segments
        hidden = channels // _CHANNEL_REDUCTION
        self.importance = nn.Sequential(
            nn.Conv1d(channels, hidden, 3, padding=1, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Conv1d(hidden, channels, 1, bias=False),
        )
        hidden = num_segments * _SEGMENT_EXPANSION
        self.aggregation = nn.Sequential(
            nn.Linear(num_segments, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, _TAPS, bias=False),
        )

    @one_call
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x``, frames ``(N*T, C, H, W)``, convolved; same shape, dtype, memory format.

        Raises:
            TypeError: ``x`` is no tensor of a supported dtype.
            ValueError: ``x`` is not 4-D, has other than C channels, or does not split into clips.
        """
        check_channels("AdaptiveTemporalConv2d", "x", x, self.channels)
        check_segments("AdaptiveTemporalConv2d", "x", x, self.num_segments)
        context = spatial_pool(x).unflatten(0, (-1, self.num_segments)).transpose(1, 2)
        logits = apply_to_context(self.importance, context).transpose(1, 2).flatten(0, 1)
        kernels = apply_to_context(self.aggregation, context.flatten(0, 1)).softmax(1)
        return _convolve_over_time(
            temporal_gate(x, logits), kernels.unflatten(0, (-1, self.channels)), self.num_segments
        )

    def extra_repr(self) -> str:
        """Return the arguments as ``print(module)`` shows them."""
        return f"{self.channels}, num_segments={self.num_segments}"


class TAM(nn.Module):
    """TAM's middle layer: :class:`AdaptiveTemporalConv2d`, then the 3x3 convolution of a block.

    Args:
        channels: C, of frames and result, at least 4.
        num_segments: T, the frames of one clip.
        stride: s, of the 3x3 convolution.

    Raises:
        TypeError: an argument is no integer.
        ValueError: an argument is too small.
    """

    def __init__(self, channels: int, num_segments: int, stride: int = 1) -> None:
        """See the class."""
        super().__init__()
        stride = check_integer("TAM", "stride", stride, minimum=1)
        self.adaptive = AdaptiveTemporalConv2d(channels, num_segments)
        self.conv = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)

    @property
    def image_convolution(self) -> nn.Conv2d:
        """The convolution that starts from an image network's."""
        return self.conv

    @one_call
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map frames ``(N*T, C, H, W)`` to ``(N*T, C, ceil(H/s), ceil(W/s))``.

        float32, float64, bfloat16 or float16; contiguous or channels_last, which the result keeps.

        Raises:
            TypeError: ``x`` is no tensor of a supported dtype.
            ValueError: ``x`` is not 4-D, has other than C channels, or does not split into clips.
        """
        # A convolution's result is channels_last where its weight is.
        return self.conv(self.adaptive(x)).contiguous(memory_format=format_of_strides(x))


def _convolve_over_time(
    frames: torch.Tensor, kernels: torch.Tensor, num_segments: int
) -> torch.Tensor:
    """Convolve each channel of each clip with its kernel of ``kernels``, ``(N, C, 3)``."""
    taps = kernels.to(frames.dtype)[:, None, :, None, None]
    previous, same, following = taps.unbind(-1)
    clips = frames.unflatten(0, (-1, num_segments))
    out = clips * same
    out[:, 1:].addcmul_(clips[:, :-1], previous)
    out[:, :-1].addcmul_(clips[:, 1:], following)
    return out.flatten(0, 1).contiguous(memory_format=format_of_strides(frames))
