"""Labels beside the points of a plot that cover neither points nor lines nor each other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from matplotlib.axes import Axes

# Distances of a label from its point, in points of 1/72 inch.
DISTANCES = (6, 10, 16, 23, 31, 40)
FARTHEST_WITHOUT_LEADER = 10
# Right of the point first, then where the eye finds a label next.
DIRECTIONS = ((1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
CLEARANCE = 1.5
MARKER_RADIUS = 3.5
LEADER_COLOUR = "#999999"
STEPS_OF_LINE = 40
OUTSIDE = 10**6

Box: TypeAlias = tuple[float, float, float, float]
"""Left, bottom, right and top, in pixels."""


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

    The place of `axes` must be final, and all that its limits follow be drawn. Where no place is
    free, the least covered is taken.

    Args:
        axes: with the points drawn already.
        labels: the most important first.
        lines: the points of the data in the order in which they are joined.
        font_size: of all labels.
    """
    # Until then the limits are those of the first points.
    axes.autoscale_view()
    pixel = axes.figure.dpi / 72
    markers = [_box(axes, point, MARKER_RADIUS * pixel) for line in lines for point in line]
    taken = markers + [_box(axes, point, 0) for line in lines for point in _along(line)]
    for label in labels:
        candidates = list(_candidates(axes, label, font_size))
        boxes = np.array([candidate.box for candidate in candidates])
        # The first of the best, for candidates come in the order of their distance.
        best = candidates[np.argmin(_coverage(boxes, np.array(taken)) + _outside(boxes, axes))]
        _write(axes, label, best, font_size)
        taken.append(best.box)


class _Candidate(NamedTuple):
    place: tuple[float, float]
    offset: tuple[float, float]
    alignment: tuple[str, str]
    box: Box


def _candidates(axes: Axes, label: Label, font_size: float) -> Iterator[_Candidate]:
    pixel = axes.figure.dpi / 72
    width, height = _size(axes, label.text, font_size)
    clearance = CLEARANCE * pixel
    for distance in DISTANCES:
        for place in label.places:
            x, y = axes.transData.transform(place)
            for right, up in DIRECTIONS:
                left = x + right * distance * pixel - (1 - right) / 2 * width
                bottom = y + up * distance * pixel - (1 - up) / 2 * height
                box = (
                    left - clearance,
                    bottom - clearance,
                    left + width + clearance,
                    bottom + height + clearance,
                )
                offset = right * distance, up * distance
                yield _Candidate(place, offset, _alignment(right, up), box)


def _coverage(boxes: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Return for each box how many of those taken it covers."""
    left, bottom, right, top = boxes.T[:, :, None]
    taken_left, taken_bottom, taken_right, taken_top = taken.T
    beside = (right < taken_left) | (taken_right < left)
    return (~beside & (bottom <= taken_top) & (taken_bottom <= top)).sum(1)


def _outside(boxes: np.ndarray, axes: Axes) -> np.ndarray:
    """Return for each box more than any coverage if it leaves the axes, else 0."""
    page = axes.bbox
    inside = (boxes[:, :2] >= page.p0).all(1) & (boxes[:, 2:] <= page.p1).all(1)
    return np.where(inside, 0, OUTSIDE)


def _write(axes: Axes, label: Label, candidate: _Candidate, font_size: float) -> None:
    is_far = max(map(abs, candidate.offset)) > FARTHEST_WITHOUT_LEADER
    leader = {"arrowstyle": "-", "color": LEADER_COLOUR, "linewidth": 0.5, "shrinkB": 3}
    axes.annotate(
        label.text,
        candidate.place,
        candidate.offset,
        textcoords="offset points",
        horizontalalignment=candidate.alignment[0],
        verticalalignment=candidate.alignment[1],
        color=label.colour,
        fontsize=font_size,
        arrowprops=leader if is_far else None,
        parse_math=False,
    )


def _alignment(right: int, up: int) -> tuple[str, str]:
    return {1: "left", 0: "center", -1: "right"}[right], {1: "bottom", 0: "center", -1: "top"}[up]


def _size(axes: Axes, text: str, font_size: float) -> tuple[float, float]:
    written = axes.text(0, 0, text, fontsize=font_size, parse_math=False)
    box = written.get_window_extent()
    written.remove()
    return box.width, box.height


def _box(axes: Axes, point: tuple[float, float], radius: float) -> Box:
    x, y = axes.transData.transform(point)
    return x - radius, y - radius, x + radius, y + radius


def _along(line: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    for start, end in itertools.pairwise(line):
        for share in np.linspace(0, 1, STEPS_OF_LINE):
            yield tuple((1 - share) * np.asarray(start) + share * np.asarray(end))
