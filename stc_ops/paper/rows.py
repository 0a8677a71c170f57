"""Rows of the paper's tables, with figures as the paper prints them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class BuiltNetwork:
    """The network of this package that a row is about.

    Attributes:
        name: in :data:`stc_ops.models.NETWORKS`.
        keywords: of its builder.
    """

    name: str
    keywords: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LayerRow:
    """A row of Table I: the parameters of a middle layer of 64 channels."""

    model: str
    formula: str
    parameters: str
    percentage: str
    network: BuiltNetwork
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class AblationRow:
    """A row of Table II: 8 frames, one clip, Something-Something V1.

    Attributes:
        setting: the column of alpha, which is that of r in the last rows.
        parameters: in millions ("21.0M").
        flops: of one video, in billions ("29.5G").
        top1: in percent, like `top5`.
        network: what this package builds.
        notes: keys of :data:`stc_ops.paper.NOTES`.
    """

    method: str
    setting: str | None
    parameters: str
    flops: str
    top1: str
    top5: str
    network: BuiltNetwork
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RefinementRow:
    """A row of Table III: refinements switched off one by one, the temporal shift kept."""

    alpha: str
    temporal_refinement: bool
    spatial_refinement: bool
    top1: str


@dataclass(frozen=True)
class Method:
    """What rows of Table IV about one method have in common.

    Attributes:
        name: its name.
        backbone: what it is made of.
        pretraining: the data that its weights come from.
        network: what this package builds; None where it has no such network.
        notes: keys of :data:`stc_ops.paper.NOTES`.
    """

    name: str
    backbone: str
    pretraining: str
    network: BuiltNetwork | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ComparisonRow:
    """A row of Table IV: Something-Something V1 and V2; None where the paper has a dash.

    Attributes:
        method: of which this is one setting.
        frames: of one clip; of an ensemble, those of each of its networks.
        crops: of every clip.
        clips: of every video.
        parameters: in millions ("22.0M").
        flops: of one crop of one clip, in billions, and the factors ("26.9G x 3 x 2").
        v1_top1: on V1, in percent, like all accuracies.
        v1_top5: on V1.
        v2_top1: on V2.
        v2_top5: on V2.
    """

    method: Method
    frames: tuple[int, ...]
    crops: int
    clips: int
    parameters: str | None
    flops: str | None
    v1_top1: str
    v1_top5: str | None
    v2_top1: str | None
    v2_top5: str | None
