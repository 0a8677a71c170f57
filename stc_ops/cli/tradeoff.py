"""The points of `stc-ops plot tradeoff`: quoted accuracies, and counted costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from stc_ops.models import NETWORKS
from stc_ops.paper import TABLE_II, TABLE_IV, BuiltNetwork, Counts
from stc_ops.paper.computed import ABLATION_FRAMES

LOWEST_TOP1 = 40


class Accuracy(NamedTuple):
    """A top-1 accuracy on Something-Something V1 that the paper has for one crop of one clip."""

    network: BuiltNetwork
    num_segments: int
    top1: float
    table: str
    pretraining: str

    @property
    def setting(self) -> tuple[str, int]:
        """The network's name and the frames, by which costs are known."""
        return self.network.name, self.num_segments

    @property
    def title(self) -> str:
        """The name of the network in figures."""
        return NETWORKS[self.network.name].title

    @property
    def is_shown(self) -> bool:
        """Whether it is on the axis, which would leave the others no room if it were longer."""
        return self.top1 >= LOWEST_TOP1


def one_clip_accuracies() -> list[Accuracy]:
    """Return Table IV's, and Table II's of the networks of which it has none."""
    accuracies = [
        Accuracy(
            row.method.network, row.frames[0], float(row.v1_top1), "IV", row.method.pretraining
        )
        for row in TABLE_IV
        if row.method.network and len(row.frames) == row.crops == row.clips == 1
    ]
    found = {accuracy.network.name for accuracy in accuracies}
    return accuracies + [
        Accuracy(row.network, ABLATION_FRAMES, float(row.top1), "II", "ImageNet")
        for row in TABLE_II
        if row.network.name not in found
    ]


def counted_macs(
    accuracies: Sequence[Accuracy], on_count: Callable[[int, int], None]
) -> dict[tuple[str, int], int]:
    """Return the multiply-accumulates of one clip, by network and frames."""
    counts, macs = Counts(), {}
    for done, accuracy in enumerate(accuracies, start=1):
        counted = counts.cost(accuracy.network, accuracy.num_segments)
        macs[accuracy.setting] = counted.macs
        on_count(done, len(accuracies))
    return macs
