"""A table and a figure of benchmark runs: `python benchmarks/report.py results.json DIR`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from report_tables import markdown
from results import Results, read_results

from stc_ops.cli.errors import CommandError
from stc_ops.cli.output_file import whole_file

TABLE, FIGURE = "benchmarks.md", "benchmarks.png"
EXIT_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report that `arguments` ask for and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        write_report(options.results, options.folder)
    except CommandError as error:
        sys.stderr.write(f"report.py: error: {error}\n")
        return EXIT_ERROR
    return 0


def write_report(paths: Sequence[Path], folder: Path) -> None:
    """Write table and figure of runs into `folder`.

    Raises:
        CommandError: the runs cannot be read, or `folder` cannot be
            written to, or matplotlib is missing.
    """
    results = read_results(paths)
    with whole_file(folder / FIGURE) as figure, whole_file(folder / TABLE) as table:
        draw_into(results, figure)
        table.write_text(markdown(results, "Benchmarks", FIGURE) + "\n", encoding="utf-8")
    print(f"{folder / TABLE}\n{folder / FIGURE}")


def draw_into(results: Results, file: Path) -> None:
    """Draw the figure of the report as PNG.

    Raises:
        CommandError: matplotlib is missing.
    """
    try:
        from report_figure import draw
    except ImportError as error:
        raise CommandError("the figure needs matplotlib: pip install 'stc_ops[plot]'") from error
    draw(results).savefig(file, format="png")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="report.py",
        description="Make a Markdown table and a figure of what pytest benchmarks measured.",
    )
    parser.add_argument(
        "results",
        nargs="+",
        type=Path,
        metavar="RESULTS.json",
        help="what --benchmark-json wrote; of several runs the median is taken",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="where to write")
    return parser


if __name__ == "__main__":
    sys.exit(main())
