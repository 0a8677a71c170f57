"""Labels beside the points of a plot that cover neither points nor lines nor each other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

# Distances of a label from its point, in points of 1/72 inch.
DISTANCES = (6, 10, 16, 23, 31, 40)
FARTHEST_WITHOUT_LEADER = 10
# Right of the point first, then where the eye finds a label next.
DIRECTIONS = ((1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
CLEARANCE = 1.5
MARKER_RADIUS = 3.5
LEADER_COLOUR = "#999999"
STEPS_OF_LINE = 40


class Label(NamedTuple):
    """A text, the points of the data that it may stand beside, the best first, and its colour."""

    text: str
    places: Sequence[tuple[float, float]]
    colour: str


def place_labels(
    axes: Axes,
    labels: Sequence[Label],
    lines: Sequence[Sequence[tuple[float, float]]],
    font_size: float,
) -> None:
    """Write each label at the nearest free place beside one of its points.

    Limits and place of `axes` must be final. Where no place is free, the least covered is taken.

    Args:
        axes: with the points drawn already.
        labels: the most important first.
        lines: the points of the data in the order in which they are joined.
        font_size: of all labels.
    """
    pixel = axes.figure.dpi / 72
    taken = [_around(axes, point, MARKER_RADIUS * pixel) for line in lines for point in line]
    taken += [_around(axes, point, 0) for line in lines for point in _along(line)]
    for label in labels:
        best = min(_candidates(axes, label, font_size), key=lambda each: each.cost(axes, taken))
        taken.append(best.write(axes, label, font_size))


class _Candidate(NamedTuple):
    rank: int
    place: tuple[float, float]
    offset: tuple[float, float]
    alignment: tuple[str, str]
    box: Bbox

    def cost(self, axes: Axes, taken: Sequence[Bbox]) -> tuple[bool, int, int]:
        inside = axes.bbox.x0 <= self.box.x0 and self.box.x1 <= axes.bbox.x1
        inside &= axes.bbox.y0 <= self.box.y0 and self.box.y1 <= axes.bbox.y1
        return not inside, sum(self.box.overlaps(other) for other in taken), self.rank

    def write(self, axes: Axes, label: Label, font_size: float) -> Bbox:
        is_far = max(map(abs, self.offset)) > FARTHEST_WITHOUT_LEADER
        leader = {"arrowstyle": "-", "color": LEADER_COLOUR, "linewidth": 0.5, "shrinkB": 3}
        axes.annotate(
            label.text,
            self.place,
            self.offset,
            textcoords="offset points",
            horizontalalignment=self.alignment[0],
            verticalalignment=self.alignment[1],
            color=label.colour,
            fontsize=font_size,
            arrowprops=leader if is_far else None,
            parse_math=False,
        )
        return self.box


def _candidates(axes: Axes, label: Label, font_size: float) -> Iterator[_Candidate]:
    pixel = axes.figure.dpi / 72
    width, height = _size(axes, label.text, font_size)
    rank = 0
    for distance in DISTANCES:
        for place in label.places:
            x, y = axes.transData.transform(place)
            for right, up in DIRECTIONS:
                offset = right * distance, up * distance
                left = x + offset[0] * pixel - (1 - right) / 2 * width
                bottom = y + offset[1] * pixel - (1 - up) / 2 * height
                box = Bbox.from_bounds(left, bottom, width, height).padded(CLEARANCE * pixel)
                rank += 1
                yield _Candidate(rank, place, offset, _alignment(right, up), box)


def _alignment(right: int, up: int) -> tuple[str, str]:
    return {1: "left", 0: "center", -1: "right"}[right], {1: "bottom", 0: "center", -1: "top"}[up]


def _size(axes: Axes, text: str, font_size: float) -> tuple[float, float]:
    written = axes.text(0, 0, text, fontsize=font_size, parse_math=False)
    box = written.get_window_extent()
    written.remove()
    return box.width, box.height


def _around(axes: Axes, point: tuple[float, float], radius: float) -> Bbox:
    x, y = axes.transData.transform(point)
    return Bbox.from_extents(x, y, x, y).padded(radius)


def _along(line: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    for start, end in itertools.pairwise(line):
        for share in np.linspace(0, 1, STEPS_OF_LINE):
            x, y = (1 - share) * np.asarray(start) + share * np.asarray(end)
            yield float(x), float(y)
