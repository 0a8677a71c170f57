"""Networks made faster for inference: batch norms folded, ReLU and sums inside convolutions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from stc_ops.nn.absorption import Kinds, has_known_parts, is_plain
from stc_ops.nn.tracing import is_traced
from stc_ops.operators.checks import name_of
from stc_ops.torch_internals import batch_norm_type, has_hooks

from .bottleneck import Bottleneck
from .folded_convolution import Activation, FoldedConvolution, is_constant_norm, is_foldable
from .inference_middle import copied, inference_middle
from .inference_stc import InferenceSTC
from .resnet import VideoResNet


def optimize_for_inference(model: VideoResNet) -> InferenceVideoResNet:
    """Return a network that computes what `model` computes now, faster and without gradients.

    Batch norms are folded into the convolutions, except those around an STC, which the fused
    operators absorb; ReLU and residual sum run inside of the convolutions, see
    :class:`FoldedConvolution`. Everything is copied: `model` stays as it is, and later changes to
    it do not reach the result.

    What folding cannot take is refused, by name: layers of the network itself and of its blocks
    that have been exchanged for another kind, have hooks or a parametrization, or a forward of
    their own. Entry and middle layers may be anything: those that are not known, or that have been
    changed, run as they are, with their hooks.

    Args:
        model: a network of :mod:`stc_ops.models` in evaluation mode, in the dtype and on the device
            that the result shall have.

    Raises:
        TypeError: `model` is no :class:`VideoResNet`, or a layer that is folded is not what its
            builder put there.
        ValueError: a module is in training mode, or a batch norm has no running statistics.
    """
    _check_plain("model", model, VideoResNet)
    for name, module in model.named_modules(prefix="model"):
        if module.training:
            raise ValueError(
                f"optimize_for_inference: {name} is in training mode; call model.eval() before"
            )
        if isinstance(module, batch_norm_type()) and module.running_mean is None:
            raise ValueError(f"optimize_for_inference: {name} has no running statistics")
    return InferenceVideoResNet(model)


class InferenceVideoResNet(nn.Module):
    """What :func:`optimize_for_inference` returns: to be called, and not trained or cast.

    It runs in the dtype of its weights, also under autocast, and its results require no gradients.
    ``torch.compile`` and ``torch.export`` take it. Its state dict is its own, and goes into another
    one that was made of the same kind of network.

    Attributes:
        network: a :class:`VideoResNet` with its layers exchanged.
    """

    def __init__(self, model: VideoResNet) -> None:
        """See :func:`optimize_for_inference`."""
        super().__init__()
        _check_plain("relu", model.relu, nn.ReLU)
        stem = _folded("conv1", model.conv1, "bn1", model.bn1)
        stages = {
            name: _inference_stage(name, getattr(model, name))
            for name in ("layer1", "layer2", "layer3", "layer4")
        }
        self.network = copied("model", model)
        self.network.fused = False
        self.network.conv1 = stem
        self.network.bn1 = self.network.relu = nn.Identity()
        for name, stage in stages.items():
            setattr(self.network, name, stage)
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

    def _apply(
        self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True
    ) -> InferenceVideoResNet:
        # Coefficients and weights have different dtypes, and have been rounded once.
        weight = self.network.conv1.weight
        dtype = fn(torch.empty_like(weight[:0])).dtype
        if dtype != weight.dtype:
            raise TypeError(
                f"InferenceVideoResNet: weights must stay {name_of(weight.dtype)}, got "
                f"{name_of(dtype)}; cast the original before optimize_for_inference"
            )
        return super()._apply(fn, recurse)


def _inference_stage(name: str, stage: nn.Module) -> InferenceStage:
    _check_plain(name, stage, nn.Sequential)
    blocks = (InferenceBottleneck(f"{name}.{index}", block) for index, block in enumerate(stage))
    return InferenceStage(*blocks)


class InferenceStage(nn.Sequential):
    """The blocks of a stage."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map frames as the blocks one after the other do.

        Each may overwrite what the one before it returns, unless a hook or a layer of somebody else
        has seen that.
        """
        known = not is_traced(x) and has_known_parts(self)
        for index, block in enumerate(self):
            x = block.run(x, may_overwrite=index > 0) if known else block(x)
        return x


class InferenceBottleneck(nn.Module):
    """A :class:`Bottleneck` for inference: the same result in fewer passes over the frames.

    Args:
        name: the block's, for messages.
        block: in evaluation mode; it is copied.

    Raises:
        TypeError: `block` or a part of it has been exchanged for another kind, or hooked.
    """

    def __init__(self, name: str, block: Bottleneck) -> None:
        """See the class."""
        super().__init__()
        _check_plain(name, block, Bottleneck)
        _check_plain(f"{name}.relu", block.relu, nn.ReLU)
        self.entry = copied(f"{name}.entry", block.entry)
        if InferenceSTC.takes(block.conv2) and all(map(is_constant_norm, (block.bn1, block.bn2))):
            self.conv1 = _folded(f"{name}.conv1", block.conv1, activation="none")
            self.middle = InferenceSTC(block.conv2, block.bn1, block.bn2)
        else:
            self.conv1 = _folded(f"{name}.conv1", block.conv1, f"{name}.bn1", block.bn1)
            self.middle = inference_middle(f"{name}.conv2", block.conv2, block.bn2)
        self.conv3 = _folded(f"{name}.conv3", block.conv3, f"{name}.bn3", block.bn3)
        self.downsample = None
        if block.downsample is not None:
            self.downsample = _folded_downsample(f"{name}.downsample", block.downsample)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map frames as :class:`Bottleneck` does."""
        return self.run(x, may_overwrite=False)

    def run(self, x: torch.Tensor, *, may_overwrite: bool) -> torch.Tensor:
        """Map frames, over ``x`` where that may be overwritten."""
        out = self.middle(self.conv1(self.entry(x)))
        if self.downsample is not None:
            return self.conv3(out, self.downsample(x))
        return self.conv3(out, x if may_overwrite else x.clone())


