"""The figure of `stc-ops check`: times faster than plain PyTorch and torch.compile."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from .check_rows import Time, mode_of
from .colours import BLUE, VERMILLION
from .figure import GRID_COLOUR, NOTE_FONT, STYLE
from .figure_layout import WIDTH

ROW_HEIGHT, FRAME_HEIGHT = 0.17, 1.1
TICKS = (0.25, 0.5, 0.7, 1, 1.4, 2, 3, 4, 6, 8, 16, 32)


def draw_times(rows: Sequence[Time], machine: str) -> Figure:
    """Draw a line for each row, with a mark for each competitor."""
    with rc_context(STYLE):
        height = FRAME_HEIGHT + ROW_HEIGHT * len(rows)
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.add_axes((0.56, 0.55 / height, 0.41, 1 - FRAME_HEIGHT / height))
        places = range(len(rows))
        for label, marker, colour, values in (
            ("eager PyTorch", "o", BLUE, [row.times_eager for row in rows]),
            ("torch.compile", "D", VERMILLION, [row.times_compiled for row in rows]),
        ):
            drawn = [(value, place) for value, place in zip(values, places, strict=True) if value]
            if drawn:
                axes.scatter(*zip(*drawn, strict=True), s=16, marker=marker, c=colour, label=label)
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(TICKS))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("times faster, forward and backward")
        axes.set_yticks(places, _labels(rows), fontsize=NOTE_FONT)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(axis="x", color=GRID_COLOUR, linewidth=0.5)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
        figure.text(0.01, 1 - 0.12 / height, machine, fontsize=NOTE_FONT, va="top")
    return figure


def _labels(rows: Sequence[Time]) -> list[str]:
    """Name rows; what all of them have in common is left out."""
    varying = [name for name in ("dtype", "backend") if len({getattr(x, name) for x in rows}) > 1]
    return [
        ", ".join(
            [row.operator, *mode_of(row), row.shape, *(getattr(row, name) for name in varying)]
        )
        for row in rows
    ]
