"""The figure of `stc-ops run`: frames and gates of one clip, laid out as the paper's figure 8."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from torch.nn import functional as F

from stc_ops.video import middle_frame_indices

from .figure_layout import (
    GAP,
    MARGIN,
    TEXT_LINE,
    TILE_LABEL,
    WIDTH,
    Page,
    TileGrid,
    largest_tiles,
    shortened,
)
from .gates import Gates

COLUMNS = 8
TILE = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS
LOWER_RIGHT = MARGIN + 3 * (TILE + GAP)
LARGEST_TILE = 1.6
MOST_FRAMES = 4 * COLUMNS
MOST_HEAT_MAPS = COLUMNS
LOWER_HEIGHT = 2 * (TILE_LABEL + TILE) + GAP
GATE_AXIS_WIDTH = 0.72
TIME_AXIS_HEIGHT = 0.38
DOTS_PER_INCH = 300
LONGEST_TITLE = 90

STYLE = {
    "font.size": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    # Publishers refuse Type 3 fonts, matplotlib's default.
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
}
TILE_FONT = 7
NOTE_FONT = 6.5
NOTE_LINE = 0.13
GRID_COLOUR = "#d9d9d9"
LINE_COLOUR = "#3b528b"
PEAK_COLOUR = "#d7191c"
HEAT_COLOURS = colormaps["viridis"]
HEAT_OPACITY = 0.6
# Smaller differences are the rounding of float32.
FLAT = 1e-6


def figure_formats() -> list[str]:
    """Return the extensions of the files that matplotlib can write by itself, each whole."""
    # pgf needs TeX, and puts images into files beside.
    return sorted(Figure().canvas.get_supported_filetypes().keys() - {"pgf"})


def draw_gates(
    crops: np.ndarray, seconds: Sequence[float | None], gates: Gates, title: str
) -> Figure:
    """Draw the sampled frames, the temporal gate over them, and the spatial gate on them.

    Args:
        crops: uint8, (T, size, size, 3), the frames as the network saw them.
        seconds: time of each frame in the video.
        gates: of the network's last block.
        title: what the figure shows, one line.
    """
    temporal = gates.temporal.mean(0).numpy()
    spatial = gates.spatial.mean(0).numpy()
    peaks = _peaks(temporal)
    shown = _evenly_spaced(len(crops), MOST_FRAMES)
    upper = _upper_grid(len(shown), MARGIN + 2 * TEXT_LINE)
    _, upper_bottom = upper.end(len(shown))
    lower_title = upper_bottom + 2 * GAP
    lower_top = lower_title + TEXT_LINE
    with rc_context(STYLE):
        height = lower_top + LOWER_HEIGHT + TIME_AXIS_HEIGHT
        page = Page(Figure(figsize=(WIDTH, height), dpi=DOTS_PER_INCH))
        page.text(MARGIN, MARGIN, shortened(title, LONGEST_TITLE), weight="bold")
        _draw_frames(page, upper, crops, shown, seconds, peaks)
        _draw_temporal_gate(page, lower_title, temporal, peaks, len(gates.temporal))
        _draw_spatial_gate(page, lower_title, crops, spatial, peaks, len(gates.spatial))
        _note(page, lower_top + LOWER_HEIGHT + GAP, temporal, spatial)
    return page.figure


def save_figure(figure: Figure, file: Path, file_format: str) -> None:
    """Write `figure` to `file`, in one of `figure_formats` whatever the file is called."""
    with rc_context(STYLE):
        figure.savefig(file, format=file_format)


def _upper_grid(count: int, top: float) -> TileGrid:
    columns = min(count, COLUMNS)
    tile = min(LARGEST_TILE, (WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns)
    return TileGrid(MARGIN, top, columns, tile)


def _draw_frames(
    page: Page,
    grid: TileGrid,
    crops: np.ndarray,
    shown: Sequence[int],
    seconds: Sequence[float | None],
    peaks: Sequence[int],
) -> None:
    count = f"{len(shown)} of {len(crops)} sampled" if len(shown) < len(crops) else "Sampled"
    marked = ", red where the temporal gate is highest" if set(peaks) & set(shown) else ""
    page.text(MARGIN, grid.top - TEXT_LINE, f"(a) {count} frames{marked}")
    for position, frame in enumerate(shown):
        axes = _draw_tile(page, grid, position, crops[frame], _frame_label(frame, seconds[frame]))
        if frame in peaks:
            _mark(axes)


def _draw_temporal_gate(
    page: Page, title_top: float, temporal: np.ndarray, peaks: Sequence[int], channels: int
) -> None:
    page.text(MARGIN, title_top, f"(b) Temporal gate, mean of {channels} channels")
    left = MARGIN + GATE_AXIS_WIDTH
    width = LOWER_RIGHT - 3 * GAP - left
    top = title_top + TEXT_LINE + TILE_LABEL
    axes = page.axes(left, top, width, LOWER_HEIGHT - TILE_LABEL)
    frames = np.arange(1, len(temporal) + 1)
    axes.plot(frames, temporal, "o-", color=LINE_COLOUR, markersize=3.5, linewidth=1)
    for peak in peaks:
        axes.plot(peak + 1, temporal[peak], "s", color=PEAK_COLOUR, markersize=5.5)
    lowest, highest = _limits(temporal)
    room = 0.12 * (highest - lowest)
    axes.set(
        xlabel="sampled frame",
        ylabel="temporal gate",
        xlim=(0.5, len(temporal) + 0.5),
        ylim=(lowest - room, highest + room),
    )
    axes.yaxis.set_label_coords(-GATE_AXIS_WIDTH / width, 0.5)
    axes.yaxis.label.set_verticalalignment("top")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    _number_fully(axes)
    axes.grid(axis="y", linewidth=0.4, color=GRID_COLOUR)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_spatial_gate(
    page: Page,
    title_top: float,
    crops: np.ndarray,
    spatial: np.ndarray,
    peaks: Sequence[int],
    channels: int,
) -> None:
    title = f"(c) Spatial gate, mean of {channels} channels, one map for all frames"
    page.text(LOWER_RIGHT, title_top, title)
    top = title_top + TEXT_LINE
    shown = _evenly_spaced(len(crops), MOST_HEAT_MAPS)
    grid = largest_tiles(len(shown), LOWER_RIGHT, top, 4 * TILE + 3 * GAP, LOWER_HEIGHT)
    scale = Normalize(*_limits(spatial))
    heat = scale(_upsampled(spatial, crops.shape[1:3]))
    for position, frame in enumerate(shown):
        axes = _draw_tile(page, grid, position, _overlaid(crops[frame], heat), str(frame + 1))
        if frame in peaks:
            _mark(axes)
    right, bottom = grid.end(len(shown))
    bar_top = top + TILE_LABEL
    bar = page.axes(right + GAP, bar_top, TILE_LABEL, bottom - bar_top)
    page.figure.colorbar(ScalarMappable(scale, HEAT_COLOURS), bar, label="spatial gate")
    _number_fully(bar)


def _draw_tile(page: Page, grid: TileGrid, position: int, image: np.ndarray, label: str) -> Axes:
    axes = page.axes(*grid.place(position))
    axes.imshow(image)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(label, fontsize=TILE_FONT, pad=2)
    return axes


def _mark(axes: Axes) -> None:
    axes.spines[:].set(color=PEAK_COLOUR, linewidth=2, visible=True)
    axes.title.set(color=PEAK_COLOUR, weight="bold")


def _frame_label(frame: int, seconds: float | None) -> str:
    if seconds is None:
        return str(frame + 1)
    return f"{frame + 1}: {seconds:.{2 if seconds < 100 else 0}f} s"


def _number_fully(axes: Axes) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))


def _note(page: Page, top: float, temporal: np.ndarray, spatial: np.ndarray) -> None:
    notes = ["A gate lies between 0 and 1; the scales of (b) and (c) span only the values found."]
    missing = [np.count_nonzero(~np.isfinite(gate)) for gate in (temporal, spatial)]
    if any(missing):
        notes.append(
            f"Not finite, and not drawn: {missing[0]} of {temporal.size} values in (b), "
            f"{missing[1]} of {spatial.size} in (c)."
        )
    for line, note in enumerate(notes):
        page.text(LOWER_RIGHT, top + line * NOTE_LINE, note, fontsize=NOTE_FONT)


def _peaks(gate: np.ndarray) -> list[int]:
    """Return where `gate` is highest: nowhere if it is the same everywhere."""
    finite = gate[np.isfinite(gate)]
    if finite.size == 0 or np.ptp(finite) < FLAT:
        return []
    return np.flatnonzero(gate >= finite.max() - FLAT).tolist()


def _limits(gate: np.ndarray) -> tuple[float, float]:
    """Return the range of the finite values, opened a little where they are all the same."""
    finite = gate[np.isfinite(gate)]
    if finite.size == 0:
        return 0.0, 1.0
    lowest, highest = float(finite.min()), float(finite.max())
    if highest - lowest < FLAT:
        return lowest - 0.01, highest + 0.01
    return lowest, highest


def _overlaid(crop: np.ndarray, heat: np.ndarray) -> np.ndarray:
    # Blended here, because not every file format of matplotlib knows transparency.
    grey = crop.mean(-1, keepdims=True) / 255
    blended = HEAT_OPACITY * HEAT_COLOURS(heat)[..., :3] + (1 - HEAT_OPACITY) * grey
    return np.where(np.isfinite(heat)[..., None], blended, grey)


def _upsampled(gate: np.ndarray, size: Sequence[int]) -> np.ndarray:
    batch = torch.from_numpy(gate)[None, None]
    return F.interpolate(batch, size=tuple(size), mode="bilinear")[0, 0].numpy()


def _evenly_spaced(count: int, most: int) -> list[int]:
    return middle_frame_indices(count, min(count, most))
