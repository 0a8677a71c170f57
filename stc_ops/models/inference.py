"""Networks made faster for inference: batch norms folded, ReLU and sums inside convolutions."""

from __future__ import annotations

import copy

import torch
from torch import nn

from stc_ops.nn import STC
from stc_ops.nn.batch_norm import BatchNormModule

from .bottleneck import Bottleneck
from .folded_convolution import Activation, FoldedConvolution, is_foldable
from .inference_middle import inference_middle
from .inference_stc import InferenceSTC
from .resnet import VideoResNet


def optimize_for_inference(model: VideoResNet) -> InferenceVideoResNet:
    """Return a network that computes what `model` computes now, faster and without gradients.

    Batch norms are folded into the convolutions, except those around an STC, which the fused
    operators absorb; ReLU and residual sum run inside of the convolutions, see
    :class:`FoldedConvolution`. Everything is copied: `model` stays as it is, and later changes to
    it do not reach the result.

    Args:
        model: a network of :mod:`stc_ops.models` in evaluation mode, in the dtype and on the device
            that the result shall have.

    Raises:
        TypeError: `model` is no :class:`VideoResNet`, or a layer that is folded is not what its
            builder put there.
        ValueError: a module is in training mode, or a batch norm has no running statistics.
    """
    _check_kind("model", model, VideoResNet)
    for name, module in model.named_modules(prefix="model"):
        if module.training:
            raise ValueError(
                f"optimize_for_inference: {name} is in training mode; call model.eval() before"
            )
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            raise ValueError(f"optimize_for_inference: {name} has no running statistics")
    return InferenceVideoResNet(model)


class InferenceVideoResNet(nn.Module):
    """What :func:`optimize_for_inference` returns: to be called, not trained, saved or cast.

    It runs in the dtype of its weights, also under autocast, and its results require no gradients.
    ``torch.compile`` and ``torch.export`` take it.

    Attributes:
        network: a :class:`VideoResNet` with its layers exchanged. Its blocks may overwrite the
            frames that they are given.
    """

    def __init__(self, model: VideoResNet) -> None:
        """See :func:`optimize_for_inference`."""
        super().__init__()
        self.network = copy.deepcopy(model).requires_grad_(False)
        self.network.fused = False
        self.network.conv1 = _folded("conv1", model.conv1, model.bn1)
        self.network.bn1 = self.network.relu = nn.Identity()
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            blocks = [
                InferenceBottleneck(f"{stage}.{index}", block)
                for index, block in enumerate(getattr(model, stage))
            ]
            setattr(self.network, stage, nn.Sequential(*blocks))
        self.eval()

    @torch.no_grad()
    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Classify clips as :class:`VideoResNet` does; see there for arguments and errors."""
        with torch.autocast(self.network.conv1.weight.device.type, enabled=False):
            return self.network(frames)

    def train(self, mode: bool = True) -> InferenceVideoResNet:
        """Stay in evaluation mode.

        Raises:
            RuntimeError: `mode` is true.
        """
        if mode:
            raise RuntimeError("InferenceVideoResNet: it cannot be trained; train the original")
        return super().train(False)


class InferenceBottleneck(nn.Module):
    """A :class:`Bottleneck` for inference: the same result in fewer passes over the frames.

    Args:
        name: the block's, for messages.
        block: in evaluation mode; it is copied.

    Raises:
        TypeError: `block` or a part of it has been exchanged for another kind.
    """

    def __init__(self, name: str, block: Bottleneck) -> None:
        """See the class."""
        super().__init__()
        _check_kind(name, block, Bottleneck)
        self.entry = copy.deepcopy(block.entry)
        if isinstance(block.conv2, STC):
            _check_kind(f"{name}.conv2", block.conv2, STC)
            self.conv1 = _folded(f"{name}.conv1", block.conv1, activation="none")
            self.middle = InferenceSTC(block.conv2, block.bn1, block.bn2)
        else:
            self.conv1 = _folded(f"{name}.conv1", block.conv1, block.bn1)
            self.middle = inference_middle(block.conv2, block.bn2)
        self.conv3 = _folded(f"{name}.conv3", block.conv3, block.bn3)
        self.downsample = None
        if block.downsample is not None:
            self.downsample = _folded(f"{name}.downsample", *block.downsample, activation="none")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map frames as :class:`Bottleneck` does; ``x`` may be overwritten."""
        identity = x if self.downsample is None else self.downsample(x)
        return self.conv3(self.middle(self.conv1(self.entry(x))), identity)


def _folded(
    name: str,
    convolution: nn.Conv2d,
    norm: BatchNormModule | None = None,
    *,
    activation: Activation = "relu",
) -> FoldedConvolution:
    _check_kind(name, convolution, nn.Conv2d)
    if not is_foldable(convolution):
        raise TypeError(f"optimize_for_inference: {name} must be padded by zeros of given widths")
    return FoldedConvolution(convolution, norm, activation=activation)


def _check_kind(name: str, module: nn.Module, kind: type[nn.Module]) -> None:
    """Raise unless `module` computes what `kind` does."""
    if not isinstance(module, kind) or type(module).forward is not kind.forward:
        raise TypeError(
            f"optimize_for_inference: {name} must be a {kind.__name__} that computes what that "
            f"class does, got {type(module).__name__}"
        )
