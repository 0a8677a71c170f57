"""Places on the page of a figure, in inches from its top left corner."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 7.16
"""Two columns of a paper."""
MARGIN = 0.08
GAP = 0.06
TEXT_LINE = 0.17
TILE_LABEL = 0.13


@dataclass(frozen=True)
class Page:
    """A figure of which parts are addressed in inches from the top left corner."""

    figure: Figure

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes at a place."""
        page_width, page_height = self.figure.get_size_inches()
        bottom = page_height - top - height
        return self.figure.add_axes(
            (left / page_width, bottom / page_height, width / page_width, height / page_height)
        )

    def text(self, left: float, top: float, text: str, **style: object) -> None:
        """Write one line of text into the line of height `TEXT_LINE` at a place."""
        page_width, page_height = self.figure.get_size_inches()
        middle = 1 - (top + TEXT_LINE / 2) / page_height
        # A dollar in a file name is no formula.
        style = {"va": "center", "parse_math": False, **style}
        self.figure.text(left / page_width, middle, text, **style)


@dataclass(frozen=True)
class TileGrid:
    """Equal square tiles in rows, each with a label above."""

    left: float
    top: float
    columns: int
    tile: float

    def place(self, position: int) -> tuple[float, float, float, float]:
        """Return left, top, width and height of the tile at `position`, counted along the rows."""
        row, column = divmod(position, self.columns)
        left = self.left + column * (self.tile + GAP)
        top = self.top + TILE_LABEL + row * (TILE_LABEL + self.tile + GAP)
        return left, top, self.tile, self.tile

    def end(self, count: int) -> tuple[float, float]:
        """Return the right and the bottom end of the first `count` tiles."""
        right = self.left + min(count, self.columns) * (self.tile + GAP) - GAP
        _, top, _, height = self.place(count - 1)
        return right, top + height


def largest_tiles(count: int, left: float, top: float, width: float, height: float) -> TileGrid:
    """Return the grid in a box whose `count` tiles are largest; of equal ones, the highest."""
    grids = []
    for columns in range(1, count + 1):
        rows = -(-count // columns)
        tile = min(
            (width - (columns - 1) * GAP) / columns,
            (height - (rows - 1) * GAP) / rows - TILE_LABEL,
        )
        grids.append(TileGrid(left, top, columns, tile))
    return max(grids, key=lambda grid: (round(grid.tile, 6), -grid.columns))


def shortened(text: str, longest: int) -> str:
    """Return a text without its middle if it has more than `longest` characters."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]} … {text[-half:]}"
