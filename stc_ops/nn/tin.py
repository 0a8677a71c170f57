"""TIN: temporal interlacing, a shift over time by learned fractions of frames."""

from __future__ import annotations

import torch
from torch import nn

from stc_ops.operators import spatial_pool
from stc_ops.operators.checks import check_channels, check_integer, check_segments

from .context_network import apply_to_context
from .memory_format import dense, format_of_strides
from .tracing import one_call

_LARGEST_OFFSET = 2.0
_OFFSETS = 2
# Every offset is also taken the other way.
_GROUPS = 2 * _OFFSETS
# Offsets begin at half a frame: 4 * (sigmoid(log(5 / 3)) - 1/2).
_INITIAL_OFFSET_LOGIT = 0.5108


class _OffsetLogits(nn.Linear):
    """The last layer of an :class:`OffsetNetwork`, whose offsets begin at half a frame."""

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.constant_(self.bias, _INITIAL_OFFSET_LOGIT)


class _WeightLogits(nn.Conv1d):
    """The layer of a :class:`WeightNetwork`, whose weights begin around 1."""

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.zeros_(self.bias)


class OffsetNetwork(nn.Module):
    """From context ``(N, C, T)`` to the two offsets of each clip, in frames between -2 and 2.

    A convolution over time to one channel, a linear layer over its T frames, ReLU, a linear layer
    to two logits l, and ``4 * (sigmoid(l) - 1/2)``.
    """

    def __init__(self, channels: int, num_segments: int) -> None:
        """See the class."""
        super().__init__()
        self.conv = nn.Conv1d(channels, 1, 3, padding=1)
        self.hidden = nn.Linear(num_segments, num_segments)
        self.relu = nn.ReLU()
        self.out = _OffsetLogits(num_segments, _OFFSETS)

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Return offsets ``(N, 2)``."""
        logits = self.out(self.relu(self.hidden(self.conv(context).flatten(1))))
        return 2 * _LARGEST_OFFSET * (logits.sigmoid() - 0.5)


class WeightNetwork(nn.Module):
    """From context ``(N, C, T)`` to two weights of each frame, between 0 and 2.

    A convolution over time to two channels of logits l, and ``2 * sigmoid(l)``.
    """

    def __init__(self, channels: int) -> None:
        """See the class."""
        super().__init__()
        self.conv = _WeightLogits(channels, _OFFSETS, 3, padding=1)

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Return weights ``(N, 2, T)``."""
        return 2 * self.conv(context).sigmoid()


class TIN(nn.Module):
    """Interlace frames: move a part of the channels along time by learned offsets.

    A layer for the entrance of a block's residual path, as TSM's shift (Shao et al., AAAI 2020).
    The first ``C / shift_div`` channels are four equal groups, that move by the clip's offsets
    ``o = (o0, o1, -o0, -o1)`` and are then weighted frame by frame by ``w = (w0, w1, w0, w1)``, see
    :func:`interlace`; all other channels stay. Offsets and weights come from the means over H and W
    of the channels that move, through :class:`OffsetNetwork` and :class:`WeightNetwork`. The
    networks of :mod:`stc_ops.models` leave their initial weights as they are.

    How many channels move, how they are grouped and which group has which weight follow the
    authors' code and its training, which takes ``shift_div=4``.

    Args:
        channels: C of frames and result.
        num_segments: T, the frames of one clip.
        shift_div: one part in ``shift_div`` of the channels moves.

    Raises:
        TypeError: an argument is no integer.
        ValueError: an argument is below 1, or the channels that move are not four equal groups.
    """

    keeps_initial_weights = True
    has_weights_of_segments = True

    def __init__(self, channels: int, num_segments: int, shift_div: int = 4) -> None:
        """See the class."""
        super().__init__()
        channels = check_integer("TIN", "channels", channels, minimum=1)
        num_segments = check_integer("TIN", "num_segments", num_segments, minimum=1)
        shift_div = check_integer("TIN", "shift_div", shift_div, minimum=1)
        moving = channels // shift_div
        if moving == 0 or moving % _GROUPS != 0:
            raise ValueError(
                f"TIN: channels / shift_div must be a multiple of {_GROUPS}, got {channels} and "
                f"{shift_div}, and so {moving}"
            )
        self.channels = channels
        self.num_segments = num_segments
        self.moving = moving
        self.offsets = OffsetNetwork(moving, num_segments)
        self.weights = WeightNetwork(moving)

    @one_call
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x``, frames ``(N*T, C, H, W)``, interlaced; same shape, dtype, memory format.

        float32, float64, bfloat16 or float16; contiguous or channels_last.

        Raises:
            TypeError: ``x`` is no tensor of a supported dtype.
            ValueError: ``x`` is not 4-D, has other than C channels, or does not split into clips.
        """
        check_channels("TIN", "x", x, self.channels)
        check_segments("TIN", "x", x, self.num_segments)
        moving = dense(x[:, : self.moving])
        context = spatial_pool(moving).unflatten(0, (-1, self.num_segments)).transpose(1, 2)
        offsets = apply_to_context(self.offsets, context)
        weights = apply_to_context(self.weights, context)
        moved = interlace(moving, torch.cat((offsets, -offsets), 1), weights.repeat(1, 2, 1))
        return torch.cat((moved, x[:, self.moving :]), 1).contiguous(
            memory_format=format_of_strides(x)
        )

    def extra_repr(self) -> str:
        """Return the arguments as ``print(module)`` shows them."""
        return f"{self.channels}, num_segments={self.num_segments}, moving={self.moving}"


def interlace(frames: torch.Tensor, offsets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Move groups of channels along time by fractions of frames, and weight each frame.

    ``out[n, t, g] = weights[n, g, t] * sum_s max(0, 1 - |t - offsets[n, g] - s|) * x[n, s, g]``,
    linear interpolation between the two frames nearest to ``t - offsets[n, g]``, with zero frames
    around the clip. At a whole offset, where this has a kink, the derivative is that towards larger
    offsets.

    Args:
        frames: ``(N*T, C, H, W)``, C a multiple of G.
        offsets: ``(N, G)``, of the G equal groups of channels in each clip.
        weights: ``(N, G, T)``.

    Returns:
        Tensor of the shape, dtype and memory format of `frames`.
    """
    groups, num_segments = weights.shape[1:]
    matrix = weights[..., None] * _interpolation(offsets, num_segments)
    clips = frames.unflatten(1, (groups, -1)).unflatten(0, (-1, num_segments))
    moved = torch.einsum("ngts,nsgchw->ntgchw", matrix.to(frames.dtype), clips)
    # Autocast multiplies matrices in low precision.
    moved = moved.flatten(2, 3).flatten(0, 1).to(frames.dtype)
    return moved.contiguous(memory_format=format_of_strides(frames))


def _interpolation(offsets: torch.Tensor, num_segments: int) -> torch.Tensor:
    """Return the matrices ``(N, G, T, T)`` that move the T frames of a clip by `offsets`."""
    whole = offsets.detach().floor()
    fraction = (offsets - whole)[..., None, None]
    time = torch.arange(num_segments, device=offsets.device)
    steps = (time[:, None] - time) - whole[..., None, None]
    return (1 - fraction) * (steps == 0) + fraction * (steps == 1)
