"""`stc-ops plot`: figures with the axes of the paper's, of measurements and of a user's results."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from .figure_file import figure_file, write_figure
from .measurements import Measurements, measure_now, read_measurements
from .progress import progress_bar
from .tradeoff import Accuracy, counted_macs, one_clip_accuracies
from .variants import quoted_results, read_results

EXAMPLE = """\
RESULTS.csv has one line for each variant and alpha, such as these made-up ones

  variant,alpha,top1
  Sim-STC,1/4,30.0
  NonShift-STC,1/4,31.0
  STC,1/4,32.0

where alpha is 0, 1/4, 2/4, 3/4 or 1 and top1 is in percent.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser(
        "plot",
        help="draw the paper's figures 2 and 7 from measurements and from your results",
        description="Draw figures with the axes of the paper's.",
    )
    figures = parser.add_subparsers(title="figures", metavar="FIGURE", required=True)
    _add_tradeoff(figures)
    _add_shift_and_refinement(figures)


def _add_tradeoff(figures: argparse._SubParsersAction) -> None:
    parser = figures.add_parser(
        "tradeoff",
        help="accuracy against multiply-accumulates and against time (figure 2)",
        description="Draw the accuracies that the paper quotes for one clip of Something-Something "
        "V1 against the multiply-accumulates that this package counts, and against the time of "
        "evaluation that 'stc-ops bench models' measures.",
    )
    parser.add_argument(
        "--measurements",
        type=Path,
        nargs="+",
        metavar="CSV",
        help="what 'stc-ops bench models --output' wrote; of several runs, such as one with 8 and "
        "one with 16 frames, all files (default: clips of 8 frames are measured now, which takes "
        "minutes)",
    )
    _add_output(parser)
    parser.set_defaults(command=plot_tradeoff)


def _add_shift_and_refinement(figures: argparse._SubParsersAction) -> None:
    parser = figures.add_parser(
        "shift-and-refinement",
        help="accuracy against alpha with and without shift and refinement (figure 7)",
        description="Draw your top-1 accuracies of Sim-STC (no shift, no refinement), NonShift-STC "
        "and STC against alpha.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", type=Path, metavar="RESULTS.csv", help="your results")
    parser.add_argument(
        "--paper", action="store_true", help="draw what the paper's tables have as hollow markers"
    )
    _add_output(parser)
    parser.set_defaults(command=plot_shift_and_refinement)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="the figure; any format of matplotlib",
    )


def plot_tradeoff(options: argparse.Namespace) -> None:
    """Draw accuracies against counted and measured costs."""
    with figure_file(options.output, "stc-ops plot") as unfinished:
        from .tradeoff_figure import draw_tradeoff

        accuracies = one_clip_accuracies()
        measured = _measured(options.measurements, accuracies)
        with progress_bar("counting") as on_count:
            macs = counted_macs(accuracies, on_count)
        write_figure(draw_tradeoff(accuracies, macs, measured), unfinished, options.output)
    print(options.output)


def _measured(paths: Sequence[Path] | None, accuracies: Sequence[Accuracy]) -> Measurements:
    if paths is not None:
        return read_measurements(paths)
    names = dict.fromkeys(each.network.name for each in accuracies if each.is_shown)
    with progress_bar("measuring") as on_round:
        return measure_now(list(names), on_round)


def plot_shift_and_refinement(options: argparse.Namespace) -> None:
    """Draw a user's results, with the paper's if wanted."""
    with figure_file(options.output, "stc-ops plot") as unfinished:
        from .variants_figure import draw_variants

        results = read_results(options.results)
        quoted = quoted_results() if options.paper else {}
        figure = draw_variants(results, quoted, f"{options.results.name}: shift and refinement")
        write_figure(figure, unfinished, options.output)
    print(options.output)
