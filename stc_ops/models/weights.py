"""Initial weights from an image network: torchvision's ResNet into a video network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn

from stc_ops.listing import first_few

from .bottleneck import Bottleneck
from .resnet import VideoResNet

_CLASSIFIER = ("fc.weight", "fc.bias")
_KERNEL_SIZE = (3, 3)
# Checkpoints older than PyTorch 0.4.1 have none.
OPTIONAL_SUFFIX = ".num_batches_tracked"


class LoadedWeights(NamedTuple):
    """What :func:`load_imagenet_weights` did, by names of state dict entries.

    Attributes:
        loaded: entries of the model, copied whole.
        sliced: entries of the model, copied from a part of a kernel.
        inflated: entries of the model, a kernel or a part of it at every step of time.
        random: entries of the model, left at their initial values.
        unused: entries of the image network for which the model has no place.
    """

    loaded: tuple[str, ...]
    sliced: tuple[str, ...]
    inflated: tuple[str, ...]
    random: tuple[str, ...]
    unused: tuple[str, ...]


@torch.no_grad()
def load_imagenet_weights(
    model: VideoResNet, state_dict: Mapping[str, torch.Tensor]
) -> LoadedWeights:
    """Initialize `model` from torchvision's ResNet of the same size (paper, section IV-B).

    A 3x3 kernel ``W`` goes to the dense 3x3 convolution that is the middle layer or that this names
    as its ``image_convolution``; one with fewer filters or channels, as S_T's, takes the first
    ones, ``W[:out, :in]``. A 3x3x3 convolution takes ``W / 3`` at each of its three steps, I3D's
    inflation (Carreira & Zisserman, CVPR 2017): frames that are all alike get what the image
    network gives them. All other layers of video networks keep their random values, and so does
    the classifier when the numbers of classes differ.

    Args:
        model: a network of :mod:`stc_ops.models`; changed in place, unless an error is raised.
        state_dict: complete, as ``torchvision.models.resnet50(weights=...).state_dict()``.

    Raises:
        ValueError: entries are unknown, missing or of a wrong shape; the message names the first
            ones of each kind and counts the rest.
    """
    _check_entries(_image_shapes(model), state_dict)
    entries = model.state_dict()
    destinations = _middle_kernels(model)
    if state_dict["fc.weight"].shape[0] != model.num_classes:
        destinations |= dict.fromkeys(_CLASSIFIER)
    values: dict[str, torch.Tensor] = {}
    loaded, sliced, inflated, unused = [], [], [], []
    for source, value in state_dict.items():
        destination = destinations.get(source, source)
        if destination is None:
            unused.append(source)
            continue
        entry = entries[destination]
        if entry.ndim > value.ndim:
            inflated.append(destination)
        else:
            (loaded if entry.shape == value.shape else sliced).append(destination)
        values[destination] = _fitted_to(entry, value)
    # Only now, so that a value that cannot be copied leaves the model as it was.
    for destination, value in values.items():
        entries[destination].copy_(value)
    random = entries.keys() - values.keys()
    return LoadedWeights(
        tuple(loaded),
        tuple(sliced),
        tuple(inflated),
        tuple(name for name in entries if name in random),
        tuple(unused),
    )


def _kernel_shapes(model: VideoResNet) -> dict[str, tuple[int, ...]]:
    """Return the 3x3 kernels of the image network and their shapes, one for each middle layer."""
    return {
        f"{name}.conv2.weight": (block.conv1.out_channels,) * 2 + _KERNEL_SIZE
        for name, block in model.named_modules()
        if isinstance(block, Bottleneck)
    }


def _middle_kernels(model: VideoResNet) -> dict[str, str | None]:
    """Map each 3x3 kernel of the image network to the model's entry that takes it, or None."""
    names = {id(module): name for name, module in model.named_modules()}
    kernels: dict[str, str | None] = {}
    for name, kernel in _kernel_shapes(model).items():
        convolution = _image_convolution(model.get_submodule(name.removesuffix(".weight")))
        takes = convolution is not None and _is_part(convolution, kernel)
        kernels[name] = f"{names[id(convolution)]}.weight" if takes else None
    return kernels


def _image_convolution(middle: nn.Module) -> nn.Module | None:
    """Return the convolution in a middle layer that starts from an image network's."""
    if isinstance(middle, (nn.Conv2d, nn.Conv3d)):
        return middle
    return getattr(middle, "image_convolution", None)


def _is_part(convolution: nn.Conv2d | nn.Conv3d, kernel: tuple[int, ...]) -> bool:
    """Tell whether a dense convolution has some of the filters and channels of `kernel`."""
    filters, channels, *size = convolution.weight.shape
    return (
        convolution.groups == 1
        and tuple(size[-2:]) == kernel[2:]
        and filters <= kernel[0]
        and channels <= kernel[1]
    )


def _fitted_to(entry: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Return the first values along every axis of `value`, in the type and place of `entry`.

    Where `entry` has an axis of time, third of five, its steps share them equally.
    """
    if entry.ndim > value.ndim:
        value = (value / entry.shape[2])[:, :, None].expand(-1, -1, entry.shape[2], -1, -1)
    return torch.empty_like(entry).copy_(value[tuple(slice(size) for size in entry.shape)])


def _image_shapes(model: VideoResNet) -> dict[str, tuple[int, ...]]:
    """Return the state dict entries and shapes of the image network that `model` is made from."""
    kernels = _kernel_shapes(model)
    of_video = [name.removesuffix("weight") for name in kernels]
    of_video += [name.replace("conv2.weight", "entry.") for name in kernels]
    shapes = {
        name: tuple(value.shape)
        for name, value in model.state_dict().items()
        if not name.startswith(tuple(of_video))
    }
    return shapes | kernels


def _check_entries(
    expected: Mapping[str, tuple[int, ...]], state_dict: Mapping[str, torch.Tensor]
) -> None:
    unknown = [name for name in state_dict if name not in expected]
    missing, misshapen = [], []
    classes = next((state_dict[name].shape[:1] for name in _CLASSIFIER if name in state_dict), ())
    for name, shape in expected.items():
        if name not in state_dict:
            if not name.endswith(OPTIONAL_SUFFIX):
                missing.append(name)
            continue
        if name in _CLASSIFIER:
            shape = (*classes, *shape[1:])
        got = tuple(state_dict[name].shape)
        if got != shape:
            misshapen.append(f"{name} must have shape {shape}, got {got}")
    problems = [f"unknown entry {first_few(unknown)}"] if unknown else []
    problems += [f"missing entry {first_few(missing)}"] if missing else []
    problems += [first_few(misshapen, "; ")] if misshapen else []
    if problems:
        raise ValueError("load_imagenet_weights: state_dict: " + "; ".join(problems))
