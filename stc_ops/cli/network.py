"""The network that a command runs: STC-ResNet-50, random or with saved weights."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

from stc_ops.listing import first_few
from stc_ops.models import VideoResNet, stc_light_resnet50, stc_resnet50
from stc_ops.models.weights import OPTIONAL_SUFFIX

from .errors import CommandError

# Something-Something V1
DEFAULT_CLASSES = 174
RANDOM_SEED = 0


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


def build_network(num_classes: int, num_segments: int, light: bool) -> VideoResNet:
    """Build STC-ResNet-50, or STC-Light, in evaluation mode and channels_last.

    Its random weights are the same every time, and the global random state stays as it was.
    """
    builder = stc_light_resnet50 if light else stc_resnet50
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(RANDOM_SEED)
        model = builder(num_classes=num_classes, num_segments=num_segments)
    return model.eval().to(memory_format=torch.channels_last)


def set_weights(
    model: VideoResNet, weights: Mapping[str, torch.Tensor], path: str | os.PathLike[str]
) -> None:
    """Copy `weights` into `model`; numbers of batches that are missing stay as they are.

    Raises:
        CommandError: if a name, a shape or a kind of numbers does not match.
    """
    found = _differences(model, weights)
    if found:
        problems = ", ".join(found) + _hint(model.num_classes, weights)
        raise CommandError(f"weights '{path}' do not fit the network: {problems}")
    missing = model.state_dict().keys() - weights.keys()
    complete = {**weights, **{name: model.state_dict()[name] for name in missing}}
    try:
        model.load_state_dict(complete)
    except RuntimeError as error:
        lines = first_few(str(error).splitlines(), " ")
        raise CommandError(f"weights '{path}' do not fit the network: {lines}") from error


def _differences(model: VideoResNet, weights: Mapping[str, torch.Tensor]) -> list[str]:
    wanted = model.state_dict()
    both = sorted(wanted.keys() & weights.keys())
    differences = {
        "missing": [
            name
            for name in sorted(wanted.keys() - weights.keys())
            if not name.endswith(OPTIONAL_SUFFIX)
        ],
        "unknown": sorted(weights.keys() - wanted.keys()),
        "of another shape": [name for name in both if wanted[name].shape != weights[name].shape],
        "not floating-point": [
            name
            for name in both
            if wanted[name].is_floating_point() and not weights[name].is_floating_point()
        ],
    }
    return [
        f"{len(names)} {difference} ({first_few(map(repr, names))})"
        for difference, names in differences.items()
        if names
    ]


def _hint(num_classes: int, weights: Mapping[str, torch.Tensor]) -> str:
    """Name the option with which weights fit that do not."""
    for light, hint in ((True, "they are STC-Light's: add --light"), (False, "leave out --light")):
        with torch.device("meta"):
            network = build_network(num_classes, 1, light)
        if not _differences(network, weights):
            return f"; {hint}"
    return ""
