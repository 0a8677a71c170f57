"""What the figures of `stc-ops plot` have in common."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .figure import DOTS_PER_INCH, GRID_COLOUR, NOTE_FONT, NOTE_LINE, STYLE
from .figure_layout import MARGIN, TEXT_LINE, WIDTH, Page

GREY = "#767676"
CHARACTERS_OF_A_NOTE = 142
AXIS_LABELS = 0.42
# Room for the label of a vertical axis and five characters at its ticks.
LEFT_AXIS = 0.52


def new_page(height: float, notes: Sequence[str]) -> Page:
    """Return an empty page of some height, and below it notes.

    Must be called, and the page be drawn on, within `plot_style`.
    """
    wrap = textwrap.TextWrapper(CHARACTERS_OF_A_NOTE, break_on_hyphens=False).wrap
    lines = [line for note in notes for line in wrap(note)]
    whole = height + len(lines) * NOTE_LINE + MARGIN
    page = Page(Figure(figsize=(WIDTH, whole), dpi=DOTS_PER_INCH))
    for number, line in enumerate(lines):
        top = height + number * NOTE_LINE - (TEXT_LINE - NOTE_LINE) / 2
        page.text(MARGIN, top, line, fontsize=NOTE_FONT)
    return page


def plot_style() -> rc_context:
    """Return the context that figures are drawn in."""
    return rc_context(STYLE)


def label_left(axes: Axes, text: str) -> None:
    """Label the vertical axis at the left end of `LEFT_AXIS`, however wide its numbers are."""
    page_width, _ = axes.figure.get_size_inches()
    axes.set_ylabel(text, verticalalignment="top")
    axes.yaxis.set_label_coords(-LEFT_AXIS / (axes.get_position().width * page_width), 0.5)


def tidy(axes: Axes) -> None:
    """Leave of a frame what a reader needs."""
    axes.grid(linewidth=0.4, color=GRID_COLOUR)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