def _folded_downsample(name: str, downsample: nn.Module) -> FoldedConvolution:
    _check_plain(name, downsample, nn.Sequential)
    if len(downsample) != 2:
        raise TypeError(
            f"optimize_for_inference: {name} must be a convolution and a norm, got {downsample}"
        )
    convolution, norm = downsample
    return _folded(f"{name}.0", convolution, f"{name}.1", norm, activation="none")


def _folded(
    name: str,
    convolution: nn.Module,
    norm_name: str = "",
    norm: nn.Module | None = None,
    *,
    activation: Activation = "relu",
) -> FoldedConvolution:
    _check_plain(name, convolution, nn.Conv2d)
    if not is_foldable(convolution, nn.Conv2d):
        raise TypeError(f"optimize_for_inference: {name} must be padded by zeros of given widths")
    if norm is not None:
        _check_plain(norm_name, norm, (nn.BatchNorm2d, nn.SyncBatchNorm))
    return FoldedConvolution(convolution, norm, activation=activation)


def _check_plain(name: str, module: nn.Module, kinds: Kinds) -> None:
    """Raise unless `module` does what one of `kinds` does, now and at every call."""
    refusal = f"optimize_for_inference: {name} must "
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    if isinstance(module, kinds) and has_hooks(module):
        raise TypeError(f"{refusal}have no hooks, which would not run any more; remove them before")
    if isinstance(module, kinds) and is_parametrized(module):
        raise TypeError(
            f"{refusal}have no parametrization, which would not run any more; see "
            "torch.nn.utils.parametrize.remove_parametrizations"
        )
    if not is_plain(module, kinds):
        raise TypeError(
            f"{refusal}be a {kinds[0].__name__} that computes what that class does, "
            f"got {type(module).__name__}"
        )
