"""The figure of `stc-ops bench models`: times and saved bytes of all networks, side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .bench_models import EVALUATION, TRAINING, Row
from .bench_networks import FUSED, OPTIMIZED, REFERENCE
from .bench_report import MEBI, Machine, setting_of
from .colours import BLUE, VERMILLION
from .figure import DOTS_PER_INCH, GRID_COLOUR, LONGEST_TITLE, NOTE_FONT, STYLE
from .figure_layout import WIDTH

ROW_HEIGHT, FRAME_HEIGHT, TITLE_LINE = 0.27, 1.5, 0.15
BAND_COLOUR = "#f3f3f3"
RATIO_FONT = 7
# Room right of the largest value, as a factor.
ROOM = 1.06


class Look(NamedTuple):
    """How the values of a variant are drawn; `offset` of a row's height, downwards."""

    marker: str
    colour: str
    filled: bool
    offset: float
    label: str


# A shape and a place each, so that they can be told apart without colours.
LOOKS = {
    OPTIMIZED: Look("o", BLUE, True, -0.24, "optimized for inference"),
    FUSED: Look("D", VERMILLION, True, 0.0, "fused operators"),
    REFERENCE: Look("s", "#404040", False, 0.24, "reference, layer by layer"),
}


class Panel(NamedTuple):
    """A quantity of all networks, and its ratio of two variants.

    Attributes:
        mode: of the rows.
        title: of the panel.
        label: of its axis.
        value: of a row, with what spans it: lowest, middle, highest.
        ratio_title: two lines, short.
        ratio: of the values of the rows of a network.
    """

    mode: str
    title: str
    label: str
    value: Callable[[Row], tuple[float, float, float]]
    ratio_title: str
    ratio: Callable[[Mapping[str, Row]], float]


def _milliseconds(row: Row) -> tuple[float, float, float]:
    return 1e3 * row.low_seconds, 1e3 * row.median_seconds, 1e3 * row.high_seconds


def _saved(row: Row) -> tuple[float, float, float]:
    return (row.saved_bytes / MEBI,) * 3


PANELS = (
    Panel(
        EVALUATION,
        "Evaluation",
        "milliseconds",
        _milliseconds,
        "optimized,\ntimes faster",
        lambda rows: rows[OPTIMIZED].times_faster_than_reference,
    ),
    Panel(
        TRAINING,
        "Training step",
        "milliseconds",
        _milliseconds,
        "fused,\ntimes faster",
        lambda rows: rows[FUSED].times_faster_than_reference,
    ),
    Panel(
        TRAINING,
        "Saved for backward",
        "MiB",
        _saved,
        "fused, of\nreference",
        lambda rows: rows[FUSED].saved_bytes / rows[REFERENCE].saved_bytes,
    ),
)
NOTE = "Numbers are ratios to the reference. Lines span the 20 and 80 % quantiles of the rounds."


def draw_rows(rows: Sequence[Row], machine: Machine) -> Figure:
    """Draw what there is of times and saved bytes, a line a network in the order of the rows."""
    panels = [panel for panel in PANELS if any(row.mode == panel.mode for row in rows)]
    titles = list(dict.fromkeys(row.title for row in rows))
    with rc_context(STYLE):
        heading = [setting_of(rows[0]), *textwrap.wrap(str(machine), LONGEST_TITLE)]
        height = FRAME_HEIGHT + TITLE_LINE * len(heading) + ROW_HEIGHT * len(titles)
        figure = Figure((WIDTH, height), DOTS_PER_INCH, layout="constrained")
        figure.get_layout_engine().set(w_pad=0.06, h_pad=0.05, hspace=0, wspace=0.02)
        all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for panel, axes in zip(panels, all_axes, strict=True):
            _draw_panel(axes, panel, [row for row in rows if row.mode == panel.mode], titles)
        legend = figure.legend(
            handles=[
                _handle(look)
                for variant, look in LOOKS.items()
                if any(row.variant == variant for row in rows)
            ],
            loc="outside upper center",
            ncols=len(LOOKS),
            frameon=False,
            title="\n".join(heading),
            title_fontsize=STYLE["font.size"],
        )
        legend.get_title().set_multialignment("center")
        figure.supxlabel(NOTE, fontsize=NOTE_FONT)
    return figure


def _draw_panel(axes: Axes, panel: Panel, rows: Sequence[Row], titles: Sequence[str]) -> None:
    for row in rows:
        look = LOOKS[row.variant]
        low, middle, high = panel.value(row)
        position = titles.index(row.title) + look.offset
        axes.plot([low, high], [position] * 2, color=look.colour, linewidth=0.9)
        axes.plot([middle], [position], **_marker(look))
    for position, title in enumerate(titles):
        if position % 2:
            axes.axhspan(position - 0.5, position + 0.5, color=BAND_COLOUR, linewidth=0, zorder=0)
        ratio = panel.ratio({row.variant: row for row in rows if row.title == title})
        _write_right(axes, position, f"{ratio:.2f}", va="center_baseline", fontsize=RATIO_FONT)
    _write_right(axes, -0.6, panel.ratio_title, va="bottom", fontsize=NOTE_FONT)
    axes.set_title(panel.title, loc="left", fontsize=STYLE["font.size"], weight="bold", pad=4)
    axes.set_xlabel(panel.label)
    axes.set_xlim(0, ROOM * max(panel.value(row)[-1] for row in rows))
    axes.set_ylim(len(titles) - 0.5, -0.5)
    axes.set_yticks(range(len(titles)), titles)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.grid(axis="x", linewidth=0.4, color=GRID_COLOUR)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _write_right(axes: Axes, position: float, text: str, **style: object) -> None:
    axes.text(1.03, position, text, transform=axes.get_yaxis_transform(), **style)


def _marker(look: Look) -> dict[str, object]:
    return {
        "marker": look.marker,
        "color": look.colour,
        "markersize": 3.6,
        "markeredgewidth": 0.9,
        "markerfacecolor": look.colour if look.filled else "white",
    }


def _handle(look: Look) -> Line2D:
    return Line2D([], [], linestyle="none", label=look.label, **_marker(look))
