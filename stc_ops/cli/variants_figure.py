"""The figure of `stc-ops plot shift-and-refinement`, with the axes of the paper's figure 7."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .colours import BLUE, GREEN, VERMILLION
from .figure_layout import MARGIN, TEXT_LINE, WIDTH, shortened
from .label_placement import Label, place_labels
from .plot_page import AXIS_LABELS, GREY, LEFT_AXIS, label_left, new_page, plot_style, tidy
from .variants import ALPHAS, VARIANTS, Results

PANEL_HEIGHT = 3.0
STYLES = dict(zip(VARIANTS, ((GREEN, "^"), (VERMILLION, "s"), (BLUE, "o")), strict=True))
LABEL_FONT = 8
LONGEST_TITLE = 50
QUOTED_NOTE = (
    "Hollow: quoted from the paper (8 frames, Something-Something V1), Table II for STC, Table III "
    "for Sim-STC at alpha = 0. At alpha = 0 NonShift-STC is STC; at alpha = 1 Sim-STC is TSN, with "
    "17.7 in Table II and 19.7 in Table IV."
)


def draw_variants(results: Results, quoted: Results, title: str) -> Figure:
    """Draw top-1 against alpha, a line for each variant, and quoted points as hollow markers.

    Args:
        results: of the user.
        quoted: of the paper; empty to draw none.
        title: what the results are, one line.
    """
    top = MARGIN + 2 * TEXT_LINE
    with plot_style():
        page = new_page(top + PANEL_HEIGHT + AXIS_LABELS, [QUOTED_NOTE] if quoted else [])
        page.text(MARGIN, MARGIN, shortened(title, LONGEST_TITLE), weight="bold")
        left = MARGIN + LEFT_AXIS
        axes = page.axes(left, top, WIDTH - MARGIN - left, PANEL_HEIGHT)
        lines = {
            variant: sorted((float(alpha), top1) for alpha, top1 in results[variant].items())
            for variant in reversed(VARIANTS)
            if variant in results
        }
        hollow = [
            (variant, float(alpha), top1)
            for variant, points in quoted.items()
            for alpha, top1 in points.items()
        ]
        for variant, line in lines.items():
            colour, marker = STYLES[variant]
            axes.plot(
                *zip(*line, strict=True), color=colour, marker=marker, markersize=4.5, linewidth=1
            )
        for variant, alpha, top1 in hollow:
            colour, marker = STYLES[variant]
            axes.plot(alpha, top1, marker, color=colour, markersize=7, fillstyle="none")
        axes.set_xticks([float(alpha) for alpha in ALPHAS.values()], list(ALPHAS))
        axes.set_xlabel("alpha, the share of the channels that S_T takes")
        label_left(axes, "top-1 (%)")
        axes.set_xlim(-0.05, 1.2)
        axes.margins(y=0.08)
        axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
        tidy(axes)
        labels = [Label(variant, line[::-1], STYLES[variant][0]) for variant, line in lines.items()]
        points = [[(alpha, top1)] for _, alpha, top1 in hollow]
        place_labels(axes, labels, [*lines.values(), *points], LABEL_FONT)
        if quoted:
            _explain_markers(page.figure)
    return page.figure


def _explain_markers(figure: Figure) -> None:
    figure.legend(
        handles=[
            Line2D([], [], color=GREY, marker="o", markersize=4.5, label="yours"),
            Line2D(
                [],
                [],
                color=GREY,
                marker="o",
                markersize=7,
                fillstyle="none",
                linestyle="",
                label="quoted from the paper",
            ),
        ],
        loc="upper right",
        bbox_to_anchor=(1 - MARGIN / WIDTH, 1),
        ncols=2,
        frameon=False,
    )
