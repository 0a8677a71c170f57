"""3-D convolutions on folded frames, and their decomposition into space and time."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from stc_ops.operators.checks import check_frames, check_integer, check_segments

from .memory_format import channels_innermost, dense, format_of_strides
from .temporal_conv import TemporalConv2d
from .tracing import one_call

# Of a single clip, T * C * H: PyTorch computes so small a 3-D convolution by code of its own, which
# takes up to ten times as long.
_LARGEST_WITHOUT_ONEDNN = 20_480


class FramesConv3d(nn.Conv3d):
    """3-D convolution over the frames of clips (Tran et al., ICCV 2015), on folded frames.

    ``out[t, o, h, w] = sum_{k, c, i, j} weight[o, c, k, i, j] * x[t + k - K//2, c, s*h + i - I//2,
    s*w + j - J//2]`` within each clip, with zeros around it; no bias. The stride is spatial, so
    every frame stays.

    Channels_last frames are, without a copy, channels_last clips to the convolution; contiguous
    ones are converted there and back.

    Args:
        in_channels: C of ``x``.
        out_channels: C of the result.
        num_segments: T, the frames of one clip.
        stride: s, in height and width alike.
        kernel_size: ``(K, I, J)``, odd numbers: time, height, width.

    Attributes:
        weight: ``(out_channels, in_channels, K, I, J)``.

    Raises:
        TypeError: an argument that must be an integer is none.
        ValueError: an argument is below 1, or a kernel size even.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_segments: int,
        stride: int = 1,
        *,
        kernel_size: tuple[int, int, int] = (3, 3, 3),
    ) -> None:
        """See the class."""
        in_channels = check_integer("FramesConv3d", "in_channels", in_channels, minimum=1)
        out_channels = check_integer("FramesConv3d", "out_channels", out_channels, minimum=1)
        num_segments = check_integer("FramesConv3d", "num_segments", num_segments, minimum=1)
        stride = check_integer("FramesConv3d", "stride", stride, minimum=1)
        kernel_size = tuple(
            check_integer("FramesConv3d", "kernel_size", size, minimum=1) for size in kernel_size
        )
        if any(size % 2 == 0 for size in kernel_size):
            raise ValueError(f"FramesConv3d: kernel_size must be odd, got {kernel_size}")
        padding = tuple(size // 2 for size in kernel_size)
        super().__init__(
            in_channels, out_channels, kernel_size, (1, stride, stride), padding, bias=False
        )
        self.num_segments = num_segments

    @one_call
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve frames ``(N*T, C, H, W)``, in either memory format or a channel slice of it.

        Returns:
            ``(N*T, out_channels, ceil(H/s), ceil(W/s))`` in the memory format of ``x``.

        Raises:
            TypeError: ``x`` is no tensor of a supported dtype.
            ValueError: ``x`` is not 4-D or its frames do not split into clips.
        """
        check_frames("FramesConv3d", "x", x)
        check_segments("FramesConv3d", "x", x, self.num_segments)
        layout = format_of_strides(x)
        x = channels_innermost(x)
        out = self._by_steps(x) if self._is_slow(x) else self._at_once(x)
        return out.contiguous(memory_format=layout)

    def _at_once(self, x: torch.Tensor) -> torch.Tensor:
        clips = x.permute(0, 2, 3, 1).unflatten(0, (-1, self.num_segments))
        out = super().forward(clips.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1).flatten(0, 1)
        return out.permute(0, 3, 1, 2)

    def _is_slow(self, x: torch.Tensor) -> bool:
        return (
            x.device.type == "cpu"
            and x.dtype == torch.float32
            and not torch.compiler.is_compiling()
            and x.shape[0] == self.num_segments
            and self.num_segments * x.shape[1] * x.shape[2] <= _LARGEST_WITHOUT_ONEDNN
        )

    def _by_steps(self, frames: torch.Tensor) -> torch.Tensor:
        """Add up the 2-D convolutions by the kernel's steps in time, of a single clip."""
        stride, padding = self.stride[1:], self.padding[1:]
        middle = self.padding[0]
        out = F.conv2d(frames, self.weight[:, :, middle], None, stride, padding)
        for step, weight in enumerate(self.weight.unbind(2)):
            # out[t] takes frames[t + later].
            later = step - middle
            if 0 < abs(later) < self.num_segments:
                taken = frames[max(later, 0) : self.num_segments + min(later, 0)]
                start = max(-later, 0)
                out[start : start + len(taken)] += F.conv2d(taken, weight, None, stride, padding)
        return out

    def _apply(
        self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True
    ) -> FramesConv3d:
        # So that Module.to takes channels_last, which five axes cannot have; with time and height
        # as one axis it is channels_last_3d.
        def of_five_axes(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.ndim != 5 or _takes_five_axes(fn):
                return fn(tensor)
            return fn(tensor.flatten(2, 3)).unflatten(2, tensor.shape[2:4])

        return super()._apply(of_five_axes, recurse)

    def extra_repr(self) -> str:
        """Return the arguments as ``print(module)`` shows them."""
        return (
            f"{self.in_channels}, {self.out_channels}, num_segments={self.num_segments}, "
            f"stride={self.stride[1]}, kernel_size={self.kernel_size}"
        )


def _takes_five_axes(fn: Callable[[torch.Tensor], torch.Tensor]) -> bool:
    """Tell whether a conversion that ``Module.to`` makes is one of tensors with five axes."""
    try:
        fn(torch.empty((1,) * 5))
    except RuntimeError:
        return False
    return True


class P3D(nn.Module):
    """3x3x3 convolution, decomposed: 1x3x3, then 3x1x1 (Qiu et al., ICCV 2017; paper, table I).

    ``out = temporal(spatial(x))``, ``12 * C^2`` parameters. Nothing is between the two, as the
    counts of table II say; P3D-A of its authors has a batch norm and a ReLU there.

    Args:
        channels: C, in and out.
        num_segments: T, the frames of one clip.
        stride: of `spatial`, in height and width alike.

    Raises:
        TypeError: an argument is no integer.
        ValueError: an argument is below 1.
    """

    def __init__(self, channels: int, num_segments: int, stride: int = 1) -> None:
        """See the class."""
        super().__init__()
        channels = check_integer("P3D", "channels", channels, minimum=1)
        stride = check_integer("P3D", "stride", stride, minimum=1)
        self.spatial = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.temporal = TemporalConv2d(channels, channels, num_segments)

    @property
    def image_convolution(self) -> nn.Conv2d:
        """The convolution that starts from an image network's."""
        return self.spatial

    @one_call
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map frames ``(N*T, C, H, W)`` to ``(N*T, C, ceil(H/s), ceil(W/s))`` in their format."""
        out = self.temporal(self.spatial(dense(x)))
        return out.contiguous(memory_format=format_of_strides(x))
