"""The figure of `stc-ops plot tradeoff`, laid out as the paper's figure 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from stc_ops.models import NETWORKS

from .colours import BLUE, VERMILLION
from .figure_layout import MARGIN, TEXT_LINE, WIDTH
from .label_placement import Label, place_labels
from .measurements import Measurements
from .plot_page import AXIS_LABELS, GREY, LEFT_AXIS, label_left, new_page, plot_style, tidy
from .tradeoff import Accuracy

PANEL_HEIGHT = 3.0
BETWEEN = 0.25
COLOURS = {"stc": BLUE, "stc-light": VERMILLION}
MARKERS = {8: "o", 16: "s"}
LABEL_FONT = 7
OUTLINED = {"markersize": 5, "markeredgecolor": "white", "markeredgewidth": 0.5}

Costs = Mapping[tuple[str, int], float]
"""What a network costs, by its name and frames."""


def draw_tradeoff(
    accuracies: Sequence[Accuracy], macs: Mapping[tuple[str, int], int], measured: Measurements
) -> Figure:
    """Draw accuracies against multiply-accumulates, and against seconds of one clip.

    Args:
        accuracies: quoted; those that are not shown are named.
        macs: of one clip, by network and frames.
        measured: seconds of one clip, of some or all of them.
    """
    shown = [accuracy for accuracy in accuracies if accuracy.is_shown]
    billions = {key: value / 1e9 for key, value in macs.items()}
    milliseconds = {key: value * 1e3 for key, value in measured.seconds.items()}
    width = (WIDTH - 2 * MARGIN - LEFT_AXIS - BETWEEN) / 2
    top = MARGIN + 2 * TEXT_LINE
    with plot_style():
        page = new_page(top + PANEL_HEIGHT + AXIS_LABELS, _notes(accuracies, shown, measured))
        left = page.axes(MARGIN + LEFT_AXIS, top, width, PANEL_HEIGHT)
        right = page.axes(MARGIN + LEFT_AXIS + width + BETWEEN, top, width, PANEL_HEIGHT)
        lowest, highest = min(a.top1 for a in shown), max(a.top1 for a in shown)
        room = 0.1 * (highest - lowest)
        for axes in (left, right):
            axes.set_ylim(lowest - room, highest + room)
        left.set(xlabel="multiply-accumulates of one clip (G), counted")
        label_left(left, "top-1 (%), Something-Something V1, quoted")
        right.set(xlabel="evaluation of one clip (ms), measured")
        right.tick_params(labelleft=False)
        _draw_panel(left, shown, billions)
        _draw_panel(right, shown, milliseconds)
        page.figure.legend(
            handles=[
                Line2D([], [], color=GREY, marker=marker, label=f"{frames} frames")
                for frames, marker in MARKERS.items()
            ],
            loc="upper right",
            bbox_to_anchor=(1 - MARGIN / WIDTH, 1),
            ncols=len(MARKERS),
            frameon=False,
        )
        page.text(MARGIN, MARGIN, "Accuracy and cost of ResNet-50 networks", weight="bold")
    return page.figure


def _draw_panel(axes: Axes, accuracies: Sequence[Accuracy], costs: Costs) -> None:
    lines: dict[str, list[tuple[float, float]]] = {}
    frames: dict[str, list[int]] = {}
    for accuracy in sorted(accuracies, key=lambda each: each.num_segments):
        name, num_segments = accuracy.setting
        if accuracy.setting in costs:
            lines.setdefault(name, []).append((costs[accuracy.setting], accuracy.top1))
            frames.setdefault(name, []).append(num_segments)
    # What the paper is about is drawn last, on top, and labelled first.
    in_order = sorted(lines, key=lambda name: list(COLOURS).index(name) if name in COLOURS else 9)
    for name in reversed(in_order):
        colour = COLOURS.get(name, GREY)
        axes.plot(*zip(*lines[name], strict=True), color=colour, linewidth=0.8)
        for num_segments, point in zip(frames[name], lines[name], strict=True):
            # Above all lines, so that no point seems to be one of another network's.
            axes.plot(*point, MARKERS[num_segments], color=colour, zorder=3, **OUTLINED)
    axes.margins(x=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    tidy(axes)
    labels = [
        Label(NETWORKS[name].title, lines[name], COLOURS.get(name, GREY)) for name in in_order
    ]
    place_labels(axes, labels, list(lines.values()), LABEL_FONT)


def _notes(
    accuracies: Sequence[Accuracy], shown: Sequence[Accuracy], measured: Measurements
) -> list[str]:
    from_table_ii = dict.fromkeys(each.title for each in shown if each.table == "II")
    setting = measured.setting
    threads = f", {setting['threads']} threads" if setting["device"] == "cpu" else ""
    notes = [
        "Accuracies are quoted from the paper, nothing here was trained: one crop of one clip, "
        f"Table IV, but for {', '.join(from_table_ii)} Table II; pre-trained on ImageNet"
        f"{_pretrained_elsewhere(shown)}. Multiply-accumulates are counted at 224 x 224 with 174 "
        "classes. Times are of the fastest variant of this package: "
        f"{setting['dtype']}, {setting['size']} x {setting['size']}, device "
        f"{setting['device']}{threads}, batches of {setting['clips']}.",
    ]
    if left_out := _left_out(accuracies, shown, measured):
        notes.append(f"Left out: {'; '.join(left_out)}.")
    return notes


def _pretrained_elsewhere(shown: Sequence[Accuracy]) -> str:
    elsewhere = {each.title: each.pretraining for each in shown if each.pretraining != "ImageNet"}
    return "".join(f", {title} on {data}" for title, data in elsewhere.items())


def _left_out(
    accuracies: Sequence[Accuracy], shown: Sequence[Accuracy], measured: Measurements
) -> list[str]:
    low = [
        f"{each.title} ({each.top1} %, below the axis)" for each in accuracies if not each.is_shown
    ]
    quoted = {each.network.name for each in accuracies}
    unquoted = [
        f"{network.title} (no accuracy of one clip)"
        for name, network in NETWORKS.items()
        if name not in quoted
    ]
    untimed: dict[str, list[str]] = {}
    for each in shown:
        if each.setting not in measured.seconds:
            untimed.setdefault(each.title, []).append(str(each.num_segments))
    names = [f"{title} ({' and '.join(frames)} frames)" for title, frames in untimed.items()]
    return low + unquoted + ([f"not measured: {', '.join(names)}"] if names else [])
