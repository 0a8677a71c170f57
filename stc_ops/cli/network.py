"""The network that a command runs: STC-ResNet-50, random or with saved weights."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch
from torch import nn

from stc_ops.models import stc_light_resnet50, stc_resnet50

from .errors import CommandError

# Something-Something V1
DEFAULT_CLASSES = 174
RANDOM_SEED = 0


def load_weights(path: str | os.PathLike[str]) -> Mapping[str, torch.Tensor]:
    """Load a `state_dict` saved by `torch.save`.

    Raises:
        CommandError: if the file cannot be read or holds something else.
    """
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CommandError(f"cannot read weights '{path}': {error.strerror or error}") from error
    except Exception as error:
        # Arbitrary bytes make the unpickler raise arbitrary exceptions.
        raise CommandError(f"weights '{path}' are not a state_dict saved by torch.save") from error
    if not isinstance(weights, Mapping) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in weights.items()
    ):
        raise CommandError(f"weights '{path}' are not a state_dict of tensors by name")
    for name, value in weights.items():
        if value.layout != torch.strided or value.is_nested or value.is_meta:
            raise CommandError(
                f"weights '{path}' must hold strided tensors with values, got {_kind(value)} "
                f"for '{name}'"
            )
    return weights


def num_classes_of(weights: Mapping[str, torch.Tensor], path: str | os.PathLike[str]) -> int:
    """Return the number of classes that the classifier in `weights` tells apart.

    Raises:
        CommandError: if `weights` have no classifier, or one of no classes.
    """
    classifier = weights.get("fc.weight")
    if classifier is None or classifier.dim() != 2:
        raise CommandError(f"weights '{path}' have no matrix 'fc.weight', the classifier's")
    if len(classifier) < 1:
        raise CommandError(
            f"weights '{path}' must have at least 1 class, the rows of 'fc.weight', "
            f"got shape {tuple(classifier.shape)}"
        )
    return len(classifier)


def build_network(num_classes: int, num_segments: int, light: bool) -> nn.Module:
    """Build STC-ResNet-50, or STC-Light, in evaluation mode and channels_last.

    Its random weights are the same every time, and the global random state stays as it was.
    """
    builder = stc_light_resnet50 if light else stc_resnet50
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(RANDOM_SEED)
        model = builder(num_classes=num_classes, num_segments=num_segments)
    return model.eval().to(memory_format=torch.channels_last)


def set_weights(
    model: nn.Module, weights: Mapping[str, torch.Tensor], path: str | os.PathLike[str]
) -> None:
    """Copy `weights` into `model`.

    Raises:
        CommandError: if a name, a shape or a kind of numbers does not match.
    """
    wanted = model.state_dict()
    differences = {
        "missing": sorted(wanted.keys() - weights.keys()),
        "unknown": sorted(weights.keys() - wanted.keys()),
        "of another shape": sorted(
            name
            for name in wanted.keys() & weights.keys()
            if wanted[name].shape != weights[name].shape
        ),
        "not floating-point": sorted(
            name
            for name in wanted.keys() & weights.keys()
            if wanted[name].is_floating_point() and not weights[name].is_floating_point()
        ),
    }
    found = [
        f"{len(names)} {difference} (such as '{names[0]}')"
        for difference, names in differences.items()
        if names
    ]
    if found:
        raise CommandError(f"weights '{path}' do not fit the network: {', '.join(found)}")
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CommandError(f"weights '{path}' do not fit the network: {error}") from error


def _kind(value: torch.Tensor) -> str:
    if value.is_meta:
        return "a meta tensor"
    return "a nested tensor" if value.is_nested else str(value.layout).removeprefix("torch.")
