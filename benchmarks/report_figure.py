"""The figure of the report: how many times faster, at every stage and for whole networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from labels import COMPETITORS, MODES, NETWORKS, plural, setting_of, way_of
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator
from results import Results, Row, Rows, grouped, operator_groups, stages_of

WIDTH = 7.16
ROW_HEIGHT, NETWORKS_HEIGHT, FRAME_HEIGHT = 1.4, 1.7, 0.5
DOTS_PER_INCH = 200
# What a user runs: inference, and a training step's share.
SHOWN_MODES = ("eval-forward", "training-both", "forward", "both")
STAGES_LABEL = "channels of a block's middle layer, and pixels, at the stages of ResNet-50"
BARS_WIDTH = 0.84
LINE_COLOUR = "#555555"
GRID_COLOUR = "#e0e0e0"
# Room above and below the bars for their numbers, as factors of an axis of ratios.
ROOM_ABOVE, ROOM_BELOW = 1.5, 1.15

STYLE = {
    "font.size": 7.5,
    "axes.titlesize": 7.5,
    "axes.titleweight": "bold",
    "axes.linewidth": 0.6,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.size": 0,
    "ytick.major.size": 2.5,
    "ytick.major.width": 0.6,
}
NUMBER_FONT = 5.5

Groups = Mapping[str, Row]
"""Rows to draw as a group of bars each, by the label below."""


def draw(results: Results) -> Figure:
    """Draw the most important setting of the operators, and all networks."""
    operators = next(iter(operator_groups(results)), {})
    networks = results.of("network")
    modes = list(grouped(operators, lambda key: key.mode))
    modes = [mode for mode in modes if mode in SHOWN_MODES] or modes
    heights = [ROW_HEIGHT * len(modes)] if operators else []
    heights += [NETWORKS_HEIGHT] if networks else []
    with rc_context(STYLE):
        figure = Figure((WIDTH, sum(heights) + FRAME_HEIGHT), DOTS_PER_INCH, layout="constrained")
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        if operators:
            _draw_operators(parts[0], operators, modes)
        if networks:
            _draw_networks(parts[-1], networks)
        ratios = _ratios_in([*operators.values(), *networks.values()])
        figure.legend(
            handles=[
                Patch(color=COMPETITORS[ratio].colour, label=f"than {COMPETITORS[ratio].name}")
                for ratio in ratios
            ],
            title="Times faster (logarithmic)",
            loc="outside upper center",
            ncols=len(ratios),
            frameon=False,
        )
    return figure


def _draw_operators(part: SubFigure, rows: Rows, modes: Sequence[str]) -> None:
    part.suptitle(f"Operators: {setting_of(next(iter(rows)))}", fontsize=STYLE["font.size"])
    operators = list(grouped(rows, lambda key: key.operator))
    panels = part.subplots(len(modes), len(operators), sharex=True, sharey="row", squeeze=False)
    for mode, line in zip(modes, panels, strict=True):
        for operator, axes in zip(operators, line, strict=True):
            by_stage = {
                key.stage: row
                for key, row in rows.items()
                if (key.mode, key.operator) == (mode, operator)
            }
            groups = {
                f"{channels}\n{height}x{height}": by_stage.get((channels, height), {})
                for channels, height in stages_of(rows)
            }
            _draw_bars(axes, groups, lambda ratio: f"{ratio:.{1 if ratio < 9.95 else 0}f}")
        _scale([row for key, row in rows.items() if key.mode == mode], line)
        line[0].set_ylabel(MODES[mode].replace(", ", ",\n").replace(" + ", " +\n"))
    for operator, axes in zip(operators, panels[0], strict=True):
        axes.set_title(operator)
    part.supxlabel(STAGES_LABEL, fontsize=6.5)


def _draw_networks(part: SubFigure, rows: Rows) -> None:
    first = next(iter(rows))
    part.suptitle(
        f"{NETWORKS[first.operator]}: {first.dtype}, clips of {first.num_segments} frames of "
        f"{first.height}x{first.height}",
        fontsize=STYLE["font.size"],
    )
    axes = part.subplots()
    _draw_bars(
        axes,
        {
            f"{MODES[key.mode]}\n{way_of(key)}\n{plural(key.clips, 'clip')}": row
            for key, row in rows.items()
        },
        number="{:.2f}".format,
    )
    _scale(list(rows.values()), [axes])


def _draw_bars(axes: Axes, groups: Groups, number: Callable[[float], str]) -> None:
    width = BARS_WIDTH / max(len(_ratios_in(groups.values())), 1)
    for position, row in enumerate(groups.values()):
        ratios = _ratios_in([row])
        for place, ratio in enumerate(ratios):
            middle = position + (place - (len(ratios) - 1) / 2) * width
            value = row[ratio]
            # From 1, so that what is slower hangs down.
            axes.bar(middle, value - 1, width, bottom=1, color=COMPETITORS[ratio].colour)
            axes.annotate(
                number(value),
                (middle, max(value, 1)),
                (0, 1),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=NUMBER_FONT,
            )
    axes.set_xticks(range(len(groups)), list(groups))
    axes.set_xlim(-0.55, len(groups) - 0.45)


def _scale(rows: Sequence[Row], panels: Sequence[Axes]) -> None:
    """Give `panels` one logarithmic axis that all ratios of `rows` fit on, with a line at 1."""
    values = [row[ratio] for row in rows for ratio in _ratios_in([row])]
    lowest = min([1.0, *values]) / ROOM_BELOW
    # At least two ticks, 1 and 2, so that a reader sees the scale.
    highest = max([2.0, *(value * ROOM_ABOVE for value in values)])
    ticks = 2.0 ** np.arange(np.ceil(np.log2(lowest)), np.floor(np.log2(highest)) + 1)
    for axes in panels:
        axes.set_yscale("log", base=2)
        axes.set_ylim(lowest, highest)
        axes.yaxis.set_major_locator(FixedLocator(ticks))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(axis="y", linewidth=0.4, color=GRID_COLOUR)
        axes.set_axisbelow(True)
        axes.axhline(1, color=LINE_COLOUR, linewidth=0.9)
        axes.spines[["top", "right", "bottom"]].set_visible(False)


def _ratios_in(rows: Iterable[Row]) -> list[str]:
    rows = list(rows)
    return [ratio for ratio in COMPETITORS if any(ratio in row for row in rows)]
