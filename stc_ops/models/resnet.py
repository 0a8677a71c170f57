"""A bottleneck ResNet over folded frames, named as torchvision names its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import nn

from stc_ops.nn import BNReLU, GlobalAvgPool
from stc_ops.nn.absorption import is_plain
from stc_ops.nn.tracing import is_traced
from stc_ops.operators.checks import check_frames, check_integer, check_segments, check_tensor
from stc_ops.operators.recomputation import recompute_in_backward

from .bottleneck import EXPANSION, Bottleneck, has_fused_kernels
from .max_pool import recomputed_max_pool

# (channels, num_segments, stride) -> layer from (N*T, channels, H, W) to the same channels
MiddleLayer: TypeAlias = Callable[[int, int, int], nn.Module]
# (in_channels, num_segments) -> layer that keeps the shape of its input
EntryLayer: TypeAlias = Callable[[int, int], nn.Module]

STAGES = 4


class VideoResNet(nn.Module):
    """ResNet over the frames of clips, averaged over them as TSN does (paper, section III-C).

    Per frame: torchvision's ResNet with its 3x3 convolutions replaced by `middle_layer`, average
    pool, dropout, linear classifier; then the mean of the frames' logits over each clip. Parameters
    have torchvision's names, the layer in the place of a 3x3 convolution being ``conv2``.
    Convolutions have He's initialization, but for layers that have their own and say so by an
    attribute ``keeps_initial_weights``.

    Args:
        middle_layer: called with ``(channels, num_segments, stride)`` for every block; returns
            its layer, from ``channels`` to ``channels``.
        depths: blocks of each of the four stages.
        widths: channels of each of the four stages: a quarter of those of its blocks' results; the
            stem has the first.
        num_segments: T, the frames of one clip.
        num_classes: logits of one clip.
        dropout: probability of dropping a feature before the classifier.
        entry_layer: called with ``(in_channels, num_segments)`` for every block; returns the layer
            at the entrance of its residual path, such as TSM's shift, which keeps the shape of its
            input. None for no layer.
        middle_widths: channels of the middle layers of each of the four stages; None for `widths`.
        fused: the initial value of the attribute.
        recompute: the initial value of the attribute.

    Attributes:
        fused: whether the stem and all blocks run the fused operators, see :class:`Bottleneck`;
            may be set at any time. Parameters and state dict are the same either way.
        recompute: whether backward computes results of the fused operators again instead of keeping
            them, see :class:`Bottleneck`; may be set at any time. Gradients are the same bits.
        num_segments: T, the frames of one clip; may be set, for all layers at once, unless a layer
            has weights for each of them.

    Raises:
        TypeError: an argument that must be an integer is none.
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        middle_layer: MiddleLayer,
        *,
        depths: Sequence[int],
        widths: Sequence[int],
        num_segments: int,
        num_classes: int,
        dropout: float,
        entry_layer: EntryLayer | None,
        middle_widths: Sequence[int] | None = None,
        fused: bool = True,
        recompute: bool = True,
    ) -> None:
        """See the class."""
        super().__init__()
        depths = _checked_stages("depths", depths)
        widths = _checked_stages("widths", widths)
        if middle_widths is None:
            middle_widths = widths
        middle_widths = _checked_stages("middle_widths", middle_widths)
        num_segments = check_integer("VideoResNet", "num_segments", num_segments, minimum=1)
        num_classes = check_integer("VideoResNet", "num_classes", num_classes, minimum=1)
        self._num_segments = num_segments
        self.num_classes = num_classes
        stem = widths[0]
        self.conv1 = nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.bn_relu = BNReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)

        def stage(index: int, in_channels: int) -> nn.Sequential:
            blocks, width, out_channels = [], middle_widths[index], widths[index] * EXPANSION
            for block in range(depths[index]):
                stride = 2 if index > 0 and block == 0 else 1
                middle = middle_layer(width, num_segments, stride)
                entry = entry_layer(in_channels, num_segments) if entry_layer else nn.Identity()
                blocks.append(Bottleneck(in_channels, width, stride, middle, entry, out_channels))
                in_channels = out_channels
            return nn.Sequential(*blocks)

        self.layer1 = stage(0, stem)
        self.layer2 = stage(1, widths[0] * EXPANSION)
        self.layer3 = stage(2, widths[1] * EXPANSION)
        self.layer4 = stage(3, widths[2] * EXPANSION)
        self.avgpool = GlobalAvgPool()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(widths[3] * EXPANSION, num_classes)
        _initialize_convolutions(self)
        self.fused = fused
        self.recompute = recompute

    @property
    def fused(self) -> bool:
        """See the class."""
        return self._fused

    @fused.setter
    def fused(self, fused: bool) -> None:
        self._fused = fused
        for block in self._blocks():
            block.fused = fused

    @property
    def recompute(self) -> bool:
        """See the class."""
        return self._recompute

    @recompute.setter
    def recompute(self, recompute: bool) -> None:
        self._recompute = recompute
        for block in self._blocks():
            block.recompute = recompute

    def _blocks(self) -> list[Bottleneck]:
        return [module for module in self.modules() if isinstance(module, Bottleneck)]

    @property
    def num_segments(self) -> int:
        """See the class."""
        return self._num_segments

    @num_segments.setter
    def num_segments(self, num_segments: int) -> None:
        num_segments = check_integer("VideoResNet", "num_segments", num_segments, minimum=1)
        layers = {
            name: module
            for name, module in self.named_modules()
            if module is not self and hasattr(module, "num_segments")
        }
        for name, module in layers.items():
            if module.num_segments != num_segments and _has_weights_of_segments(module):
                raise ValueError(
                    f"VideoResNet: num_segments must stay {self.num_segments}, got {num_segments}: "
                    f"{name}, a {type(module).__name__}, has weights for each frame of a clip"
                )
        self._num_segments = num_segments
        for module in layers.values():
            module.num_segments = num_segments

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Classify clips.

        Args:
            frames: ``(N*T, C, H, W)``, the frames of a clip one after the other, contiguous or
                channels_last; or clips ``(N, T, C, H, W)``. C is what ``conv1`` takes, 3 unless it
                has been exchanged, as for stacks of flow or of differences.

        Returns:
            Logits ``(N, num_classes)``.

        Raises:
            TypeError: `frames` is no tensor of a supported dtype.
            ValueError: `frames` is not 4-D or 5-D, has other channels, or does not split into
                clips.
        """
        x = self._stem(frames if is_traced(frames) else self._folded(frames))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        features = self.dropout(self.avgpool(x))
        return self.fc(features).unflatten(0, (-1, self.num_segments)).mean(1)

    def _stem(self, frames: torch.Tensor) -> torch.Tensor:
        u = self.conv1(frames)
        if not (self.fused and has_fused_kernels(u) and is_plain(self.relu, nn.ReLU)):
            return self.maxpool(self.relu(self.bn1(u)))
        out = self.bn_relu(u, self.bn1)
        if not (self.recompute and is_plain(self.maxpool, nn.MaxPool2d)):
            return self.maxpool(out)
        with recompute_in_backward():
            return recomputed_max_pool(out, self.maxpool)

    def _folded(self, frames: torch.Tensor) -> torch.Tensor:
        """Check `frames`, and fold clips into the batch."""
        check_tensor("VideoResNet", "frames", frames)
        shape = tuple(frames.shape)
        if frames.ndim == 5:
            if shape[1] != self.num_segments:
                raise ValueError(
                    f"VideoResNet: frames (N, T, C, H, W) must have T = {self.num_segments}, the "
                    f"network's num_segments, got shape {shape}"
                )
            frames = frames.flatten(0, 1)
        check_frames("VideoResNet", "frames", frames)
        channels = getattr(self.conv1, "in_channels", frames.shape[1])
        if frames.shape[1] != channels:
            raise ValueError(
                f"VideoResNet: frames must have {channels} channels, got shape {shape}"
            )
        check_segments("VideoResNet", "frames", frames, self.num_segments)
        return frames


def _has_weights_of_segments(layer: nn.Module) -> bool:
    """Tell whether a layer has weights for each frame of a clip, which it says by an attribute."""
    return getattr(layer, "has_weights_of_segments", False)


def _checked_stages(argument: str, values: Sequence[int]) -> tuple[int, ...]:
    if len(values) != STAGES:
        raise ValueError(f"VideoResNet: {argument} must have {STAGES} integers, got {values}")
    return tuple(check_integer("VideoResNet", argument, value, minimum=1) for value in values)


def _initialize_convolutions(module: nn.Module) -> None:
    """Give all convolutions He's initialization but those within layers that have their own."""
    if getattr(module, "keeps_initial_weights", False):
        return
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    for child in module.children():
        _initialize_convolutions(child)
