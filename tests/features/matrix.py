"""The rows of the feature matrix: what PyTorch offers, each tried on every subject."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .subjects import Subject

Check = Callable[[Subject], None]


class Feature(NamedTuple):
    """A row.

    Attributes:
        check: fails unless the feature does with a subject what it does in plain PyTorch.
        applies: tells the subjects that have anything to do with it.
    """

    check: Check
    applies: Callable[[Subject], bool]


FEATURES: dict[str, Feature] = {}


def feature(applies: Callable[[Subject], bool] = lambda subject: True) -> Callable[[Check], Check]:
    """Make a function a row, under its own name."""

    def add(check: Check) -> Check:
        FEATURES[check.__name__] = Feature(check, applies)
        return check

    return add


def has_parameters(subject: Subject) -> bool:
    return next(subject.build().parameters(), None) is not None


def compiles_soon(subject: Subject) -> bool:
    """Layers, and of the networks, which take the compiler seconds each, the paper's."""
    return not subject.is_network or subject.is_canonical


def is_network(subject: Subject) -> bool:
    return subject.is_network
