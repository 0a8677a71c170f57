"""Initial weights from an image network: torchvision's ResNet into a video network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn

from stc_ops.nn import STC

from .resnet import Bottleneck, VideoResNet

_CLASSIFIER = ("fc.weight", "fc.bias")
# Checkpoints older than PyTorch 0.4.1 have none.
_OPTIONAL_SUFFIX = ".num_batches_tracked"


class LoadedWeights(NamedTuple):
    """What :func:`load_imagenet_weights` did, by names of state dict entries.

    Attributes:
        loaded: entries of the model, copied whole.
        sliced: entries of the model, copied from a part of a kernel.
        random: entries of the model, left at their initial values.
        unused: entries of the image network for which the model has no place.
    """

    loaded: tuple[str, ...]
    sliced: tuple[str, ...]
    random: tuple[str, ...]
    unused: tuple[str, ...]


def load_imagenet_weights(
    model: VideoResNet, state_dict: Mapping[str, torch.Tensor]
) -> LoadedWeights:
    """Initialize `model` from torchvision's ResNet of the same size (paper, section IV-B).

    A 3x3 kernel ``W`` gives S_T's convolution its first filters and channels, ``W[:out, :in]``.
    Convolutions over time and gate networks keep their random values, and so does the classifier
    when the numbers of classes differ.

    Args:
        model: a network of :mod:`stc_ops.models`; changed in place, unless an error is raised.
        state_dict: complete, as ``torchvision.models.resnet50(weights=...).state_dict()``.

    Raises:
        ValueError: entries are unknown, missing or of a wrong shape; the message names them all.
    """
    _check_entries(_image_shapes(model), state_dict)
    entries = model.state_dict()
    kernels = _middle_kernels(model)
    if state_dict["fc.weight"].shape[0] != model.num_classes:
        kernels |= dict.fromkeys(_CLASSIFIER)
    loaded, sliced, unused = [], [], []
    with torch.no_grad():
        for source, value in state_dict.items():
            destination = kernels.get(source, source)
            if destination is None:
                unused.append(source)
                continue
            entry = entries[destination]
            (loaded if entry.shape == value.shape else sliced).append(destination)
            entry.copy_(value[tuple(slice(size) for size in entry.shape)])
    random = entries.keys() - {*loaded, *sliced}
    return LoadedWeights(
        tuple(loaded),
        tuple(sliced),
        tuple(name for name in entries if name in random),
        tuple(unused),
    )


def _middle_layers(model: VideoResNet) -> dict[str, nn.Module]:
    return {
        f"{name}.conv2": block.conv2
        for name, block in model.named_modules()
        if isinstance(block, Bottleneck)
    }


def _middle_kernels(model: VideoResNet) -> dict[str, str | None]:
    """Map each 3x3 kernel of the image network to the model's entry that takes it, or None."""
    kernels: dict[str, str | None] = {}
    for name, middle in _middle_layers(model).items():
        destination = None
        if isinstance(middle, nn.Conv2d):
            destination = f"{name}.weight"
        elif isinstance(middle, STC) and middle.spatial is not None:
            destination = f"{name}.spatial.conv.weight"
        kernels[f"{name}.weight"] = destination
    return kernels


def _image_shapes(model: VideoResNet) -> dict[str, tuple[int, ...]]:
    """Return the state dict entries and shapes of the image network that `model` is made from."""
    middle_layers = tuple(f"{name}." for name in _middle_layers(model))
    shapes = {
        name: tuple(value.shape)
        for name, value in model.state_dict().items()
        if not name.startswith(middle_layers)
    }
    for name, block in model.named_modules():
        if isinstance(block, Bottleneck):
            width = block.bn2.num_features
            shapes[f"{name}.conv2.weight"] = (width, width, 3, 3)
    return shapes


def _check_entries(
    expected: Mapping[str, tuple[int, ...]], state_dict: Mapping[str, torch.Tensor]
) -> None:
    problems = [f"unknown entry {name}" for name in state_dict if name not in expected]
    classes = next((state_dict[name].shape[:1] for name in _CLASSIFIER if name in state_dict), ())
    for name, shape in expected.items():
        if name not in state_dict:
            if not name.endswith(_OPTIONAL_SUFFIX):
                problems.append(f"missing entry {name}")
            continue
        if name in _CLASSIFIER:
            shape = (*classes, *shape[1:])
        if tuple(state_dict[name].shape) != shape:
            problems.append(f"{name} must have shape {shape}, got {tuple(state_dict[name].shape)}")
    if problems:
        raise ValueError("load_imagenet_weights: state_dict: " + "; ".join(problems))
